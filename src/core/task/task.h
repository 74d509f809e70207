/* task.h: what a client does with a task, besides core_observe. Its records are told in key.h. */
#ifndef CORE_TASK_TASK_H
#define CORE_TASK_TASK_H

#include "core/queue/queue.h"
#include "core/task/claim.h"
#include "core/task/key.h"

struct task_options {
    const char *what;       /* what is done; all who want the task must say the same; "": any */
    bool again;             /* may another one begin when who does it is gone? Only if both say so */
    uint32_t retries;       /* take up what has failed at most so many times; */
    int64_t retry_after_ms; /* ... not sooner after the failure */
    int64_t keep_ms;        /* forget the result so long after the end; 0: never */
    struct queue_options queue;
};

/* Want a task that is observed to be done. -1: it is wanted already (BATON_CONFLICT). Whoever is the first in the queue
 * claims it and is told TELL_LEAD; it answers by core_ended. It is over with TELL_OUTCOME: BATON_OK (it is settled: the
 * view shows how), BATON_CONFLICT (try_only: others do it), BATON_TIMEOUT (others still do it), BATON_UNAVAILABLE or
 * what the engine says (it cannot tell), BATON_INVALID (others mean something else by this key), BATON_LOST (this one
 * did it, and its result could not be recorded), BATON_CORRUPT, BATON_NEWER, BATON_CLOSED (it was resigned). Of a task
 * that is settled nothing is written, and no session is opened. */
int core_once(struct core *core, struct contest *task, const struct task_options *options, struct baton_error *err);

/* How the work on a task has ended. */
struct task_result {
    enum claim_state state; /* CLAIM_DONE, CLAIM_FAILED; CLAIM_FREE: it was not begun */
    int32_t status;
    struct claim_output out, err; /* bytes NULL: not kept; copied */
};
/* The program has ended its work. It counts from now on, whatever comes between this and the next step. (EVENT_STOPPED
 * without it: nobody knows how far the work came.) */
void core_ended(struct core *core, struct contest *task, const struct task_result *result);

/* Forget what is known of a task: it may be done once more. */
enum forget {
    FORGET_IDLE,   /* not if it is being done */
    FORGET_ALWAYS, /* also then: its worker is told to stop */
    FORGET_EXPIRED /* only if its time is over: it could be done once more as it is */
};
void core_forget_task(struct core *core, struct contest *task, uint64_t request, enum forget what, int64_t until_ms);

#endif
