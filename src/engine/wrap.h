/* wrap.h: engines in front of other engines (trace.c, faults.c): the table of each that was wrapped, so that the
 * wrapper finds the one behind it. Safe from any thread. */
#ifndef ENGINE_WRAP_H
#define ENGINE_WRAP_H

#include <pthread.h>

#include "baton/engine.h"

#define WRAPPED_MAX 16 /* engines of one process */

struct wraps {
    pthread_mutex_t mutex;
    struct {
        const struct baton_engine_ops *inner;
        struct baton_engine_ops ops;
    } wrapped[WRAPPED_MAX];
    size_t count;
};

#define WRAPS_INIT                                                                                                     \
    {                                                                                                                  \
        .mutex = PTHREAD_MUTEX_INITIALIZER                                                                             \
    }

/* What stands for `inner`: a copy of its table, changed by `fill` when it is made. */
const struct baton_engine_ops *wraps_add(struct wraps *wraps, const struct baton_engine_ops *inner,
                                         void (*fill)(struct baton_engine_ops *ops));
/* The engine behind the wrapper that was found for this URL. */
const struct baton_engine_ops *wraps_inner(struct wraps *wraps, const char *url);

#endif
