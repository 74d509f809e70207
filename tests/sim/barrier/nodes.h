/* nodes.h: worlds in which the nodes wait for each other. */
#ifndef SIM_BARRIER_NODES_H
#define SIM_BARRIER_NODES_H

#include "kind.h"

struct barrier_part {
    uint32_t size;
    bool disagreed;            /* now and then somebody says another size */
    uint32_t sizes[NODES_MAX]; /* what each node has said */
    struct seen_presence *presences;
    size_t presence_count;
    struct seen_opening *openings; /* by generation, from 1 on */
    size_t opening_count;
    int64_t enough_since_us; /* as many wait as its size, since the last opening; NEVER_MS: they do not */
    uint64_t moment;         /* so often the presences have changed, ... */
    uint64_t revision;       /* ... as was seen at this revision */
};

static inline struct barrier_part *barrier_part(const struct world *world)
{
    return world->part;
}

/* checkers.c: see kind.h */
void barrier_check_stored(struct world *world, const struct baton_write *write);
void barrier_check_begins(struct world *world, int n, uint64_t generation);
void barrier_check_instant(struct world *world);
void barrier_checkers_free(struct world *world);

#endif
