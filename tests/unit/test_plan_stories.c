/* test_plan_stories.c: plans of small groups, each in a line, and a few of large ones.
 *
 * A member is a letter, and: ? standby, ! draining, ~ away (before the next one that is), < left, x failed, a digit its
 * weight, /digit its max, capitals its tags. A shard is the letter of its owner (- nobody, . there is none), and: a
 * digit its weight, capitals the tags it requires, >letter its pin. In a plan :word is why, if the shard does not stay.
 */
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

static const struct {
    const char *about, *members, *shards, *plan;
} stories[] = {
    {"nobody is there", "", "- -", "-:empty -:empty"},
    {"there is no shard", "a b", "", ""},
    {"all shards are gone", "a", ". .", "- -"},
    {"one member has everything", "a", "- - -", "a:first a:first a:first"},
    {"the first plan is level", "a b", "- - - - -", "a:first b:first a:first b:first a:first"},
    {"who has one more keeps it", "a b c", "a b b c c", "a b b c c"},
    {"one joins: it is given what is missing, and no more", "a b c", "a a a b b b", "a a c:join b b c:join"},
    {"a join that was carried out in part", "a b c", "a a a a b b b b c", "a a a c:join b b b c:join c"},
    {"one leaves: only its own move", "a b c<", "a a b b c c", "a a b b a:leave b:leave"},
    {"one fails", "a b cx", "a a b b c c", "a a b b a:failure b:failure"},
    {"a replacement with another id has what was left, once", "a b cx d", "a a b b c c", "a a b b d:failure d:failure"},
    {"shards are added", "a b", "a b - -", "a b a:first b:first"},
    {"shards are taken away", "a b", "a a a . .", "a a b:join - -"},
    {"shards are taken away, and both had some", "a b", "a a a a b .", "a a a b:join b -"},
    {"two draining members give to the third", "a! b! c", "a b c", "c:drain c:drain c"},
    {"all drain: they keep what they have, and take nothing", "a! b!", "a b -", "a b -:empty"},
    {"one that drains keeps what nobody else may take", "aG! b", "aG a", "a b:drain"},
    {"one that drains keeps what others have no room for", "a! b/1", "a a b", "a a b"},
    {"a standby has nothing while others can take it", "a b?", "a a -", "a a a:first"},
    {"a standby takes what others cannot", "a/2 b?", "a a a", "a a b:weight"},
    {"a standby takes what another one drains, if the workers are full", "a!/2 b/1 c?", "a b", "c:drain b"},
    {"a standby gives back when somebody can take it", "a b?", "b b", "a:join a:join"},
    {"only standbys are there", "a? b?", "- - - -", "a:first b:first a:first b:first"},
    {"who is away keeps its shards", "a b c~", "a a b b c c", "a a b b c:kept c:kept"},
    {"at most half are kept back, of those who went first", "a b~ c~", "a a b b c c",
     "a a b:kept b:kept a:leave a:leave"},
    {"more than half would be kept back of the only one", "a b~", "a b b", "a a:leave a:leave"},
    {"a member that comes while another is away has of the others", "a b c~", "a a a c c c",
     "a a b:join c:kept c:kept c:kept"},
    {"weights of members", "a2 b", "- - - - - -", "a:first b:first a:first a:first b:first a:first"},
    {"a weight is changed", "a3 b", "a a b b", "a a b a:weight"},
    {"weights of shards: the heaviest is placed first", "a b", "-1 -1 -2", "b:first b:first a:first"},
    {"weights of shards: few heavy ones move", "a b", "a9 a1 a1 a9 a1 a1", "a a a b:join a a"},
    {"what differs by less than the heaviest shard stays", "a b", "a9 a5 b5", "a a b"},
    {"tags", "aG b", "-G - -G -", "a:first b:first a:first b:first"},
    {"nobody has the tag", "a b", "- -G", "a:first -:alien"},
    {"a member has lost its tag", "a bG", "aG a", "b:tags a"},
    {"several tags are all required", "aG bGH", "-GH -G -H", "b:first a:first b:first"},
    {"room is made for a shard that can go to one only", "aG/1 b/1", "a -G", "b:tags a:first"},
    {"loads are level by a chain", "aG bGH cH", "aG aG aG bH", "a a b:join c:tags"},
    {"all have the tag, but no room", "aG/1 b", "aG -G", "a -:full"},
    {"the limits of all are reached", "a/2 b/1", "a a b -", "a a b -:full"},
    {"a limit is lowered", "a/1 b", "a a", "a b:weight"},
    {"a pin is kept", "a b", "a>b a b", "b:operator a b"},
    {"a pin pushes another one away", "a b", "a>b a b b", "b:operator a b a:operator"},
    {"a pinned shard does not leave to level the load", "a b", "a>a a>a a>a a", "a a a b:join"},
    {"a pin to one without the tag is as none", "a bG", "bG>a a", "b a"},
    {"a pin to one that is full is as none", "a b/1", "a>b a b>b", "a a b"},
    {"a pin to one that is not there is as none", "a bx", "a>b b", "a a:failure"},
    {"a pin to one that drains does not keep it from giving", "a! b", "b>a a", "b b:drain"},
    {"an operator takes what is kept back", "a b~ c", "a a c c b>a b", "a a c c a:operator b:kept"},
};

static const char *read_member(const char *at, struct plan_member *member, uint64_t since)
{
    char id[] = {*at++, '\0'};
    *member = (struct plan_member){.id = mem_text(id), .weight = 1, .away_since = since};
    for (; *at != ' ' && *at != '\0'; at++) {
        static const char states[] = " ?!~<x";
        const char *state = strchr(states, *at);
        if (state != NULL)
            member->state = (enum plan_state)(state - states);
        else if (*at == '/')
            member->max = (uint32_t)(*++at - '0');
        else if (*at >= 'A' && *at <= 'Z')
            member->tags |= UINT64_C(1) << (*at - 'A');
        else
            member->weight = (uint32_t)(*at - '0');
    }
    return *at == ' ' ? at + 1 : at;
}

static uint32_t find(const struct group *group, char id)
{
    for (uint32_t i = 0; i < group->member_count; i++)
        if (group->members[i].id[0] == id)
            return i;
    return PLAN_NOBODY;
}

static const char *read_shard(const char *at, const struct group *group, struct plan_shard *shard)
{
    *shard = (struct plan_shard){.gone = *at == '.', .weight = 1, .owner = find(group, *at), .pin = PLAN_NOBODY};
    for (at++; *at != ' ' && *at != '\0'; at++) {
        if (*at == '>')
            shard->pin = find(group, *++at);
        else if (*at >= 'A' && *at <= 'Z')
            shard->tags |= UINT64_C(1) << (*at - 'A');
        else
            shard->weight = (uint32_t)(*at - '0');
    }
    return *at == ' ' ? at + 1 : at;
}

static void read_story(struct group *group, const char *members, const char *shards)
{
    group_plain(group, 0, 0);
    free(group->members);
    free(group->shards);
    group->members = mem_new((strlen(members) + 1) * sizeof(*group->members));
    group->shards = mem_new((strlen(shards) + 1) * sizeof(*group->shards));
    while (*members != '\0') {
        members = read_member(members, &group->members[group->member_count], group->member_count + 1);
        group->member_count++;
    }
    while (*shards != '\0')
        shards = read_shard(shards, group, &group->shards[group->shard_count++]);
}

static char *write_plan(const struct group *group, const struct plan *plan)
{
    char *text = mem_new((size_t)plan->count * 16 + 1);
    for (uint32_t i = 0; i < plan->count; i++) {
        const char *owner = plan->owners[i] == PLAN_NOBODY ? "-" : group->members[plan->owners[i]].id;
        bool stays = plan->whys[i] == PLAN_STAYS;
        snprintf(text + strlen(text), 16, "%s%s%s%s", i > 0 ? " " : "", owner, stays ? "" : ":",
                 stays ? "" : plan_why_word(plan->whys[i]));
    }
    return text;
}

static void test_stories(void **state)
{
    unsigned failed = 0;
    for (size_t i = 0; i < COUNT_OF(stories); i++) {
        struct group group;
        struct plan plan;
        read_story(&group, stories[i].members, stories[i].shards);
        group_plan(&group, &plan);
        char *text = write_plan(&group, &plan);
        if (strcmp(text, stories[i].plan) != 0) {
            print_message("# %s: [%s] %s\n#     should be %s\n#     but is    %s\n", stories[i].about,
                          stories[i].members, stories[i].shards, stories[i].plan, text);
            failed++;
        }
        free(text);
        plan_release(&plan);
        group_release(&group);
    }
    assert_int_equal(failed, 0);
}

/* 313 named shards, 3 workers; one is added. */
static void test_one_more_of_many_shards_moves_no_other(void **state)
{
    struct group group;
    struct plan plan;
    group_plain(&group, 3, 314);
    group.shards[313].gone = true;
    group_plan(&group, &plan);
    group_adopt(&group, &plan);
    plan_release(&plan);
    group.shards[313].gone = false;
    group_plan(&group, &plan);
    assert_int_equal(plan.moves, 1);
    assert_int_equal(plan.whys[313], PLAN_FIRST);
    assert_int_equal(plan.unplaced, 0);
    plan_release(&plan);
    group_release(&group);
}

/* 200 shards, 7 workers in 3 racks. */
static void test_racks_do_not_make_a_plan_restless(void **state)
{
    struct group group;
    struct plan plan;
    group_plain(&group, 7, 200);
    for (uint32_t i = 0; i < 7; i++)
        group.members[i].tags = UINT64_C(1) << i % 3;
    for (uint32_t i = 0; i < 200; i++)
        group.shards[i].tags = UINT64_C(1) << i % 3;
    group_plan(&group, &plan);
    assert_int_equal(plan.unplaced, 0);
    for (unsigned i = 0; i < 100; i++) {
        group_adopt(&group, &plan);
        plan_release(&plan);
        group_plan(&group, &plan);
        assert_int_equal(plan.moves, 0);
    }
    plan_release(&plan);
    group_release(&group);
}

/* 3 workers of 40 shards each, 120 of them and then 121; a worker is away from the plan, and comes back. */
static void test_the_shard_that_is_too_many_is_unplaced_and_no_other(void **state)
{
    struct group group;
    struct plan plan;
    group_plain(&group, 3, 121);
    for (uint32_t i = 0; i < 3; i++)
        group.members[i].max = 40;
    group.shards[120].gone = true;
    group_plan(&group, &plan);
    assert_int_equal(plan.unplaced, 0);
    group_adopt(&group, &plan);
    plan_release(&plan);
    group.shards[120].gone = false;
    group_plan(&group, &plan);
    assert_int_equal(plan.moves, 0);
    assert_int_equal(plan.unplaced, 1);
    assert_int_equal(plan.whys[120], PLAN_FULL);
    plan_release(&plan);
    group.members[1].state = PLAN_FAILED;
    group_plan(&group, &plan);
    assert_int_equal(plan.unplaced, 41);
    group_adopt(&group, &plan);
    plan_release(&plan);
    group.members[1].state = PLAN_PRESENT;
    group_plan(&group, &plan);
    assert_int_equal(plan.unplaced, 1);
    assert_int_equal(plan.moves, 40);
    plan_release(&plan);
    group_release(&group);
}

/* Refused, with these words, and the plan is untouched. */
static void refused(const struct group *group, const char *words)
{
    struct baton_error err = {0};
    struct plan plan = {.count = 77};
    assert_int_equal(plan_make(&plan, group->members, group->member_count, group->shards, group->shard_count, &err),
                     -1);
    assert_string_equal(err.text, words);
    assert_int_equal(plan.count, 77);
}

static void test_numbers_out_of_range_are_refused(void **state)
{
    struct group group;
    group_plain(&group, 2, 70);
    group.members[1].weight = 0;
    refused(&group, "the weight of member 'm1' is 0; it must be 1 to 1000");
    group.members[1].weight = 1001;
    refused(&group, "the weight of member 'm1' is 1001; it must be 1 to 1000");
    group.members[1].weight = 1;
    group.shards[4].weight = 0;
    refused(&group, "the weight of shard 4 is 0; it must be 1 to 1000000");
    group.shards[4].weight = 1000001;
    refused(&group, "the weight of shard 4 is 1000001; it must be 1 to 1000000");
    group.shards[4].weight = 1;
    group.shards[5].owner = 2;
    refused(&group, "shard 5 has an owner or a pin that is no member");
    group.shards[5].owner = 1;
    group.shards[5].pin = 2;
    refused(&group, "shard 5 has an owner or a pin that is no member");
    group.shards[5].gone = true;
    for (uint32_t i = 6; i < 70; i++)
        group.shards[i].tags = i;
    refused(&group, "shard 69 requires one more set of tags: the shards of a group may require 64 different ones");
    uint32_t shards = group.shard_count, members = group.member_count;
    group.shard_count = PLAN_SHARDS_MAX + 1;
    refused(&group, "100001 shards cannot be planned for: at most 100000 are allowed");
    group.shard_count = shards;
    group.member_count = PLAN_MEMBERS_MAX + 1;
    refused(&group, "a group of 4097 members cannot be planned for: at most 4096 are allowed");
    group.member_count = members;
    group_release(&group);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stories),
        cmocka_unit_test(test_one_more_of_many_shards_moves_no_other),
        cmocka_unit_test(test_racks_do_not_make_a_plan_restless),
        cmocka_unit_test(test_the_shard_that_is_too_many_is_unplaced_and_no_other),
        cmocka_unit_test(test_numbers_out_of_range_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
