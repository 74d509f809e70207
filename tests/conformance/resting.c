/* resting.c: views that rest (engine.h, `rest`) are behind, but never wrong. */
#include <stdio.h>

#include "base/base.h"
#include "world.h"

static void test_a_view_that_rests_goes_on_when_its_key_changes(void **state)
{
    struct world *w = *state;
    const char *values[] = {"one", "two", NULL}; /* NULL: it is removed */
    const int others[] = {1, 100, 20};           /* that it misses: an engine may tell them, or begin again */
    client_watch(w->a, 0, "e/");
    client_watch(w->b, 0, "e/");
    expect_done(put(w->b, "e/key", "zero", 0, 0));
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        wait_view(w->a, 0, w->b->done_revision);
        client_rest(w->a, 0, "e/key", NULL);
        for (int k = 0; k < others[i]; k++)
            expect_done(put(w->b, "e/other", values[i] != NULL ? values[i] : "three", 0, ANY));
        expect_done(values[i] != NULL ? put(w->b, "e/key", values[i], 0, ANY) : removal(w->b, "e/key", ANY));
        wait_view(w->a, 0, w->b->done_revision);
        const struct baton_record *key = view_get(w->a, 0, "e/key");
        assert_string_equal(key != NULL ? key->value : "three", view_get(w->a, 0, "e/other")->value);
    }
    expect_done(put(w->b, "e/other", "awake", 0, ANY));
    wait_view(w->a, 0, w->b->done_revision);
}

static void test_a_view_rests_also_until_a_session_takes_its_key_along(void **state)
{
    struct world *w = *state;
    uint64_t session = session_new(w->b, 60000);
    client_watch(w->a, 0, "e/");
    expect_done(put(w->b, "e/key", "x", session, 0));
    wait_key(w->a, 0, "e/key", true);
    client_rest(w->a, 0, "e/key", NULL);
    expect_done(put(w->b, "e/other", "x", 0, 0));
    client_session_end(w->b, session);
    wait_key(w->a, 0, "e/key", false);
    wait_key(w->a, 0, "e/other", true);
}

/* What has happened since the revision that was told last counts, also if it is not told yet. */
static void test_a_view_that_is_told_to_rest_too_late_goes_on(void **state)
{
    struct world *w = *state;
    client_watch(w->a, 0, "e/");
    wait_view(w->a, 0, 0);
    for (int i = 0; i < 20; i++) {
        char value[16];
        snprintf(value, sizeof(value), "%d", i);
        uint64_t ticket = client_put(w->b, "e/key", value, 0, ANY);
        if (i % 2 == 0)
            wait_answer(w->b, ticket);
        client_rest(w->a, 0, "e/key", NULL);
        wait_answer(w->b, ticket);
        wait_view(w->a, 0, w->b->done_revision);
    }
}

static void test_a_view_that_need_not_rest_any_more_is_up_to_date(void **state)
{
    struct world *w = *state;
    client_watch(w->a, 0, "e/");
    wait_view(w->a, 0, 0);
    for (int i = 0; i < 10; i++) {
        client_rest(w->a, 0, "e/key", NULL);
        expect_done(put(w->b, "e/other", "x", 0, ANY));
        client_rest(w->a, 0, NULL, NULL);
        wait_view(w->a, 0, w->b->done_revision);
        expect_done(put(w->b, "e/other", "y", 0, ANY)); /* and stays so */
        wait_view(w->a, 0, w->b->done_revision);
    }
}

static void test_a_view_that_rests_looks_when_its_session_is_renewed(void **state)
{
    struct world *w = *state;
    uint64_t session = session_new(w->a, 60000);
    client_watch(w->a, 0, "e/");
    expect_done(put(w->b, "e/slow", "0", 0, 0));
    wait_key(w->a, 0, "e/slow", true);
    for (int i = 0; i < 5; i++) {
        client_rest(w->a, 0, "e/key", "e/slow");
        expect_done(renewal(w->a, session)); /* nothing is new */
        expect_done(put(w->b, "e/slow", "1", 0, ANY));
        expect_done(put(w->b, "e/other", "1", 0, ANY));
        uint64_t written = w->b->done_revision;
        /* It may be asked in the very moment in which the write is on its way to be seen: then the next one finds it.
         */
        expect_done(renewal(w->a, session));
        expect_done(renewal(w->a, session));
        wait_view(w->a, 0, written);
    }
    client_rest(w->a, 0, "e/key", "e/slow");
    expect_done(removal(w->b, "e/slow", ANY));
    expect_done(renewal(w->a, session));
    expect_done(renewal(w->a, session));
    wait_key(w->a, 0, "e/slow", false);
}

static void rest_again(struct client *client)
{
    client_rest(client, 0, "e/key", NULL);
}

/* An engine may always let it go on sooner; those that can let it rest do not do so each time. */
static void test_a_view_that_rests_is_left_in_peace(void **state)
{
    struct world *w = *state;
    if (w->a->ops->rest == NULL)
        skip();
    client_watch(w->a, 0, "e/");
    client_watch(w->b, 0, "e/");
    wait_view(w->a, 0, 0);
    rest_again(w->a);
    w->a->on_batch = rest_again;
    size_t before = w->a->views[0].batches;
    for (int i = 0; i < 100; i++) {
        expect_done(put(w->b, "e/other", "x", 0, ANY));
        wait_view(w->b, 0, w->b->done_revision);
    }
    assert_in_range(w->a->views[0].batches - before, 0, 50);
    expect_done(put(w->b, "e/key", "x", 0, ANY));
    wait_view(w->a, 0, w->b->done_revision);
}

static const struct CMUnitTest tests[] = {
    T(test_a_view_that_rests_goes_on_when_its_key_changes),
    T(test_a_view_rests_also_until_a_session_takes_its_key_along),
    T(test_a_view_that_is_told_to_rest_too_late_goes_on),
    T(test_a_view_that_need_not_rest_any_more_is_up_to_date),
    T(test_a_view_that_rests_looks_when_its_session_is_renewed),
    T(test_a_view_that_rests_is_left_in_peace),
};

const struct part part_resting = PART(tests, NEEDS_NOTHING);
