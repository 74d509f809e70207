/* plan_groups.h: random groups to plan for, each from a seed, and a plan made apart from the one that is tested. */
#ifndef TESTS_PLAN_GROUPS_H
#define TESTS_PLAN_GROUPS_H

#include "core/group/plan.h"

struct group {
    struct plan_member *members;
    uint32_t member_count;
    struct plan_shard *shards;
    uint32_t shard_count;
    uint64_t random;
};

/* What a random group may have. */
struct shape {
    uint32_t members, shards;             /* at most */
    uint32_t shard_weight, member_weight; /* at most; 1: all are equal */
    uint32_t tags;                        /* different ones; 0: none */
    bool limits;                          /* max of some members */
    bool absent;                          /* members that have left or failed */
    bool states;                          /* standbys, members that drain or are away */
    bool pins, gaps;                      /* pinned shards; numbers without a shard */
};

void group_random(struct group *group, const struct shape *shape, uint64_t seed);
/* All members are there and equal, without limits and tags; nobody has a shard. */
void group_plain(struct group *group, uint32_t members, uint32_t shards);
void group_release(struct group *group);
uint64_t group_next(struct group *group, uint64_t below);

/* The members in another order; new_of[i] is where member i is then. */
void group_shuffle(struct group *group, uint32_t *new_of);
/* Carry the plan out. */
void group_adopt(struct group *group, const struct plan *plan);
void group_plan(const struct group *group, struct plan *plan);

/* May this member have this shard, its max aside? As rule 1 of plan.h says it. */
bool group_may(const struct group *group, uint32_t shard, uint32_t member);
/* Rule 4 of plan.h, said by pairs. `owners` as in a plan. With words on stdout about the first pair that is not. */
bool group_is_level(const struct group *group, const uint32_t *owners, bool say);

/* Of a small group of present and absent members without pins: by trying everything, the fewest moves of all plans that
 * place as many shards as can be placed and are level (rule 4); or, of equal shards with `flat`, have the smallest sum
 * of load^2 / weight. */
struct best {
    uint32_t placed, moves;
    double squares;
};
void group_best(const struct group *group, bool flat, struct best *best);
/* Of a group without tags, limits, pins and states: moves that every level plan needs. */
uint32_t group_least(const struct group *group);

double group_squares(const struct group *group, const uint32_t *owners);

#endif
