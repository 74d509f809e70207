/* state.h: a lock as a contest keeps it. Private to src/core. */
#ifndef CORE_LOCK_STATE_H
#define CORE_LOCK_STATE_H

#include "core/lock/lock.h"
#include "core/queue/state.h"

struct lock {
    struct queue queue; /* the first member: see queue/state.h */
    /* See keep.c. */
    struct baton_latch *latch; /* of its entry; NULL: it has none */
    uint64_t latch_created;    /* ... which was created then */
    int64_t kept_until_ms;
};

static inline struct lock *lock_of(const struct contest *lock)
{
    assert(lock->protocol->kind == CONTEST_LOCK);
    return lock->part;
}

/* keep.c: a lock that was released, and may be taken back */
void keep_step(struct core *core, struct contest *lock);
void keep_end(struct core *core, struct contest *lock); /* nobody takes it back: it goes */

#endif
