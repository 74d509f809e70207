/* test_tree.c: all that descends from a process, and how many of them a signal has reached. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "process/tree.h"

#define CHILDREN 20
#define ROUNDS 20

static void fork_children(pid_t pids[CHILDREN])
{
    for (int i = 0; i < CHILDREN; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            for (;;)
                pause();
        assert_true(pids[i] > 0);
    }
}

static unsigned reaped;

static void count_dead(void *ctx, pid_t pid, int status)
{
    (void)ctx;
    (void)pid;
    (void)status;
    reaped++;
}

static void collect_all(void)
{
    sigset_t child;
    int number;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    while (!tree_reap(count_dead, NULL))
        assert_int_equal(sigwait(&child, &number), 0);
}

/* One that a signal kills is dead at once, on another core: it was reached all the same. */
static void test_what_a_signal_has_killed_was_reached_by_it(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        pid_t pids[CHILDREN];
        fork_children(pids);
        assert_int_equal(tree_signal(SIGTERM, 0, NULL, NULL), CHILDREN);
        reaped = 0;
        collect_all();
        assert_int_equal(reaped, CHILDREN);
    }
}

static void test_the_dead_are_not_counted(void **state)
{
    (void)state;
    pid_t pids[CHILDREN];
    fork_children(pids);
    siginfo_t info;
    assert_int_equal(kill(pids[0], SIGKILL), 0);
    assert_int_equal(waitid(P_PID, (id_t)pids[0], &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(tree_signal(SIGKILL, 0, NULL, NULL), CHILDREN - 1);
    collect_all();
}

int main(void)
{
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_a_signal_has_killed_was_reached_by_it),
        cmocka_unit_test(test_the_dead_are_not_counted),
    };
    return cmocka_run_group_tests_name("tree", tests, NULL, NULL);
}
