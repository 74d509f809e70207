/* queue.h: how to stand in a queue, as that of a lock or a task. */
#ifndef CORE_QUEUE_QUEUE_H
#define CORE_QUEUE_QUEUE_H

#include "core/core.h"
#include "core/queue/entries.h"

struct queue_options {
    uint32_t slots;    /* how many may hold it at once: 1, 2..SLOTS_MAX, SLOTS_SHARED */
    bool try_only;     /* give up when it cannot be had at once */
    int64_t until_ms;  /* give up when others have it at this time; NEVER_MS */
    int64_t answer_ms; /* ... and when it is not known by then whether they have; not before until_ms */
    uint32_t stop_ms;  /* as above */
};

const struct entries *contest_entries(const struct contest *contest); /* of a single lock or task */

#endif
