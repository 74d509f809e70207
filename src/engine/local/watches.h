/* watches.h: which watches a change is for; by a table of prefixes, so that ten thousand of them cost nothing. */
#ifndef LOCAL_WATCHES_H
#define LOCAL_WATCHES_H

#include "baton/engine.h"
#include "engine/rest.h"

struct watch {
    struct watch *next; /* in its bucket */
    uint64_t id;
    char *prefix;
    bool ready; /* its first state was told */
    struct rest rest;
    size_t *picked, picked_count, picked_room;
};

struct watches {
    struct watch **buckets;
    size_t bucket_count, count;
    size_t resting;      /* that rest */
    uint64_t rest_moves; /* how often that has changed, or they have become none or some */
};

void watches_init(struct watches *watches);
void watches_release(struct watches *watches);
struct watch *watches_add(struct watches *watches, uint64_t id, const char *prefix);
struct watch *watches_find(const struct watches *watches, uint64_t id, const char *prefix);
void watches_remove(struct watches *watches, uint64_t id);

struct watch *watches_by_id(const struct watches *watches, uint64_t id); /* looks at each */

/* Let a watch rest, or (NULL, or no keys) not any more. */
void watches_rest(struct watches *watches, struct watch *watch, const struct baton_rest *rest);

/* Give each ready watch what concerns it, as one batch; then it does not rest. A watch may be removed by what is
 * called. */
void watches_tell(struct watches *watches, const struct baton_batch *batch,
                  const struct baton_engine_callbacks *callbacks, void *ctx);

#endif
