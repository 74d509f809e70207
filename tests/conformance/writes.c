/* writes.c: a write takes effect once or not at all, on the revision that it names. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "world.h"

static void test_must_not_exist_lets_one_write_through(void **state)
{
    struct world *w = *state;
    expect_done(put(w->a, "e/x", "1", 0, 0));
    expect_conflict(put(w->b, "e/x", "2", 0, 0));
    client_watch(w->b, 0, "e/");
    wait_key(w->b, 0, "e/x", true);
    assert_string_equal(view_get(w->b, 0, "e/x")->value, "1");
}

static void test_a_write_needs_the_present_revision(void **state)
{
    struct world *w = *state;
    expect_done(put(w->a, "e/x", "1", 0, 0));
    uint64_t first = w->a->reply.revision;
    expect_done(put(w->b, "e/x", "2", 0, first));
    uint64_t second = w->b->reply.revision;
    assert_true(second > first);
    expect_conflict(put(w->a, "e/x", "3", 0, first));
    expect_conflict(put(w->a, "e/x", "3", 0, second + 1));
    expect_conflict(removal(w->a, "e/x", first));
    expect_done(put(w->a, "e/x", "4", 0, ANY));
    expect_done(removal(w->a, "e/x", w->a->reply.revision));
    expect_conflict(put(w->a, "e/x", "5", 0, second)); /* it is gone: it has no revision */
}

static void test_a_removal_of_nothing_is_done(void **state)
{
    struct world *w = *state;
    expect_done(removal(w->a, "e/none", ANY));
    expect_done(removal(w->a, "e/none", 0));
    expect_conflict(removal(w->a, "e/none", 5));
    expect_done(put(w->a, "e/x", "1", 0, 0));
    expect_conflict(removal(w->a, "e/x", 0));
}

static void test_created_stays_until_the_record_is_made_again(void **state)
{
    struct world *w = *state;
    client_watch(w->b, 0, "e/");
    expect_done(put(w->a, "e/x", "1", 0, 0));
    uint64_t first = w->a->reply.revision;
    expect_done(put(w->a, "e/x", "2", 0, first));
    wait_view(w->b, 0, w->a->reply.revision);
    assert_int_equal(view_get(w->b, 0, "e/x")->created, first);
    assert_int_equal(view_get(w->b, 0, "e/x")->revision, w->a->reply.revision);
    expect_done(removal(w->a, "e/x", ANY));
    expect_done(put(w->a, "e/x", "3", 0, 0));
    wait_view(w->b, 0, w->a->reply.revision);
    assert_int_equal(view_get(w->b, 0, "e/x")->created, w->a->reply.revision);
}

static void test_limits_of_keys_and_values(void **state)
{
    struct world *w = *state;
    char *key = mem_new(BATON_KEY_MAX + 2), *value = mem_new(BATON_VALUE_MAX + 2);
    memset(key, 'k', BATON_KEY_MAX);
    memset(value, 'v', BATON_VALUE_MAX);
    expect_done(put(w->a, key, value, 0, 0));
    client_watch(w->b, 0, "");
    wait_key(w->b, 0, key, true);
    assert_string_equal(view_get(w->b, 0, key)->value, value);
    value[BATON_VALUE_MAX] = 'v';
    expect_refused(put(w->a, key, value, 0, ANY), BATON_INVALID);
    key[BATON_KEY_MAX] = 'k';
    expect_refused(put(w->a, key, "", 0, 0), BATON_INVALID);
    expect_refused(put(w->a, "", "x", 0, 0), BATON_INVALID);
    free(key);
    free(value);
}

static void test_each_request_is_answered_once(void **state)
{
    struct world *w = *state;
    char key[32];
    for (int i = 0; i < 500; i++) {
        snprintf(key, sizeof(key), "e/%d", i % 50);
        if (i % 5 == 4)
            (void)client_remove(w->a, key, ANY);
        else
            (void)client_put(w->a, key, "x", 0, i % 3 == 0 ? 0 : ANY);
        if (i % 10 == 0)
            (void)client_renew(w->a, 999999);
    }
    wait_until(&w->loop, all_answered, w->a); /* the harness fails on a second answer */
    assert_int_equal(w->a->answers, 550);
}

static void increment(struct client *client)
{
    for (;;) {
        const struct baton_record *record = view_get(client, 0, "e/n");
        char text[24];
        snprintf(text, sizeof(text), "%d", atoi(record->value) + 1);
        uint64_t revision = record->revision;
        if (put(client, "e/n", text, 0, revision)->answer == BATON_ANSWER_DONE) {
            wait_view(client, 0, client->reply.revision);
            return;
        }
        expect_conflict(&client->reply);
        /* Somebody was first: the view will show it. */
        wait_view(client, 0, client->reply.revision > revision ? client->reply.revision : revision + 1);
    }
}

static void test_no_increment_is_lost_between_two_writers(void **state)
{
    struct world *w = *state;
    expect_done(put(w->a, "e/n", "0", 0, 0));
    client_watch(w->a, 0, "e/");
    client_watch(w->b, 0, "e/");
    wait_key(w->a, 0, "e/n", true);
    wait_key(w->b, 0, "e/n", true);
    for (int i = 0; i < 30; i++) {
        /* Both from what they saw last: one of two writes in flight at the same time must lose. */
        uint64_t seen = view_get(w->a, 0, "e/n")->revision;
        char text[24];
        snprintf(text, sizeof(text), "%d", atoi(view_get(w->a, 0, "e/n")->value) + 1);
        wait_view(w->b, 0, seen);
        size_t done = w->a->done + w->b->done;
        uint64_t one = client_put(w->a, "e/n", text, 0, seen), two = client_put(w->b, "e/n", text, 0, seen);
        wait_answer(w->a, one);
        wait_answer(w->b, two);
        assert_int_equal(w->a->done + w->b->done, done + 1);
        uint64_t newest = w->a->done_revision > w->b->done_revision ? w->a->done_revision : w->b->done_revision;
        wait_view(w->a, 0, newest);
        wait_view(w->b, 0, newest);
        increment(i % 2 == 0 ? w->a : w->b);
        newest = w->a->done_revision > w->b->done_revision ? w->a->done_revision : w->b->done_revision;
        wait_view(w->a, 0, newest);
    }
    assert_string_equal(view_get(w->a, 0, "e/n")->value, "60");
}

static const struct CMUnitTest tests[] = {
    T(test_must_not_exist_lets_one_write_through),
    T(test_a_write_needs_the_present_revision),
    T(test_a_removal_of_nothing_is_done),
    T(test_created_stays_until_the_record_is_made_again),
    T(test_limits_of_keys_and_values),
    T(test_each_request_is_answered_once),
    T(test_no_increment_is_lost_between_two_writers),
};

const struct part part_writes = PART(tests, NEEDS_NOTHING);
