/* plan.h: who should work on which shard: a function of members, shards and present owners, and of nothing else.
 *
 * It has no clock, no randomness, no I/O and no memory between two calls. The same members and shards give the same
 * plan, in whatever order the members are listed (they are told apart by their ids; a shard is its place in the array).
 * A plan that has been carried out gives itself again: nothing moves when nothing has changed.
 *
 * The caller must plan on a complete view only: a member that it leaves out loses its shards. When to plan, and how
 * many moves are made at a time, is the caller's matter, too: it may carry out any part of the moves, and plan again.
 *
 * The rules, of which an earlier one goes before a later one (tests/unit/test_plan.c has a test of each):
 *
 * 1. A shard is given only to a member that is there, has its tags, and has room (max). A draining member is given
 *    none: it only keeps what nobody else may take. A standby has only what no PLAN_PRESENT member may take.
 * 2. As many shards have an owner as can have one: if need be, others move to make room.
 * 3. A pin that rule 1 allows is kept; another one is as none. A member that is away keeps its shards, unless more than
 *    half of all shards were kept back then: those that went away first (away_since) are kept.
 * 4. Loads are level, pair by pair: if member a has a shard that b might be given, and w is the weight of the heaviest
 *    shard, then (load(a) - w/2) / weight(a) <= (load(b) + w/2) / weight(b).
 *    For members of one weight that is: any two differ by at most the heaviest shard. For equal shards, too: each has
 *    n/m, rounded down or up. For equal shards of weighted members it is Webster's method of apportionment: what joins
 *    or goes moves nothing between others. Equal shards with tags are as level as the tags allow.
 * 5. Few shards move. Equal shards without tags: exactly as few as can be. Others: at most a tenth more than need be in
 *    a small group, and one for each member in a large one.
 *
 * Time and memory grow with shards + moves + members * sets of tags: docs/benchmarks.md has the figures.
 */
#ifndef CORE_GROUP_PLAN_H
#define CORE_GROUP_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "baton/error.h"

#define PLAN_SHARDS_MAX 100000
#define PLAN_MEMBERS_MAX 4096
#define PLAN_TAG_SETS_MAX 64 /* different sets of tags that the shards of a group require */
#define PLAN_SHARD_WEIGHT_MAX 1000000
#define PLAN_MEMBER_WEIGHT_MAX 1000
#define PLAN_NOBODY UINT32_MAX

enum plan_state {
    PLAN_PRESENT,
    PLAN_STANDBY,  /* there, and works only on what no PLAN_PRESENT member may take */
    PLAN_DRAINING, /* there, and gives away what another one may take */
    PLAN_AWAY,     /* not there, and will return: its shards are kept back for it */
    PLAN_LEFT,     /* not there: it has left, or will not come back (`forget`) */
    PLAN_FAILED,   /* not there: its session is over without a word */
};

struct plan_member {
    const char *id; /* different for each member: of two with one id, only the older one is listed */
    enum plan_state state;
    uint32_t weight; /* 1..PLAN_MEMBER_WEIGHT_MAX: of two, the one of weight 2 has twice the load */
    uint32_t max;    /* shards that it takes at most; 0: as many as there are */
    uint64_t tags;   /* a bit for each tag; the caller numbers the (up to 64) tags that the group's shards require */
    uint64_t away_since; /* of PLAN_AWAY: the revision of its record under returns/ */
};

struct plan_shard {
    bool gone; /* there is no shard of this number (any more): nobody is to have it. The other fields are not read */
    uint32_t weight; /* 1..PLAN_SHARD_WEIGHT_MAX */
    uint64_t tags;   /* those that its owner must have */
    uint32_t owner;  /* the present plan's: an index in the members, or PLAN_NOBODY. A member that the plan names and
                      * that is not there must be listed, too, as PLAN_AWAY, PLAN_LEFT or PLAN_FAILED. */
    uint32_t pin;    /* the member that shall have it, or PLAN_NOBODY. What an operator moves is pinned for one plan. */
};

/* Why a shard has the owner that the plan names. The words of `baton shards status`. */
enum plan_why {
    PLAN_STAYS,    /* it has the owner that it had (or is gone) */
    PLAN_KEPT,     /* the same, and the owner is away */
    PLAN_FIRST,    /* it had none */
    PLAN_JOIN,     /* to level the load: to a member that had no shard, or where all weights are equal, so that one has
                    * come (or shards have gone); or from a standby, which it relieves */
    PLAN_LEAVE,    /* its owner has left, or is away and not kept */
    PLAN_FAILURE,  /* its owner has failed */
    PLAN_WEIGHT,   /* to level the load by weights, or its owner has more than its max */
    PLAN_TAGS,     /* its owner has not the tags, or it makes room for a shard that can go to few */
    PLAN_OPERATOR, /* it is pinned, or its owner gives it away for one that is pinned to it */
    PLAN_DRAIN,    /* its owner is draining */
    /* It has no owner, since ... */
    PLAN_EMPTY, /* ... nobody is there that takes any */
    PLAN_ALIEN, /* ... nobody that is there has the tags */
    PLAN_FULL,  /* ... those that have the tags have no room */
};

struct plan {
    uint32_t count;     /* as many as there were shards */
    uint32_t *owners;   /* of each shard: an index in the members, or PLAN_NOBODY */
    uint8_t *whys;      /* an enum plan_why of each shard */
    uint32_t moves;     /* shards that get an owner which they did not have */
    uint32_t unplaced;  /* shards that have no owner (PLAN_EMPTY, PLAN_ALIEN, PLAN_FULL) */
    uint32_t kept_back; /* shards of members that are away (PLAN_KEPT) */
};

/* 0, or -1 with words when a number is out of its range; then `ret_plan` is untouched. plan_release frees it. */
int plan_make(struct plan *ret_plan, const struct plan_member *members, uint32_t member_count,
              const struct plan_shard *shards, uint32_t shard_count, struct baton_error *err);
void plan_release(struct plan *plan);

/* "join", "leave", "weight", ... as the status shows it. */
const char *plan_why_word(enum plan_why why);
bool plan_why_is_unplaced(enum plan_why why);

#endif
