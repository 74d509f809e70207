/* task.h: tasks: work that is to be done once.
 *
 * A task is work that is to be done once, by one of those who want it done; its key names it (a date in the key makes a
 * task a day). The first one to come claims it and works; the others wait, and are told how it ended.
 * What was recorded stays until it expires or is forgotten (baton_forget): who comes later is told the same, at the
 * cost of one read. So a task is done at most once. Where a worker was lost nobody knows how far it came; it is begun
 * again only where both say `at_least_once`.
 *
 * A result expires 400 days after the end unless other times are asked for; after that, the next one that wants the
 * task does it once more. For what must never be done twice (a migration), `expire_ms` must be 0: never.
 */
#ifndef BATON_TASK_H
#define BATON_TASK_H

#include "baton/client.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BATON_TASK_OUTPUT_MAX 16384                        /* bytes that are kept of each of a task's two outputs */
#define BATON_TASK_EXPIRE_DEFAULT_MS UINT64_C(34560000000) /* 400 days: how long a task's result is kept */
#define BATON_TASK_WHAT_MAX 256                            /* bytes of what a task is said to be */

struct baton_task_options {
    const char *what;        /* what is done, up to BATON_TASK_WHAT_MAX bytes. Who says another one than the claim does
                              * is refused: one key for two things is a mistake. NULL or "": not compared */
    bool at_least_once;      /* if the worker is lost, another one may begin, where both say so */
    uint32_t retries;        /* take up what has failed, at most so many times */
    uint32_t retry_after_ms; /* ... not sooner after the failure (by the machines' wall clocks) */
    uint64_t expire_ms;      /* forget the result so long after the end (by their wall clocks), up to 8,000 years;
                              * default BATON_TASK_EXPIRE_DEFAULT_MS; 0: never */
    bool try_only;           /* do not wait while others do it */
    uint32_t wait_ms;        /* give up waiting after so long; 0: never. Work that has begun is not interrupted */
    uint32_t stop_ms;        /* what a stop may take, in ms; as in baton_stand_options */
};
BATON_API void baton_task_options_init(struct baton_task_options *options);

/* Want the task `key` (1..BATON_NAME_MAX bytes of UTF-8 without control characters) done. options NULL: defaults. If it
 * is this client that is to do it: BATON_BEGIN; do it, and answer by baton_done(), or by baton_give_up() when
 * BATON_STOP comes (the session may be lost) and you have stopped. In the end, for everybody, BATON_OUTCOME: BATON_OK
 * (it is settled: baton_task_status tells how), BATON_CONFLICT (try_only: others do it), BATON_TIMEOUT (wait_ms:
 * others still do it), BATON_UNAVAILABLE or what troubles the engine (nobody can tell, as with a lock), BATON_INVALID
 * (others mean something else by this key), BATON_LOST (this client did it, and the session was lost or the claim
 * removed before the result was recorded), BATON_CLOSED (given up), BATON_CORRUPT or BATON_NEWER (a record that cannot
 * be used). A failure that is taken up again may bring another BATON_BEGIN before. A client wants a task once at a time
 * (BATON_CONFLICT). 0 and *ret (until baton_task_free, or close), or -1 with BATON_INVALID, BATON_CONFLICT, BATON_FULL.
 */
BATON_API int baton_once(struct baton *b, const char *key, const struct baton_task_options *options,
                         struct baton_task **ret, struct baton_error *err);

/* Is this client to do the task, at this moment? As baton_holds(). */
BATON_API bool baton_works(const struct baton_task *task, uint64_t *ret_token);

/* The work is over. `status` 0: it is done; 1..INT32_MAX: it has failed; BATON_TASK_NOT_BEGUN: nothing was done, the
 * claim is given back, and whoever is next may begin (this client too, unless it gives up). Of each output the last
 * BATON_TASK_OUTPUT_MAX bytes are kept (NULL: nothing); the bytes are copied. BATON_OUTCOME follows when it is
 * recorded, which is tried until it is, also when the session is over by now, unless others have recorded the task as
 * lost. Only between BATON_BEGIN and this call; otherwise it does nothing. */
#define BATON_TASK_NOT_BEGUN (-1)
struct baton_task_result {
    int32_t status;
    const char *out, *err;
    size_t out_size, err_size;
    uint64_t out_left_out, err_left_out; /* bytes before them that the program itself has not kept */
};
BATON_API void baton_done(struct baton_task *task, const struct baton_task_result *result);

/* Do not want the task any more. A program that was working must have stopped, and leaves the task lost. BATON_OUTCOME
 * follows. */
BATON_API void baton_give_up(struct baton_task *task);

/* After BATON_STOP: the work takes `ms` more to stop; see baton_stop_takes(). */
BATON_API bool baton_task_stop_takes(struct baton_task *task, uint32_t ms);

/* Free the handle; it is given up first, in the background (after a baton_done: when the result is recorded). NULL
 * allowed. */
BATON_API void baton_task_free(struct baton_task *task);

BATON_API const char *baton_task_key(const struct baton_task *task); /* "" for "every task" */

/* Look at a task without wanting it; key NULL: at every task of the namespace. */
BATON_API int baton_observe_task(struct baton *b, const char *key, struct baton_task **ret, struct baton_error *err);

enum baton_task_state {
    BATON_TASK_NONE,    /* nobody has begun it, or it is forgotten */
    BATON_TASK_RUNNING, /* it is being done */
    BATON_TASK_DONE,
    BATON_TASK_FAILED,
    BATON_TASK_LOST /* its worker is gone, and nobody knows how far it came */
};
/* "none", "running", "done", "failed", "lost". Never NULL. */
BATON_API const char *baton_task_state_name(enum baton_task_state state);

struct baton_task_output {
    const char *bytes; /* NULL: nothing is kept. Ends with a NUL that does not count */
    size_t size;
    uint64_t left_out; /* bytes before them that were not kept */
};
struct baton_task_status {
    const char *key;
    bool known;        /* a view has arrived; while false, all below is empty */
    uint64_t revision; /* of the view */
    enum baton_task_state state;
    bool expired;          /* what follows is old, and the task may be done again */
    const char *id, *host; /* of the last worker; "" */
    const char *what;
    uint32_t attempt; /* 1: the first */
    int32_t status;   /* of what is done or has failed */
    bool at_least_once;
    int64_t since_wall_ms, ended_wall_ms, expires_wall_ms; /* 0: not */
    struct baton_task_output out, err;
    size_t waiting;      /* how many want it, the worker not counted */
    const char *trouble; /* a record that cannot be used, and why; NULL: all can */
};
BATON_API bool baton_task_known(const struct baton_task *task);
/* A copy; free with baton_task_status_free. Of every task: one entry a task, in the order of their keys. */
BATON_API int baton_task_status(const struct baton_task *task, struct baton_task_status **ret, size_t *ret_count,
                                struct baton_error *err);
BATON_API void baton_task_status_free(struct baton_task_status *status, size_t count);

/* Forget what is recorded of one task, so that it may be done once more. Answered by a BATON_REPLY as a transfer is:
 * BATON_OK, BATON_NOT_FOUND, BATON_CONFLICT (it is being done; with `force`, its worker is told to stop, and may have
 * some time for that), BATON_UNAVAILABLE. */
BATON_API uint64_t baton_forget(struct baton_task *task, bool force, uint32_t timeout_ms);

/* The same, but only if its time is over: BATON_CONFLICT if it is not, or not any more. What has expired does not
 * matter any more, but takes up space: `baton once` removes some of it now and then; a program that uses many keys can
 * do it by this. */
BATON_API uint64_t baton_forget_expired(struct baton_task *task, uint32_t timeout_ms);

#ifdef __cplusplus
}
#endif

#endif
