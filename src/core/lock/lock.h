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
/* The program has stopped. May the entry be kept? Then its latch is to be freed (baton_latch_free); NULL: core_unlock.
 */
struct baton_latch *core_may_keep(const struct core *core, const struct contest *lock, int64_t now_ms,
                                  uint64_t *ret_created);
/* The latch was freed, at that very moment: the lock is released, and TELL_RESIGNED will not come. core_step must be
 * called by the time that is returned. */
int64_t core_keep(struct core *core, struct contest *lock, int64_t now_ms);
bool core_is_kept(const struct contest *lock);
/* The same in any case, also of one that waits in the queue; call core_step soon, and TELL_RESIGNED comes. false: by
 * EVENT_RESIGN and EVENT_STOPPED (it is being stopped, or is not there). */
bool core_unlock(struct core *core, struct contest *lock);
/* As core_forget, of a lock that was released: there is no TELL_GONE, nor TELL_RESIGNED. false: core_forget. */
bool core_leave(struct core *core, struct contest *lock, int64_t now_ms);
/* A lock that was released and left, and is kept still: its latch is to be taken (baton_latch_take), and the answer
 * goes to core_take_back. NULL: core_queue_again. */
struct contest *core_find_kept(struct core *core, const char *name, const struct queue_options *options, int64_t now_ms,
                               struct baton_latch **ret_latch, uint64_t *ret_created);
/* The client holds it, with this token. false (token 0): the latch was not to be had; core_queue_again. */
bool core_take_back(struct core *core, struct contest *lock, const struct queue_options *options, void *user,
                    uint64_t token);
/* ... or stand in its queue again, while the last entry is being removed; call core_step soon. NULL: core_observe and
 * core_queue. */
struct contest *core_queue_again(struct core *core, const char *name, const struct queue_options *options, void *user);

#endif
