/* state.h: a place in a queue, as locks and tasks have one: how long it waits, and what its end means.
 *
 * It is the first member of the part of a contest that has one. Private to src/core.
 */
#ifndef CORE_QUEUE_STATE_H
#define CORE_QUEUE_STATE_H

#include "core/queue/queue.h"
#include "core/state.h"

struct queue {
    struct entries entries;
    int64_t until_ms, answer_ms; /* of the wait, for others and for the engine; NEVER_MS */
    struct baton_error *refused; /* by the engine, the last time that it was asked for something; NULL: it was done */
    uint32_t slots;
    bool try_only;
};

static inline struct queue *queue_of(const struct contest *contest)
{
    return contest->part;
}

/* -1: it stands already (BATON_CONFLICT). */
int queue_stand(struct core *core, struct contest *contest, const struct queue_options *options,
                struct baton_error *err);
/* Read the entries under the prefix. */
void queue_read(const struct core *core, struct contest *contest, const char *prefix);
/* As the functions of a protocol (protocol.h). */
const struct baton_error *queue_trouble(const struct contest *contest);
char *queue_presence_value(const struct core *core, const struct contest *contest);
void queue_answered(struct contest *contest, const struct baton_reply *reply);
void queue_clear(struct contest *contest);

/* Is its time over, and others have it? (`others`: the view says so now.) When it is over and nobody can tell, it is
 * ended here; when it is not, it is woken at its end. */
bool wait_is_over(struct core *core, struct contest *contest, bool others);

#endif
