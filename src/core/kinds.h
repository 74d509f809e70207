/* kinds.h: what kinds of records there are, by where they are kept: a table of each protocol.
 *
 * The key of a record is the root of its protocol, a name, and a path by which its kind is told: "locks/NAME/CID".
 */
#ifndef CORE_KINDS_H
#define CORE_KINDS_H

#include <stdbool.h>
#include <stddef.h>

#include "core/names.h"

struct record_kind {
    const char *path;   /* "leader"; a star at its end is one level, the CID of a presence; a plus any other level */
    bool stands_unread; /* one that cannot be read has its place in the order all the same */
    void *(*read)(const char *value, struct baton_error *err); /* a new object, or NULL with err */
    void (*free)(void *object);                                /* NULL: nothing */
};

struct record_kinds {
    const char *root; /* "locks/" */
    const struct record_kind *kinds;
    size_t count;
    /* The name that stands in a key; false: none that anybody could give. */
    bool (*name)(char name[NAME_MAX_BYTES + 1], const char *path, size_t length);
};

/* Take a key apart. NULL: it is of no kind. *ret_name points into key, *ret_name_length tells its length; *ret_cid is
 * the CID of a presence, to the end of the key, else NULL. */
const struct record_kind *record_kind(const struct record_kinds *kinds, const char *key, const char **ret_name,
                                      size_t *ret_name_length, const char **ret_cid);

#endif
