/* plan_rivals.c: see plan_rivals.h. */
#include "plan_rivals.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/group/plan.h"

uint64_t rival_mix(uint64_t word)
{
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9ULL;
    word = (word ^ (word >> 27)) * 0x94d049bb133111ebULL;
    return word ^ (word >> 31);
}

uint32_t crew_member_weight(const struct crew *crew, uint32_t number)
{
    return 1 + (uint32_t)(rival_mix(number + UINT64_C(1)) % crew->member_weight_max);
}

uint32_t crew_shard_weight(const struct crew *crew, uint32_t shard)
{
    return 1 + (uint32_t)(rival_mix(shard + UINT64_C(1000003)) % crew->shard_weight_max);
}

static uint32_t place_of(const struct crew *crew, uint32_t number)
{
    uint32_t place = 0;
    while (place < crew->count && crew->numbers[place] != number)
        place++;
    return place < crew->count ? place : RIVAL_NOBODY;
}

static void give_up(const char *why)
{
    fprintf(stderr, "bench_plan: %s\n", why);
    exit(2);
}

static void assign_by_plan(const struct crew *crew, uint32_t *owners)
{
    static char ids[RIVAL_MEMBERS + 1][16];
    static struct plan_shard shards[RIVAL_SHARDS];
    struct plan_member members[RIVAL_MEMBERS + 1];
    for (uint32_t i = 0; i <= crew->count; i++) {
        uint32_t number = i < crew->count ? crew->numbers[i] : crew->left;
        snprintf(ids[i], sizeof(ids[i]), "m%u", number);
        members[i] = (struct plan_member){.id = ids[i],
                                          .state = i < crew->count ? PLAN_PRESENT : PLAN_LEFT,
                                          .weight = crew_member_weight(crew, number)};
    }
    for (uint32_t i = 0; i < RIVAL_SHARDS; i++) {
        uint32_t owner = owners[i];
        if (owner != RIVAL_NOBODY)
            owner = owner == crew->left ? crew->count : place_of(crew, owner);
        shards[i] = (struct plan_shard){.weight = crew_shard_weight(crew, i), .owner = owner, .pin = PLAN_NOBODY};
    }
    struct plan plan;
    struct baton_error err = {0};
    if (plan_make(&plan, members, crew->count + 1, shards, RIVAL_SHARDS, &err) != 0)
        give_up(err.text);
    for (uint32_t i = 0; i < RIVAL_SHARDS; i++)
        owners[i] = crew->numbers[plan.owners[i]];
    plan_release(&plan);
}

static uint32_t fewest(const struct crew *crew, const uint32_t *counts)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < crew->count; i++)
        if (counts[i] < counts[best])
            best = i;
    return best;
}

static uint32_t most(const struct crew *crew, const uint32_t *counts)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < crew->count; i++)
        if (counts[i] > counts[best])
            best = i;
    return best;
}

/* Kafka's sticky assignor, KIP-54 (cwiki.apache.org/confluence/display/KAFKA/KIP-54+-+Sticky+Partition+Assignment
 * +Strategy): what a consumer has it keeps; a partition without one goes to the consumer with the fewest; and as long
 * as a consumer has at least two more than another one, a partition of the one with the most goes to the one with the
 * fewest. All partitions count alike, and all consumers. */
static void assign_sticky(const struct crew *crew, uint32_t *owners)
{
    uint32_t counts[RIVAL_MEMBERS] = {0}, at[RIVAL_SHARDS];
    for (uint32_t i = 0; i < RIVAL_SHARDS; i++) {
        at[i] = owners[i] == RIVAL_NOBODY ? RIVAL_NOBODY : place_of(crew, owners[i]);
        if (at[i] != RIVAL_NOBODY)
            counts[at[i]]++;
    }
    for (uint32_t i = 0; i < RIVAL_SHARDS; i++)
        if (at[i] == RIVAL_NOBODY) {
            at[i] = fewest(crew, counts);
            counts[at[i]]++;
        }
    for (uint32_t from, to; from = most(crew, counts), to = fewest(crew, counts), counts[from] >= counts[to] + 2;) {
        uint32_t shard = 0;
        while (at[shard] != from)
            shard++;
        at[shard] = to;
        counts[from]--;
        counts[to]++;
    }
    for (uint32_t i = 0; i < RIVAL_SHARDS; i++)
        owners[i] = crew->numbers[at[i]];
}

/* D. Thaler, C. Ravishankar, "Using name-based mappings to increase hit rates" (1998): the member whose hash together
 * with the shard's is the highest. With weights as in J. Resch, "New hashing algorithms for data storage" (2015): the
 * highest weight / -ln(hash as a fraction). */
static void assign_rendezvous(const struct crew *crew, uint32_t *owners)
{
    for (uint32_t i = 0; i < RIVAL_SHARDS; i++) {
        double best = -1;
        for (uint32_t j = 0; j < crew->count; j++) {
            uint64_t hash = rival_mix(rival_mix(i + UINT64_C(1)) ^ rival_mix(crew->numbers[j] + UINT64_C(7777777)));
            double fraction = ((double)(hash >> 11) + 0.5) / (double)(UINT64_C(1) << 53);
            double score = crew_member_weight(crew, crew->numbers[j]) / -log(fraction);
            if (score <= best)
                continue;
            best = score;
            owners[i] = crew->numbers[j];
        }
    }
}

/* J. Lamping, E. Veach, "A fast, minimal memory, consistent hash algorithm" (2014). */
static int32_t jump(uint64_t key, int32_t buckets)
{
    int64_t bucket = -1, next = 0;
    while (next < buckets) {
        bucket = next;
        key = key * 2862933555777941757ULL + 1;
        next = (int64_t)((double)(bucket + 1) * ((double)(INT64_C(1) << 31) / (double)((key >> 33) + 1)));
    }
    return (int32_t)bucket;
}

/* It knows numbered buckets, of which the last one comes and goes. The member in the last bucket takes the place of one
 * that leaves. */
static void assign_jump(const struct crew *crew, uint32_t *owners)
{
    static uint32_t buckets[RIVAL_MEMBERS];
    static uint32_t count;
    if (owners[0] == RIVAL_NOBODY)
        count = 0;
    if (crew->left != RIVAL_NOBODY) {
        uint32_t place = 0;
        while (buckets[place] != crew->left)
            place++;
        buckets[place] = buckets[--count];
    }
    for (; count < crew->count; count++)
        buckets[count] = crew->numbers[count]; /* who comes, comes last */
    for (uint32_t i = 0; i < RIVAL_SHARDS; i++)
        owners[i] = buckets[jump(rival_mix(i + UINT64_C(1)), (int32_t)count)];
}

const struct rival rivals[RIVALS] = {
    {"baton's plan", assign_by_plan},
    {"Kafka's sticky rule", assign_sticky},
    {"rendezvous hashing", assign_rendezvous},
    {"jump hash", assign_jump},
};
