/* wrap.c: the list of wrapped tables, under one mutex. */
#include "engine/wrap.h"

#include <string.h>

#include "base/base.h"

const struct baton_engine_ops *wraps_add(struct wraps *wraps, const struct baton_engine_ops *inner,
                                         void (*fill)(struct baton_engine_ops *ops))
{
    const struct baton_engine_ops *found = NULL;
    assert(inner->abi == BATON_ENGINE_ABI);
    pthread_mutex_lock(&wraps->mutex);
    for (size_t i = 0; i < wraps->count && found == NULL; i++)
        if (wraps->wrapped[i].inner == inner)
            found = &wraps->wrapped[i].ops;
    if (found == NULL && wraps->count < WRAPPED_MAX) {
        struct baton_engine_ops *ops = &wraps->wrapped[wraps->count].ops;
        wraps->wrapped[wraps->count++].inner = inner;
        *ops = *inner;
        fill(ops);
        found = ops;
    }
    pthread_mutex_unlock(&wraps->mutex);
    return found != NULL ? found : inner;
}

const struct baton_engine_ops *wraps_inner(struct wraps *wraps, const char *url)
{
    const struct baton_engine_ops *found = NULL;
    size_t length = strcspn(url, ":");
    pthread_mutex_lock(&wraps->mutex);
    for (size_t i = 0; i < wraps->count; i++)
        if (strlen(wraps->wrapped[i].ops.scheme) == length && strncmp(wraps->wrapped[i].ops.scheme, url, length) == 0)
            found = wraps->wrapped[i].inner;
    pthread_mutex_unlock(&wraps->mutex);
    assert(found != NULL);
    return found;
}
