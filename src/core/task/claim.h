/* claim.h: tasks/KEY/claim: who does a task, and how it ended. A decision: lasting, changed only by compare-and-set.
 *
 *     free     it was claimed and never begun, or nothing is said yet
 *     running  the worker whose entry `cid` names does it (when that entry is gone, so is the worker)
 *     done     it ended well: status 0
 *     failed   it ended with another status
 *     lost     its worker is gone, and nobody knows how far it came
 */
#ifndef CORE_TASK_CLAIM_H
#define CORE_TASK_CLAIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/view.h"

#define CLAIM_OUTPUT_MAX 16384 /* bytes that are kept of each of the two outputs: both fit a record, in base64 */
#define CLAIM_WHAT_MAX 256
#define CLAIM_ATTEMPT_MAX INT32_MAX
#define CLAIM_KEEP_MS_MAX 253402300799999 /* 8,000 years */

enum claim_state { CLAIM_FREE, CLAIM_RUNNING, CLAIM_DONE, CLAIM_FAILED, CLAIM_LOST };

/* The end of what a worker printed. */
struct claim_output {
    char *bytes; /* NULL: nothing is kept */
    size_t size;
    uint64_t left_out; /* bytes before them that were not kept */
};

struct claim {
    enum claim_state state;
    char *cid, *id, *host;
    char *what;       /* what is done, in words of those who do it; "": not said */
    uint32_t attempt; /* 1 is the first */
    bool again;       /* who does it allows that another one begins when it is gone */
    int32_t status;
    int64_t since_wall_ms, ended_wall_ms; /* ended: 0 while it runs */
    int64_t keep_ms;                      /* forget it so long after its end; 0: never */
    struct claim_output out, err;
};

/* As the functions of record.h. */
void *claim_read(const char *value, struct baton_error *err);
void claim_free(void *claim);
/* `before`: the present record's value, whose unknown fields are kept; NULL: there is none. */
char *claim_write(const char *before, const struct claim *claim);

/* "done". Never NULL. */
const char *claim_state_name(enum claim_state state);

/* Is its result to be forgotten? By the wall clock, since it is of a time that people gave: those who read it may be on
 * different machines. Nothing depends on it but when the task may be done once more. */
bool claim_expired(const struct claim *claim, int64_t wall_ms);

/* Of a record in a view; NULL: it cannot be read. */
static inline const struct claim *claim_of(const struct view_record *record)
{
    return view_object(record, claim_read);
}

#endif
