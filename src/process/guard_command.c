/* guard_command.c: the command of a guard, from its fork, beforehand, to the end of its last process. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "process/guard_watch.h"
#include "process/title.h"
#include "process/tree.h"

#define GIVE_WAY_MS 2
#define GO_ON_AGAIN_MS 100
#define LOOK_FIRST_MS 20  /* after a kill: a process that was just born may have escaped it */
#define LOOK_LAST_MS 1000 /* and the supervisor hears each time that the guard is alive (GUARD_LATE_MS) */

/* ---- state ---- */

static const char *const state_names[] = {"waiting", "running", "stopping", "killing", "ending"};

void command_set_state(struct command *command, enum command_state state)
{
    enum command_state before = command->state;
    bool is_step = state == COMMAND_WAITING ||
                   (state == COMMAND_RUNNING ? before == COMMAND_WAITING : before != COMMAND_WAITING && state > before);
    if (!is_step)
        IMPOSSIBLE("a command that is %s cannot be %s", state_names[before], state_names[state]);
    command->state = state;
    if (state == COMMAND_WAITING || state >= COMMAND_KILLING)
        command->kill_at_ms = command->stop_rest_ms = command->go_on_ms = NEVER_MS;
    if (state != COMMAND_KILLING)
        command->look_ms = NEVER_MS;
}

void command_init(struct watch *watch)
{
    struct command *command = &watch->command;
    *command = (struct command){.report_fd = -1};
    command_set_state(command, COMMAND_WAITING);
    pthread_mutex_init(&watch->mutex, NULL);
}

/* ---- what it begins with ---- */

/* The guard's own environment is what the command gets; nothing else reads it. */
static void set_number(const char *name, uint64_t number)
{
    char text[24];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
    if (number != 0)
        setenv(name, text, 1);
    else
        unsetenv(name);
}

/* libpq's: options for the server of each connection, after those that are there. (A name needs no quotes.) */
static void set_pgoptions(const char *election, uint64_t term)
{
    const char *before = getenv("PGOPTIONS");
    char *options = mem_format("%s%s-c baton.term=%llu -c baton.election=%s", before != NULL ? before : "",
                               before != NULL && before[0] != '\0' ? " " : "", (unsigned long long)term, election);
    setenv("PGOPTIONS", options, 1);
    free(options);
}

void command_set_environment(const struct guard_environment *environment)
{
    setenv("BATON_NAME", environment->name, 1);
    setenv("BATON_ID", environment->id, 1);
    setenv("BATON_URL", environment->url, 1);
    set_number("BATON_TERM", environment->term);
    set_number("BATON_TOKEN", environment->token);
    set_number("BATON_ATTEMPT", environment->attempt);
    if (environment->fence_pg)
        set_pgoptions(environment->name, environment->term);
    if (environment->notify[0] != '\0')
        setenv("NOTIFY_SOCKET", environment->notify, 1);
    else
        unsetenv("NOTIFY_SOCKET"); /* it is our caller's, not the command's */
    if (environment->watchdog_us[0] != '\0')
        setenv("WATCHDOG_USEC", environment->watchdog_us, 1);
}

/* The guard is spared when memory is short; the command is not. */
static void restore_oom(const char *before)
{
    int fd = before[0] != '\0' ? open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    (void)!write(fd, before, strlen(before));
    close(fd);
}

void command_become(const struct watch *watch)
{
    for (int number = 1; number < NSIG; number++)
        if (number != SIGKILL && number != SIGSTOP)
            signal(number, sigismember(&watch->options->signals.ignored, number) == 1 ? SIG_IGN : SIG_DFL);
    restore_oom(watch->oom_before);
    /* Whoever raises its privileges gets no signal from a guard without them, and outlives it (kill(2), and
     * PR_SET_PDEATHSIG in prctl(2)). A cgroup is killed by its owner, whoever is in it. */
    if (!watch->options->allow_privileges && geteuid() != 0 && !cgroup_can_kill(&watch->cgroup))
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    sigprocmask(SIG_SETMASK, &watch->options->signals.blocked, NULL);
}

static void report(int fd, int error)
{
    (void)!write(fd, &error, sizeof(error));
    _exit(127);
}

/* The child that will be the command: everything is done but the exec, which waits for its environment. If none comes,
 * the guard is gone or needs it no more. It may stand still anywhere, so the last thing that it does is to look at the
 * clock. */
static void wait_for_order(struct watch *watch, pid_t guard, int order_fd, int report_fd)
{
    struct ready_order order;
    char title[BATON_NAME_MAX + 64];
    if (!watch->options->keep_terminal)
        setpgid(0, 0);
    prctl(PR_SET_NAME, "baton-ready");
    snprintf(title, sizeof(title), "baton-ready: %s %s", watch->options->verb, watch->options->name);
    title_set(title);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != guard)
        _exit(1); /* the guard has died before that was set */
    if (read(order_fd, &order, sizeof(order)) != (ssize_t)sizeof(order))
        _exit(1);
    command_set_environment(&order.environment);
    command_become(watch);
    if (order.latest_ms != NEVER_MS && clock_now_ms() >= order.latest_ms)
        report(report_fd, REPORT_LATE);
    execvp(watch->options->argv[0], watch->options->argv);
    report(report_fd, errno);
}

/* ---- start ---- */

static void forget_ready(struct ready *ready)
{
    assert(ready->order_fd >= 0 && ready->report_fd >= 0);
    close(ready->order_fd);
    close(ready->report_fd);
    *ready = (struct ready){.order_fd = -1, .report_fd = -1};
}

/* It is not needed any more, or has died before its time. It dies at once: it only waits to read. */
void command_drop_ready(struct watch *watch)
{
    if (watch->ready.pid <= 0)
        return;
    kill(watch->ready.pid, SIGKILL);
    waitpid(watch->ready.pid, NULL, 0);
    forget_ready(&watch->ready);
}

static int make_pipes(int order[2], int report[2])
{
    if (pipe2(order, O_CLOEXEC) < 0)
        return errno;
    if (pipe2(report, O_CLOEXEC) == 0)
        return 0;
    int error = errno;
    close(order[0]);
    close(order[1]);
    return error;
}

/* Fork the next command beforehand: a takeover then waits for an exec only. */
int command_prepare(struct watch *watch)
{
    int order[2] = {-1, -1}, report[2] = {-1, -1};
    watch->ready.wanted = false;
    if (watch->ready.pid > 0 || watch->options->argv == NULL)
        return 0;
    int error = make_pipes(order, report);
    if (error != 0)
        return error;
    pid_t guard = getpid(), pid = cgroup_fork(&watch->cgroup);
    if (pid == 0) {
        close(order[1]);
        wait_for_order(watch, guard, order[0], report[1]);
    }
    error = pid < 0 ? errno : 0;
    close(order[0]);
    close(report[1]);
    watch->ready = (struct ready){.pid = pid, .order_fd = order[1], .report_fd = report[0]};
    if (error != 0)
        forget_ready(&watch->ready);
    else if (!watch->options->keep_terminal)
        setpgid(pid, pid); /* as the child does: whichever is first */
    return error;
}

/* Nobody waits for the exec, which would take the core from the command when it has just begun. If it fails, the child
 * has said why when it is dead. */
static void start_ready(struct watch *watch, const struct guard_environment *environment, int64_t latest_ms)
{
    struct command *command = &watch->command;
    struct ready_order order = {.latest_ms = latest_ms, .environment = *environment};
    assert(command->state == COMMAND_RUNNING && command->pid == 0 && command->report_fd < 0 && watch->ready.pid > 0);
    pthread_mutex_lock(&watch->mutex);
    command->pid = watch->ready.pid;
    command->group = watch->options->keep_terminal ? 0 : watch->ready.pid;
    pthread_mutex_unlock(&watch->mutex);
    command->report_fd = watch->ready.report_fd;
    (void)!write(watch->ready.order_fd, &order, sizeof(order)); /* one that is dead already is found dead */
    close(watch->ready.order_fd);
    watch->ready = (struct ready){.order_fd = -1, .report_fd = -1};
}

void command_spawn(struct watch *watch, const struct guard_environment *environment, int64_t deadline_ms)
{
    struct command *command = &watch->command;
    int64_t latest_ms = deadline_ms == NEVER_MS ? NEVER_MS : deadline_ms - watch->options->slack_ms;
    if (command->state != COMMAND_WAITING || clock_now_ms() >= latest_ms) {
        watch_say(watch, &(struct guard_message){.news = GUARD_REFUSED});
        return;
    }
    int error = command_prepare(watch);
    if (error != 0) {
        watch_say(watch, &(struct guard_message){.news = GUARD_FAILED, .error = error});
        return;
    }
    command->announced = watch->orphaned = false;
    command->stuck = (struct tree_stuck){.began_ms = NEVER_MS};
    command_set_state(command, COMMAND_RUNNING);
    watch->ending.armed = watch->options->end_hook != NULL;
    watch->ending.environment = *environment;
    if (watch->options->argv != NULL)
        start_ready(watch, environment, latest_ms);
}

/* ---- signals ---- */

/* To its process group; with the caller's terminal it is in the caller's, and the first process stands for it. */
static void signal_first(const struct command *command, int number)
{
    if (command->pid > 0)
        (void)kill(command->group > 0 ? -command->group : command->pid, number);
}

void command_signal(struct watch *watch, int number)
{
    if (number > 0)
        signal_first(&watch->command, number);
}

void command_kill_first(struct watch *watch)
{
    pthread_mutex_lock(&watch->mutex);
    signal_first(&watch->command, SIGKILL);
    pthread_mutex_unlock(&watch->mutex);
}

static void say_stuck(void *ctx, pid_t pid, int error)
{
    struct watch *watch = ctx;
    struct guard_message message = {.news = GUARD_STUCK, .pid = pid, .error = error};
    if (!tree_is_stuck(&watch->command.stuck, pid, error))
        return;
    tree_words(pid, error, message.text, sizeof(message.text));
    watch_say(watch, &message);
}

/* ---- stop ---- */

/* To the process group now. Those that have left it must end, too, and are looked for a moment later: that takes longer
 * than most commands take to end. What is stopped cannot end: it is woken, so that it sees the signal. */
static void send_stop(struct watch *watch, int number)
{
    struct command *command = &watch->command;
    if (number <= 0)
        return;
    signal_first(command, number);
    signal_first(command, SIGCONT);
    command->stop_number = number;
    command->stop_rest_ms = clock_now_ms() + GIVE_WAY_MS;
}

static void stop_rest(struct watch *watch)
{
    struct command *command = &watch->command;
    pid_t told = command->group > 0 ? command->group : command->pid;
    assert(command->state == COMMAND_STOPPING && command->stop_number > 0);
    command->stop_rest_ms = NEVER_MS;
    (void)tree_signal(command->stop_number, told, say_stuck, watch);
    (void)tree_signal(SIGCONT, told, NULL, NULL);
}

void command_stop(struct watch *watch, int number, int64_t kill_at_ms)
{
    struct command *command = &watch->command;
    if (command->state == COMMAND_WAITING)
        return;
    if (command->state == COMMAND_RUNNING)
        command_set_state(command, COMMAND_STOPPING);
    if (command->state != COMMAND_STOPPING) {
        watch_say(watch, &(struct guard_message){.news = GUARD_NOTHING}); /* it is at it */
        return;
    }
    if (kill_at_ms < command->kill_at_ms) /* patience only gets shorter */
        command->kill_at_ms = kill_at_ms;
    send_stop(watch, number);
    if (watch->options->argv == NULL)
        watch_gone(watch);
}

/* A job that holds a lease is not suspended: that it does not go on would be found out by its end only. The terminal
 * sends SIGTSTP to all of its foreground, one after the other, and so to the guard: one that had it later than the
 * guard is found a moment later. */
static void go_on(struct watch *watch, int64_t again_ms)
{
    watch->command.go_on_ms = again_ms;
    (void)tree_signal(SIGCONT, 0, NULL, NULL);
}

void command_on_suspend(struct watch *watch)
{
    enum command_state state = watch->command.state;
    if (watch->options->keep_terminal && state != COMMAND_WAITING && state != COMMAND_ENDING)
        go_on(watch, clock_now_ms() + GO_ON_AGAIN_MS);
}

/* The first process has ended by itself, and others are left. They have the same time as in a stop. */
static void stop_left_behind(struct watch *watch)
{
    struct command *command = &watch->command;
    int64_t kill_at_ms = clock_now_ms() + watch->options->grace_ms;
    assert(command->state == COMMAND_RUNNING && command->pid == 0);
    command_set_state(command, COMMAND_STOPPING);
    command->kill_at_ms = kill_at_ms;
    command->exited.left = tree_signal(SIGTERM, 0, say_stuck, watch);
    (void)tree_signal(SIGCONT, 0, NULL, NULL);
}

/* ---- kill ---- */

/* Of a child that has died: did it die as the command? 0, or why not. */
static int exec_error(struct command *command)
{
    int error = 0;
    if (command->report_fd < 0)
        return 0;
    if (read(command->report_fd, &error, sizeof(error)) != (ssize_t)sizeof(error))
        error = 0;
    close(command->report_fd);
    command->report_fd = -1;
    return error;
}

static void died(void *ctx, pid_t pid, int status)
{
    struct watch *watch = ctx;
    struct command *command = &watch->command;
    if (pid == watch->ending.end_hook)
        watch->ending.end_hook = 0;
    if (pid != command->pid)
        return;
    assert(command->state != COMMAND_WAITING && command->exited.news == GUARD_NOTHING);
    command->pid = 0;
    int error = exec_error(command);
    command->announced = error != 0;
    if (error == REPORT_LATE)
        watch_say(watch, &(struct guard_message){.news = GUARD_REFUSED});
    else if (error != 0)
        watch_say(watch, &(struct guard_message){.news = GUARD_FAILED, .error = error});
    else
        command->exited = (struct guard_message){.news = GUARD_EXITED, .status = status};
}

/* The dead. true: none of the guard's children is left. */
static bool collect(struct watch *watch)
{
    pthread_mutex_lock(&watch->mutex);
    bool none = tree_reap(died, watch);
    pthread_mutex_unlock(&watch->mutex);
    return none;
}

static void again_in_a_while(struct command *command)
{
    command->look_ms = clock_now_ms() + command->pause_ms;
    command->pause_ms = 2 * command->pause_ms < LOOK_LAST_MS ? 2 * command->pause_ms : LOOK_LAST_MS;
}

static void kill_rest(struct watch *watch)
{
    struct command *command = &watch->command;
    assert(command->state == COMMAND_KILLING);
    cgroup_kill(&watch->cgroup);
    unsigned reached = tree_signal(SIGKILL, 0, say_stuck, watch);
    if (reached == 0 && command->stuck.count == 0)
        say_stuck(watch, 0, 0);
    again_in_a_while(command);
    watch_say(watch, &(struct guard_message){.news = GUARD_NOTHING}); /* it is at it */
}

/* The process group first. At the death of the first process, or 20 ms later, follows whatever else is left, again and
 * again until nothing is: to look for it beforehand would only cost time, since most commands leave nothing behind. */
void command_kill(struct watch *watch)
{
    struct command *command = &watch->command;
    if (command->state == COMMAND_WAITING || command->state >= COMMAND_KILLING)
        return;
    command_set_state(command, COMMAND_KILLING);
    command->stuck.began_ms = clock_now_ms();
    command->pause_ms = LOOK_FIRST_MS;
    if (command->pid > 0) {
        signal_first(command, SIGKILL);
        again_in_a_while(command);
        return;
    }
    kill_rest(watch);
    if (collect(watch)) /* nothing was left that would die */
        watch_gone(watch);
}

/* ---- deaths ---- */

static void reap_ready(struct watch *watch)
{
    siginfo_t info = {0};
    if (watch->ready.pid > 0 && waitid(P_PID, (id_t)watch->ready.pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
        info.si_pid != 0)
        command_drop_ready(watch);
}

void command_reap(struct watch *watch)
{
    struct command *command = &watch->command;
    if (command->state == COMMAND_WAITING) {
        reap_ready(watch);
        return;
    }
    bool none = collect(watch);
    if (command->state == COMMAND_ENDING) { /* what the end hook has left is not the command's */
        if (watch->ending.end_hook == 0)
            watch_gone(watch);
        return;
    }
    if (none && (command->state != COMMAND_RUNNING || command->exited.news != GUARD_NOTHING || command->announced)) {
        watch_gone(watch);
        return;
    }
    if (command->exited.news != GUARD_NOTHING && command->state == COMMAND_RUNNING)
        stop_left_behind(watch);
    command_say_exited(watch);
    if (command->state == COMMAND_KILLING) {
        command->pause_ms = LOOK_FIRST_MS;
        kill_rest(watch);
    }
}

void command_say_exited(struct watch *watch)
{
    struct command *command = &watch->command;
    if (command->exited.news != GUARD_NOTHING)
        watch_say(watch, &command->exited);
    command->exited.news = GUARD_NOTHING;
}

/* ---- time ---- */

int64_t command_wake_ms(const struct command *command)
{
    const int64_t times[] = {command->kill_at_ms, command->stop_rest_ms, command->go_on_ms, command->look_ms};
    int64_t wake_ms = NEVER_MS;
    for (size_t i = 0; i < COUNT_OF(times); i++)
        if (times[i] < wake_ms)
            wake_ms = times[i];
    return wake_ms;
}

void command_on_time(struct watch *watch, int64_t now_ms)
{
    struct command *command = &watch->command;
    if (now_ms >= command->stop_rest_ms)
        stop_rest(watch);
    if (now_ms >= command->go_on_ms)
        go_on(watch, NEVER_MS);
    if (now_ms >= command->kill_at_ms) {
        command_kill(watch);
    } else if (now_ms >= command->look_ms) {
        kill_rest(watch);
        if (collect(watch))
            watch_gone(watch);
    }
}

/* To give back a GiB in small pages takes the kernel 50 to 60 ms where it was measured; twice that, to be safe.
 * (process_mrelease(2) from here makes it no shorter.) */
#define SLACK_MS_A_GIB 100

int64_t slack_for(int64_t least_ms, int64_t resident_mib, int64_t left_ms)
{
    assert(least_ms >= 0 && resident_mib >= 0);
    int64_t slack_ms = least_ms + resident_mib * SLACK_MS_A_GIB / 1024;
    int64_t most_ms = left_ms * 3 / 8; /* it must not eat up the lease */
    if (slack_ms > most_ms)
        slack_ms = most_ms;
    return slack_ms > least_ms ? slack_ms : least_ms;
}

int64_t command_slack_ms(const struct watch *watch, int64_t now_ms)
{
    int64_t least_ms = watch->options->slack_ms;
    if (watch->command.state == COMMAND_WAITING || watch->deadline_ms == NEVER_MS)
        return least_ms;
    return slack_for(least_ms, tree_resident_mib(), watch->deadline_ms - now_ms);
}
