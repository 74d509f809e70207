/* rest.h: an engine's own copy of the keys that end the rest of a view (baton/engine.h, `rest`). */
#ifndef ENGINE_REST_H
#define ENGINE_REST_H

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "baton/records.h"

struct rest {
    char *keys[BATON_REST_KEYS_MAX];
    size_t count; /* 0: the view does not rest */
    char *slow;
};

static inline void rest_end(struct rest *rest)
{
    for (size_t i = 0; i < rest->count; i++)
        free(rest->keys[i]);
    free(rest->slow);
    *rest = (struct rest){0};
}

static inline void rest_begin(struct rest *rest, const struct baton_rest *from)
{
    assert(from->count <= BATON_REST_KEYS_MAX);
    rest_end(rest);
    for (size_t i = 0; i < from->count; i++)
        rest->keys[rest->count++] = mem_text(from->keys[i]);
    if (from->count > 0)
        rest->slow = mem_text(from->slow);
}

/* Does this batch end the rest? A reset does, and a change of one of the keys. */
static inline bool rest_ends_by(const struct rest *rest, const struct baton_batch *batch)
{
    if (batch->reset)
        return true;
    for (size_t i = 0; i < batch->count; i++)
        for (size_t k = 0; k < rest->count; k++)
            if (strcmp(batch->changes[i].record.key, rest->keys[k]) == 0)
                return true;
    return false;
}

#endif
