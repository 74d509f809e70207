/* group.h: what a client does with a group, besides core_observe: members work on the shards of a group, each on some.
 *
 * Each member has one bound record, in which it declares the shards that it works on or is about to. All members'
 * records are in one view, and a view is always a state that was: so of two declarations of one shard the later one's
 * author sees the earlier one. A member begins a shard only when it sees itself alone in declaring it. Two that see
 * each other both wait, and the plan, which the leader among them writes, says which of them takes its declaration
 * back. So declarations carry the safety, plan and leader only the progress: nobody begins because it is named.
 *
 * A shard is a tenure of its own: part 1 is shard 0, and so on (part 0 is the leadership: it plans). Its number is the
 * grant: the revision of the member's own record in the view in which it begins. It grows from owner to owner: if Y
 * begins after X has begun, Y's record is newer than the one by which X took the shard back, or vanished; else Y would
 * have seen X.
 */
#ifndef CORE_GROUP_GROUP_H
#define CORE_GROUP_GROUP_H

#include "core/core.h"
#include "core/group/record.h"

#define GROUPS_PREFIX "groups/"
#define SHARD_PART(shard) ((shard) + 1)

struct group_options {
    uint32_t count;  /* of shards; all members must say the same. 0: as many as the group has already */
    uint32_t chunk;  /* of a new group: shards in each record of the plan; 0: CHUNK_SHARDS */
    uint32_t weight; /* 1..PLAN_MEMBER_WEIGHT_MAX */
    uint32_t max;    /* shards that it takes at most; 0: as many as there are */
    const char *const *tags;
    size_t tag_count;
    bool standby;            /* it takes only what no other member may take */
    uint32_t stop_ms;        /* what the stop of a shard may take */
    uint32_t min_members;    /* the first plan of all waits for so many, */
    int64_t settle_start_ms; /* ... and so long, for others to come */
    int64_t settle_ms;       /* so long after a member has gone, its shards are kept for it */
    uint32_t max_moves;      /* shards that move at a time, from one that is there to another; 0: all */
};

/* Work in a group that is observed. -1: it does already (BATON_CONFLICT), or the options are wrong (BATON_INVALID). It
 * is over with TELL_RESIGNED: BATON_INVALID: the group has another number of shards; BATON_NOT_FOUND: none was said,
 * and the group has none yet. */
int core_join(struct core *core, struct contest *group, const struct group_options *options, struct baton_error *err);
/* It gives its shards to the others, and stays a member. */
void core_drain(struct core *core, struct contest *group, bool drain);

/* Under which split it works now: 0: none yet. */
uint32_t group_count(const struct contest *group);

#endif
