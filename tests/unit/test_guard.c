/* test_guard.c: a guard and its commands, without a supervisor's command line: this process is the supervisor, and the
 * commands are shell scripts in a folder of their own. What a guard does at the end is in test_guard_end.c. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "guard_stage.h"
#include "process/guard_watch.h"

static const char *raise_path;

/* Calls by which the guard lowers its OOM score: that takes a privilege, so another value stands for it, which does
 * not. */
ssize_t write(int fd, const void *bytes, size_t size)
{
    if (size != 4 || memcmp(bytes, "-900", 4) != 0)
        return (ssize_t)syscall(SYS_write, fd, bytes, size);
    return syscall(SYS_write, fd, "700", 3) == 3 ? 4 : -1;
}

/* Writes a script that runs until it is told to end, tells that, and ends only after 300 ms. `pid` is its pid. */
static void make_server(void)
{
    FILE *file = fopen("server", "we");
    assert_non_null(file);
    fputs("trap 'sleep 0.3; echo clean >clean; exit' TERM\n"
          "echo $$ >pid.new; mv pid.new pid\n"
          "while :; do sleep 0.02; done\n",
          file);
    fclose(file);
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

static void test_a_prepared_child_that_stood_still_looks_at_the_clock(void **state)
{
    struct stage *stage = *state;
    start(stage, "echo ran >ran");
    char *list = mem_format("/proc/%d/task/%d/children", (int)stage->guard.pid, (int)stage->guard.pid);
    while (content(list)[0] == '\0')
        (void)poll(NULL, 0, 1);
    pid_t ready = (pid_t)atoi(content(list));
    free(list);
    kill(ready, SIGSTOP);
    int64_t deadline_ms = clock_now_ms() + SLACK_MS + 50;
    spawn(stage, deadline_ms); /* in time, and the guard is told of no deadline by which it would kill */
    while (clock_now_ms() < deadline_ms - SLACK_MS)
        (void)poll(NULL, 0, 1);
    kill(ready, SIGCONT);
    assert_int_equal(next(stage), GUARD_REFUSED);
    assert_false(exists("ran"));
    spawn(stage, NEVER_MS);
    assert_int_equal(next(stage), GUARD_EXITED);
    assert_int_equal(next(stage), GUARD_GONE);
    assert_true(exists("ran"));
}

static void test_a_second_command_is_not_started_beside_the_first(void **state)
{
    struct stage *stage = *state;
    start(stage, "echo $$ >pid; exec sleep 1000");
    spawn(stage, NEVER_MS);
    spawn(stage, NEVER_MS);
    assert_int_equal(next(stage), GUARD_REFUSED);
    (void)pid_in("pid");
    guard_stop(&stage->guard, SIGTERM, clock_now_ms() + LIMIT_MS, NEVER_MS);
    assert_int_equal(next(stage), GUARD_EXITED);
    assert_int_equal(next(stage), GUARD_GONE);
}

static void test_a_command_gets_the_signals_as_the_caller_left_them(void **state)
{
    struct stage *stage = *state;
    signal(SIGPIPE, SIG_IGN); /* ours, as a supervisor's */
    signal(SIGUSR1, SIG_IGN);
    sigaddset(&stage->options.signals.ignored, SIGHUP);
    sigaddset(&stage->options.signals.ignored, SIGCHLD);
    const int outputs[] = {open("ignored", O_WRONLY | O_CREAT | O_CLOEXEC, 0600), STDERR_FILENO};
    char *argv[] = {(char *)"grep", (char *)"SigIgn", (char *)"/proc/self/status", NULL}; /* (a shell resets SIGCHLD) */
    struct baton_error err;
    stage->options.argv = argv;
    stage->options.outputs = outputs;
    assert_int_equal(guard_start(&stage->guard, &stage->options, &err), 0);
    close(outputs[0]);
    spawn(stage, NEVER_MS);
    assert_int_equal(next(stage), GUARD_EXITED);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGUSR1, SIG_DFL);
    unsigned long long ignored = 0;
    assert_int_equal(sscanf(content("ignored"), "SigIgn: %llx", &ignored), 1);
    ignored &= ~(3ULL << 31); /* signals 32 and 33 are the C library's own: posix_spawn(3) may leave them ignored */
    assert_int_equal(ignored, 1ULL << (SIGHUP - 1) | 1ULL << (SIGCHLD - 1));
}

static void test_the_end_of_a_command_is_seen_where_sigchld_was_ignored(void **state)
{
    struct stage *stage = *state;
    signal(SIGCHLD, SIG_IGN);
    start(stage, "exit 7");
    spawn(stage, NEVER_MS);
    assert_int_equal(next(stage), GUARD_EXITED);
    assert_int_equal(WEXITSTATUS(stage->message.status), 7);
}

static void test_a_command_has_the_oom_score_of_its_supervisor(void **state)
{
    struct stage *stage = *state;
    char before[256];
    FILE *file = fopen("/proc/self/oom_score_adj", "we");
    fputs("321", file);
    fclose(file);
    snprintf(before, sizeof(before), "%s", content("/proc/self/oom_score_adj"));
    start(stage, "cat /proc/self/oom_score_adj >oom; cat /proc/$PPID/oom_score_adj >guards");
    spawn(stage, NEVER_MS);
    assert_int_equal(next(stage), GUARD_EXITED);
    assert_string_equal(content("guards"), "700");
    assert_string_equal(content("oom"), before);
}

/* ---- the stop ---- */

static void test_what_a_start_script_has_started_has_the_whole_grace(void **state)
{
    struct stage *stage = *state;
    make_server();
    start(stage, "sh ./server & wait");
    spawn(stage, NEVER_MS);
    (void)pid_in("pid");
    guard_stop(&stage->guard, SIGTERM, clock_now_ms() + LIMIT_MS, NEVER_MS);
    assert_int_equal(next(stage), GUARD_EXITED);
    assert_int_equal(WTERMSIG(stage->message.status), SIGTERM);
    assert_int_equal(next(stage), GUARD_GONE);
    assert_string_equal(content("clean"), "clean");
}

static void test_what_a_command_leaves_behind_is_counted_and_has_the_grace(void **state)
{
    struct stage *stage = *state;
    make_server();
    start(stage, "setsid sh ./server & while ! [ -e pid ]; do sleep 0.01; done; exit 3");
    spawn(stage, NEVER_MS);
    assert_int_equal(next(stage), GUARD_EXITED);
    assert_int_equal(WEXITSTATUS(stage->message.status), 3);
    assert_in_range(stage->message.left, 1, 2); /* the server, and its sleep */
    assert_int_equal(next(stage), GUARD_GONE);
    assert_string_equal(content("clean"), "clean");
}

static void test_what_is_left_behind_and_does_not_end_is_killed_after_the_grace(void **state)
{
    struct stage *stage = *state;
    stage->options.grace_ms = 200;
    start(stage,
          "(trap '' TERM; echo $$ >pid; while :; do sleep 0.02; done) & while ! [ -e pid ]; do sleep 0.01; done");
    int64_t begin_ms = clock_now_ms();
    spawn(stage, NEVER_MS);
    assert_int_equal(next(stage), GUARD_EXITED);
    assert_int_equal(next(stage), GUARD_GONE);
    assert_true(clock_now_ms() - begin_ms >= 200);
}

static void test_a_stop_reaches_the_child_of_each_thread(void **state)
{
    struct stage *stage = *state;
    FILE *file = fopen("threads.py", "we");
    fputs("import signal, subprocess, threading, time\n"
          "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
          "def go(name):\n"
          "    subprocess.Popen(['sh', '-c', f'trap \"echo told >{name}; exit\" TERM; echo up >{name}.up; '\n"
          "                      'while :; do sleep 0.02; done'], start_new_session=True,\n"
          "                     restore_signals=True, preexec_fn=lambda: signal.signal(15, signal.SIG_DFL)).wait()\n"
          "threading.Thread(target=go, args=('thread',), daemon=True).start()\n"
          "go('main')\n"
          "time.sleep(1000)\n",
          file);
    fclose(file);
    start(stage, "exec python3 threads.py");
    spawn(stage, NEVER_MS);
    wait_file("main.up");
    wait_file("thread.up");
    guard_stop(&stage->guard, SIGTERM, clock_now_ms() + LIMIT_MS, NEVER_MS);
    wait_file("main");
    wait_file("thread"); /* its parent lives, and is nobody's child but the command's */
    guard_stop(&stage->guard, 0, clock_now_ms(), NEVER_MS);
    assert_int_equal(next(stage), GUARD_EXITED);
    assert_int_equal(next(stage), GUARD_GONE);
}

static void test_the_memory_of_a_command_is_what_its_end_must_give_back(void **state)
{
    int64_t before_mib = tree_resident_mib();
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        size_t size = (size_t)64 << 20;
        char *memory = malloc(size);
        memset(memory, 1, size);
        (void)!write(ready[1], memory, 1);
        for (;;)
            pause();
    }
    char byte;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    int64_t mib = tree_resident_mib();
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    close(ready[0]);
    close(ready[1]);
    assert_in_range(mib - before_mib, 64, 512); /* (ThreadSanitizer has four times as much beside it) */
}

static void test_the_slack_follows_what_there_is_to_give_back(void **state)
{
    assert_int_equal(slack_for(200, 0, 10000), 200);
    assert_int_equal(slack_for(200, 10240, 10000), 1200);
    assert_int_equal(slack_for(200, 102400, 10000), 3750); /* not the whole lease */
    assert_int_equal(slack_for(200, 102400, 100), 200);
    assert_int_equal(slack_for(200, 102400, -5), 200);
}

/* ---- what cannot be ended ---- */

#define UNPRIVILEGED 65534

static void drop_privileges(void)
{
    if (setgid(UNPRIVILEGED) < 0 || setuid(UNPRIVILEGED) < 0 || prctl(PR_SET_DUMPABLE, 1) < 0)
        _exit(1);
}

/* As long as it says GUARD_STUCK: the file `stuck`. It ends well when all is gone. */
static void stop_what_has_raised_its_privileges(struct stage *stage)
{
    drop_privileges();
    stage->options.allow_privileges = true;
    start(stage, "exec ./raise sh -c 'echo $$ >/dev/null; echo up >&7; exec sleep 1000' 7>up");
    spawn(stage, NEVER_MS);
    wait_file("up");
    while (content("up")[0] == '\0')
        (void)poll(NULL, 0, 1);
    guard_stop(&stage->guard, SIGTERM, clock_now_ms(), clock_now_ms() + 60000);
    assert_int_equal(next(stage), GUARD_STUCK);
    assert_int_equal(stage->message.error, EPERM);
    write_line("stuck", stage->message.pid, stage->message.text);
    if (exists("kill-guard")) {
        kill(stage->guard.pid, SIGKILL);
        assert_int_equal(next(stage), GUARD_DEAD);
        assert_int_equal(next(stage), GUARD_STUCK);
        write_line("stuck-again", stage->message.pid, stage->message.text);
    } else {
        assert_int_equal(next(stage), GUARD_EXITED);
    }
    assert_int_equal(next(stage), GUARD_GONE);
    guard_bye(&stage->guard);
}

static bool make_raise(const struct stage *stage)
{
    struct statvfs where;
    if (geteuid() != 0 || statvfs(".", &where) < 0 || (where.f_flag & ST_NOSUID) != 0)
        return false;
    char *command = mem_format("cp '%s' raise && chmod 4755 raise && chmod 777 .", raise_path);
    bool made = system(command) == 0;
    free(command);
    return made && stage->folder[0] != '\0';
}

static void what_cannot_be_ended(struct stage *stage, const char *told)
{
    if (!make_raise(stage))
        skip();
    pid_t supervisor = fork_supervisor(stage, stop_what_has_raised_its_privileges);
    pid_t pid = pid_in(told);
    char *words = mem_format("%d cannot end process %d (sleep): Operation not permitted", (int)pid, (int)pid);
    assert_string_equal(content(told), words);
    free(words);
    assert_int_equal(waitpid(supervisor, NULL, WNOHANG), 0); /* it waits for what lives */
    assert_int_equal(kill(pid, SIGKILL), 0);
    wait_success(supervisor);
}

static void test_what_cannot_be_ended_is_told_and_waited_for(void **state)
{
    what_cannot_be_ended(*state, "stuck");
}

static void test_what_a_dead_guard_could_not_end_is_told_and_waited_for(void **state)
{
    write_line("kill-guard", 0, "");
    what_cannot_be_ended(*state, "stuck-again");
}

static void run_what_wants_to_raise_its_privileges(struct stage *stage)
{
    drop_privileges();
    start(stage, "exec ./raise true 2>/dev/null");
    spawn(stage, NEVER_MS);
    assert_int_equal(next(stage), GUARD_EXITED);
    assert_int_equal(WEXITSTATUS(stage->message.status), 77);
    assert_int_equal(next(stage), GUARD_GONE);
    guard_bye(&stage->guard);
}

static void test_a_command_may_not_raise_its_privileges_above_its_guard(void **state)
{
    if (!make_raise(*state))
        skip();
    wait_success(fork_supervisor(*state, run_what_wants_to_raise_its_privileges));
}

static void stop_what_cannot_be_seen(struct stage *stage)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", "/proc", "tmpfs", 0, NULL) < 0)
        _exit(77);
    start(stage, "setsid sh -c 'echo $$ >pid.new; mv pid.new pid; exec sleep 1000' & wait");
    spawn(stage, NEVER_MS);
    (void)pid_in("pid");
    guard_stop(&stage->guard, SIGTERM, clock_now_ms(), clock_now_ms() + 60000);
    assert_int_equal(next(stage), GUARD_EXITED);
    assert_int_equal(next(stage), GUARD_STUCK);
    assert_int_equal(stage->message.pid, 0);
    write_line("stuck", 0, stage->message.text);
    assert_int_equal(next(stage), GUARD_GONE);
    guard_bye(&stage->guard);
}

static void test_what_cannot_be_seen_is_told_and_waited_for(void **state)
{
    if (geteuid() != 0)
        skip();
    pid_t supervisor = fork_supervisor(*state, stop_what_cannot_be_seen);
    wait_file("stuck");
    assert_string_equal(content("stuck"),
                        "0 cannot end what is left: it cannot be seen (is /proc mounted, with hidepid?)");
    kill(pid_in("pid"), SIGKILL);
    wait_success(supervisor);
}

static void test_a_lifeline_that_loses_its_descriptor_is_refused_and_told(void **state)
{
    struct stage *stage = *state;
    start(stage, "true");
    spawn(stage, NEVER_MS);
    assert_int_equal(next(stage), GUARD_EXITED);
    assert_int_equal(next(stage), GUARD_GONE);
    struct rlimit none = {.rlim_cur = 5, .rlim_max = 5}; /* it has these, and more */
    assert_int_equal(prlimit(stage->guard.pid, RLIMIT_NOFILE, &none, NULL), 0);
    struct baton_lifeline lifeline = {.session = 1, .text = "local 1 1 0 /nowhere", .fd = open("/dev/null", O_RDONLY)};
    guard_lifeline(&stage->guard, &lifeline);
    assert_int_equal(lifeline.fd, -1);
    assert_int_equal(next(stage), GUARD_TROUBLE);
    assert_non_null(strstr(stage->message.text, "too many open files"));
}

/* ---- the terminal ---- */

static void run_on_a_terminal(struct stage *stage)
{
    signal(SIGTSTP, SIG_IGN); /* as a supervisor */
    stage->options.keep_terminal = true;
    start(stage, "trap 'echo continued >continued' CONT; echo hello >/dev/tty; echo $$ >pid.new; mv pid.new pid; "
                 "while :; do sleep 0.02; done");
    spawn(stage, NEVER_MS);
    assert_int_equal(getpgid(pid_in("pid")), getpgid(0)); /* all in the foreground */
    wait_file("continued");
    guard_stop(&stage->guard, SIGTERM, clock_now_ms() + LIMIT_MS, NEVER_MS);
    assert_int_equal(next(stage), GUARD_EXITED);
    assert_int_equal(WTERMSIG(stage->message.status), SIGTERM);
    assert_int_equal(next(stage), GUARD_GONE);
    guard_bye(&stage->guard);
}

/* As a shell runs a job in the foreground. (The first process group of a session is not stopped by its terminal.) */
static void run_as_shell(struct stage *stage)
{
    int status;
    pid_t job = fork();
    if (job == 0) {
        signal(SIGTTOU, SIG_IGN);
        setpgid(0, 0);
        tcsetpgrp(STDIN_FILENO, getpid());
        signal(SIGTTOU, SIG_DFL);
        run_on_a_terminal(stage);
        _exit(0);
    }
    if (waitpid(job, &status, WUNTRACED) != job || !WIFEXITED(status))
        _exit(1);
    _exit(WEXITSTATUS(status));
}

static void test_a_command_keeps_the_terminal_and_is_not_suspended(void **state)
{
    int master;
    fflush(NULL);
    pid_t supervisor = forkpty(&master, NULL, NULL, NULL);
    assert_true(supervisor >= 0);
    if (supervisor == 0)
        run_as_shell(*state);
    pid_t pid = pid_in("pid");
    char *stat = mem_format("/proc/%d/stat", (int)pid);
    assert_non_null(strstr(content(stat), "(sh)"));
    free(stat);
    assert_int_equal(write(master, "\x1a", 1), 1); /* Ctrl-Z */
    char seen[256] = "";
    assert_true(read(master, seen, sizeof(seen) - 1) > 0);
    wait_success(supervisor);
    assert_non_null(strstr(seen, "hello"));
    close(master);
}

int main(int argc, char **argv)
{
    test_pid = getpid();
    raise_path = argc > 1 ? realpath(argv[1], NULL) : "";
    const struct CMUnitTest tests[] = {
        STORY(test_a_command_runs_and_its_status_is_told),
        STORY(test_a_command_that_cannot_be_run_is_told),
        STORY(test_no_command_is_started_for_a_session_that_is_over),
        STORY(test_a_prepared_child_that_stood_still_looks_at_the_clock),
        STORY(test_a_second_command_is_not_started_beside_the_first),
        STORY(test_a_command_gets_the_signals_as_the_caller_left_them),
        STORY(test_the_end_of_a_command_is_seen_where_sigchld_was_ignored),
        STORY(test_a_command_has_the_oom_score_of_its_supervisor),
        STORY(test_what_a_start_script_has_started_has_the_whole_grace),
        STORY(test_what_a_command_leaves_behind_is_counted_and_has_the_grace),
        STORY(test_what_is_left_behind_and_does_not_end_is_killed_after_the_grace),
        STORY(test_a_stop_reaches_the_child_of_each_thread),
        STORY(test_the_memory_of_a_command_is_what_its_end_must_give_back),
        STORY(test_the_slack_follows_what_there_is_to_give_back),
        STORY(test_what_cannot_be_ended_is_told_and_waited_for),
        STORY(test_what_a_dead_guard_could_not_end_is_told_and_waited_for),
        STORY(test_a_command_may_not_raise_its_privileges_above_its_guard),
        STORY(test_what_cannot_be_seen_is_told_and_waited_for),
        STORY(test_a_lifeline_that_loses_its_descriptor_is_refused_and_told),
        STORY(test_a_command_keeps_the_terminal_and_is_not_suspended),
    };
    return cmocka_run_group_tests_name("guard", tests, NULL, NULL);
}
