/* watches.h: the watches of a client, and which of them a change concerns. They are found by their prefixes in a hash
 * table, so ten thousand of them cost no more than one. */
#ifndef LOCAL_WATCHES_H
#define LOCAL_WATCHES_H

#include "baton/engine.h"
#include "engine/rest.h"

struct watch {
    struct watch *next; /* in its bucket */
    uint64_t id;
    char *prefix;
    bool ready; /* its first batch, a reset, was told; changes before that do not concern it */
    struct rest rest;
    size_t *picked, picked_count, picked_room; /* while a batch is told: which of its changes concern this watch */
};

struct watches {
    struct watch **buckets;
    size_t bucket_count, count;
    size_t resting;      /* how many rest; at most `count` */
    uint64_t rest_moves; /* counts when a watch begins or ends to rest, and when the first comes or the last goes */
};

void watches_init(struct watches *watches);
void watches_release(struct watches *watches);
struct watch *watches_add(struct watches *watches, uint64_t id, const char *prefix);
struct watch *watches_find(const struct watches *watches, uint64_t id, const char *prefix);
void watches_remove(struct watches *watches, uint64_t id);

struct watch *watches_by_id(const struct watches *watches, uint64_t id); /* looks at each one; NULL: there is none */

/* Let a watch rest until one of these keys changes; NULL, or no keys: it does not rest any more. */
void watches_rest(struct watches *watches, struct watch *watch, const struct baton_rest *rest);

/* Tell each ready watch the changes that concern it, as one batch; it does not rest any more then. The callback may
 * remove any watch. */
void watches_tell(struct watches *watches, const struct baton_batch *batch,
                  const struct baton_engine_callbacks *callbacks, void *ctx);

#endif
