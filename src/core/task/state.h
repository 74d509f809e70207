/* state.h: a task as a contest keeps it. Private to src/core. */
#ifndef CORE_TASK_STATE_H
#define CORE_TASK_STATE_H

#include "core/queue/state.h"
#include "core/task/task.h"

struct task {
    struct queue queue; /* the first member: see queue/state.h */
    struct task_options options;
    char *what;
    const struct view_record *claim_record; /* in the view; NULL: there is none */
    const struct claim *claim;              /* NULL: there is none, or it cannot be read */
    struct attempt writing;                 /* of its claim, or of how it ended */
    bool claiming;                          /* a claim by `claim_cid` was sent, and may take effect */
    bool told_end;                          /* the program has ended its work: `result` */
    bool ended;                             /* the work by `claim_cid` is over: `result` is to be recorded */
    uint64_t claim_at;                      /* the revision that this claim is compared with */
    uint64_t begun_at;                      /* `created` of the claim by which the work was begun; 0: it was not */
    char claim_cid[CID_MAX_BYTES];
    struct claim result; /* state, status and outputs: its own */
};

static inline struct task *task_of(const struct contest *task)
{
    assert(task->protocol->kind == CONTEST_TASK);
    return task->part;
}

#endif
