/* test_closing.c: how a client is closed, as a table: every state with every event. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/closing.h"

static void goes(enum client_state from, enum closing_event event, enum client_state to)
{
    assert_int_equal(closing_after(from, event), to);
}

static void test_everything_is_given_back_before_the_session_ends(void **state)
{
    goes(CLIENT_OPEN, CLOSING_ASKED, CLIENT_RESIGNING);
    goes(CLIENT_RESIGNING, CLOSING_RESIGNED, CLIENT_ENDING);
    goes(CLIENT_ENDING, CLOSING_END_ASKED, CLIENT_UNANSWERED);
    goes(CLIENT_UNANSWERED, CLOSING_ENDED, CLIENT_CLOSING);
    goes(CLIENT_CLOSING, CLOSING_OVER, CLIENT_CLOSED);
}

static void test_a_session_that_is_not_to_be_ended_is_left(void **state)
{
    goes(CLIENT_ENDING, CLOSING_ENDED, CLIENT_CLOSING);
}

/* Whatever is waited for: as often as the time is over, it goes on, until only the engine's own closing is left. */
static void test_no_state_waits_for_ever(void **state)
{
    for (enum client_state from = CLIENT_RESIGNING; from < CLIENT_CLOSING; from++) {
        enum client_state to = closing_after(from, CLOSING_LATE);
        assert_true(to > from && to <= CLIENT_CLOSING);
    }
    goes(CLIENT_CLOSING, CLOSING_LATE, CLIENT_CLOSING);
    goes(CLIENT_CLOSED, CLOSING_LATE, CLIENT_CLOSED);
}

static void test_nothing_goes_back(void **state)
{
    for (enum client_state from = CLIENT_OPEN; from < CLIENT_STATES; from++)
        for (enum closing_event event = CLOSING_ASKED; event < CLOSING_EVENTS; event++)
            assert_true(closing_after(from, event) >= from);
}

static void test_each_event_is_for_its_states_only(void **state)
{
    static const bool possible[CLIENT_STATES][CLOSING_EVENTS] = {
        [CLIENT_OPEN] = {[CLOSING_ASKED] = true},
        [CLIENT_RESIGNING] = {[CLOSING_RESIGNED] = true, [CLOSING_LATE] = true},
        [CLIENT_ENDING] = {[CLOSING_LATE] = true, [CLOSING_END_ASKED] = true, [CLOSING_ENDED] = true},
        [CLIENT_UNANSWERED] = {[CLOSING_LATE] = true, [CLOSING_ENDED] = true},
        [CLIENT_CLOSING] = {[CLOSING_LATE] = true, [CLOSING_OVER] = true},
        [CLIENT_CLOSED] = {[CLOSING_LATE] = true},
    };
    for (enum client_state from = CLIENT_OPEN; from < CLIENT_STATES; from++)
        for (enum closing_event event = CLOSING_ASKED; event < CLOSING_EVENTS; event++)
            assert_int_equal(closing_after(from, event) != CLIENT_STATES, possible[from][event]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_is_given_back_before_the_session_ends),
        cmocka_unit_test(test_a_session_that_is_not_to_be_ended_is_left),
        cmocka_unit_test(test_no_state_waits_for_ever),
        cmocka_unit_test(test_nothing_goes_back),
        cmocka_unit_test(test_each_event_is_for_its_states_only),
    };
    return cmocka_run_group_tests_name("closing", tests, NULL, NULL);
}
