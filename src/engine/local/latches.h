/* latches.h: the latches of a namespace (baton/latch.h), in the mapping that all processes share.
 *
 * A queue is the records whose keys differ after their last slash only. It has one place for a latch, by its hash. If
 * another queue, or another entry, has the place, an entry has no latch, and its client writes each time.
 *
 * Latches change with a transaction. A latch is closed at once, which costs only time when the transaction fails. A
 * latch begins, and a place becomes free, when the transaction is committed. The functions that take latch_changes must
 * be called with the writer's lock held, so by one process at a time.
 */
#ifndef LOCAL_LATCHES_H
#define LOCAL_LATCHES_H

#include <stddef.h>

#include "baton/latch.h"

#define LATCHES 1024

struct latch_place {
    struct baton_latch latch;
    _Atomic uint64_t queue;   /* its hash */
    _Atomic uint64_t session; /* of the entry */
};

/* The latch of this record; NULL: it has none. Safe from any thread. */
struct baton_latch *latches_find(struct latch_place *latches, const char *key, uint64_t created);

/* The latches that a transaction changes. Empty before the transaction and after it. */
struct latch_changes {
    struct latch_place *latches;
    struct latch_change *list;
    size_t count, room;
};

enum latches_wanted {
    LATCHES_NOTHING, /* no entry of the queue has a latch, or this transaction has made what there is */
    LATCHES_IN_USE,  /* its owner was told, and removes its entry when it has stopped */
    LATCHES_REMOVE   /* it was free, and is closed now: the caller must remove its entry, in this transaction */
};
/* `key` is going to be put in its queue. *ret_created says which entry has the queue's latch; *ret_token is the last
 * token of that. Both are 0 with LATCHES_NOTHING. */
enum latches_wanted latches_want(struct latch_changes *changes, const char *key, uint64_t *ret_created,
                                 uint64_t *ret_token);
/* The session of the entry that has the place which the latch of `key` would need; 0: the place is free. */
uint64_t latches_taken(const struct latch_changes *changes, const char *key);
/* Give this record a latch. */
void latches_begin(struct latch_changes *changes, const char *key, uint64_t session, uint64_t created);
/* This record is going to be removed: close its latch. Its last token; 0: the record has none. */
uint64_t latches_end(struct latch_changes *changes, const char *key, uint64_t created);

void latches_commit(struct latch_changes *changes);
void latches_rollback(struct latch_changes *changes);
void latches_release(struct latch_changes *changes);

/* The length of what the keys of a queue have in common; 0: it is in none. */
size_t queue_length(const char *key);

#endif
