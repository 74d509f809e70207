/* guards.c: a guard ends, renews, and writes for another one's session. */
#include "base/base.h"
#include "base/clock.h"
#include "lease.h"

/* NULL: the session is over. */
static struct baton_engine_guard *guard_of(struct client *owner, uint64_t session)
{
    char text[BATON_EXPORT_MAX];
    struct baton_error err = {0};
    struct baton_engine_guard *guard = NULL;
    int fd = -2;
    if (owner->ops->session_export(owner->engine, session, text, &fd, &err) < 0) {
        assert_int_equal(err.code, BATON_LOST);
        return NULL;
    }
    assert_int_equal(owner->ops->guard_open(text, fd, &guard, &err), 0);
    return guard;
}

/* The guard of a session of a's that has a record, which b sees. */
static struct baton_engine_guard *guard_of_new(struct world *w, uint64_t *ret_session)
{
    *ret_session = session_new(w->a, 60000);
    client_watch(w->b, 0, "e/");
    expect_done(put(w->a, "e/bound", "x", *ret_session, 0));
    wait_key(w->b, 0, "e/bound", true);
    struct baton_engine_guard *guard = guard_of(w->a, *ret_session);
    assert_non_null(guard);
    return guard;
}

static void test_a_guard_ends_the_session(void **state)
{
    struct world *w = *state;
    struct baton_error err = {0};
    uint64_t session;
    struct baton_engine_guard *guard = guard_of_new(w, &session);
    assert_int_equal(w->a->ops->guard_end(guard, 5000, &err), 0);
    wait_key(w->b, 0, "e/bound", false);
    expect_refused(renewal(w->a, session), BATON_LOST);
    assert_int_equal(w->a->ops->guard_end(guard, 5000, &err), 0); /* it is over: done, too */
    w->a->ops->guard_close(guard);
    w->a->ops->guard_close(NULL);
    assert_int_equal(w->a->ops->guard_open("nonsense", -1, &guard, &err), -1);
    assert_int_equal(err.code, BATON_INVALID);
}

static bool guard_renewed_in_time(const struct baton_engine_ops *ops, struct baton_engine_guard *guard,
                                  struct lease *lease)
{
    struct baton_error err = {0};
    int64_t now_ms = clock_now_ms();
    uint32_t got_ms = 0;
    if (ops->guard_renew(guard, 5000, &got_ms, &err) < 0) {
        if (err.code != BATON_LOST || !may_be_over(lease))
            fail_msg("%s", err.text);
        return false;
    }
    assert_in_range(got_ms, 1, lease->ttl_ms);
    lease->ttl_ms = got_ms;
    lease->renewed_ms = now_ms;
    return true;
}

static bool lives_while_its_guard_renews(struct world *w, uint32_t ttl_ms)
{
    struct client *owner = client_new(w->url, &w->loop);
    struct lease lease = lease_new(owner, ttl_ms);
    struct baton_engine_guard *guard = NULL;
    bool in_time = done_in_time(&lease, put(owner, "e/bound", "x", lease.id, ANY));
    uint64_t revision = owner->done_revision;
    if (in_time)
        guard = guard_of(owner, lease.id);
    client_free(owner);
    if (guard == NULL) {
        assert_true(may_be_over(&lease));
        return false;
    }
    wait_view(w->b, 0, revision);
    for (int64_t begin_ms = clock_now_ms(); in_time && lease.renewed_ms < begin_ms + 2 * (int64_t)lease.ttl_ms;) {
        in_time = guard_renewed_in_time(w->b->ops, guard, &lease);
        if (in_time)
            (void)wait_for(w->b->loop, never, w->b, lease.ttl_ms / 4);
    }
    in_time = in_time && has_ended_with_its_ttl(&lease, w->b);
    if (in_time)
        assert_false(guard_renewed_in_time(w->b->ops, guard, &lease)); /* it is over */
    w->b->ops->guard_close(guard);
    return in_time;
}

/* Its process is gone, and something of it is left that must not have a successor. */
static void test_a_guard_renews_the_session(void **state)
{
    struct world *w = *state;
    client_watch(w->b, 0, "e/");
    within_a_ttl(lives_while_its_guard_renews, w);
}

/* What was written up to now is in b's view. */
static const char *decision_after(struct world *w, const char *mark)
{
    expect_done(put(w->a, mark, "x", 0, 0));
    wait_key(w->b, 0, mark, true);
    return view_get(w->b, 0, "e/decision")->value;
}

static void test_a_guard_renews_no_session_that_was_ended(void **state)
{
    struct world *w = *state;
    struct baton_error err = {0};
    uint64_t session;
    uint32_t ttl_ms;
    struct baton_engine_guard *guard = guard_of_new(w, &session);
    assert_int_equal(w->a->ops->guard_renew(guard, 5000, &ttl_ms, &err), 0);
    expect_done(renewal(w->a, session)); /* its process may live, too */
    assert_int_equal(w->a->ops->guard_end(guard, 5000, &err), 0);
    assert_int_equal(w->a->ops->guard_renew(guard, 5000, &ttl_ms, &err), -1);
    assert_int_equal(err.code, BATON_LOST);
    w->a->ops->guard_close(guard);
}

static void test_a_guard_writes_the_testament_and_ends_the_session(void **state)
{
    struct world *w = *state;
    struct baton_error err = {0};
    uint64_t session;
    uint32_t ttl_ms;
    struct baton_engine_guard *guard = guard_of_new(w, &session);
    expect_done(put(w->a, "e/decision", "mine", 0, 0));
    struct baton_write write = {
        .kind = BATON_WRITE_PUT, .key = "e/decision", .value = "somebody's", .if_revision = w->a->reply.revision};
    w->a->ops->guard_testament(guard, &write);
    w->a->ops->guard_testament(guard, NULL);
    write.value = "theirs"; /* only the last one counts, also if it is told again */
    w->a->ops->guard_testament(guard, &write);
    w->a->ops->guard_testament(guard, &write);
    assert_string_equal(decision_after(w, "e/1"), "mine");                   /* not before the end */
    assert_int_equal(w->a->ops->guard_renew(guard, 5000, &ttl_ms, &err), 0); /* nor by a renewal */
    assert_string_equal(decision_after(w, "e/2"), "mine");
    assert_int_equal(w->a->ops->guard_end(guard, 5000, &err), 0);
    wait_key(w->b, 0, "e/bound", false);
    assert_string_equal(decision_after(w, "e/3"), "theirs");
    expect_refused(renewal(w->a, session), BATON_LOST);
    w->a->ops->guard_close(guard);
}

static void test_a_testament_that_is_late_has_no_effect_and_the_session_ends(void **state)
{
    struct world *w = *state;
    struct baton_error err = {0};
    uint64_t session;
    struct baton_engine_guard *guard = guard_of_new(w, &session);
    expect_done(put(w->a, "e/decision", "mine", 0, 0));
    struct baton_write write = {
        .kind = BATON_WRITE_PUT, .key = "e/decision", .value = "late", .if_revision = w->a->reply.revision};
    w->a->ops->guard_testament(guard, &write);
    expect_done(put(w->a, "e/decision", "somebody's", 0, BATON_REVISION_ANY));
    assert_int_equal(w->a->ops->guard_end(guard, 5000, &err), 0);
    wait_key(w->b, 0, "e/bound", false);
    assert_string_equal(decision_after(w, "e/1"), "somebody's");
    w->a->ops->guard_close(guard);
}

static const struct CMUnitTest tests[] = {
    T(test_a_guard_ends_the_session),
    T(test_a_guard_renews_the_session),
    T(test_a_guard_renews_no_session_that_was_ended),
};

const struct part part_guards = PART(tests, NEEDS_NOTHING);

static const struct CMUnitTest tests_of_testaments[] = {
    T(test_a_guard_writes_the_testament_and_ends_the_session),
    T(test_a_testament_that_is_late_has_no_effect_and_the_session_ends),
};

const struct part part_testaments = PART(tests_of_testaments, NEEDS_TESTAMENTS);
