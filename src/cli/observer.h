/* observer.h: a client that looks at one election, or at all of them, and asks things of it; never a candidate.
 *
 *     struct observer o;
 *     int status = observer_begin(&o, url, name, false, 5000);
 *     if (status == CLI_GO)
 *         o.status[0].leader ...
 *     observer_close(&o);
 */
#ifndef CLI_OBSERVER_H
#define CLI_OBSERVER_H

#include "baton/baton.h"

struct observer {
    struct baton *client;
    struct baton_election *election;
    const char *name; /* NULL: every election */
    bool viewed;      /* the first view is here; status is of the newest one that was read */
    struct baton_status *status;
    size_t count;
    int64_t until_ms;
    struct baton_error trouble; /* of the engine, now; BATON_OK: none */
    int reader; /* observer_next ends when nobody reads this descriptor any more; -1: it does not look */
};

/* `create`: as baton_options has it. Closing is allowed after a failed open, too. */
int observer_open(struct observer *observer, const char *url, const char *name, bool create, struct baton_error *err);
void observer_close(struct observer *observer);

/* Wait for the next event, until `until_ms` (NEVER_MS: for ever). 1: *ret is it, and when it is a BATON_CHANGED, status
 * is new; 0: it is that time, or the reader is gone; -1: err. */
int observer_next(struct observer *observer, int64_t until_ms, struct baton_event *ret, struct baton_error *err);
/* Open, and wait for the first view. CLI_GO, or the exit status of an error that was told. `until_ms` is then when
 * `timeout_ms` is over. */
int observer_begin(struct observer *observer, const char *url, const char *name, bool create, uint32_t timeout_ms);
/* How much of timeout_ms is left; at least 1. */
uint32_t observer_left_ms(const struct observer *observer);

/* Wait for the first view: BATON_UNAVAILABLE, or what troubles the engine, when it does not come in time. */
int observer_first_view(struct observer *observer, uint32_t timeout_ms, struct baton_error *err);
/* Read the newest status, also without an event. */
int observer_refresh(struct observer *observer, struct baton_error *err);
/* Wait for the answer to `request`. 0, or -1 with its code and words. */
int observer_reply(struct observer *observer, uint64_t request, uint32_t timeout_ms, struct baton_error *err);

/* Was there ever such an election? A name that nobody stands for, led or held has no records. */
bool observer_exists(const struct baton_status *status);

#endif
