/* lease.h: sessions with a short ttl, in tests that must also pass where a machine is too busy for it. */
#ifndef CONFORMANCE_LEASE_H
#define CONFORMANCE_LEASE_H

#include "world.h"

/* Since `renewed_ms` it has its ttl, at least. */
struct lease {
    struct client *owner;
    uint64_t id;
    uint32_t ttl_ms;
    int64_t renewed_ms;
};

struct lease lease_new(struct client *owner, uint32_t ttl_ms);
bool may_be_over(const struct lease *lease);
/* Done, or false: it came too late, as the machine is busy. Too late it must have been. */
bool done_in_time(const struct lease *lease, const struct baton_reply *reply);
bool renewed_in_time(struct lease *lease);
/* The record e/bound is there until it is gone, which is not before the ttl is. False: it was never seen. */
bool has_ended_with_its_ttl(const struct lease *lease, struct client *observer);
/* What has to be done in time is tried with longer and longer ttls, until this machine is quick enough for it. */
void within_a_ttl(bool (*story)(struct world *w, uint32_t ttl_ms), struct world *w);

#endif
