/* sessions.c: what is bound to a session goes with it, at one stroke, and no earlier than it must. */
#include <stdio.h>

#include "base/base.h"
#include "base/clock.h"
#include "lease.h"

static void test_bound_records_vanish_at_one_revision_in_one_batch(void **state)
{
    struct world *w = *state;
    uint64_t session = session_new(w->a, 60000), other = session_new(w->b, 60000);
    client_watch(w->b, 0, "e/");
    char key[32];
    for (int i = 0; i < 10; i++) {
        snprintf(key, sizeof(key), "e/bound/%d", i);
        expect_done(put(w->a, key, "x", session, 0));
    }
    expect_done(put(w->a, "e/lasting", "x", 0, 0));
    expect_done(put(w->b, "e/other", "x", other, 0));
    wait_key(w->b, 0, "e/other", true);
    assert_int_equal(w->b->views[0].count, 12);
    assert_int_equal(view_get(w->b, 0, "e/bound/3")->session, session);
    client_session_end(w->a, session);
    wait_key(w->b, 0, "e/bound/0", false);
    assert_int_equal(w->b->views[0].last_removed, 10);
    assert_int_equal(w->b->views[0].removed_first, w->b->views[0].removed_last);
    assert_int_equal(w->b->views[0].count, 2);
}

static void test_the_end_of_a_session_is_told_and_is_the_end(void **state)
{
    struct world *w = *state;
    uint64_t session = session_new(w->a, 60000);
    expect_done(renewal(w->a, session));
    client_session_end(w->a, session);
    wait_until(&w->loop, was_told_of_end, w->a);
    assert_int_equal(w->a->ended, session);
    expect_refused(renewal(w->a, session), BATON_LOST);
    expect_refused(put(w->a, "e/x", "x", session, ANY), BATON_LOST);
    expect_refused(put(w->b, "e/x", "x", session + 1000000, ANY), BATON_LOST); /* never was */
    client_session_end(w->a, session);                                         /* twice is once */
    expect_done(put(w->a, "e/x", "x", 0, 0));
    assert_int_equal(w->a->ended_count, 1);
}

static void test_session_ids_are_never_used_again(void **state)
{
    struct world *w = *state;
    uint64_t greatest = 0;
    for (int i = 0; i < 20; i++) {
        struct client *client = i % 2 == 0 ? w->a : w->b;
        uint64_t session = session_new(client, 60000);
        assert_true(session > greatest);
        greatest = session;
        client_session_end(client, session);
        if (i == 10) { /* also when nobody is there in between */
            client_free(w->a);
            client_free(w->b);
            w->a = client_new(w->url, &w->loop);
            w->b = client_new(w->url, &w->loop);
        }
    }
}

static void test_a_put_with_another_session_moves_the_record(void **state)
{
    struct world *w = *state;
    uint64_t one = session_new(w->a, 60000), two = session_new(w->b, 60000);
    client_watch(w->a, 0, "e/");
    expect_done(put(w->a, "e/x", "1", one, 0));
    expect_done(put(w->b, "e/x", "2", two, ANY));
    client_session_end(w->a, one);
    wait_until(&w->loop, was_told_of_end, w->a);
    expect_done(put(w->a, "e/mark", "m", 0, 0));
    wait_key(w->a, 0, "e/mark", true);
    assert_non_null(view_get(w->a, 0, "e/x"));
    expect_done(put(w->b, "e/x", "3", 0, ANY)); /* and now it lasts */
    client_session_end(w->b, two);
    wait_until(&w->loop, was_told_of_end, w->b);
    expect_done(put(w->a, "e/mark", "m", 0, ANY));
    wait_view(w->a, 0, w->a->reply.revision);
    assert_non_null(view_get(w->a, 0, "e/x"));
}

/* Renewed for a while, then no more. */
static bool lives_while_it_is_renewed(struct client *owner, struct client *observer, uint32_t ttl_ms)
{
    struct lease lease = lease_new(owner, ttl_ms);
    if (!done_in_time(&lease, put(owner, "e/bound", "x", lease.id, ANY)))
        return false;
    wait_view(observer, 0, owner->done_revision);
    client_session_end(owner, session_new(owner, 60000)); /* another one comes and goes */
    for (int64_t begin_ms = clock_now_ms(); lease.renewed_ms < begin_ms + 2 * (int64_t)lease.ttl_ms;) {
        if (!renewed_in_time(&lease))
            return false;
        (void)wait_for(owner->loop, never, owner, lease.ttl_ms / 4);
    }
    if (!has_ended_with_its_ttl(&lease, observer))
        return false;
    expect_refused(renewal(owner, lease.id), BATON_LOST);
    expect_refused(put(owner, "e/late", "x", lease.id, 0), BATON_LOST);
    return true;
}

static bool expires_before_others(struct world *w, uint32_t ttl_ms)
{
    return lives_while_it_is_renewed(w->a, w->b, ttl_ms);
}

static bool expires_alone(struct world *w, uint32_t ttl_ms)
{
    return lives_while_it_is_renewed(w->a, w->a, ttl_ms);
}

static void test_a_session_that_is_not_renewed_ends(void **state)
{
    struct world *w = *state;
    client_watch(w->b, 0, "e/");
    within_a_ttl(expires_before_others, w);
}

static void test_a_session_ends_also_when_its_owner_is_alone(void **state)
{
    struct world *w = *state;
    client_free(w->b);
    w->b = NULL;
    client_watch(w->a, 0, "e/");
    within_a_ttl(expires_alone, w);
}

static bool is_left_to_its_ttl(struct world *w, uint32_t ttl_ms)
{
    struct client *owner = client_new(w->url, &w->loop);
    struct lease lease = lease_new(owner, ttl_ms);
    bool in_time = renewed_in_time(&lease) && done_in_time(&lease, put(owner, "e/bound", "x", lease.id, ANY));
    uint64_t revision = owner->done_revision;
    client_free(owner);
    if (!in_time)
        return false;
    wait_view(w->b, 0, revision);
    expect_done(put(w->a, "e/other", "x", 0, ANY)); /* a reason to look */
    wait_view(w->b, 0, w->a->done_revision);
    return has_ended_with_its_ttl(&lease, w->b);
}

static void test_a_closed_engine_leaves_its_session_to_its_ttl(void **state)
{
    struct world *w = *state;
    client_watch(w->b, 0, "e/");
    within_a_ttl(is_left_to_its_ttl, w);
}

static void test_a_ttl_below_the_minimum_is_raised(void **state)
{
    struct world *w = *state;
    (void)session_new(w->a, 1);
    assert_int_equal(w->a->ttl_ms, w->a->ops->ttl_min_ms);
}

static const struct CMUnitTest tests[] = {
    T(test_bound_records_vanish_at_one_revision_in_one_batch),
    T(test_the_end_of_a_session_is_told_and_is_the_end),
    T(test_session_ids_are_never_used_again),
    T(test_a_put_with_another_session_moves_the_record),
    T(test_a_session_that_is_not_renewed_ends),
    T(test_a_session_ends_also_when_its_owner_is_alone),
    T(test_a_closed_engine_leaves_its_session_to_its_ttl),
    T(test_a_ttl_below_the_minimum_is_raised),
};

const struct part part_sessions = PART(tests, NEEDS_NOTHING);
