/* test_supervise.c: the machine of one command under its guard (cli/supervise.h), with real guards and commands. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/clock.h"
#include "cli/restart.h"
#include "cli/supervise.h"

#define LIMIT_MS 20000
#define GRACE_MS 10000

struct stage {
    struct supervised it;
    struct guard_options options;
    char *argv[4];
    int signal_fd;
    int output[2]; /* what the command prints is read from output[0] */
    enum supervise_may may;
    int64_t deadline_ms;
    unsigned asked, goes, deaths;
    struct supervise_outcome outcome; /* of the last one that has become gone */
};

/* ---- the stage ---- */

static enum supervise_may may_start(void *ctx, struct guard_environment *environment, int64_t *deadline_ms)
{
    struct stage *stage = ctx;
    stage->asked++;
    *deadline_ms = stage->deadline_ms;
    return stage->may;
}

static void gone(void *ctx, const struct supervise_outcome *outcome)
{
    struct stage *stage = ctx;
    stage->goes++;
    stage->outcome = *outcome;
}

static void guard_died(void *ctx, bool hung)
{
    ((struct stage *)ctx)->deaths++;
}

static void left(void *ctx, unsigned count)
{
}

static void words(void *ctx, const char *text)
{
    print_message("%s\n", text);
}

static const struct supervise_user user = {
    .may_start = may_start, .gone = gone, .guard_died = guard_died, .left = left, .stuck = words, .trouble = words};

static int stage_setup(void **state)
{
    struct stage *stage = mem_new(sizeof(*stage));
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    stage->signal_fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    if (stage->signal_fd < 0 || pipe(stage->output) < 0)
        return -1;
    stage->options = (struct guard_options){.verb = "test", .name = "stage", .grace_ms = GRACE_MS, .slack_ms = 200};
    sigemptyset(&stage->options.signals.ignored);
    sigemptyset(&stage->options.signals.blocked);
    stage->may = SUPERVISE_YES;
    stage->deadline_ms = NEVER_MS;
    *state = stage;
    return 0;
}

static int stage_teardown(void **state)
{
    struct stage *stage = *state;
    supervise_end(&stage->it);
    close(stage->signal_fd);
    close(stage->output[0]);
    close(stage->output[1]);
    free(stage);
    return 0;
}

static void begin_program(struct stage *stage, const char *program, const char *script)
{
    struct baton_error err;
    int outputs[2] = {stage->output[1], STDERR_FILENO};
    stage->argv[0] = (char *)program;
    stage->argv[1] = (char *)"-c";
    stage->argv[2] = (char *)script;
    stage->options.argv = stage->argv;
    stage->options.outputs = outputs;
    supervise_init(&stage->it, &user, stage);
    assert_int_equal(supervise_begin(&stage->it, &stage->options, &err), 0);
}

static void begin(struct stage *stage, const char *script)
{
    begin_program(stage, "sh", script);
}

/* One turn of the loop. */
static void turn(struct stage *stage, int64_t end_ms)
{
    struct signalfd_siginfo info;
    int64_t now_ms = clock_now_ms(), wake_ms = supervise_wake_ms(&stage->it);
    struct pollfd polled[] = {{.fd = stage->it.guard.fd, .events = POLLIN}, {.fd = stage->signal_fd, .events = POLLIN}};
    if (wake_ms > end_ms)
        wake_ms = end_ms;
    (void)poll(polled, COUNT_OF(polled), wake_ms > now_ms ? (int)(wake_ms - now_ms) : 0);
    bool children = read(stage->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info);
    supervise_step(&stage->it, clock_now_ms(), children);
}

static void until(struct stage *stage, enum supervise_state state)
{
    int64_t end_ms = clock_now_ms() + LIMIT_MS;
    while (stage->it.state != state) {
        assert_true(clock_now_ms() < end_ms);
        turn(stage, end_ms);
    }
}

/* Until it has printed this letter. */
static void until_printed(struct stage *stage, char letter)
{
    struct pollfd polled = {.fd = stage->output[0], .events = POLLIN};
    char got = '\0';
    assert_int_equal(poll(&polled, 1, LIMIT_MS), 1);
    assert_int_equal(read(stage->output[0], &got, 1), 1);
    assert_int_equal(got, letter);
}

static void start(struct stage *stage)
{
    supervise_want(&stage->it, 0);
    supervise_step(&stage->it, clock_now_ms(), false);
    assert_int_equal(stage->it.state, SUPERVISE_RUNNING);
}

static void stop(struct stage *stage, int number)
{
    int64_t kill_at_ms = clock_now_ms() + GRACE_MS;
    supervise_stop(&stage->it, number, kill_at_ms, kill_at_ms + GUARD_LATE_MS);
}

/* ---- the stories ---- */

static void test_a_command_that_ends_by_itself_can_be_wanted_again(void **state)
{
    struct stage *stage = *state;
    begin(stage, "exit 7");
    for (unsigned i = 1; i <= 2; i++) {
        start(stage);
        until(stage, SUPERVISE_WAITING);
        assert_int_equal(stage->goes, i);
        assert_true(stage->outcome.exited && !stage->outcome.told && !stage->outcome.by_guard);
        assert_int_equal(WEXITSTATUS(stage->outcome.wait_status), 7);
    }
}

static void test_what_is_not_had_is_not_started(void **state)
{
    struct stage *stage = *state;
    begin(stage, "echo s");
    stage->may = SUPERVISE_MUST_NOT;
    supervise_want(&stage->it, 0);
    supervise_step(&stage->it, clock_now_ms(), false);
    assert_int_equal(stage->it.state, SUPERVISE_WAITING);
    assert_int_equal(stage->asked, 1);
    stage->may = SUPERVISE_YES;
    supervise_step(&stage->it, clock_now_ms(), false);
    assert_int_equal(stage->asked, 1); /* it is not wanted any more */
}

static void test_what_may_be_started_later_is_asked_about_when_it_is_wanted_again(void **state)
{
    struct stage *stage = *state;
    begin(stage, "exit 0");
    stage->may = SUPERVISE_LATER;
    supervise_want(&stage->it, 0);
    supervise_step(&stage->it, clock_now_ms(), false);
    assert_int_equal(stage->it.state, SUPERVISE_STARTING);
    assert_true(supervise_wake_ms(&stage->it) == NEVER_MS); /* its loop does not turn for that */
    stage->may = SUPERVISE_YES;
    supervise_step(&stage->it, clock_now_ms(), false);
    assert_int_equal(stage->it.state, SUPERVISE_STARTING);
    start(stage);
}

static void test_it_is_started_when_its_time_has_come(void **state)
{
    struct stage *stage = *state;
    begin(stage, "exit 0");
    int64_t at_ms = clock_now_ms() + 100;
    supervise_want(&stage->it, at_ms);
    until(stage, SUPERVISE_RUNNING);
    assert_true(clock_now_ms() >= at_ms);
}

static void test_a_stop_before_the_start_leaves_nothing_to_start(void **state)
{
    struct stage *stage = *state;
    begin(stage, "echo s");
    supervise_want(&stage->it, clock_now_ms());
    stop(stage, SIGTERM);
    assert_int_equal(stage->it.state, SUPERVISE_WAITING);
    supervise_step(&stage->it, clock_now_ms(), false);
    assert_int_equal(stage->asked, 0);
}

static void test_a_stop_is_sent_once(void **state)
{
    struct stage *stage = *state;
    begin(stage, "n=0; trap 'n=$((n + 1)); echo t' TERM; trap 'exit $n' USR1; echo u; while :; do sleep .01; done");
    start(stage);
    until_printed(stage, 'u');
    until_printed(stage, '\n');
    stop(stage, SIGTERM);
    until_printed(stage, 't');
    stop(stage, SIGTERM);
    assert_int_equal(stage->it.state, SUPERVISE_STOPPING);
    supervise_signal(&stage->it, SIGUSR1);
    until(stage, SUPERVISE_WAITING);
    assert_true(stage->outcome.exited && stage->outcome.told);
    assert_int_equal(WEXITSTATUS(stage->outcome.wait_status), 1);
}

static void test_a_further_stop_takes_time_from_it(void **state)
{
    struct stage *stage = *state;
    begin(stage, "trap '' TERM; echo u; while :; do sleep .01; done");
    start(stage);
    until_printed(stage, 'u');
    stop(stage, SIGTERM);
    int64_t now_ms = clock_now_ms();
    supervise_stop(&stage->it, SIGTERM, now_ms, now_ms + GUARD_LATE_MS);
    until(stage, SUPERVISE_WAITING);
    assert_int_equal(WTERMSIG(stage->outcome.wait_status), SIGKILL);
}

static void test_what_is_finished_starts_nothing_any_more(void **state)
{
    struct stage *stage = *state;
    begin(stage, "exit 0");
    supervise_want(&stage->it, 0);
    supervise_finish(&stage->it);
    assert_int_equal(stage->it.state, SUPERVISE_OVER);
    assert_int_equal(stage->goes, 0);
}

static void test_what_is_finished_while_it_runs_is_over_when_it_is_gone(void **state)
{
    struct stage *stage = *state;
    begin(stage, "exit 3");
    start(stage);
    supervise_finish(&stage->it);
    assert_int_equal(stage->it.state, SUPERVISE_RUNNING); /* that does not stop it */
    until(stage, SUPERVISE_OVER);
    assert_true(stage->outcome.exited && stage->goes == 1);
}

static void test_a_command_that_cannot_be_executed_is_gone_with_the_reason(void **state)
{
    struct stage *stage = *state;
    begin_program(stage, "/no/such/program", "");
    start(stage);
    until(stage, SUPERVISE_WAITING);
    assert_int_equal(stage->outcome.error, ENOENT);
    assert_false(stage->outcome.exited);
}

static void test_a_guard_refuses_what_comes_too_late(void **state)
{
    struct stage *stage = *state;
    begin(stage, "echo s");
    stage->deadline_ms = clock_now_ms() + 100; /* less than the slack is left */
    start(stage);
    until(stage, SUPERVISE_WAITING);
    assert_true(stage->outcome.refused && stage->outcome.by_guard && !stage->outcome.exited);
}

static void test_what_a_dead_guard_has_left_is_gone_before_it_is_over(void **state)
{
    struct stage *stage = *state;
    begin(stage, "setsid sleep 1000 & setsid sleep 1000 & echo u; exec sleep 1000");
    start(stage);
    until_printed(stage, 'u');
    kill(stage->it.guard.pid, SIGKILL);
    until(stage, SUPERVISE_OVER);
    assert_int_equal(stage->deaths, 1);
    assert_int_equal(stage->goes, 1);
    assert_false(stage->outcome.exited);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child, and so no descendant, is left */
    supervise_stop(&stage->it, SIGTERM, 0, 0);
    supervise_finish(&stage->it);
    assert_int_equal(stage->it.state, SUPERVISE_OVER);
}

static void test_a_guard_that_dies_while_nothing_runs_is_the_end(void **state)
{
    struct stage *stage = *state;
    begin(stage, "exit 0");
    supervise_want(&stage->it, clock_now_ms() + LIMIT_MS);
    kill(stage->it.guard.pid, SIGKILL);
    until(stage, SUPERVISE_OVER);
    assert_int_equal(stage->deaths, 1);
    assert_int_equal(stage->goes, 1);
    assert_int_equal(stage->asked, 0);
}

static void test_a_guard_that_hangs_is_killed(void **state)
{
    struct stage *stage = *state;
    begin(stage, "echo u; exec sleep 1000");
    start(stage);
    until_printed(stage, 'u');
    kill(stage->it.guard.pid, SIGSTOP);
    int64_t now_ms = clock_now_ms();
    supervise_stop(&stage->it, SIGTERM, now_ms, now_ms + 50);
    until(stage, SUPERVISE_OVER);
    assert_int_equal(stage->deaths, 1);
    assert_true(stage->outcome.told);
}

/* ---- what follows ---- */

static void test_what_follows_the_end_of_a_command(void **state)
{
    static const struct {
        enum restart_policy policy;
        bool unwell;
        int status;
        enum restart_next next;
    } rows[] = {
        {RESTART_NEVER, false, 0, RESTART_LEAVE},
        {RESTART_NEVER, false, 1, RESTART_LEAVE},
        {RESTART_NEVER, true, 0, RESTART_LEAVE},
        {RESTART_ON_FAILURE, false, 0, RESTART_LEAVE},
        {RESTART_ON_FAILURE, false, 143, RESTART_AGAIN},
        {RESTART_ON_FAILURE, true, 0, RESTART_STEP_DOWN},
        {RESTART_ON_FAILURE, true, 143, RESTART_STEP_DOWN},
        {RESTART_ALWAYS, false, 0, RESTART_AGAIN},
        {RESTART_ALWAYS, false, 1, RESTART_AGAIN},
        {RESTART_ALWAYS, true, 0, RESTART_STEP_DOWN},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_int_equal(restart_next(rows[i].policy, rows[i].unwell, rows[i].status), rows[i].next);
}

static void test_a_back_off_doubles_up_to_its_limit(void **state)
{
    struct backoff backoff = {0};
    static const int64_t waits[] = {100, 200, 400, 800, 1600, 3200, 5000, 5000};
    for (size_t i = 0; i < COUNT_OF(waits); i++)
        assert_int_equal(backoff_take(&backoff), waits[i]);
    backoff_reset(&backoff);
    assert_int_equal(backoff_take(&backoff), 100);
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, stage_setup, stage_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(test_a_command_that_ends_by_itself_can_be_wanted_again),
        STORY(test_what_is_not_had_is_not_started),
        STORY(test_what_may_be_started_later_is_asked_about_when_it_is_wanted_again),
        STORY(test_it_is_started_when_its_time_has_come),
        STORY(test_a_stop_before_the_start_leaves_nothing_to_start),
        STORY(test_a_stop_is_sent_once),
        STORY(test_a_further_stop_takes_time_from_it),
        STORY(test_what_is_finished_starts_nothing_any_more),
        STORY(test_what_is_finished_while_it_runs_is_over_when_it_is_gone),
        STORY(test_a_command_that_cannot_be_executed_is_gone_with_the_reason),
        STORY(test_a_guard_refuses_what_comes_too_late),
        STORY(test_what_a_dead_guard_has_left_is_gone_before_it_is_over),
        STORY(test_a_guard_that_dies_while_nothing_runs_is_the_end),
        STORY(test_a_guard_that_hangs_is_killed),
        cmocka_unit_test(test_what_follows_the_end_of_a_command),
        cmocka_unit_test(test_a_back_off_doubles_up_to_its_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
