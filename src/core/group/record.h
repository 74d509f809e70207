/* record.h: the records of a group, besides those of its leadership. As leadership/record.h: each is a JSON object with
 * a version; one of a newer version, or that is not what it should be, is not used and never overwritten.
 *
 *     groups/NAME/members/CID    a member: what it can, and which shards it works on or is about to (bound)
 *     groups/NAME/leader         who plans: see leadership/
 *     groups/NAME/plan/K         who should work on which of the shards K * chunk .. (K + 1) * chunk - 1 (lasting)
 *     groups/NAME/split          how many shards there are (lasting)
 *     groups/NAME/returns/ID     who has gone and will be back: its shards are kept for it (lasting)
 *     groups/NAME/pause          nothing is planned (lasting)
 */
#ifndef CORE_GROUP_RECORD_H
#define CORE_GROUP_RECORD_H

#include "core/group/shards.h"
#include "core/leadership/record.h"

#define SPLIT_TEXT_MAX 32 /* "count:100000" */
#define TAGS_MAX 64
#define CHUNK_SHARDS 256 /* of a new group: what they need is below BATON_VALUE_MAX also if each has a long id */

struct member {
    struct candidate candidate; /* the first member: see leadership/record.h */
    uint32_t weight;
    uint32_t max; /* 0: as many as there are */
    bool standby, drain;
    char *split; /* under which it numbers its shards */
    char **tags;
    size_t tag_count;
    struct shards declares;
};

struct split {
    uint32_t count;
    uint32_t chunk; /* shards in each record of the plan */
};

/* Who should work on what: each shard is named at most once. */
struct plan_part {
    uint64_t term; /* of the leader that wrote it */
    struct plan_owner {
        char *id;
        struct shards shards;
    } * owners;
    size_t owner_count;
};

struct returns {
    char *id, *cid;
    int64_t within_ms, since_wall_ms;
};

void *member_read(const char *value, struct baton_error *err);
void *split_read(const char *value, struct baton_error *err);
void *plan_part_read(const char *value, struct baton_error *err);
void *returns_read(const char *value, struct baton_error *err);
void member_free(void *member);
void plan_part_free(void *part);
void returns_free(void *returns);

/* `before`: the present record's value, whose unknown fields are kept; NULL: there is none. */
char *member_write(const char *before, const struct member *member);
char *split_write(const char *before, const struct split *split);
char *plan_part_write(const char *before, const struct plan_part *part);
char *returns_write(const struct returns *returns);

static inline const struct member *member_of(const struct view_record *record)
{
    return view_object(record, member_read);
}
static inline const struct split *split_of(const struct view_record *record)
{
    return view_object(record, split_read);
}
static inline const struct plan_part *plan_part_of(const struct view_record *record)
{
    return view_object(record, plan_part_read);
}
static inline const struct returns *returns_of(const struct view_record *record)
{
    return view_object(record, returns_read);
}

#endif
