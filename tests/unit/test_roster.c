/* test_roster.c: a roster that follows a view, batch by batch, is the one that would be read from the view afresh. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "core/election/election.h"

#define KEYS 40
#define CHANGES_MAX 12
#define BATCHES 20000

struct story {
    struct view view;
    struct roster roster;
    uint64_t revision;
    bool there[KEYS];
    unsigned random;
};

static unsigned next(struct story *story, unsigned below)
{
    story->random = story->random * 1664525U + 1013904223U;
    return (story->random >> 8) % below;
}

/* Candidates of several priorities, sometimes one that cannot be read; and the three other keys. */
static void random_change(struct story *story, struct baton_change *change, bool reset)
{
    unsigned key = next(story, KEYS);
    static const char *const others[] = {"leader", "hold", "transfer"};
    char *value;
    if (key < COUNT_OF(others)) {
        change->record.key = mem_format("elections/e/%s", others[key]);
        value = key == 0
                    ? mem_format("{\"v\":1,\"cid\":\"c%u\",\"id\":\"x\",\"term\":7,\"terms\":[]}", next(story, KEYS))
                    : mem_text("{\"v\":1}");
    } else {
        change->record.key = mem_format("elections/e/candidates/c%u", key);
        value = next(story, 50) == 0 ? mem_text("nonsense")
                                     : mem_format("{\"v\":1,\"id\":\"i%u\",\"priority\":%d}", key, (int)next(story, 3));
    }
    bool removal = story->there[key] && !reset && next(story, 2) == 0;
    change->kind = removal ? BATON_CHANGE_REMOVE : BATON_CHANGE_PUT;
    story->there[key] = !removal;
    change->record.value = value;
    change->record.revision = story->revision;
    change->record.created = story->revision;
}

static void random_batch(struct story *story)
{
    struct baton_change changes[CHANGES_MAX] = {0};
    bool reset = story->revision == 0 || next(story, 200) == 0;
    size_t count = next(story, next(story, 4) == 0 ? CHANGES_MAX : 3);
    if (reset)
        memset(story->there, 0, sizeof(story->there));
    for (size_t i = 0; i < count; i++) {
        story->revision++;
        random_change(story, &changes[i], reset);
    }
    story->revision++;
    struct baton_batch batch = {.reset = reset, .revision = story->revision, .changes = changes, .count = count};
    assert_true(view_apply(&story->view, &batch));
    for (size_t i = 0; i < count; i++) {
        free((char *)changes[i].record.key);
        free((char *)changes[i].record.value);
    }
}

static void test_a_roster_that_follows_is_one_that_is_read_afresh(void **state)
{
    struct story story = {.random = 7};
    size_t followed = 0;
    view_init(&story.view, &election_records);
    for (int i = 0; i < BATCHES; i++) {
        struct roster fresh = {0};
        random_batch(&story);
        followed += !story.view.reordered && story.view.troubled == 0 && story.view.move_count > 0;
        roster_read(&story.roster, &story.view, "elections/e/", CANDIDATES);
        roster_read(&fresh, &story.view, "elections/e/", CANDIDATES);
        assert_int_equal(story.roster.order.count, fresh.order.count);
        for (size_t k = 0; k < fresh.order.count; k++)
            assert_ptr_equal(story.roster.order.records[k], fresh.order.records[k]);
        assert_ptr_equal(story.roster.leader_record, fresh.leader_record);
        assert_ptr_equal(story.roster.decision, fresh.decision);
        assert_ptr_equal(story.roster.leader, fresh.leader);
        assert_ptr_equal(story.roster.hold_record, fresh.hold_record);
        assert_ptr_equal(story.roster.transfer_record, fresh.transfer_record);
        assert_ptr_equal(story.roster.order.trouble, fresh.order.trouble);
        roster_release(&fresh);
    }
    assert_true(followed > BATCHES / 20); /* the story is about those */
    roster_release(&story.roster);
    view_release(&story.view);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_roster_that_follows_is_one_that_is_read_afresh)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
