/* lock.h: worlds in which the nodes want a lock. */
#ifndef SIM_LOCK_LOCK_H
#define SIM_LOCK_LOCK_H

#include "kind.h"

/* What the nodes of a world say about the lock. */
enum lock_kind { LOCK_EXCLUSIVE, LOCK_COUNTED, LOCK_SHARED, LOCK_DISAGREED, LOCK_KINDS };

struct lock_part {
    enum lock_kind kind;
    uint32_t slots[NODES_MAX]; /* of each node's present attempt */
    uint64_t highest_token;    /* of any holder of an exclusive lock, ever */
};

static inline struct lock_part *lock_part(const struct world *world)
{
    return world->part;
}

/* keeping.c: a node releases a lock and takes it back without a write */
void node_finds_latch(struct world *world, int n); /* after TELL_LEAD */
bool node_keeps(struct world *world, int n);       /* its program has stopped. false: it is to be told to the core */
void node_leaves(struct world *world, int n);      /* the program gives its handle back, and takes another one */
/* It wants a lock that it has left, and holds it (*ret_token), or stands in its queue (0). false: in some other way. */
bool node_goes_on(struct world *world, int n, const struct queue_options *options, uint64_t *ret_token);

/* checkers.c: see kind.h */
void lock_check_token(struct world *world, int n, uint64_t token);
void lock_check_act(struct world *world, int n, uint64_t token);
void lock_check_instant(struct world *world);

#endif
