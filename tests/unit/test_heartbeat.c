/* test_heartbeat.c: a process stands still between two instructions, and goes on when the slot is another session's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/local/heartbeat.h"

#define TTL_MS 1000
#define OLD 7
#define NEW 8
#define CONGRUENT (OLD + 65536) /* the same low bits */

static void test_a_renewal_is_seen_and_a_late_one_is_refused(void **state)
{
    struct heartbeat at = {0};
    heartbeat_begin(&at, OLD, TTL_MS, 5000);
    assert_int_equal(heartbeat_expires_ms(&at, OLD), 6000);
    assert_false(heartbeat_expire(&at, OLD, 5999));
    assert_true(heartbeat_renew(&at, OLD, 5999));
    assert_false(heartbeat_expire(&at, OLD, 6000));
    assert_true(heartbeat_expire(&at, OLD, 6999));
    assert_false(heartbeat_renew(&at, OLD, 6999));
    assert_int_equal(heartbeat_expires_ms(&at, OLD), 0);
    assert_true(heartbeat_expire(&at, NEW, 0)); /* who is not there is dead */
}

/* The session `next` takes the slot at `now_ms`, between the two halves of what somebody does to OLD's. */
static void taken_over(struct heartbeat *at, uint64_t next, int64_t now_ms)
{
    heartbeat_end(at, OLD);
    heartbeat_begin(at, next, TTL_MS, now_ms);
}

static void expect_untouched(struct heartbeat *at, uint64_t session, int64_t began_ms)
{
    assert_int_equal(at->session, session);
    assert_int_equal(heartbeat_expires_ms(at, session), began_ms + TTL_MS);
    assert_true(heartbeat_renew(at, session, began_ms + 10));
}

static void test_a_renewal_that_comes_late_leaves_the_next_session_alone(void **state)
{
    static const struct {
        uint64_t session;
        int64_t began_ms;
    } next[] = {{NEW, 5000}, {NEW, 5001}, {CONGRUENT, 5001}, {NEW, 90000}, {CONGRUENT, 90000}};
    for (size_t i = 0; i < sizeof(next) / sizeof(next[0]); i++) {
        struct heartbeat at = {0};
        struct heartbeat_seen seen;
        heartbeat_begin(&at, OLD, TTL_MS, 5000);
        assert_true(heartbeat_read(&at, OLD, &seen));
        taken_over(&at, next[i].session, next[i].began_ms);
        assert_false(heartbeat_replace(&at, &seen, heartbeat_word(OLD, 5002))); /* a renewal, ... */
        assert_false(heartbeat_replace(&at, &seen, HEARTBEAT_DEAD));            /* ... a finding, an end */
        assert_false(heartbeat_renew(&at, OLD, 5003));
        assert_true(heartbeat_expire(&at, OLD, 99999));
        heartbeat_end(&at, OLD);
        expect_untouched(&at, next[i].session, next[i].began_ms);
    }
}

/* Two that end one session; the slower one is between the death and the giving back. */
static void test_an_end_that_comes_late_does_not_give_back_the_next_sessions_slot(void **state)
{
    struct heartbeat at = {0};
    uint64_t session = OLD;
    heartbeat_begin(&at, OLD, TTL_MS, 5000);
    taken_over(&at, NEW, 5000);
    assert_false(atomic_compare_exchange_strong(&at.session, &session, 0)); /* as heartbeat_end does */
    expect_untouched(&at, NEW, 5000);
}

/* What a reader sees in the middle of a beginning is nobody's, never one session's time with another one's ttl. */
static void test_a_slot_that_was_left_behind_is_nobodys_while_it_is_taken(void **state)
{
    struct heartbeat at = {0};
    struct heartbeat_seen seen;
    heartbeat_begin(&at, OLD, TTL_MS, 5000);
    heartbeat_begin(&at, CONGRUENT, 50, 90000);
    assert_false(heartbeat_read(&at, OLD, &seen));
    assert_true(heartbeat_read(&at, CONGRUENT, &seen));
    assert_int_equal(heartbeat_expires_ms(&at, CONGRUENT), 90050);
    heartbeat_end(&at, OLD);
    assert_int_equal(heartbeat_expires_ms(&at, CONGRUENT), 90050);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_renewal_is_seen_and_a_late_one_is_refused),
        cmocka_unit_test(test_a_renewal_that_comes_late_leaves_the_next_session_alone),
        cmocka_unit_test(test_an_end_that_comes_late_does_not_give_back_the_next_sessions_slot),
        cmocka_unit_test(test_a_slot_that_was_left_behind_is_nobodys_while_it_is_taken),
    };
    return cmocka_run_group_tests_name("heartbeat", tests, NULL, NULL);
}
