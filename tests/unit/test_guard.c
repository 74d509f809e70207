/* test_guard.c: a guard and its commands, without a supervisor's command line: this process is the supervisor, and the
 * commands are shell scripts in a folder of their own. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/clock.h"
#include "process/guard.h"

#define LIMIT_MS 20000
#define GRACE_MS 10000
#define SLACK_MS 200

struct stage {
    char folder[PATH_MAX];
    struct guard guard;
    struct guard_options options;
    struct guard_message message;
    struct guard_environment environment;
    char *argv[5];
};

/* ---- the stage ---- */

static int stage_setup(void **state)
{
    struct stage *stage = mem_new(sizeof(*stage));
    const char *tmp = getenv("TMPDIR");
    snprintf(stage->folder, sizeof(stage->folder), "%s/baton-guard-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(stage->folder) == NULL || chdir(stage->folder) < 0)
        return -1;
    stage->options =
        (struct guard_options){.verb = "test", .name = "stage", .grace_ms = GRACE_MS, .slack_ms = SLACK_MS};
    sigemptyset(&stage->options.ignored);
    snprintf(stage->environment.name, sizeof(stage->environment.name), "stage");
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    *state = stage;
    return 0;
}

static int stage_teardown(void **state)
{
    struct stage *stage = *state;
    guard_bye(&stage->guard);
    char *command = mem_format("rm -rf '%s'", stage->folder);
    int status = chdir("/") < 0 || system(command) != 0;
    free(command);
    free(stage);
    return status;
}

/* A guard whose command is this script. */
static void start(struct stage *stage, const char *script)
{
    struct baton_error err;
    stage->argv[0] = (char *)"sh";
    stage->argv[1] = (char *)"-c";
    stage->argv[2] = (char *)script;
    stage->options.argv = stage->argv;
    assert_int_equal(guard_start(&stage->guard, &stage->options, &err), 0);
}

static void spawn(struct stage *stage, int64_t deadline_ms)
{
    guard_spawn(&stage->guard, &stage->environment, deadline_ms);
}

/* What it says next. */
static enum guard_news next(struct stage *stage)
{
    int64_t end_ms = clock_now_ms() + LIMIT_MS;
    while (guard_next(&stage->guard, &stage->message) == GUARD_NOTHING) {
        int64_t now_ms = clock_now_ms(), wake_ms = guard_wake_ms(&stage->guard);
        int64_t until_ms = wake_ms < end_ms ? wake_ms : end_ms;
        struct pollfd polled = {.fd = stage->guard.fd, .events = POLLIN};
        assert_true(now_ms < end_ms);
        (void)poll(&polled, 1, until_ms > now_ms ? (int)(until_ms - now_ms) : 0);
        guard_on_time(&stage->guard, clock_now_ms());
    }
    return stage->message.news;
}

static bool exists(const char *name)
{
    return access(name, F_OK) == 0;
}

/* ---- the start ---- */

static void test_a_command_runs_and_its_status_is_told(void **state)
{
    struct stage *stage = *state;
    start(stage, "exit 7");
    spawn(stage, NEVER_MS);
    assert_int_equal(next(stage), GUARD_EXITED);
    assert_true(WIFEXITED(stage->message.status));
    assert_int_equal(WEXITSTATUS(stage->message.status), 7);
    assert_int_equal(stage->message.left, 0);
    assert_int_equal(next(stage), GUARD_GONE);
    assert_false(stage->message.by_guard);
}

static void test_a_command_that_cannot_be_run_is_told(void **state)
{
    struct stage *stage = *state;
    start(stage, "");
    guard_bye(&stage->guard);
    stage->argv[0] = (char *)"there-is-no-such-command";
    struct baton_error err;
    assert_int_equal(guard_start(&stage->guard, &stage->options, &err), 0);
    spawn(stage, NEVER_MS);
    assert_int_equal(next(stage), GUARD_FAILED);
    assert_int_equal(stage->message.error, ENOENT);
}

static void test_no_command_is_started_for_a_session_that_is_over(void **state)
{
    struct stage *stage = *state;
    start(stage, "echo ran >>ran");
    guard_deadline(&stage->guard, clock_now_ms() - 1);
    spawn(stage, clock_now_ms() - 1);
    assert_int_equal(next(stage), GUARD_REFUSED);
    spawn(stage, clock_now_ms() + SLACK_MS - 1); /* nor when there is no time left to end it */
    assert_int_equal(next(stage), GUARD_REFUSED);
    assert_false(exists("ran"));
    guard_deadline(&stage->guard, clock_now_ms() + LIMIT_MS);
    spawn(stage, clock_now_ms() + LIMIT_MS);
    assert_int_equal(next(stage), GUARD_EXITED);
    assert_int_equal(next(stage), GUARD_GONE);
    assert_true(exists("ran"));
}

/* ---- the death of the guard ---- */

static void test_what_a_dead_guard_has_left_is_ended_without_waiting(void **state)
{
    struct stage *stage = *state;
    start(stage, "setsid sh -c 'echo $$ >pid.new; mv pid.new pid; exec sleep 1000' & wait");
    spawn(stage, NEVER_MS);
    int64_t end_ms = clock_now_ms() + LIMIT_MS;
    while (!exists("pid") && clock_now_ms() < end_ms)
        (void)poll(NULL, 0, 1);
    FILE *file = fopen("pid", "re");
    int pid = 0;
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%d", &pid), 1);
    fclose(file);
    kill(stage->guard.pid, SIGKILL);
    assert_int_equal(next(stage), GUARD_DEAD);
    assert_true(guard_wake_ms(&stage->guard) != NEVER_MS);
    assert_int_equal(next(stage), GUARD_GONE);
    assert_int_equal(guard_wake_ms(&stage->guard), NEVER_MS);
    assert_int_equal(kill(pid, 0), -1);
    assert_int_equal(errno, ESRCH);
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, stage_setup, stage_teardown)
    const struct CMUnitTest tests[] = {
        STORY(test_a_command_runs_and_its_status_is_told),
        STORY(test_a_command_that_cannot_be_run_is_told),
        STORY(test_no_command_is_started_for_a_session_that_is_over),
        STORY(test_what_a_dead_guard_has_left_is_ended_without_waiting),
    };
    return cmocka_run_group_tests_name("guard", tests, NULL, NULL);
}
