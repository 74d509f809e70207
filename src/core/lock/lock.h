/* lock.h: what a client does with a lock, besides core_observe.
 *
 *     locks/NAME/CID   an entry in the queue of a lock (bound)
 */
#ifndef CORE_LOCK_LOCK_H
#define CORE_LOCK_LOCK_H

#include "core/queue/queue.h"

struct baton_latch;

#define LOCKS_PREFIX "locks/"

char *lock_prefix(const char *name); /* on the heap */

/* Stand in the queue of a lock that is observed. -1: it stands already (BATON_CONFLICT). One attempt: it ends with
 * TELL_RESIGNED (BATON_OK: it was held and released; BATON_CONFLICT: try_only, others have it; BATON_TIMEOUT: they
 * still have it at until_ms; BATON_UNAVAILABLE, or what the engine says: it cannot tell who has it; BATON_INVALID:
 * others say another number of slots; BATON_LOST: it was held, and the session is over). */
int core_queue(struct core *core, struct contest *lock, const struct queue_options *options, struct baton_error *err);

/* A lock that a client releases and takes again, with nobody else in between, need not be written: see keep.c. After
 * TELL_LEAD of a lock: whose latch to ask the engine for (the key is the caller's to free; NULL: none can be of use),
 * and what it has answered (NULL: it has none). */
char *core_latch_key(const struct contest *lock, uint64_t *ret_created);
void core_latch(struct core *core, struct contest *lock, struct baton_latch *latch);
/* Release a lock whose program has stopped. true: it is released, and TELL_RESIGNED will not come; core_step is to be
 * called by *ret_wake_ms. false: by core_unlock. */
bool core_keep(struct core *core, struct contest *lock, int64_t now_ms, int64_t *ret_wake_ms);
bool core_is_kept(const struct contest *lock);
/* The same in any case, also of one that waits in the queue; call core_step soon, and TELL_RESIGNED comes. false: by
 * EVENT_RESIGN and EVENT_STOPPED (it is being stopped, or is not there). */
bool core_unlock(struct core *core, struct contest *lock);
/* As core_forget, of a lock that was released: there is no TELL_GONE, nor TELL_RESIGNED. false: core_forget. */
bool core_leave(struct core *core, struct contest *lock, int64_t now_ms);
/* Of a lock that was released and left: hold it, with a new token, if it is kept still. NULL: core_queue_again. */
struct contest *core_take_back(struct core *core, const char *name, const struct queue_options *options, void *user,
                               int64_t now_ms, uint64_t *ret_token);
/* ... or stand in its queue again, while the last entry is being removed; call core_step soon. NULL: core_observe and
 * core_queue. */
struct contest *core_queue_again(struct core *core, const char *name, const struct queue_options *options, void *user);

#endif
