/* lock.h: locks: exclusive, shared and counted.
 *
 * A lock is a queue. An attempt stands in it from baton_lock() on, and holds when nobody ahead of it keeps it from
 * that: an exclusive one (slots 1) when it is the first, a counted one when fewer than `slots` are ahead, a shared one
 * when no exclusive one is ahead. So nobody is overtaken. All who want one lock must say the same: exclusive and shared
 * attempts mix, counted ones only with those of the same number; an attempt that disagrees with one ahead is refused.
 *
 * The token grows from holder to holder of an exclusive lock, as a term does: give it along with what you write.
 */
#ifndef BATON_LOCK_H
#define BATON_LOCK_H

#include "baton/client.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BATON_SLOTS_MAX 1000000 /* of a lock */
#define BATON_SHARED UINT32_MAX /* ... of a shared lock: as many as there are */

struct baton_lock_options {
    uint32_t slots;   /* how many may hold it at once: 1 (default), up to BATON_SLOTS_MAX, or BATON_SHARED */
    bool try_only;    /* give up when it is held by others */
    uint32_t wait_ms; /* give up when it is still held by others after so long; 0: never */
    /* What a stop may take, in ms, when the session is about to be lost (BATON_STOP); as in baton_stand_options. */
    uint32_t stop_ms;
};
BATON_API void baton_lock_options_init(struct baton_lock_options *options);

/* Stand in the queue of the lock `name`. options NULL: defaults. Answered by BATON_ACQUIRED, or by BATON_RELEASED:
 * BATON_CONFLICT (try_only: others have it), BATON_TIMEOUT (wait_ms: others still have it), BATON_UNAVAILABLE or what
 * troubles the engine (nobody can tell who has it: with try_only at once, or after 10 s of silence; with wait_ms after
 * that time, or 3 s of silence if that is longer), BATON_INVALID (others disagree about the slots). After ACQUIRED:
 * BATON_STOP when the session may be lost (answer by baton_unlock() when you have stopped), then BATON_RELEASED with
 * BATON_LOST. Who waits keeps waiting when the session is lost, at the end of the queue. A client has one attempt at a
 * lock at a time (BATON_CONFLICT), from here to baton_unlock(); the next one need not wait for BATON_RELEASED. 0 and
 * *ret (until baton_lock_free, or close), or -1 with BATON_INVALID, BATON_CONFLICT, BATON_FULL. */
BATON_API int baton_lock(struct baton *b, const char *name, const struct baton_lock_options *options,
                         struct baton_lock **ret, struct baton_error *err);

/* Does this client hold it, now? As baton_leads: false in a forked child; no lock, no message; from any thread and
 * signal handler. *ret_token (may be NULL) is untouched on false. */
BATON_API bool baton_holds(const struct baton_lock *lock, uint64_t *ret_token);

/* What was done under the lock is over: give it up, or stop waiting for it. BATON_RELEASED (BATON_OK) follows; whoever
 * wants the lock then has it at once. Twice is once; of a lock that is lost it does nothing.
 * (local: an entry that nobody else has wanted stays visible for up to 0.2 s. Whoever takes the lock again meanwhile,
 * in the same client, has it without a write, with a new token.) */
BATON_API void baton_unlock(struct baton_lock *lock);

/* After BATON_STOP: what was done under the lock takes `ms` more to stop; see baton_stop_takes(). */
BATON_API bool baton_lock_stop_takes(struct baton_lock *lock, uint32_t ms);

/* Free the handle; it is unlocked first, in the background. NULL allowed. */
BATON_API void baton_lock_free(struct baton_lock *lock);

BATON_API const char *baton_lock_name(const struct baton_lock *lock); /* "" for "every lock" */

/* Look at a lock without wanting it; name NULL: at every lock of the namespace. BATON_CHANGED tells of news. */
BATON_API int baton_observe_lock(struct baton *b, const char *name, struct baton_lock **ret, struct baton_error *err);

/* What is known of a lock: one state that it really had. */
struct baton_lock_entry {
    const char *id, *host;
    uint32_t slots; /* as this one was told */
    bool holds;
    uint64_t token;        /* a holder that has taken the same lock again may have a newer one */
    int64_t since_wall_ms; /* when it began to wait */
};
struct baton_lock_status {
    const char *name;
    bool known;                             /* a view has arrived; while false, all below is empty */
    uint64_t revision;                      /* of the view */
    const struct baton_lock_entry *entries; /* in the order of the queue */
    size_t entry_count;
    size_t holders;
    const char *trouble; /* a record that cannot be used, and why; NULL: all can */
};

/* Has a view arrived, so that baton_lock_status tells what there is? */
BATON_API bool baton_lock_known(const struct baton_lock *lock);

/* A copy; free with baton_lock_status_free. Of every lock: one entry a lock, in the order of their names. */
BATON_API int baton_lock_status(const struct baton_lock *lock, struct baton_lock_status **ret, size_t *ret_count,
                                struct baton_error *err);
BATON_API void baton_lock_status_free(struct baton_lock_status *status, size_t count);

#ifdef __cplusplus
}
#endif

#endif
