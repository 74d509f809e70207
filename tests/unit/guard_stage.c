/* guard_stage.c: see guard_stage.h. */
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "guard_stage.h"

pid_t test_pid;

int stage_setup(void **state)
{
    if (getpid() != test_pid)
        _exit(1); /* as below */
    struct stage *stage = mem_new(sizeof(*stage));
    const char *tmp = getenv("TMPDIR");
    snprintf(stage->folder, sizeof(stage->folder), "%s/baton-guard-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(stage->folder) == NULL || chdir(stage->folder) < 0)
        return -1;
    stage->options =
        (struct guard_options){.verb = "test", .name = "stage", .grace_ms = GRACE_MS, .slack_ms = SLACK_MS};
    sigemptyset(&stage->options.signals.ignored);
    sigemptyset(&stage->options.signals.blocked);
    snprintf(stage->environment.name, sizeof(stage->environment.name), "stage");
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    *state = stage;
    return 0;
}

int stage_teardown(void **state)
{
    struct stage *stage = *state;
    if (getpid() != test_pid)
        return -1; /* a part of a test in a process of its own has failed */
    guard_bye(&stage->guard);
    char *command = mem_format("rm -rf '%s'", stage->folder);
    int status = chdir("/") < 0 || system(command) != 0;
    free(command);
    free(stage);
    return status;
}

void start(struct stage *stage, const char *script)
{
    struct baton_error err;
    stage->argv[0] = (char *)"sh";
    stage->argv[1] = (char *)"-c";
    stage->argv[2] = (char *)script;
    stage->options.argv = stage->argv;
    assert_int_equal(guard_start(&stage->guard, &stage->options, &err), 0);
}

void spawn(struct stage *stage, int64_t deadline_ms)
{
    guard_spawn(&stage->guard, &stage->environment, deadline_ms);
}

enum guard_news next(struct stage *stage)
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

bool exists(const char *name)
{
    return access(name, F_OK) == 0;
}

void wait_file(const char *name)
{
    int64_t end_ms = clock_now_ms() + LIMIT_MS;
    while (!exists(name)) {
        assert_true(clock_now_ms() < end_ms);
        (void)poll(NULL, 0, 1);
    }
}

const char *content(const char *name)
{
    static char line[256];
    FILE *file = fopen(name, "re");
    line[0] = '\0';
    if (file != NULL && fgets(line, sizeof(line), file) == NULL)
        line[0] = '\0';
    if (file != NULL)
        fclose(file);
    line[strcspn(line, "\n")] = '\0';
    return line;
}

pid_t pid_in(const char *name)
{
    wait_file(name);
    return (pid_t)atoi(content(name));
}

pid_t fork_supervisor(struct stage *stage, void (*part)(struct stage *stage))
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        part(stage);
        fflush(NULL);
        _exit(0);
    }
    return pid;
}

void wait_success(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

void write_line(const char *name, pid_t pid, const char *text)
{
    char part[64];
    snprintf(part, sizeof(part), "%s.new", name);
    FILE *file = fopen(part, "we");
    assert_non_null(file);
    fprintf(file, "%d %s\n", (int)pid, text);
    fclose(file);
    rename(part, name);
}
