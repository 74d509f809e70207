/* plan_rivals.h: other ways to say who works on which shard, each written from where it was published, and the plan of
 * src/core/group behind the same face. For bench_plan.c. */
#ifndef BENCH_PLAN_RIVALS_H
#define BENCH_PLAN_RIVALS_H

#include <stdint.h>

#define RIVAL_SHARDS 1000
#define RIVAL_MEMBERS 64 /* at most, at one time */
#define RIVAL_NOBODY UINT32_MAX

/* Members have a number that is never used again. */
struct crew {
    uint32_t numbers[RIVAL_MEMBERS]; /* in the order in which they came */
    uint32_t count;
    uint32_t left;                                /* the one that has just left, or RIVAL_NOBODY */
    uint32_t place;                               /* where it stood */
    uint32_t member_weight_max, shard_weight_max; /* 1: all are equal */
};

uint32_t crew_member_weight(const struct crew *crew, uint32_t number);
uint32_t crew_shard_weight(const struct crew *crew, uint32_t shard);

struct rival {
    const char *name;
    /* From the owners so far (numbers, or RIVAL_NOBODY) to those of this crew. */
    void (*assign)(const struct crew *crew, uint32_t *owners);
};

#define RIVALS 4
extern const struct rival rivals[RIVALS]; /* the first is the plan */

/* splitmix64's finalizer. */
uint64_t rival_mix(uint64_t word);

#endif
