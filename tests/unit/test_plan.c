/* test_plan.c: what plan.h promises, for thousands of random groups. A failure names the seed of its group. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "plan_groups.h"

static const struct shape anything = {.members = 12,
                                      .shards = 60,
                                      .shard_weight = 9,
                                      .member_weight = 4,
                                      .tags = 3,
                                      .limits = true,
                                      .absent = true,
                                      .states = true,
                                      .pins = true,
                                      .gaps = true};
static const struct shape small = {.members = 4, .shards = 9, .shard_weight = 1, .member_weight = 1, .absent = true};

/* With the seed that it goes wrong with. */
#define HOLDS(condition, seed)                                                                                         \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            fail_msg("seed %lu: it does not hold that %s", (unsigned long)(seed), #condition);                         \
    } while (0)

static void test_only_members_that_may_have_a_shard_are_given_it(void **state)
{
    for (uint64_t seed = 1; seed <= 5000; seed++) {
        struct group group;
        struct plan plan;
        group_random(&group, &anything, seed);
        group_plan(&group, &plan);
        uint32_t counts[16] = {0};
        for (uint32_t i = 0; i < plan.count; i++) {
            uint32_t owner = plan.owners[i];
            HOLDS(owner == PLAN_NOBODY || (owner < group.member_count && group_may(&group, i, owner)), seed);
            HOLDS((owner == PLAN_NOBODY) == (group.shards[i].gone || plan_why_is_unplaced(plan.whys[i])), seed);
            if (owner != PLAN_NOBODY)
                counts[owner]++;
        }
        for (uint32_t i = 0; i < group.member_count; i++)
            HOLDS(group.members[i].max == 0 || group.members[i].state == PLAN_AWAY || counts[i] <= group.members[i].max,
                  seed);
        plan_release(&plan);
        group_release(&group);
    }
}

static void test_the_order_of_the_members_changes_nothing(void **state)
{
    for (uint64_t seed = 1; seed <= 5000; seed++) {
        struct group group;
        struct plan plan, other;
        uint32_t new_of[16];
        group_random(&group, &anything, seed);
        group_plan(&group, &plan);
        group_shuffle(&group, new_of);
        group_plan(&group, &other);
        for (uint32_t i = 0; i < plan.count; i++) {
            HOLDS(other.owners[i] == (plan.owners[i] == PLAN_NOBODY ? PLAN_NOBODY : new_of[plan.owners[i]]), seed);
            HOLDS(other.whys[i] == plan.whys[i], seed);
        }
        plan_release(&plan);
        plan_release(&other);
        group_release(&group);
    }
}

static void test_nothing_moves_when_nothing_has_changed(void **state)
{
    for (uint64_t seed = 1; seed <= 5000; seed++) {
        struct group group;
        struct plan plan, again;
        group_random(&group, &anything, seed);
        group_plan(&group, &plan);
        group_adopt(&group, &plan);
        group_plan(&group, &again);
        HOLDS(again.moves == 0, seed);
        HOLDS(memcmp(again.owners, plan.owners, plan.count * sizeof(*plan.owners)) == 0, seed);
        plan_release(&plan);
        plan_release(&again);
        group_release(&group);
    }
}

static void test_loads_are_level_pair_by_pair(void **state)
{
    for (uint64_t seed = 1; seed <= 5000; seed++) {
        struct group group;
        struct plan plan;
        group_random(&group, &anything, seed);
        group_plan(&group, &plan);
        HOLDS(group_is_level(&group, plan.owners, true), seed);
        plan_release(&plan);
        group_release(&group);
    }
}

static void test_equal_members_have_an_equal_number_rounded_down_or_up(void **state)
{
    struct shape shape = {.members = 12, .shards = 80, .shard_weight = 1, .member_weight = 1};
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        struct group group;
        struct plan plan;
        uint32_t counts[12] = {0};
        group_random(&group, &shape, seed);
        group_plan(&group, &plan);
        for (uint32_t i = 0; i < plan.count; i++)
            counts[plan.owners[i]]++;
        for (uint32_t i = 0; i < group.member_count; i++)
            HOLDS(counts[i] == plan.count / group.member_count ||
                      counts[i] == (plan.count + group.member_count - 1) / group.member_count,
                  seed);
        plan_release(&plan);
        group_release(&group);
    }
}

/* A level group of equal shards, whose members may have weights and limits. */
static void settled_group(struct group *group, uint64_t seed)
{
    struct shape shape = {.members = 12, .shards = 80, .shard_weight = 1, .member_weight = 5, .limits = true};
    struct plan plan;
    group_random(group, &shape, seed);
    group_plan(group, &plan);
    group_adopt(group, &plan);
    plan_release(&plan);
}

static void test_one_that_joins_moves_nothing_between_others(void **state)
{
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        struct group group;
        struct plan plan;
        settled_group(&group, seed);
        uint32_t new = (uint32_t)group_next(&group, group.member_count);
        group.members[new].state = PLAN_LEFT;
        group_plan(&group, &plan);
        group_adopt(&group, &plan);
        plan_release(&plan);
        group.members[new].state = PLAN_PRESENT;
        group_plan(&group, &plan);
        for (uint32_t i = 0; i < plan.count; i++)
            HOLDS(plan.owners[i] == group.shards[i].owner || plan.owners[i] == new, seed);
        plan_release(&plan);
        group_release(&group);
    }
}

static void test_one_that_goes_moves_nothing_between_others(void **state)
{
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        static const enum plan_state states[] = {PLAN_DRAINING, PLAN_LEFT, PLAN_FAILED};
        struct group group;
        struct plan plan;
        settled_group(&group, seed);
        uint32_t gone = (uint32_t)group_next(&group, group.member_count);
        group.members[gone].state = states[seed % COUNT_OF(states)];
        group_plan(&group, &plan);
        for (uint32_t i = 0; i < plan.count; i++)
            HOLDS(plan.owners[i] == group.shards[i].owner || group.shards[i].owner == gone ||
                      group.shards[i].owner == PLAN_NOBODY,
                  seed);
        plan_release(&plan);
        group_release(&group);
    }
}

/* As with --max-moves: a plan is carried out in parts, and made again before each. */
static void test_a_plan_that_was_carried_out_in_part_needs_only_the_rest(void **state)
{
    struct shape shape = {
        .members = 12, .shards = 80, .shard_weight = 1, .member_weight = 5, .limits = true, .absent = true};
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        struct group group;
        struct plan plan, rest;
        uint32_t done = 0;
        group_random(&group, &shape, seed);
        group_plan(&group, &plan);
        for (uint32_t i = 0; i < plan.count; i++)
            if (plan.owners[i] != PLAN_NOBODY && plan.owners[i] != group.shards[i].owner &&
                group_next(&group, 2) == 0) {
                group.shards[i].owner = plan.owners[i];
                done++;
            }
        group_plan(&group, &rest);
        HOLDS(done + rest.moves == plan.moves, seed);
        plan_release(&plan);
        plan_release(&rest);
        group_release(&group);
    }
}

static void test_who_is_away_keeps_its_shards_but_at_most_half_of_all_are_kept(void **state)
{
    struct shape shape = anything;
    shape.pins = false;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        struct group group;
        struct plan plan;
        uint32_t there = 0, away = 0, kept = 0;
        group_random(&group, &shape, seed);
        group_plan(&group, &plan);
        for (uint32_t i = 0; i < plan.count; i++) {
            uint32_t owner = group.shards[i].owner;
            there += !group.shards[i].gone;
            if (group.shards[i].gone || owner == PLAN_NOBODY || group.members[owner].state != PLAN_AWAY)
                continue;
            away++;
            kept += plan.owners[i] == owner;
            HOLDS((plan.owners[i] == owner) == (plan.whys[i] == PLAN_KEPT), seed);
        }
        HOLDS(kept == plan.kept_back, seed);
        HOLDS(2 * kept <= there, seed);
        HOLDS(2 * away > there || kept == away, seed);
        plan_release(&plan);
        group_release(&group);
    }
}

static void test_as_many_shards_have_an_owner_as_can_have_one(void **state)
{
    struct shape shape = small;
    shape.limits = shape.states = true;
    shape.tags = 2;
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        struct group group;
        struct plan plan;
        struct best best;
        group_random(&group, &shape, seed);
        for (uint32_t i = 0; i < group.member_count; i++)
            if (group.members[i].state == PLAN_AWAY)
                group.members[i].state = PLAN_STANDBY;
        group_plan(&group, &plan);
        group_best(&group, true, &best);
        HOLDS(plan.count - plan.unplaced == best.placed, seed);
        plan_release(&plan);
        group_release(&group);
    }
}

/* Next to the best of all plans of each small group. The excess: how many moves more, of all groups, in 10,000. */
static void compare_with_best(struct shape shape, bool flat, uint64_t excess)
{
    uint64_t moves = 0, best_moves = 0;
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        struct group group;
        struct plan plan;
        struct best best;
        group_random(&group, &shape, seed);
        group_plan(&group, &plan);
        group_best(&group, flat, &best);
        HOLDS(plan.count - plan.unplaced == best.placed, seed);
        HOLDS(plan.moves >= best.moves && (excess > 0 || plan.moves == best.moves), seed);
        HOLDS(!flat || group_squares(&group, plan.owners) < best.squares + 1e-6, seed);
        moves += plan.moves;
        best_moves += best.moves;
        plan_release(&plan);
        group_release(&group);
    }
    print_message("# %lu moves, %lu are the fewest: %.4f\n", (unsigned long)moves, (unsigned long)best_moves,
                  (double)moves / (double)best_moves);
    assert_true(10000 * moves <= (10000 + excess) * best_moves);
}

static void test_equal_shards_move_exactly_as_little_as_can_be(void **state)
{
    struct shape shape = small;
    compare_with_best(shape, false, 0);
    shape.limits = true;
    compare_with_best(shape, false, 0);
}

static void test_equal_shards_of_weighted_members_move_exactly_as_little_as_can_be(void **state)
{
    struct shape shape = small;
    shape.member_weight = 5;
    compare_with_best(shape, true, 0);
    shape.limits = true;
    compare_with_best(shape, false, 0);
}

static void test_equal_shards_with_tags_are_as_level_as_can_be(void **state)
{
    struct shape shape = small;
    shape.tags = 2;
    compare_with_best(shape, true, 50);
    shape.limits = true;
    compare_with_best(shape, true, 50);
}

static void test_weighted_shards_move_at_most_a_tenth_more_than_need_be(void **state)
{
    struct shape shape = small;
    shape.shard_weight = 9;
    compare_with_best(shape, false, 1000);
    shape.member_weight = 4;
    compare_with_best(shape, false, 1000);
    shape.limits = true;
    shape.tags = 2;
    compare_with_best(shape, false, 1000);
}

static void test_weighted_shards_of_large_groups_move_at_most_one_a_member_more_than_need_be(void **state)
{
    struct shape shape = {.members = 60, .shards = 2000, .shard_weight = 100, .member_weight = 1, .absent = true};
    int64_t most = 0;
    for (uint64_t seed = 1; seed <= 400; seed++) {
        struct group group;
        struct plan plan;
        shape.member_weight = seed % 2 == 0 ? 1 : 5;
        shape.shard_weight = seed % 3 == 0 ? 10 : 1000;
        group_random(&group, &shape, seed);
        group_plan(&group, &plan);
        int64_t beyond = (int64_t)plan.moves - group_least(&group);
        HOLDS(plan.unplaced > 0 || beyond <= group.member_count, seed);
        if (beyond > most)
            most = beyond;
        plan_release(&plan);
        group_release(&group);
    }
    print_message("# at most %ld more than the lower bound\n", (long)most);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_members_that_may_have_a_shard_are_given_it),
        cmocka_unit_test(test_the_order_of_the_members_changes_nothing),
        cmocka_unit_test(test_nothing_moves_when_nothing_has_changed),
        cmocka_unit_test(test_loads_are_level_pair_by_pair),
        cmocka_unit_test(test_as_many_shards_have_an_owner_as_can_have_one),
        cmocka_unit_test(test_equal_members_have_an_equal_number_rounded_down_or_up),
        cmocka_unit_test(test_one_that_joins_moves_nothing_between_others),
        cmocka_unit_test(test_one_that_goes_moves_nothing_between_others),
        cmocka_unit_test(test_a_plan_that_was_carried_out_in_part_needs_only_the_rest),
        cmocka_unit_test(test_who_is_away_keeps_its_shards_but_at_most_half_of_all_are_kept),
        cmocka_unit_test(test_equal_shards_move_exactly_as_little_as_can_be),
        cmocka_unit_test(test_equal_shards_of_weighted_members_move_exactly_as_little_as_can_be),
        cmocka_unit_test(test_equal_shards_with_tags_are_as_level_as_can_be),
        cmocka_unit_test(test_weighted_shards_move_at_most_a_tenth_more_than_need_be),
        cmocka_unit_test(test_weighted_shards_of_large_groups_move_at_most_one_a_member_more_than_need_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
