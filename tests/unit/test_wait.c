/* test_wait.c: "somebody else has it" and "nobody can tell" are two answers, of the core. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "core/lock/lock.h"
#include "core/task/task.h"

#define BEGIN_MS 1000
#define WAIT_MS 500
#define ANSWER_MS 3000

struct asking {
    struct core *core;
    struct contest *contest;
    struct update todo;
    bool over; /* told by the last step: */
    enum baton_code code;
    char text[BATON_ERROR_TEXT];
};

static void step(struct asking *asking, int64_t at_ms, enum event_kind kind, const struct baton_reply *reply)
{
    struct event event = {.kind = kind, .now_ms = BEGIN_MS + at_ms, .wall_ms = 1, .reply = reply};
    update_clear(&asking->todo);
    core_step(asking->core, &event, &asking->todo);
    asking->over = false;
    for (size_t i = 0; i < asking->todo.count; i++) {
        const struct action *action = &asking->todo.actions[i];
        if (action->kind != ACTION_TELL || action->tell != TELL_OUTCOME)
            continue;
        asking->over = true;
        asking->code = action->code;
        text_copy(asking->text, sizeof(asking->text), action->text);
    }
}

static void trouble(struct asking *asking, int64_t at_ms, enum baton_code code)
{
    struct baton_reply reply = {.error = {.code = code, .text = "nobody is at home"}};
    step(asking, at_ms, EVENT_TROUBLE, &reply);
}

static void ask(struct asking *asking, enum contest_kind kind, bool try_only)
{
    *asking = (struct asking){.core = core_new(&(struct core_options){
                                  .id = "a", .address = "", .host = "h", .ttl_ms = 60000, .step_ms = 10})};
    update_init(&asking->todo);
    asking->contest = core_observe(asking->core, kind, "x", NULL, NULL);
    struct task_options task = {.what = "",
                                .queue = {.slots = 1,
                                          .try_only = try_only,
                                          .until_ms = BEGIN_MS + (try_only ? ANSWER_MS : WAIT_MS),
                                          .answer_ms = BEGIN_MS + ANSWER_MS}};
    int result = kind == CONTEST_LOCK ? core_queue(asking->core, asking->contest, &task.queue, NULL)
                                      : core_once(asking->core, asking->contest, &task, NULL);
    assert_int_equal(result, 0);
    step(asking, 0, EVENT_TICK, NULL);
    assert_false(asking->over);
}

static void done(struct asking *asking)
{
    update_release(&asking->todo);
    core_free(asking->core);
}

static const enum contest_kind kinds[] = {CONTEST_LOCK, CONTEST_TASK};

static void test_a_try_ends_when_the_engine_is_away(void **state)
{
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        struct asking asking;
        ask(&asking, kinds[i], true);
        trouble(&asking, 1, BATON_UNAVAILABLE);
        assert_true(asking.over);
        assert_int_equal(asking.code, BATON_UNAVAILABLE);
        assert_non_null(strstr(asking.text, "nobody is at home"));
        done(&asking);
    }
}

static void test_a_wait_outlives_a_trouble_and_ends_with_its_words(void **state)
{
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        struct asking asking;
        ask(&asking, kinds[i], false);
        trouble(&asking, 1, BATON_DENIED);
        assert_false(asking.over);
        step(&asking, WAIT_MS - 1, EVENT_TICK, NULL);
        assert_false(asking.over);
        step(&asking, WAIT_MS, EVENT_TICK, NULL);
        assert_true(asking.over);
        assert_int_equal(asking.code, BATON_DENIED);
        done(&asking);
    }
}

static void test_an_engine_that_is_silent_has_time_to_answer(void **state)
{
    for (size_t i = 0; i < 2 * COUNT_OF(kinds); i++) {
        struct asking asking;
        ask(&asking, kinds[i / 2], i % 2 == 0);
        trouble(&asking, 1, BATON_OK);
        step(&asking, ANSWER_MS - 1, EVENT_TICK, NULL);
        assert_false(asking.over);
        step(&asking, ANSWER_MS, EVENT_TICK, NULL);
        assert_true(asking.over);
        assert_int_equal(asking.code, BATON_UNAVAILABLE);
        assert_non_null(strstr(asking.text, "does not answer"));
        done(&asking);
    }
}

static void test_an_engines_own_words_are_never_taken_for_a_conflict(void **state)
{
    static const enum baton_code codes[] = {BATON_CONFLICT, BATON_TIMEOUT, BATON_LOST};
    for (size_t i = 0; i < COUNT_OF(codes); i++) {
        struct asking asking;
        ask(&asking, kinds[i % 2], true);
        trouble(&asking, 1, codes[i]);
        assert_true(asking.over);
        assert_int_equal(asking.code, BATON_UNAVAILABLE);
        done(&asking);
    }
}

static void test_a_session_that_is_refused_ends_a_try(void **state)
{
    struct asking asking;
    ask(&asking, CONTEST_LOCK, true);
    struct baton_reply reply = {.answer = BATON_ANSWER_REFUSED, .error = {.code = BATON_FULL, .text = "no room"}};
    struct event event = {.kind = EVENT_SESSION_OPENED, .now_ms = BEGIN_MS + 1, .wall_ms = 1, .reply = &reply};
    for (size_t i = 0; i < asking.todo.count; i++)
        if (asking.todo.actions[i].kind == ACTION_SESSION_OPEN)
            event.ticket = asking.todo.actions[i].ticket;
    update_clear(&asking.todo);
    core_step(asking.core, &event, &asking.todo);
    bool told = false;
    for (size_t i = 0; i < asking.todo.count; i++)
        told = told || (asking.todo.actions[i].kind == ACTION_TELL && asking.todo.actions[i].tell == TELL_OUTCOME &&
                        asking.todo.actions[i].code == BATON_FULL);
    assert_true(told);
    done(&asking);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_try_ends_when_the_engine_is_away),
        cmocka_unit_test(test_a_wait_outlives_a_trouble_and_ends_with_its_words),
        cmocka_unit_test(test_an_engine_that_is_silent_has_time_to_answer),
        cmocka_unit_test(test_an_engines_own_words_are_never_taken_for_a_conflict),
        cmocka_unit_test(test_a_session_that_is_refused_ends_a_try),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
