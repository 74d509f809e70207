/* guard_main.c: the guard's loop: orders, deaths and the time. One poll, no allocation that grows, and one thread but
 * for that of deadman.c; see guard.h for what it promises. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/descriptors.h"
#include "process/guard_watch.h"
#include "process/outlet.h"
#include "process/title.h"

#define QUIET_MS 10       /* then what can be done ahead is done: nobody is waiting for this process or for its core */
#define LAST_WORDS_MS 200 /* for who reads what the hook has printed */

/* ---- what it says ---- */

void watch_say(struct watch *watch, const struct guard_message *message)
{
    if (!watch->supervisor_dead)
        (void)!send(watch->base->fd, message, sizeof(*message), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void watch_say_trouble(struct watch *watch, const char *what, const struct baton_error *err)
{
    struct guard_message message = {.news = GUARD_TROUBLE};
    snprintf(message.text, sizeof(message.text), "%s: %.400s", what, err->text);
    watch_say(watch, &message);
}

/* ---- the end ---- */

static void say_gone(struct watch *watch)
{
    struct command *command = &watch->command;
    if (command->exited.news == GUARD_EXITED && !watch->orphaned) {
        command->exited.and_gone = true;
        command_say_exited(watch);
    } else if (!command->announced) {
        command_say_exited(watch);
        watch_say(watch, &(struct guard_message){.news = GUARD_GONE, .by_guard = watch->orphaned});
    }
}

void watch_gone(struct watch *watch)
{
    struct command *command = &watch->command;
    assert(command->state != COMMAND_WAITING && command->pid == 0);
    if (command->state != COMMAND_ENDING && watch->orphaned && ending_start_hook(watch)) {
        command_set_state(command, COMMAND_ENDING);
        ending_hold(watch);
        return;
    }
    say_gone(watch);
    command_set_state(command, COMMAND_WAITING);
    if (watch->orphaned)
        ending_finish(watch);
    watch->ready.wanted = !watch->supervisor_dead;
}

static void supervisor_died(struct watch *watch)
{
    assert(!watch->supervisor_dead); /* its descriptors are not polled any more */
    watch->supervisor_dead = watch->orphaned = true;
    ending_kill_hook(watch);
    if (watch->command.state == COMMAND_WAITING)
        ending_finish(watch);
    else
        command_kill(watch); /* the last death ends the session */
    if (watch->command.state != COMMAND_WAITING)
        ending_hold(watch);
}

/* ---- time ---- */

/* While the supervisor moves the deadline on in time, these are never reached. What there is to tear down may have
 * grown, and then its end begins earlier, at the expense of the grace. */
static void set_deadline(struct watch *watch, int64_t deadline_ms)
{
    int64_t now_ms = clock_now_ms(), grace_ms = watch->options->grace_ms;
    watch->deadline_ms = deadline_ms;
    int64_t slack_ms = command_slack_ms(watch, now_ms);
    if (slack_ms > watch->options->slack_ms) {
        int64_t half_ms = (deadline_ms - now_ms) / 2;
        if (half_ms - slack_ms < grace_ms)
            grace_ms = half_ms > slack_ms ? half_ms - slack_ms : 0;
    }
    assert(slack_ms >= watch->options->slack_ms && grace_ms <= watch->options->grace_ms);
    watch->kill_by_ms = deadline_ms - slack_ms;
    watch->stop_by_ms = watch->kill_by_ms - grace_ms;
}

/* Something of the command is left, so the deadline counts. */
static bool is_under_deadline(const struct watch *watch)
{
    enum command_state state = watch->command.state;
    return watch->deadline_ms != NEVER_MS && state != COMMAND_WAITING && state != COMMAND_ENDING;
}

static int64_t next_ms(const struct watch *watch)
{
    int64_t next = command_wake_ms(&watch->command);
    if (watch->ending.renew_ms < next)
        next = watch->ending.renew_ms;
    if (watch->ending.end_hook > 0 && watch->ending.end_hook_kill_ms < next)
        next = watch->ending.end_hook_kill_ms;
    if (!is_under_deadline(watch))
        return next;
    if (!watch->orphaned && watch->stop_by_ms < next)
        next = watch->stop_by_ms;
    if (watch->command.state != COMMAND_KILLING && watch->kill_by_ms < next)
        next = watch->kill_by_ms;
    return next;
}

static void set_timer(struct watch *watch)
{
    struct itimerspec when = {0};
    int64_t at_ms = next_ms(watch);
    if (at_ms != NEVER_MS) {
        at_ms = at_ms > 0 ? at_ms : 1;
        when.it_value.tv_sec = at_ms / 1000;
        when.it_value.tv_nsec = at_ms % 1000 * 1000000;
    }
    timerfd_settime(watch->base->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void on_deadline(struct watch *watch, int64_t now_ms)
{
    if (!is_under_deadline(watch) || now_ms < watch->stop_by_ms)
        return;
    bool first = !watch->orphaned;
    watch->orphaned = true;
    if (now_ms >= watch->kill_by_ms) {
        command_kill(watch);
        if (watch->command.state == COMMAND_KILLING)
            ending_hold(watch);
    } else if (first && watch->command.state == COMMAND_RUNNING) {
        command_stop(watch, SIGTERM, watch->kill_by_ms);
    }
}

static void on_timer(struct watch *watch)
{
    uint64_t times;
    (void)!read(watch->base->timer_fd, &times, sizeof(times));
    int64_t now_ms = clock_now_ms();
    ending_on_time(watch, now_ms);
    command_on_time(watch, now_ms);
    on_deadline(watch, now_ms);
}

/* ---- orders ---- */

static void obey(struct watch *watch, const struct order *order, int fd)
{
    switch (order->kind) {
    case ORDER_SPAWN:
        command_spawn(watch, &order->environment, order->at_ms);
        return;
    case ORDER_DOWN:
        watch->ending.armed = false;
        if (watch->options->argv == NULL && watch->command.state == COMMAND_RUNNING)
            command_set_state(&watch->command, COMMAND_WAITING);
        return;
    case ORDER_HOOK:
        ending_take_hook(watch, (pid_t)order->number, fd);
        return;
    case ORDER_SIGNAL:
        command_signal(watch, order->number);
        return;
    case ORDER_STOP:
        command_stop(watch, order->number, order->at_ms);
        return;
    case ORDER_DEADLINE:
        set_deadline(watch, order->at_ms);
        ending_take_testament(watch, NULL);
        return;
    case ORDER_LIFELINE:
        ending_take_lifeline(watch, order, fd);
        return;
    case ORDER_TESTAMENT:
        ending_take_testament(watch, order->testament);
        return;
    case ORDER_BYE:
        watch->bye = true;
        return;
    }
}

/* false: the supervisor has closed its end, as one that is dead. */
static bool on_orders(struct watch *watch)
{
    struct order order;
    for (;;) {
        int fd; /* one that found no place here is missed by the command that needs it */
        order = (struct order){0};
        ssize_t got = descriptor_receive(watch->base->fd, &order, sizeof(order), &fd);
        if (got < 0)
            return errno == EAGAIN;
        if (got < (ssize_t)offsetof(struct order, lifeline)) {
            if (fd >= 0)
                close(fd);
            return false;
        }
        obey(watch, &order, fd);
    }
}

/* ---- life ---- */

/* Not the first to be killed when memory is short; lowering needs a privilege, and is not needed. What it was is kept
 * for the command. */
static void spare_from_oom(struct watch *watch)
{
    int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t got = read(fd, watch->oom_before, sizeof(watch->oom_before) - 1);
    watch->oom_before[got > 0 ? got : 0] = '\0';
    if (got <= 0 || write(fd, "-900", 4) != 4)
        watch->oom_before[0] = '\0';
    close(fd);
}

/* The texts may be where the title will be. */
static void copy_options(struct guard_options *options)
{
    size_t count = 0;
    while (options->argv != NULL && options->argv[count] != NULL)
        count++;
    char **argv = mem_new((count + 1) * sizeof(*argv));
    for (size_t i = 0; i < count; i++)
        argv[i] = mem_text(options->argv[i]);
    if (options->argv != NULL)
        options->argv = argv;
    options->verb = mem_text(options->verb);
    options->name = mem_text(options->name);
    options->end_hook = mem_text(options->end_hook);
}

static void take_name(const struct watch *watch)
{
    char title[BATON_NAME_MAX + 64];
    snprintf(title, sizeof(title), "baton-guard: %s %s, of %d", watch->options->verb, watch->options->name,
             (int)watch->base->supervisor);
    prctl(PR_SET_NAME, "baton-guard");
    title_set(title);
}

static void watch_init(struct watch *watch)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL); /* a signal to the group or the terminal does not reach it */
    signal(SIGTSTP, SIG_DFL);             /* but it hears of that one */
    if (!watch->options->keep_terminal)
        setsid();
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    take_name(watch);
    spare_from_oom(watch);
    watch->deadline_ms = watch->stop_by_ms = watch->kill_by_ms = NEVER_MS;
    watch->ending.hook_pidfd = -1;
    watch->ending.renew_ms = NEVER_MS;
    command_init(watch);
    if (watch->options->argv != NULL)
        cgroup_make(&watch->cgroup);
    (void)clock_now_ms(); /* the first time takes page faults, and shall not be the supervisor's death */
    watch->ready.wanted = true;
    (void)command_prepare(watch);
}

static void prepare_all(struct watch *watch)
{
    ending_prepare(watch);
    if (watch->ready.wanted && watch->command.state == COMMAND_WAITING)
        (void)command_prepare(watch); /* if it cannot be forked now, it is when it is needed */
    watch->ready.wanted = false;
}

static void kill_first(void *ctx)
{
    command_kill_first(ctx);
}

static void on_signals(struct watch *watch)
{
    struct signalfd_siginfo info;
    bool suspended = false;
    while (read(watch->base->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        suspended = suspended || info.ssi_signo == SIGTSTP;
    command_reap(watch);
    if (suspended)
        command_on_suspend(watch);
}

static void turn(struct watch *watch)
{
    const struct guard_base *base = watch->base;
    bool alone = watch->supervisor_dead;
    struct pollfd polled[] = {{.fd = alone ? -1 : base->fd, .events = POLLIN},
                              {.fd = alone ? -1 : base->supervisor_pidfd, .events = POLLIN},
                              {.fd = alone ? -1 : watch->dead_fd, .events = POLLIN},
                              {.fd = base->signal_fd, .events = POLLIN},
                              {.fd = base->timer_fd, .events = POLLIN}};
    bool unprepared = ending_is_unprepared(watch) || watch->ready.wanted;
    set_timer(watch);
    int ready = poll(polled, COUNT_OF(polled), unprepared ? QUIET_MS : -1);
    if (ready == 0)
        prepare_all(watch);
    if (ready < 0 && errno != EINTR)
        IMPOSSIBLE("the guard cannot wait (%d)", errno); /* its end is the command's */
    if (ready <= 0)
        return;
    bool closed = polled[0].revents != 0 && !on_orders(watch);
    if (polled[3].revents != 0)
        on_signals(watch);
    /* After the deaths of its children: if none is left, nothing is to be killed. */
    if (closed || polled[1].revents != 0 || polled[2].revents != 0)
        supervisor_died(watch);
    if (polled[4].revents != 0)
        on_timer(watch);
}

void guard_main(const struct guard_options *options, const struct guard_base *base)
{
    assert(options->verb != NULL && options->name != NULL);
    struct guard_options copy = *options;
    struct watch watch = {.options = &copy, .base = base, .cgroup.fd = -1};
    if (options->outputs != NULL &&
        (dup2(options->outputs[0], STDOUT_FILENO) < 0 || dup2(options->outputs[1], STDERR_FILENO) < 0))
        _exit(EXIT_FAILURE); /* seen as the guard's death */
    copy_options(&copy);
    watch_init(&watch);
    /* Its main thread is the only one that acts on having the place, so when that is dead nothing is begun any more;
     * the others are dying, and what they have under way are requests as of any process that dies. */
    watch.dead_fd = deadman_watch(base->deadman, kill_first, &watch);
    while (!watch.bye && !(watch.supervisor_dead && watch.command.state == COMMAND_WAITING))
        turn(&watch);
    command_drop_ready(&watch);
    cgroup_remove(&watch.cgroup);
    outlet_finish(LAST_WORDS_MS);
    _exit(0);
}
