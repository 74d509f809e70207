/* wrap.h: engines that stand in front of other engines (trace.c, faults.c). Each has a list of the tables that it has
 * wrapped, and so finds the engine behind it. Safe from any thread. */
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

/* The table that stands for `inner`: a copy of it, which `fill` has changed. More than WRAPPED_MAX engines are not
 * wrapped: `inner` itself. */
const struct baton_engine_ops *wraps_add(struct wraps *wraps, const struct baton_engine_ops *inner,
                                         void (*fill)(struct baton_engine_ops *ops));
/* The engine behind the wrapper of this URL's scheme; it must have been wrapped. */
const struct baton_engine_ops *wraps_inner(struct wraps *wraps, const char *url);

#endif
