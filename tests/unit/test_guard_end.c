/* test_guard_end.c: what a guard does when its supervisor, or the guard itself, is dead, and with the session. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "guard_stage.h"

/* ---- the end hook ---- */

static void start_hooked(struct stage *stage, const char *hook, uint32_t limit_ms)
{
    struct baton_error err;
    stage->options.argv = NULL;
    stage->options.end_hook = hook;
    stage->options.end_hook_ms = limit_ms;
    stage->options.grace_ms = 100;
    stage->environment.term = 7;
    assert_int_equal(guard_start(&stage->guard, &stage->options, &err), 0);
}

static void test_the_end_hook_runs_at_the_deadline(void **state)
{
    struct stage *stage = *state;
    start_hooked(stage, "echo $BATON_NAME $BATON_TERM $BATON_STATE >down", LIMIT_MS);
    guard_deadline(&stage->guard, clock_now_ms() + SLACK_MS + 200);
    spawn(stage, clock_now_ms() + LIMIT_MS);
    assert_int_equal(next(stage), GUARD_GONE);
    assert_true(stage->message.by_guard);
    assert_string_equal(content("down"), "stage 7 follow");
}

static void test_an_end_hook_that_hangs_is_killed(void **state)
{
    struct stage *stage = *state;
    start_hooked(stage, "exec sleep 1000", 100);
    guard_deadline(&stage->guard, clock_now_ms() + SLACK_MS + 200);
    spawn(stage, clock_now_ms() + LIMIT_MS);
    assert_int_equal(next(stage), GUARD_TROUBLE);
    assert_non_null(strstr(stage->message.text, "has not ended within "));
    assert_int_equal(next(stage), GUARD_GONE);
}

static void test_the_end_hook_does_not_run_for_what_is_down(void **state)
{
    struct stage *stage = *state;
    start_hooked(stage, "echo >down", LIMIT_MS);
    spawn(stage, NEVER_MS);
    guard_down(&stage->guard);
    guard_deadline(&stage->guard, clock_now_ms() - 1);
    spawn(stage, clock_now_ms() - 1); /* the answer to this comes after the orders before it */
    assert_int_equal(next(stage), GUARD_REFUSED);
    guard_bye(&stage->guard);
    assert_false(exists("down"));
}

static void die_with_a_hook(struct stage *stage)
{
    start_hooked(stage, "echo down >>log; mv log over", LIMIT_MS);
    spawn(stage, NEVER_MS);
    pid_t hook = fork();
    if (hook == 0) {
        setpgid(0, 0);
        execl("/bin/sh", "sh", "-c", "echo up >>log; while :; do sleep 0.02; echo more >>log; done", (char *)NULL);
        _exit(1);
    }
    setpgid(hook, hook);
    guard_hook(&stage->guard, hook, (int)syscall(SYS_pidfd_open, hook, 0));
    guard_down(&stage->guard);
    spawn(stage, clock_now_ms() - 1); /* as above */
    assert_int_equal(next(stage), GUARD_REFUSED);
    spawn(stage, NEVER_MS);
    wait_file("log");
    kill(getpid(), SIGKILL);
}

static void test_the_end_hook_runs_for_a_dead_supervisor_after_its_last_hook(void **state)
{
    pid_t supervisor = fork_supervisor(*state, die_with_a_hook);
    waitpid(supervisor, NULL, 0);
    wait_file("over");
    (void)poll(NULL, 0, 100); /* five times what the first hook would need to write again */
    assert_false(exists("log"));
}

/* ---- the death of the guard ---- */

static void test_what_a_dead_guard_has_left_is_ended_without_waiting(void **state)
{
    struct stage *stage = *state;
    start(stage, "setsid sh -c 'echo $$ >pid.new; mv pid.new pid; exec sleep 1000' & wait");
    spawn(stage, NEVER_MS);
    pid_t pid = pid_in("pid");
    kill(stage->guard.pid, SIGKILL);
    assert_int_equal(next(stage), GUARD_DEAD);
    assert_true(guard_wake_ms(&stage->guard) != NEVER_MS);
    assert_int_equal(next(stage), GUARD_GONE);
    assert_int_equal(guard_wake_ms(&stage->guard), NEVER_MS);
    assert_int_equal(kill(pid, 0), -1);
    assert_int_equal(errno, ESRCH);
}

/* ---- the session ---- */

static struct baton *open_client(const char *id, uint32_t ttl_ms)
{
    struct baton_options options;
    struct baton *client;
    struct baton_error err;
    baton_options_init(&options);
    char folder[PATH_MAX];
    if (getcwd(folder, sizeof(folder)) == NULL)
        fail();
    char *url = mem_format("local:%s/state", folder);
    options.url = url;
    options.id = id;
    options.ttl_ms = ttl_ms;
    if (baton_open(&options, &client, &err) < 0)
        fail_msg("%s", err.text);
    free(url);
    return client;
}

static struct baton_event wait_event(struct baton *client, enum baton_event_kind kind)
{
    struct baton_event event = {0};
    int64_t end_ms = clock_now_ms() + LIMIT_MS;
    while (!baton_next(client, &event) || event.kind != kind) {
        struct pollfd polled = {.fd = baton_fd(client), .events = POLLIN};
        int64_t left_ms = end_ms - clock_now_ms();
        assert_true(left_ms > 0);
        (void)poll(&polled, 1, (int)left_ms);
    }
    return event;
}

static struct baton_election *stand(struct baton *client)
{
    struct baton_stand_options options;
    struct baton_election *election;
    struct baton_error err;
    baton_stand_options_init(&options);
    assert_int_equal(baton_stand(client, "e", &options, &election, &err), 0);
    return election;
}

#define SHORT_TTL_MS 1000

static void lead_and_die(struct stage *stage)
{
    struct baton_lifeline lifeline;
    struct baton_error err;
    start_hooked(stage, "sleep 3; echo >down", LIMIT_MS);
    struct baton *client = open_client("a", SHORT_TTL_MS);
    (void)stand(client);
    int64_t deadline_ms = wait_event(client, BATON_SESSION).until_ms;
    wait_event(client, BATON_LEAD);
    guard_deadline(&stage->guard, deadline_ms);
    assert_int_equal(baton_lifeline(client, &lifeline, &err), 0);
    guard_lifeline(&stage->guard, &lifeline);
    spawn(stage, NEVER_MS);
    write_line("leads", 0, "");
    kill(getpid(), SIGKILL);
}

static void test_a_guard_keeps_the_session_of_a_dead_supervisor_while_something_is_left(void **state)
{
    int status;
    pid_t supervisor = fork_supervisor(*state, lead_and_die);
    waitpid(supervisor, &status, 0);
    assert_true(WIFSIGNALED(status));
    assert_true(exists("leads"));
    struct baton *client = open_client("b", SHORT_TTL_MS);
    (void)stand(client);
    wait_event(client, BATON_LEAD);
    assert_true(exists("down")); /* three times the ttl later */
    baton_close(client);
}

int main(void)
{
    test_pid = getpid();
    const struct CMUnitTest tests[] = {
        STORY(test_the_end_hook_runs_at_the_deadline),
        STORY(test_an_end_hook_that_hangs_is_killed),
        STORY(test_the_end_hook_does_not_run_for_what_is_down),
        STORY(test_the_end_hook_runs_for_a_dead_supervisor_after_its_last_hook),
        STORY(test_what_a_dead_guard_has_left_is_ended_without_waiting),
        STORY(test_a_guard_keeps_the_session_of_a_dead_supervisor_while_something_is_left),
    };
    return cmocka_run_group_tests_name("guard-end", tests, NULL, NULL);
}
