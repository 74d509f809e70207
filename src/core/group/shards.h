/* shards.h: a set of shards, in memory a bit for each, and in a record as ranges ("0-7,12"), or in base64 where that is
 * shorter: each eighth byte's lowest bit first. */
#ifndef CORE_GROUP_SHARDS_H
#define CORE_GROUP_SHARDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/group/plan.h"

#define SHARDS_MAX PLAN_SHARDS_MAX
#define NO_SHARD UINT32_MAX

struct shards {
    uint64_t *words;
    uint32_t word_count;
};

void shards_release(struct shards *shards);
void shards_clear(struct shards *shards);
/* `shard` is below SHARDS_MAX. */
void shards_add(struct shards *shards, uint32_t shard);
void shards_add_range(struct shards *shards, uint32_t first, uint32_t last);
void shards_add_all(struct shards *shards, const struct shards *from);
/* Those that are in both. */
void shards_add_common(struct shards *shards, const struct shards *a, const struct shards *b);
void shards_drop_all(struct shards *shards, const struct shards *gone);
static inline bool shards_has(const struct shards *shards, uint32_t shard)
{
    return shard / 64 < shards->word_count && (shards->words[shard / 64] >> shard % 64 & 1) != 0;
}
bool shards_equal(const struct shards *a, const struct shards *b);
bool shards_empty(const struct shards *shards);
/* The first one that is not below `from`, or NO_SHARD. */
uint32_t shards_next(const struct shards *shards, uint32_t from);

json_t *shards_write(const struct shards *shards);
/* Absent (NULL): none. false: it is no set of shards. */
bool shards_read(struct shards *ret_shards, const json_t *field);

#endif
