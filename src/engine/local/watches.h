/* watches.h: which watches a change is for; by a table of prefixes, so that ten thousand of them cost nothing. */
#ifndef LOCAL_WATCHES_H
#define LOCAL_WATCHES_H

#include "baton/engine.h"

struct watch {
    struct watch *next; /* in its bucket */
    uint64_t id;
    char *prefix;
    bool ready; /* its first state was told */
    size_t *picked, picked_count, picked_room;
};

struct watches {
    struct watch **buckets;
    size_t bucket_count, count;
};

void watches_init(struct watches *watches);
void watches_release(struct watches *watches);
struct watch *watches_add(struct watches *watches, uint64_t id, const char *prefix);
struct watch *watches_find(const struct watches *watches, uint64_t id, const char *prefix);
void watches_remove(struct watches *watches, uint64_t id);

/* Give each ready watch what concerns it, as one batch. A watch may be removed by what is called. */
void watches_tell(struct watches *watches, const struct baton_batch *batch,
                  const struct baton_engine_callbacks *callbacks, void *ctx);

#endif
