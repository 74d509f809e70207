/* write.h: an engine's own copy of a write: the testament that its guard was told. */
#ifndef ENGINE_WRITE_H
#define ENGINE_WRITE_H

#include <stdlib.h>

#include "base/base.h"
#include "baton/records.h"

static inline void write_release(struct baton_write *write)
{
    free((char *)write->key);
    free((char *)write->value);
    *write = (struct baton_write){0};
}

/* *to becomes a copy of `from`; NULL: of nothing (no key). */
static inline void write_replace(struct baton_write *to, const struct baton_write *from)
{
    write_release(to);
    if (from == NULL)
        return;
    *to = *from;
    to->key = mem_text(from->key);
    to->value = mem_text(from->value);
}

#endif
