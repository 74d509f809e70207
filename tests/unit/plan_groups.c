/* plan_groups.c: see plan_groups.h. It knows nothing of how a plan is made. */
#include "plan_groups.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

/* splitmix64 */
uint64_t group_next(struct group *group, uint64_t below)
{
    uint64_t z = group->random += 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return (z ^ (z >> 31)) % below;
}

static bool one_in(struct group *group, uint64_t count)
{
    return group_next(group, count) == 0;
}

static void empty(struct group *group, uint32_t members, uint32_t shards, uint64_t seed)
{
    *group = (struct group){.member_count = members, .shard_count = shards, .random = seed};
    group->members = mem_new((members + 1) * sizeof(*group->members));
    group->shards = mem_new((shards + 1) * sizeof(*group->shards));
    for (uint32_t i = 0; i < members; i++)
        group->members[i] = (struct plan_member){.id = mem_format("m%u", i), .state = PLAN_PRESENT, .weight = 1};
    for (uint32_t i = 0; i < shards; i++)
        group->shards[i] = (struct plan_shard){.weight = 1, .owner = PLAN_NOBODY, .pin = PLAN_NOBODY};
}

void group_plain(struct group *group, uint32_t members, uint32_t shards)
{
    empty(group, members, shards, 1);
}

static void random_member(struct group *group, const struct shape *shape, struct plan_member *member)
{
    member->weight = 1 + (uint32_t)group_next(group, shape->member_weight);
    if (shape->limits && one_in(group, 2))
        member->max = 1 + (uint32_t)group_next(group, 2 * (uint64_t)group->shard_count / group->member_count + 2);
    for (uint32_t tag = 0; tag < shape->tags; tag++)
        if (!one_in(group, 3))
            member->tags |= UINT64_C(1) << tag;
    if (shape->absent && one_in(group, 4))
        member->state = one_in(group, 2) ? PLAN_LEFT : PLAN_FAILED;
    if (shape->states && one_in(group, 2)) {
        member->state = (enum plan_state)group_next(group, PLAN_FAILED + 1);
        member->away_since = 1 + group_next(group, 5);
    }
}

/* Owners as they are in use: level, on few of the members, or on any. */
static void random_owners(struct group *group)
{
    uint32_t few = 1 + (uint32_t)group_next(group, group->member_count), kind = (uint32_t)group_next(group, 4);
    for (uint32_t i = 0; i < group->shard_count; i++) {
        uint32_t owner = (uint32_t)group_next(group, kind == 0 ? group->member_count : few);
        if (kind == 3)
            owner = i % few;
        group->shards[i].owner = kind == 1 && one_in(group, 3) ? PLAN_NOBODY : owner;
    }
}

void group_random(struct group *group, const struct shape *shape, uint64_t seed)
{
    struct group dice = {.random = seed};
    uint32_t members = 1 + (uint32_t)group_next(&dice, shape->members);
    uint32_t shards = 1 + (uint32_t)group_next(&dice, shape->shards);
    empty(group, members, shards, dice.random);
    for (uint32_t i = 0; i < members; i++)
        random_member(group, shape, &group->members[i]);
    random_owners(group);
    for (uint32_t i = 0; i < shards; i++) {
        struct plan_shard *shard = &group->shards[i];
        shard->weight = 1 + (uint32_t)group_next(group, shape->shard_weight);
        for (uint32_t tag = 0; tag < shape->tags; tag++)
            if (one_in(group, 3))
                shard->tags |= UINT64_C(1) << tag;
        if (shape->pins && one_in(group, 6))
            shard->pin = (uint32_t)group_next(group, members);
        shard->gone = shape->gaps && one_in(group, 8);
    }
}

void group_release(struct group *group)
{
    for (uint32_t i = 0; i < group->member_count; i++)
        free((char *)group->members[i].id);
    free(group->members);
    free(group->shards);
    *group = (struct group){0};
}

void group_shuffle(struct group *group, uint32_t *new_of)
{
    uint32_t *old_of = mem_new((group->member_count + 1) * sizeof(*old_of));
    for (uint32_t i = 0; i < group->member_count; i++)
        old_of[i] = i;
    for (uint32_t i = group->member_count; i > 1; i--) {
        uint32_t other = (uint32_t)group_next(group, i), kept = old_of[i - 1];
        struct plan_member member = group->members[i - 1];
        group->members[i - 1] = group->members[other];
        group->members[other] = member;
        old_of[i - 1] = old_of[other];
        old_of[other] = kept;
    }
    for (uint32_t i = 0; i < group->member_count; i++)
        new_of[old_of[i]] = i;
    for (uint32_t i = 0; i < group->shard_count; i++) {
        struct plan_shard *shard = &group->shards[i];
        shard->owner = shard->owner == PLAN_NOBODY ? PLAN_NOBODY : new_of[shard->owner];
        shard->pin = shard->pin == PLAN_NOBODY ? PLAN_NOBODY : new_of[shard->pin];
    }
    free(old_of);
}

void group_adopt(struct group *group, const struct plan *plan)
{
    for (uint32_t i = 0; i < group->shard_count; i++)
        group->shards[i].owner = plan->owners[i];
}

void group_plan(const struct group *group, struct plan *plan)
{
    struct baton_error err = {0};
    if (plan_make(plan, group->members, group->member_count, group->shards, group->shard_count, &err) != 0)
        IMPOSSIBLE("a group cannot be planned for: %s", err.text);
}

bool group_may(const struct group *group, uint32_t shard, uint32_t member)
{
    const struct plan_member *it = &group->members[member];
    const struct plan_shard *the = &group->shards[shard];
    if (the->gone || it->state == PLAN_LEFT || it->state == PLAN_FAILED)
        return false;
    if (it->state == PLAN_AWAY)
        return the->owner == member;
    if (it->state == PLAN_DRAINING && the->owner != member)
        return false;
    return (the->tags & it->tags) == the->tags;
}

struct load {
    int64_t sum;
    uint32_t count;
};

static void weigh(const struct group *group, const uint32_t *owners, struct load *loads)
{
    memset(loads, 0, group->member_count * sizeof(*loads));
    for (uint32_t i = 0; i < group->shard_count; i++)
        if (owners[i] != PLAN_NOBODY) {
            loads[owners[i]].sum += group->shards[i].weight;
            loads[owners[i]].count++;
        }
}

static int64_t heaviest_of(const struct group *group)
{
    int64_t heaviest = 0;
    for (uint32_t i = 0; i < group->shard_count; i++)
        if (!group->shards[i].gone && group->shards[i].weight > heaviest)
            heaviest = group->shards[i].weight;
    return heaviest;
}

bool group_is_level(const struct group *group, const uint32_t *owners, bool say)
{
    struct load *loads = mem_new((group->member_count + 1) * sizeof(*loads));
    int64_t w = heaviest_of(group);
    bool level = true;
    weigh(group, owners, loads);
    for (uint32_t i = 0; i < group->shard_count && level; i++) {
        uint32_t a = owners[i];
        if (a == PLAN_NOBODY || group->members[a].state > PLAN_STANDBY || group->shards[i].pin == a)
            continue;
        for (uint32_t b = 0; b < group->member_count && level; b++) {
            const struct plan_member *giver = &group->members[a], *taker = &group->members[b];
            if (giver->state != taker->state || !group_may(group, i, b) ||
                (taker->max != 0 && loads[b].count >= taker->max))
                continue;
            level = (2 * loads[a].sum - w) * taker->weight <= (2 * loads[b].sum + w) * giver->weight;
            if (!level && say)
                printf("# shard %u: %s has %ld of weight %u, %s has %ld of weight %u\n", i, giver->id,
                       (long)loads[a].sum, giver->weight, taker->id, (long)loads[b].sum, taker->weight);
        }
    }
    free(loads);
    return level;
}

double group_squares(const struct group *group, const uint32_t *owners)
{
    struct load *loads = mem_new((group->member_count + 1) * sizeof(*loads));
    double sum = 0;
    weigh(group, owners, loads);
    for (uint32_t i = 0; i < group->member_count; i++)
        sum += (double)loads[i].sum * (double)loads[i].sum / group->members[i].weight;
    free(loads);
    return sum;
}

static int compare_heavier(const void *left, const void *right)
{
    uint32_t l = *(const uint32_t *)left, r = *(const uint32_t *)right;
    return l > r ? -1 : l < r;
}

/* How many shards, the heaviest first, this member must give away to have no more than `most`. */
static uint32_t must_give(const struct group *group, uint32_t member, double most)
{
    uint32_t *weights = mem_new((group->shard_count + 1) * sizeof(*weights));
    uint32_t count = 0, given = 0;
    double load = 0;
    for (uint32_t i = 0; i < group->shard_count; i++)
        if (group->shards[i].owner == member) {
            weights[count++] = group->shards[i].weight;
            load += group->shards[i].weight;
        }
    qsort(weights, count, sizeof(*weights), compare_heavier);
    while (given < count && load > most + 1e-6)
        load -= weights[given++];
    free(weights);
    return given;
}

/* If (a - w/2) / weight(a) <= (b + w/2) / weight(b) for any two, then both sides stand around the mean of all: no load
 * is more than weight(a) * (sum + members * w/2) / weights + w/2, and none less than the same with w/2 taken away. */
uint32_t group_least(const struct group *group)
{
    double w = (double)heaviest_of(group), sum = 0, weights = 0, members = 0;
    uint32_t gives = 0, takes = 0;
    for (uint32_t i = 0; i < group->shard_count; i++)
        sum += group->shards[i].weight;
    for (uint32_t i = 0; i < group->member_count; i++)
        if (group->members[i].state == PLAN_PRESENT) {
            weights += group->members[i].weight;
            members++;
        }
    for (uint32_t i = 0; i < group->shard_count; i++)
        gives += group->shards[i].owner == PLAN_NOBODY || group->members[group->shards[i].owner].state != PLAN_PRESENT;
    for (uint32_t i = 0; i < group->member_count; i++) {
        const struct plan_member *member = &group->members[i];
        if (member->state != PLAN_PRESENT)
            continue;
        double load = 0;
        for (uint32_t j = 0; j < group->shard_count; j++)
            load += group->shards[j].owner == i ? group->shards[j].weight : 0;
        double missing = member->weight * (sum - members * w / 2) / weights - w / 2 - load;
        if (missing > 1e-6)
            takes += (uint32_t)(missing / w) + (missing / w > (uint32_t)(missing / w));
        gives += must_give(group, i, member->weight * (sum + members * w / 2) / weights + w / 2);
    }
    return gives > takes ? gives : takes;
}

/* One plan after another, shard by shard. */
struct trial {
    const struct group *group;
    uint32_t owners[16], counts[16];
    uint32_t placed, moves;
    bool flat;
    struct best *best;
};

static void judge(struct trial *trial)
{
    struct best *best = trial->best;
    if (trial->placed < best->placed)
        return;
    struct best this = {trial->placed, trial->moves, 0};
    if (trial->flat)
        this.squares = group_squares(trial->group, trial->owners);
    bool better = this.placed > best->placed || this.squares < best->squares - 1e-9 ||
                  (this.squares < best->squares + 1e-9 && this.moves < best->moves);
    if (better && (trial->flat || group_is_level(trial->group, trial->owners, false)))
        *best = this;
}

static void try_from(struct trial *trial, uint32_t shard)
{
    const struct group *group = trial->group;
    if (shard == group->shard_count) {
        judge(trial);
        return;
    }
    if (trial->placed + group->shard_count - shard < trial->best->placed)
        return;
    for (uint32_t i = 0; i < group->member_count; i++) {
        const struct plan_member *member = &group->members[i];
        if (!group_may(group, shard, i) || (member->max != 0 && trial->counts[i] == member->max))
            continue;
        bool moves = group->shards[shard].owner != i;
        trial->owners[shard] = i;
        trial->counts[i]++;
        trial->placed++;
        trial->moves += moves;
        try_from(trial, shard + 1);
        trial->moves -= moves;
        trial->placed--;
        trial->counts[i]--;
    }
    trial->owners[shard] = PLAN_NOBODY;
    try_from(trial, shard + 1);
}

void group_best(const struct group *group, bool flat, struct best *best)
{
    struct trial trial = {.group = group, .flat = flat, .best = best};
    *best = (struct best){0, UINT32_MAX, 1e300};
    try_from(&trial, 0);
}
