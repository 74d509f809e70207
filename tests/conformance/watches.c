/* watches.c: a watch tells everything once, and then every change, in order and at once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/clock.h"
#include "world.h"

/* Later than the answer to its write a change is told only when something else happens, or the machine is busy: so
 * often it may be. */
#define CHANGE_LATE_MS 4000
#define CHANGES_LATE_MAX 4

static void test_a_watch_begins_with_everything_and_goes_on_with_changes(void **state)
{
    struct world *w = *state;
    expect_done(put(w->a, "e/1", "one", 0, 0));
    expect_done(put(w->a, "e/2", "two", 0, 0));
    expect_done(put(w->a, "f/1", "other", 0, 0));
    client_watch(w->b, 0, "e/");
    wait_view(w->b, 0, 1);
    assert_int_equal(w->b->views[0].resets, 1);
    assert_int_equal(w->b->views[0].count, 2);
    expect_done(put(w->a, "e/3", "three", 0, 0));
    expect_done(removal(w->a, "e/1", ANY));
    expect_done(put(w->a, "f/2", "other", 0, 0));
    wait_key(w->b, 0, "e/1", false);
    assert_int_equal(w->b->views[0].count, 2);
    assert_non_null(view_get(w->b, 0, "e/3"));
    assert_int_equal(w->b->views[0].resets, 1);
}

static void test_a_watch_of_nothing_begins_empty(void **state)
{
    struct world *w = *state;
    client_watch(w->a, 3, "nothing/");
    wait_view(w->a, 3, 0);
    assert_int_equal(w->a->views[3].count, 0);
    assert_int_equal(w->a->views[3].resets, 1);
}

static void test_watches_of_one_client_do_not_mix(void **state)
{
    struct world *w = *state;
    client_watch(w->b, 0, "e/a/");
    client_watch(w->b, 1, "e/");
    client_watch(w->b, 2, "e/b/");
    client_watch(w->b, 3, "e/a/");
    expect_done(put(w->a, "e/a/1", "x", 0, 0));
    expect_done(put(w->a, "e/b/1", "y", 0, 0));
    expect_done(put(w->a, "e/ab/1", "z", 0, 0));
    wait_key(w->b, 1, "e/ab/1", true);
    wait_key(w->b, 0, "e/a/1", true);
    wait_key(w->b, 2, "e/b/1", true);
    wait_key(w->b, 3, "e/a/1", true);
    assert_int_equal(w->b->views[0].count, 1);
    assert_int_equal(w->b->views[1].count, 3);
    assert_int_equal(w->b->views[2].count, 1);
    client_unwatch(w->b, 0); /* the harness fails if it is told anything more */
    expect_done(put(w->a, "e/a/2", "x", 0, 0));
    wait_key(w->b, 3, "e/a/2", true);
    client_watch(w->b, 0, "e/b/"); /* the number is free again */
    wait_key(w->b, 0, "e/b/1", true);
    assert_int_equal(w->b->views[0].count, 1);
}

static void test_what_is_written_is_seen_by_its_writer_too(void **state)
{
    struct world *w = *state;
    client_watch(w->a, 0, "e/");
    for (int i = 0; i < 100; i++) /* at the same time: in any order */
        (void)client_put(w->a, "e/x", "x", 0, ANY);
    wait_until(&w->loop, all_answered, w->a);
    expect_done(put(w->a, "e/x", "last", 0, ANY));
    wait_view(w->a, 0, w->a->done_revision);
    assert_string_equal(view_get(w->a, 0, "e/x")->value, "last");
}

/* What comes in several pieces is told when the last one is there, not when something else comes: engines ask their
 * servers after some seconds of silence whether they are there. It is measured from the answer, as a disk may be
 * slow, and a few may be late on a busy machine. (libcurl 7.88 kept back each that was longer than some 48 KiB.) */
static void test_long_changes_are_told_at_once(void **state)
{
    struct world *w = *state;
    char *value = mem_new(BATON_VALUE_MAX + 1);
    int late = 0;
    client_watch(w->b, 0, "e/");
    wait_view(w->b, 0, 0);
    for (size_t length = 1000; length < BATON_VALUE_MAX; length += 1000) {
        memset(value, 'v', length);
        expect_done(put(w->a, "e/long", value, 0, ANY));
        int64_t answered_ms = clock_now_ms();
        wait_view(w->b, 0, w->a->done_revision);
        late += clock_now_ms() - answered_ms > CHANGE_LATE_MS;
        assert_int_equal(strlen(view_get(w->b, 0, "e/long")->value), length);
    }
    assert_true(late <= CHANGES_LATE_MAX);
    free(value);
}

/* Of a client that has just been opened, which asks for other things at the same time. */
static void test_a_watch_begins_whatever_the_size_of_what_is_there(void **state)
{
    struct world *w = *state;
    char *value = mem_new(BATON_VALUE_MAX + 1);
    int late = 0;
    for (size_t length = 500; length < BATON_VALUE_MAX; length += 500) {
        memset(value, 'v', length);
        expect_done(put(w->a, "e/long", value, 0, ANY));
        int64_t begin_ms = clock_now_ms();
        struct client *client = client_new(w->url, &w->loop);
        (void)client_session_open(client, 60000);
        client_watch(client, 0, "e/");
        wait_view(client, 0, w->a->done_revision);
        late += clock_now_ms() - begin_ms > CHANGE_LATE_MS;
        assert_int_equal(strlen(view_get(client, 0, "e/long")->value), length);
        if (client->trouble.code != BATON_OK)
            fail_msg("%zu bytes: %s", length, client->trouble.text);
        client_free(client);
    }
    assert_true(late <= CHANGES_LATE_MAX);
    free(value);
}

/* More than etcd and the kernel keep for it: the watcher has to catch up, and what it has missed is forgotten. */
static void test_a_view_that_fell_behind_ends_at_the_present_state(void **state)
{
    struct world *w = *state;
    static char value[3000];
    memset(value, 'x', sizeof(value) - 1);
    uv_loop_t slow_loop; /* nobody runs it while the others write */
    uv_loop_init(&slow_loop);
    struct client *slow = client_new(w->url, &slow_loop);
    client_watch(slow, 0, "e/");
    wait_view(slow, 0, 0);
    uint64_t session = session_new(w->a, 60000);
    char key[32];
    for (int i = 0; i < 12000; i++) {
        snprintf(key, sizeof(key), "e/%d", i % 20);
        (void)client_put(w->a, key, value, session, ANY);
        if (i % 500 == 499)
            wait_until(&w->loop, all_answered, w->a);
    }
    expect_done(put(w->a, "e/last", "y", 0, 0));
    forget_history(w, w->a->reply.revision);
    expect_done(removal(w->a, "e/7", ANY));
    wait_key(slow, 0, "e/last", true);
    wait_key(slow, 0, "e/7", false);
    assert_int_equal(slow->views[0].count, 20);
    if (text_starts(w->url, "etcd:"))
        assert_true(slow->views[0].resets > 1); /* it was told that it has missed something, and began again */
    expect_done(put(w->a, "e/after", "z", 0, 0));
    wait_key(slow, 0, "e/after", true); /* and it goes on */
    client_free(slow);
    assert_int_equal(uv_loop_close(&slow_loop), 0);
}

static const struct CMUnitTest tests[] = {
    T(test_a_watch_begins_with_everything_and_goes_on_with_changes),
    T(test_a_watch_of_nothing_begins_empty),
    T(test_watches_of_one_client_do_not_mix),
    T(test_what_is_written_is_seen_by_its_writer_too),
    T(test_long_changes_are_told_at_once),
    T(test_a_watch_begins_whatever_the_size_of_what_is_there),
    T(test_a_view_that_fell_behind_ends_at_the_present_state),
};

const struct part part_watches = PART(tests, NEEDS_NOTHING);
