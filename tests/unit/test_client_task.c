/* test_client_task.c: stories of clients that want a task done once, told with the library as a program uses it. */
#include "client_stage.h"

#include <stdio.h>

static struct baton_task *want_as(struct baton *b, const char *key, const struct baton_task_options *options)
{
    struct baton_task *task;
    struct baton_error err;
    if (baton_once(b, key, options, &task, &err) < 0)
        fail_msg("%s", err.text);
    return task;
}

static struct baton_task *want(struct baton *b)
{
    return want_as(b, "migrate", NULL);
}

static uint64_t expect_begin(struct baton *b, const struct baton_task *task)
{
    struct baton_event event = stage_expect(b, NULL, BATON_BEGIN);
    uint64_t token = 0;
    assert_ptr_equal(event.task, task);
    assert_null(event.election);
    assert_null(event.lock);
    assert_true(baton_works(task, &token));
    assert_int_equal(token, event.term);
    return token;
}

static void expect_outcome(struct baton *b, const struct baton_task *task, enum baton_code code, const char *word)
{
    struct baton_event event = stage_expect(b, NULL, BATON_OUTCOME);
    assert_ptr_equal(event.task, task);
    if (event.code != code || strstr(event.text, word) == NULL)
        fail_msg("%s '%s' is not %s '%s'", baton_code_name(event.code), event.text, baton_code_name(code), word);
    assert_false(baton_works(task, NULL));
}

static void done(struct baton_task *task, int32_t status)
{
    const struct baton_task_result result = {.status = status};
    baton_done(task, &result);
}

static struct baton_task_status *status_of(const struct baton_task *task)
{
    struct baton_task_status *status;
    size_t count;
    assert_int_equal(baton_task_status(task, &status, &count, NULL), 0);
    assert_int_equal(count, 1);
    return status;
}

static void assert_state(const struct baton_task *task, enum baton_task_state state, uint32_t attempt)
{
    struct baton_task_status *status = status_of(task);
    assert_string_equal(baton_task_state_name(status->state), baton_task_state_name(state));
    assert_int_equal(status->attempt, attempt);
    baton_task_status_free(status, 1);
}

/* Until `count` want it beside the worker. */
static void wait_waiting(struct baton *b, const struct baton_task *task, size_t count)
{
    for (;;) {
        struct baton_task_status *status = status_of(task);
        bool all = status->waiting == count;
        baton_task_status_free(status, 1);
        if (all)
            return;
        stage_wait(b, NULL, BATON_CHANGED);
    }
}

static uint64_t revision_of(struct baton *b)
{
    struct baton_task *all;
    struct baton_task_status *status;
    size_t count;
    assert_int_equal(baton_observe_task(b, "probe", &all, NULL), 0);
    while (!baton_task_known(all))
        stage_wait(b, NULL, BATON_CHANGED);
    assert_int_equal(baton_task_status(all, &status, &count, NULL), 0);
    uint64_t revision = status->revision;
    baton_task_status_free(status, count);
    baton_task_free(all);
    return revision;
}

static void test_the_first_does_it_and_all_are_told_the_same(void **state)
{
    struct baton *a = stage_open(*state, "a", 0), *b = stage_open(*state, "b", 0);
    const struct baton_task_result result = {.status = 0, .out = "three tables\n", .out_size = 13};
    struct baton_task *ta = want(a);
    assert_true(expect_begin(a, ta) > 0);
    struct baton_task *tb = want(b);
    wait_waiting(b, tb, 1);
    stage_expect_nothing(b);
    assert_state(tb, BATON_TASK_RUNNING, 1);
    baton_done(ta, &result);
    expect_outcome(a, ta, BATON_OK, "");
    expect_outcome(b, tb, BATON_OK, "");
    struct baton_task_status *status = status_of(tb);
    assert_int_equal(status->state, BATON_TASK_DONE);
    assert_string_equal(status->id, "a");
    assert_string_equal(status->out.bytes, "three tables\n");
    assert_null(status->err.bytes);
    assert_true(status->ended_wall_ms >= status->since_wall_ms && status->since_wall_ms > 0);
    baton_task_status_free(status, 1);
    baton_close(a);
    baton_close(b);
}

static void test_of_what_is_done_one_read_tells_and_nothing_is_written(void **state)
{
    struct baton *a = stage_open(*state, "a", 0);
    struct baton_task *ta = want(a);
    expect_begin(a, ta);
    done(ta, 7);
    expect_outcome(a, ta, BATON_OK, "");
    baton_close(a);
    struct baton *probe = stage_open(*state, "probe", 0), *b = stage_open(*state, "b", 0);
    uint64_t before = revision_of(probe);
    struct baton_task *tb = want(b);
    struct baton_event event;
    do
        event = stage_expect(b, NULL, BATON_OUTCOME);
    while (event.kind != BATON_OUTCOME);
    assert_state(tb, BATON_TASK_FAILED, 1);
    while (baton_next(b, &event))
        assert_int_not_equal(event.kind, BATON_SESSION);
    baton_close(b);
    assert_int_equal(revision_of(probe), before);
    baton_close(probe);
}

static void test_a_failure_is_taken_up_again_by_the_next(void **state)
{
    struct baton *a = stage_open(*state, "a", 0), *b = stage_open(*state, "b", 0);
    const struct baton_task_options options = {.retries = 2};
    struct baton_task *ta = want_as(a, "migrate", &options);
    uint64_t first = expect_begin(a, ta);
    struct baton_task *tb = want_as(b, "migrate", &options);
    wait_waiting(b, tb, 1);
    done(ta, 1);
    uint64_t second = expect_begin(b, tb);
    assert_true(second > first);
    wait_waiting(b, tb, 1); /* it waits at the end of the queue now */
    done(tb, 2);
    uint64_t third = expect_begin(a, ta);
    assert_true(third > second);
    done(ta, 3);
    expect_outcome(a, ta, BATON_OK, "");
    expect_outcome(b, tb, BATON_OK, "");
    struct baton_task_status *status = status_of(tb);
    assert_int_equal(status->state, BATON_TASK_FAILED);
    assert_int_equal(status->status, 3);
    assert_int_equal(status->attempt, 3);
    baton_task_status_free(status, 1);
    baton_close(a);
    baton_close(b);
}

static void test_a_retry_waits_for_its_time(void **state)
{
    struct baton *a = stage_open(*state, "a", 0);
    const struct baton_task_options options = {.retries = 1, .retry_after_ms = 300};
    struct baton_task *task = want_as(a, "migrate", &options);
    expect_begin(a, task);
    int64_t failed_ms = baton_now_ms();
    done(task, 1);
    expect_begin(a, task);
    assert_true(baton_now_ms() - failed_ms >= 299);
    done(task, 0);
    expect_outcome(a, task, BATON_OK, "");
    assert_state(task, BATON_TASK_DONE, 2);
    baton_close(a);
}

static void test_who_gives_up_leaves_it_lost_unless_all_allow_it_to_be_begun_again(void **state)
{
    const struct baton_task_options again = {.at_least_once = true};
    struct baton *a = stage_open(*state, "a", 0), *b = stage_open(*state, "b", 0);
    struct baton_task *ta = want(a), *tb;
    expect_begin(a, ta);
    tb = want_as(b, "migrate", &again); /* the first one does not allow it */
    wait_waiting(b, tb, 1);
    baton_give_up(ta);
    expect_outcome(b, tb, BATON_OK, "");
    assert_state(tb, BATON_TASK_LOST, 1);
    baton_close(a);
    a = stage_open(*state, "a", 0);
    ta = want_as(a, "ingest", &again);
    expect_begin(a, ta);
    struct baton_task *again_b = want_as(b, "ingest", &again);
    wait_waiting(b, again_b, 1);
    baton_close(a); /* as a program that ends in the middle */
    expect_begin(b, again_b);
    done(again_b, 0);
    expect_outcome(b, again_b, BATON_OK, "");
    assert_state(again_b, BATON_TASK_DONE, 2);
    baton_close(b);
}

static void test_a_worker_whose_stop_takes_longer_keeps_the_task(void **state)
{
    const struct baton_task_options options = {.stop_ms = 1400};
    struct baton *a = stage_open(*state, "a", 3000), *b = stage_open(*state, "b", 0);
    struct baton_task *ta = want_as(a, "report", &options), *tb;
    expect_begin(a, ta);
    assert_false(baton_task_stop_takes(ta, 1000));
    tb = want_as(b, "report", NULL);
    wait_waiting(b, tb, 1);
    uint64_t request = baton_forget(tb, true, STAGE_LIMIT_MS);
    assert_ptr_equal(stage_expect(a, NULL, BATON_STOP).task, ta);
    assert_true(baton_task_stop_takes(ta, 600000));
    assert_int_equal(stage_expect(b, NULL, BATON_REPLY).request, request);
    stage_wait_until(baton_now_ms() + 4500);
    stage_expect_nothing(a);
    stage_expect_nothing(b);
    baton_give_up(ta);
    expect_begin(b, tb);
    baton_close(a);
    baton_close(b);
}

static void test_who_only_tries_or_waits_in_vain_is_told_who_does_it(void **state)
{
    struct baton *a = stage_open(*state, "alpha", 0), *b = stage_open(*state, "b", 0);
    struct baton_task *ta = want(a);
    expect_begin(a, ta);
    const struct baton_task_options try = {.try_only = true}, wait = {.wait_ms = 200};
    struct baton_task *tb = want_as(b, "migrate", &try);
    expect_outcome(b, tb, BATON_CONFLICT, "alpha");
    baton_task_free(tb);
    do { /* its name is free again a moment later */
        struct baton_error err;
        if (baton_once(b, "migrate", &wait, &tb, &err) == 0)
            break;
        assert_code(err, BATON_CONFLICT);
    } while (true);
    expect_outcome(b, tb, BATON_TIMEOUT, "alpha");
    done(ta, 0);
    expect_outcome(a, ta, BATON_OK, "");
    baton_close(a);
    baton_close(b);
}

static void test_one_key_is_not_for_two_things(void **state)
{
    const struct baton_task_options this = {.what = "./migrate v1"}, other = {.what = "./migrate v2"};
    struct baton *a = stage_open(*state, "a", 0), *b = stage_open(*state, "b", 0);
    struct baton_task *ta = want_as(a, "migrate", &this);
    expect_begin(a, ta);
    struct baton_task *tb = want_as(b, "migrate", &other);
    expect_outcome(b, tb, BATON_INVALID, "./migrate v1");
    done(ta, 0);
    expect_outcome(a, ta, BATON_OK, "");
    struct baton *c = stage_open(*state, "c", 0), *d = stage_open(*state, "d", 0);
    expect_outcome(c, want_as(c, "migrate", &other), BATON_INVALID, "./migrate v2");
    expect_outcome(d, want(d), BATON_OK, ""); /* it does not say */
    baton_close(a);
    baton_close(b);
    baton_close(c);
    baton_close(d);
}

static void test_a_result_expires(void **state)
{
    const struct baton_task_options options = {.expire_ms = 50};
    struct baton *a = stage_open(*state, "a", 0), *b = stage_open(*state, "b", 0);
    struct baton_task *ta = want_as(a, "migrate", &options);
    expect_begin(a, ta);
    done(ta, 0);
    expect_outcome(a, ta, BATON_OK, "");
    stage_wait_until(baton_now_ms() + 60);
    struct baton_task_status *status = status_of(ta);
    assert_true(status->expired);
    assert_int_equal(status->expires_wall_ms, status->ended_wall_ms + 50);
    baton_task_status_free(status, 1);
    struct baton_task *tb = want_as(b, "migrate", &options);
    expect_begin(b, tb);
    done(tb, 0);
    expect_outcome(b, tb, BATON_OK, "");
    assert_state(tb, BATON_TASK_DONE, 1);
    baton_close(a);
    baton_close(b);
}

static void expect_reply(struct baton *b, uint64_t request, enum baton_code code)
{
    struct baton_event event = stage_wait(b, NULL, BATON_REPLY);
    assert_int_equal(event.request, request);
    assert_int_equal(event.code, code);
}

static void test_only_what_has_expired_is_forgotten_as_expired(void **state)
{
    struct baton_task_options options;
    baton_task_options_init(&options);
    assert_int_equal(options.expire_ms, UINT64_C(400) * 86400 * 1000);
    struct baton *a = stage_open(*state, "a", 0);
    struct baton_task *kept = want_as(a, "kept", &options);
    expect_begin(a, kept);
    expect_reply(a, baton_forget_expired(kept, 5000), BATON_CONFLICT); /* it is being done */
    done(kept, 0);
    expect_outcome(a, kept, BATON_OK, "");
    expect_reply(a, baton_forget_expired(kept, 5000), BATON_CONFLICT);
    options.expire_ms = 500;
    struct baton_task *old = want_as(a, "old", &options);
    expect_begin(a, old);
    done(old, 0);
    expect_outcome(a, old, BATON_OK, "");
    stage_wait_until(baton_now_ms() + 510);
    expect_reply(a, baton_forget_expired(old, 5000), BATON_OK);
    expect_reply(a, baton_forget_expired(old, 5000), BATON_NOT_FOUND);
    baton_close(a);
}

static void test_a_key_is_any_text(void **state)
{
    struct baton *a = stage_open(*state, "a", 0);
    struct baton_error err;
    struct baton_task *all, *task;
    static const char *const keys[] = {"2026-11-23/invoices", "50% of it", "Straße.csv", "a", "a/b"};
    char long_key[BATON_NAME_MAX + 2];
    assert_int_equal(baton_observe_task(a, NULL, &all, NULL), 0);
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        task = want_as(a, keys[i], NULL);
        assert_string_equal(baton_task_key(task), keys[i]);
        expect_begin(a, task);
        done(task, 0);
        expect_outcome(a, task, BATON_OK, "");
    }
    size_t count = 0;
    struct baton_task_status *status = NULL;
    for (;;) {
        assert_int_equal(baton_task_status(all, &status, &count, NULL), 0);
        bool settled = count == COUNT_OF(keys);
        for (size_t i = 0; settled && i < count; i++)
            settled = status[i].state == BATON_TASK_DONE;
        if (settled)
            break;
        baton_task_status_free(status, count);
        stage_wait(a, NULL, BATON_CHANGED);
    }
    for (size_t i = 0; i < count; i++)
        assert_string_equal(status[i].key, keys[i]); /* in order */
    baton_task_status_free(status, count);
    memset(long_key, 'k', sizeof(long_key));
    long_key[sizeof(long_key) - 1] = '\0';
    assert_int_equal(baton_once(a, "", NULL, &task, &err), -1);
    assert_code(err, BATON_INVALID);
    assert_int_equal(baton_once(a, long_key, NULL, &task, &err), -1);
    assert_non_null(strstr(err.text, "129 bytes"));
    assert_int_equal(baton_once(a, "tab\there", NULL, &task, &err), -1);
    assert_non_null(strstr(err.text, "byte 4 is a control character"));
    assert_int_equal(baton_once(a,
                                "Stra\xdf"
                                "e",
                                NULL, &task, &err),
                     -1);
    assert_non_null(strstr(err.text, "byte 5 is not UTF-8"));
    baton_close(a);
}

static void test_outputs_of_any_bytes_are_kept_up_to_a_limit(void **state)
{
    struct baton *a = stage_open(*state, "a", 0);
    static char noise[3 * BATON_TASK_OUTPUT_MAX];
    for (size_t i = 0; i < sizeof(noise); i++)
        noise[i] = (char)(i * 7 + i / 256);
    for (size_t size = 0; size < 6; size++) { /* every length of the last group of base64, and none at all */
        char key[16];
        snprintf(key, sizeof(key), "t%zu", size);
        struct baton_task *task = want_as(a, key, NULL);
        size_t big = sizeof(noise) - size;
        const struct baton_task_result result = {
            .out = noise, .out_size = big, .err = "\xff\x00\x01\xfe!", .err_size = size};
        expect_begin(a, task);
        baton_done(task, &result);
        expect_outcome(a, task, BATON_OK, "");
        struct baton_task_status *status = status_of(task);
        assert_int_equal(status->out.size, BATON_TASK_OUTPUT_MAX);
        assert_int_equal(status->out.left_out, big - BATON_TASK_OUTPUT_MAX);
        assert_memory_equal(status->out.bytes, noise + big - BATON_TASK_OUTPUT_MAX, BATON_TASK_OUTPUT_MAX);
        assert_int_equal(status->err.size, size);
        assert_memory_equal(status->err.bytes, result.err, size);
        assert_int_equal(status->err.left_out, 0);
        baton_task_status_free(status, 1);
    }
    baton_close(a);
}

static void wait_state(struct baton *b, const struct baton_task *task, enum baton_task_state state)
{
    for (;;) {
        struct baton_task_status *status = status_of(task);
        bool there = status->state == state;
        baton_task_status_free(status, 1);
        if (there)
            return;
        stage_wait(b, NULL, BATON_CHANGED);
    }
}

static struct baton_event forget(struct baton *b, struct baton_task *task, bool force)
{
    uint64_t request = baton_forget(task, force, 5000);
    struct baton_event event;
    do
        event = stage_wait(b, NULL, BATON_REPLY);
    while (event.request != request);
    return event;
}

static void test_what_is_forgotten_may_be_done_again(void **state)
{
    struct baton *a = stage_open(*state, "alpha", 0), *b = stage_open(*state, "b", 0);
    struct baton_task *seen;
    assert_int_equal(baton_observe_task(b, "migrate", &seen, NULL), 0);
    assert_code(forget(b, seen, false), BATON_NOT_FOUND);
    struct baton_task *ta = want(a);
    expect_begin(a, ta);
    wait_state(b, seen, BATON_TASK_RUNNING);
    struct baton_event event = forget(b, seen, false);
    assert_code(event, BATON_CONFLICT);
    assert_non_null(strstr(event.text, "alpha"));
    done(ta, 0);
    expect_outcome(a, ta, BATON_OK, "");
    baton_task_free(ta);
    wait_state(b, seen, BATON_TASK_DONE);
    assert_code(forget(b, seen, false), BATON_OK);
    baton_close(a);
    a = stage_open(*state, "alpha", 0);
    const struct baton_task_options options = {.stop_ms = 500};
    ta = want_as(a, "migrate", &options);
    expect_begin(a, ta);
    wait_state(b, seen, BATON_TASK_RUNNING);
    assert_code(forget(b, seen, true), BATON_OK);
    event = stage_expect(a, NULL, BATON_STOP);
    assert_ptr_equal(event.task, ta);
    assert_false(baton_works(ta, NULL));
    baton_give_up(ta);
    expect_outcome(a, ta, BATON_LOST, "removed");
    baton_close(a);
    baton_close(b);
}

/* Nobody else wants it, so nobody has said that it is lost. */
static void test_a_result_is_recorded_after_the_session_too(void **state)
{
    const struct stage *stage = *state;
    struct baton_options options;
    struct baton *a;
    baton_options_init(&options);
    options.url = stage->url;
    options.id = "a";
    options.ttl_ms = 4000;
    options.watchdog_ms = 2000;
    assert_int_equal(baton_open(&options, &a, NULL), 0);
    const struct baton_task_options task_options = {.stop_ms = 500};
    struct baton_task *task = want_as(a, "migrate", &task_options);
    expect_begin(a, task);
    stage_wait(a, NULL, BATON_STOP); /* it does not say that it is alive */
    stage_wait(a, NULL, BATON_LOST_SESSION);
    done(task, 0);
    expect_outcome(a, task, BATON_OK, "");
    assert_state(task, BATON_TASK_DONE, 1);
    baton_close(a);
}

static void test_a_client_that_closes_after_done_has_recorded_it(void **state)
{
    struct baton *a = stage_open(*state, "a", 0), *b = stage_open(*state, "b", 0);
    struct baton_task *ta = want(a);
    expect_begin(a, ta);
    done(ta, 0);
    baton_task_free(ta);
    baton_close(a);
    struct baton_task *tb = want(b);
    expect_outcome(b, tb, BATON_OK, "");
    assert_state(tb, BATON_TASK_DONE, 1);
    baton_close(b);
}

static void test_what_cannot_be_is_refused(void **state)
{
    struct baton *a = stage_open(*state, "a", 0);
    struct baton_error err;
    struct baton_task *task, *other;
    char what[BATON_TASK_WHAT_MAX + 2];
    memset(what, 'w', sizeof(what));
    what[sizeof(what) - 1] = '\0';
    const struct baton_task_options long_what = {.what = what}, long_stop = {.stop_ms = STAGE_TTL_MS};
    assert_int_equal(baton_once(a, "x", &long_what, &task, &err), -1);
    assert_code(err, BATON_INVALID);
    assert_int_equal(baton_once(a, "x", &long_stop, &task, &err), -1);
    assert_code(err, BATON_INVALID);
    task = want(a);
    assert_int_equal(baton_once(a, "migrate", NULL, &other, &err), -1);
    assert_code(err, BATON_CONFLICT);
    expect_begin(a, task);
    done(task, 0);
    done(task, 1); /* twice is once */
    expect_outcome(a, task, BATON_OK, "");
    assert_state(task, BATON_TASK_DONE, 1);
    baton_close(a);
}

int main(int argc, char **argv)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, stage_setup, stage_teardown)
    const struct CMUnitTest tests[] = {
        STORY(test_the_first_does_it_and_all_are_told_the_same),
        STORY(test_of_what_is_done_one_read_tells_and_nothing_is_written),
        STORY(test_a_failure_is_taken_up_again_by_the_next),
        STORY(test_a_retry_waits_for_its_time),
        STORY(test_who_gives_up_leaves_it_lost_unless_all_allow_it_to_be_begun_again),
        STORY(test_a_worker_whose_stop_takes_longer_keeps_the_task),
        STORY(test_who_only_tries_or_waits_in_vain_is_told_who_does_it),
        STORY(test_one_key_is_not_for_two_things),
        STORY(test_a_result_expires),
        STORY(test_only_what_has_expired_is_forgotten_as_expired),
        STORY(test_a_key_is_any_text),
        STORY(test_outputs_of_any_bytes_are_kept_up_to_a_limit),
        STORY(test_what_is_forgotten_may_be_done_again),
        STORY(test_a_result_is_recorded_after_the_session_too),
        STORY(test_a_client_that_closes_after_done_has_recorded_it),
        STORY(test_what_cannot_be_is_refused),
    };
    stage_engine(argc, argv);
    return cmocka_run_group_tests_name(argc > 1 ? argv[1] : "local", tests, NULL, NULL);
}
