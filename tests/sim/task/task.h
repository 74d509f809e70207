/* task.h: worlds in which the nodes want task after task to be done, once each: t0, t1, ... */
#ifndef SIM_TASK_TASK_H
#define SIM_TASK_TASK_H

#include "kind.h"

struct task_policy {
    uint32_t retries;
    bool again;      /* what everybody says */
    bool mixed;      /* some say this, some that */
    int64_t keep_ms; /* how long its end is known; 0: for ever */
};

struct task_part {
    unsigned task_count; /* that were wanted so far */
    bool tidy;           /* operators forget only what has expired */
    struct {
        unsigned task; /* the number of its present task */
        bool wanted;   /* ... was, so the next one is next */
        bool again;    /* ... and whether it allows that it is begun again */
    } nodes[NODES_MAX];
    struct seen_task *seen; /* by the checkers, of each task */
    unsigned seen_count;
};

static inline struct task_part *task_part(const struct world *world)
{
    return world->part;
}

struct task_policy task_policy(const struct world *world, unsigned task);

/* checkers.c: see kind.h */
void task_check_stored(struct world *world, const struct baton_write *write);
void task_check_begins(struct world *world, int n, uint64_t token);
void task_check_outcome(struct world *world, int n, enum baton_code code);
void task_check_instant(struct world *world);

#endif
