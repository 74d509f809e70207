/* guard_main.c: the guard itself. One poll, no allocation that grows, and one thread but for that of deadman.c; see
 * guard.h for what it promises. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "process/cgroup.h"
#include "process/message.h"
#include "process/tree.h"

/* The engine may be unreachable: it is tried again until the session has ended by itself, and a little longer, since an
 * engine may look for sessions that are over only now and then (etcd: every 500 ms). */
#define END_LATE_MS 1000
#define GIVE_WAY_MS 2
#define QUIET_MS 10 /* then what can be done ahead is done: nobody is waiting for this process or for its core */

struct watch {
    int fd, supervisor_pidfd, signal_fd, timer_fd;
    int dead_fd; /* -1, or readable when the supervisor's main thread is dead */
    char *const *argv;
    struct cgroup cgroup;
    pid_t ready; /* the next command, forked but for its exec; only while none runs. 0: none */
    int ready_order, ready_report;
    bool to_prepare; /* it should be forked, in a quiet time */
    pid_t command;   /* 0: it does not run. Set, and its death collected, under the mutex */
    pthread_mutex_t mutex;
    int report;                  /* of the command: why it could not be executed; -1 */
    bool failed;                 /* ... that was told */
    struct guard_message exited; /* that the command has ended, which is not told yet */
    bool any;                    /* descendants may be left */
    bool killing;                /* SIGKILL was sent to all: again at each death, until none is left */
    bool orphaned; /* the supervisor is dead, or has let the deadline come near: the session is ended when all are gone
                    */
    bool dead_supervisor, bye;
    int64_t deadline_ms, grace_ms, slack_ms;
    int64_t kill_at_ms;   /* of a stop; NEVER_MS */
    int64_t stop_rest_ms; /* when it is told to those that have left the process group; NEVER_MS */
    int stop_number;      /* ... by this signal */
    bool terminated;      /* SIGTERM was sent because of the deadline */
    struct baton_guard *guard;
    struct baton_lifeline lifeline; /* not opened yet */
    bool has_lifeline;
    bool to_bequeath; /* the engine's guard does not know the testament yet */
    char testament[BATON_TESTAMENT_MAX];
};

static void say(struct watch *watch, const struct guard_message *message)
{
    if (!watch->dead_supervisor)
        (void)!send(watch->fd, message, sizeof(*message), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void say_trouble(struct watch *watch, const char *what, const struct baton_error *err)
{
    struct guard_message message = {.news = GUARD_TROUBLE};
    snprintf(message.text, sizeof(message.text), "%s: %.400s", what, err->text);
    say(watch, &message);
}

/* ---- the command ---- */

static void forget_ready(struct watch *watch)
{
    close(watch->ready_order);
    close(watch->ready_report);
    watch->ready = 0;
}

/* It is not needed any more, or has died before its time. */
static void drop_ready(struct watch *watch)
{
    if (watch->ready <= 0)
        return;
    kill(watch->ready, SIGKILL);
    waitpid(watch->ready, NULL, 0);
    forget_ready(watch);
}

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

static void set_environment(const struct guard_environment *environment)
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

/* The child that will be the command: everything is done but the exec, which waits for its environment. If none comes,
 * the guard is gone or needs it no more. */
static void wait_for_order(struct watch *watch, pid_t guard, int order_fd, int report_fd)
{
    struct guard_environment environment;
    setpgid(0, 0);
    prctl(PR_SET_NAME, "baton-ready");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != guard)
        _exit(1);             /* the guard has died before that was set */
    signal(SIGPIPE, SIG_DFL); /* ignored by the supervisor; what else is ignored was so by whoever started it */
    if (read(order_fd, &environment, sizeof(environment)) != (ssize_t)sizeof(environment))
        _exit(1);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    set_environment(&environment);
    execvp(watch->argv[0], watch->argv);
    int error = errno;
    (void)!write(report_fd, &error, sizeof(error));
    _exit(127);
}

/* Fork the next command beforehand: a takeover then waits for an exec only. */
static int prepare(struct watch *watch)
{
    int order[2], report[2];
    if (watch->ready > 0)
        return 0;
    if (pipe2(order, O_CLOEXEC) < 0)
        return errno;
    if (pipe2(report, O_CLOEXEC) < 0) {
        int error = errno;
        close(order[0]);
        close(order[1]);
        return error;
    }
    pid_t guard = getpid(), pid = cgroup_fork(&watch->cgroup);
    if (pid == 0) {
        close(order[1]);
        wait_for_order(watch, guard, order[0], report[1]);
    }
    int error = pid < 0 ? errno : 0;
    close(order[0]);
    close(report[1]);
    watch->ready = pid;
    watch->ready_order = order[1];
    watch->ready_report = report[0];
    if (error != 0)
        forget_ready(watch);
    return error;
}

/* Nobody waits for the exec, which would take the core from the command when it has just begun. If it fails, the child
 * has said why when it is dead. */
static void spawn(struct watch *watch, const struct guard_environment *environment, int64_t deadline_ms)
{
    if (deadline_ms != NEVER_MS && clock_now_ms() >= deadline_ms - watch->slack_ms) {
        say(watch, &(struct guard_message){.news = GUARD_REFUSED});
        return;
    }
    struct guard_message message = {.news = GUARD_FAILED};
    message.error = prepare(watch);
    if (message.error != 0) {
        say(watch, &message);
        return;
    }
    pthread_mutex_lock(&watch->mutex);
    watch->command = watch->ready;
    pthread_mutex_unlock(&watch->mutex);
    watch->report = watch->ready_report;
    watch->ready = 0;
    watch->any = true;
    watch->failed = watch->killing = watch->terminated = watch->orphaned = false;
    watch->kill_at_ms = watch->stop_rest_ms = NEVER_MS;
    (void)!write(watch->ready_order, environment, sizeof(*environment)); /* one that is dead already is found dead */
    close(watch->ready_order);
}

/* Of a child that has died: did it die as the command? 0, or why not. */
static int exec_error(struct watch *watch)
{
    int error = 0;
    if (watch->report < 0)
        return 0;
    if (read(watch->report, &error, sizeof(error)) != (ssize_t)sizeof(error))
        error = 0;
    close(watch->report);
    watch->report = -1;
    return error;
}

/* The command's process group first. At its death, or 20 ms later, follows whatever else is left, again and again until
 * nothing is: to look for it beforehand would only cost time, since most commands leave nothing behind. */
static void kill_all(struct watch *watch)
{
    bool first = !watch->killing && watch->command > 0;
    watch->killing = true;
    watch->kill_at_ms = watch->stop_rest_ms = NEVER_MS;
    if (watch->command > 0)
        kill(-watch->command, SIGKILL);
    if (first)
        return;
    cgroup_kill(&watch->cgroup);
    tree_signal(SIGKILL, 0, NULL, NULL);
}

static void signal_group(struct watch *watch, int number)
{
    if (watch->command > 0 && number > 0)
        kill(-watch->command, number);
}

/* To the process group now. Those that have left it must end, too, and are looked for a moment later: that takes longer
 * than most commands take to end. What is stopped cannot end: it is woken, so that it sees the signal. */
static void stop_command(struct watch *watch, int number)
{
    if (number <= 0)
        return;
    signal_group(watch, number);
    signal_group(watch, SIGCONT);
    watch->stop_number = number;
    watch->stop_rest_ms = clock_now_ms() + GIVE_WAY_MS;
}

static void stop_rest(struct watch *watch)
{
    watch->stop_rest_ms = NEVER_MS;
    tree_signal(watch->stop_number, watch->command, NULL, NULL);
    tree_signal(SIGCONT, watch->command, NULL, NULL);
}

/* ---- the end ---- */

/* To prepare for the end takes a few ms, in which the command could have begun: it is done in a quiet time, or when it
 * is needed. The descriptor, which holds the place, is here at once. */
static void take_lifeline(struct watch *watch, const struct order *order, int fd)
{
    baton_guard_free(watch->guard);
    watch->guard = NULL;
    if (watch->has_lifeline && watch->lifeline.fd >= 0)
        close(watch->lifeline.fd);
    watch->has_lifeline = true;
    watch->lifeline = (struct baton_lifeline){.session = order->lifeline.session, .fd = fd};
    text_copy(watch->lifeline.text, sizeof(watch->lifeline.text), order->lifeline.text);
}

static void open_lifeline(struct watch *watch)
{
    struct baton_error err;
    if (!watch->has_lifeline)
        return;
    watch->has_lifeline = false;
    watch->to_bequeath = true;
    if (baton_guard_open(&watch->lifeline, &watch->guard, &err) < 0) {
        watch->guard = NULL;
        say_trouble(watch, "the guard cannot end the session when it must", &err);
    }
}

static void bequeath(struct watch *watch)
{
    struct baton_error err;
    if (watch->guard == NULL || !watch->to_bequeath)
        return;
    watch->to_bequeath = false;
    if (baton_guard_testament(watch->guard, watch->testament, &err) < 0)
        say_trouble(watch, "the place is not passed on", &err);
}

static void end_session(struct watch *watch)
{
    struct baton_error err;
    open_lifeline(watch);
    if (watch->guard == NULL)
        return;
    /* Its handover, but only for the dead: one that lives may yet do something else with its place. */
    if (!watch->dead_supervisor) {
        watch->testament[0] = '\0';
        watch->to_bequeath = true;
    }
    bequeath(watch);
    int64_t now_ms = clock_now_ms();
    int64_t left_ms = watch->deadline_ms == NEVER_MS ? 0 : watch->deadline_ms - now_ms;
    if (baton_guard_end(watch->guard, END_LATE_MS + (uint32_t)(left_ms > 0 ? left_ms : 0), &err) < 0)
        say_trouble(watch, "the session could not be ended", &err);
    /* Whoever was woken by that may wait for this very core: what is left to do here has time. */
    (void)poll(NULL, 0, GIVE_WAY_MS);
    baton_guard_free(watch->guard);
    watch->guard = NULL;
}

static void say_exited(struct watch *watch)
{
    if (watch->exited.news != GUARD_NOTHING)
        say(watch, &watch->exited);
    watch->exited.news = GUARD_NOTHING;
}

static void gone(struct watch *watch)
{
    watch->any = watch->killing = false;
    watch->kill_at_ms = watch->stop_rest_ms = NEVER_MS;
    if (watch->exited.news == GUARD_EXITED && !watch->orphaned) {
        watch->exited.and_gone = true;
        say_exited(watch);
    } else if (!watch->failed) {
        say_exited(watch);
        say(watch, &(struct guard_message){.news = GUARD_GONE, .by_guard = watch->orphaned});
    }
    if (watch->orphaned)
        end_session(watch);
    watch->to_prepare = !watch->dead_supervisor;
}

static void died(void *ctx, pid_t pid, int status)
{
    struct watch *watch = ctx;
    if (pid != watch->command)
        return;
    watch->command = 0;
    int error = exec_error(watch);
    watch->failed = error != 0;
    if (watch->failed)
        say(watch, &(struct guard_message){.news = GUARD_FAILED, .error = error});
    else
        watch->exited = (struct guard_message){.news = GUARD_EXITED, .status = status};
    watch->killing = true; /* what it leaves behind does not outlive it */
}

static void reap(struct watch *watch)
{
    if (!watch->any) {
        siginfo_t info = {0};
        if (watch->ready > 0 && waitid(P_PID, (id_t)watch->ready, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
            info.si_pid != 0)
            drop_ready(watch);
        return;
    }
    pthread_mutex_lock(&watch->mutex);
    bool none = tree_reap(died, watch);
    pthread_mutex_unlock(&watch->mutex);
    if (none) {
        gone(watch);
        return;
    }
    say_exited(watch); /* what it has left behind is looked for */
    if (watch->killing)
        kill_all(watch);
}

/* In the thread that hears of it first: what follows has to wake another one. (Under the mutex the pid is the command's
 * own.) */
static void kill_command(void *ctx)
{
    struct watch *watch = ctx;
    pthread_mutex_lock(&watch->mutex);
    if (watch->command > 0)
        kill(-watch->command, SIGKILL);
    pthread_mutex_unlock(&watch->mutex);
}

static void supervisor_died(struct watch *watch)
{
    watch->dead_supervisor = watch->orphaned = true;
    if (watch->any)
        kill_all(watch); /* the last death ends the session */
    else
        end_session(watch);
}

/* ---- time ---- */

static int64_t next_ms(const struct watch *watch)
{
    int64_t next = watch->any ? watch->kill_at_ms : NEVER_MS;
    if (watch->any && watch->stop_rest_ms < next)
        next = watch->stop_rest_ms;
    if (watch->any && watch->deadline_ms != NEVER_MS && !watch->killing) {
        int64_t at = watch->deadline_ms - watch->slack_ms - (watch->terminated ? 0 : watch->grace_ms);
        if (at < next)
            next = at;
    }
    return next;
}

static void set_timer(struct watch *watch)
{
    struct itimerspec when = {0};
    int64_t at_ms = next_ms(watch);
    if (watch->killing && watch->any)
        at_ms = clock_now_ms() + 20; /* look again: one that was just born may have escaped the last kill */
    if (at_ms != NEVER_MS) {
        at_ms = at_ms > 0 ? at_ms : 1;
        when.it_value.tv_sec = at_ms / 1000;
        when.it_value.tv_nsec = at_ms % 1000 * 1000000;
    }
    timerfd_settime(watch->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void on_timer(struct watch *watch)
{
    uint64_t times;
    (void)!read(watch->timer_fd, &times, sizeof(times));
    int64_t now_ms = clock_now_ms();
    if (!watch->any)
        return;
    if (watch->killing || now_ms >= watch->kill_at_ms) {
        kill_all(watch);
        reap(watch);
        return;
    }
    if (now_ms >= watch->stop_rest_ms)
        stop_rest(watch);
    if (watch->deadline_ms == NEVER_MS)
        return;
    if (now_ms >= watch->deadline_ms - watch->slack_ms) {
        watch->orphaned = true;
        kill_all(watch);
        reap(watch);
    } else if (now_ms >= watch->deadline_ms - watch->slack_ms - watch->grace_ms && !watch->terminated) {
        watch->terminated = watch->orphaned = true;
        stop_command(watch, SIGTERM);
    }
}

/* ---- orders ---- */

static void obey(struct watch *watch, const struct order *order, int fd)
{
    switch (order->kind) {
    case ORDER_SPAWN:
        spawn(watch, &order->environment, order->at_ms);
        return;
    case ORDER_DOWN:
    case ORDER_HOOK:
        return;
    case ORDER_SIGNAL:
        signal_group(watch, order->number);
        return;
    case ORDER_STOP:
        if (!watch->any)
            return;
        if (order->at_ms < watch->kill_at_ms) /* patience only gets shorter */
            watch->kill_at_ms = order->at_ms;
        stop_command(watch, order->number);
        return;
    case ORDER_DEADLINE:
        watch->deadline_ms = order->at_ms;
        if (watch->guard != NULL && watch->testament[0] != '\0')
            watch->to_bequeath = true; /* again: what is made ahead stays good */
        return;
    case ORDER_LIFELINE:
        take_lifeline(watch, order, fd);
        return;
    case ORDER_TESTAMENT:
        text_copy(watch->testament, sizeof(watch->testament), order->testament);
        watch->to_bequeath = true; /* it has time */
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
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    for (;;) {
        order = (struct order){0};
        struct iovec part = {.iov_base = &order, .iov_len = sizeof(order)};
        struct msghdr message = {
            .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
        ssize_t got = recvmsg(watch->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (got < (ssize_t)offsetof(struct order, lifeline) || (message.msg_flags & MSG_TRUNC) != 0)
            return got != 0;
        int fd = -1;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        if (header != NULL && header->cmsg_type == SCM_RIGHTS)
            memcpy(&fd, CMSG_DATA(header), sizeof(fd));
        obey(watch, &order, fd);
    }
}

/* ---- life ---- */

static void oom_spare(void)
{
    /* Not the first to be killed when memory is short; lowering needs a privilege, and is not needed. */
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)!write(fd, "-900", 4);
    close(fd);
}

static void watch_init(struct watch *watch)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL); /* a signal to the group or the terminal does not reach it */
    setsid();
    prctl(PR_SET_NAME, "baton-guard");
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    oom_spare();
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    watch->signal_fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    watch->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (watch->signal_fd < 0 || watch->timer_fd < 0)
        IMPOSSIBLE("the guard cannot make its descriptors (%d)", errno);
    watch->deadline_ms = watch->kill_at_ms = watch->stop_rest_ms = NEVER_MS;
    pthread_mutex_init(&watch->mutex, NULL);
    cgroup_make(&watch->cgroup);
    (void)clock_now_ms(); /* the first time takes page faults, and shall not be the supervisor's death */
    (void)prepare(watch);
}

/* Is there something that can be done ahead? */
static bool is_unprepared(const struct watch *watch)
{
    return (watch->has_lifeline && watch->any) || (watch->to_bequeath && watch->guard != NULL) || watch->to_prepare;
}

static void prepare_all(struct watch *watch)
{
    if (watch->any) /* while it only waits, nobody else waits for its end, and it may be told to begin at any moment */
        open_lifeline(watch);
    bequeath(watch);
    if (watch->to_prepare && !watch->any)
        (void)prepare(watch); /* if it cannot be forked now, it is when it is needed */
    watch->to_prepare = false;
}

void guard_main(const struct guard_options *options, int fd, int supervisor_pidfd, struct deadman *deadman)
{
    struct watch watch = {.fd = fd,
                          .supervisor_pidfd = supervisor_pidfd,
                          .argv = options->argv,
                          .report = -1,
                          .grace_ms = options->grace_ms,
                          .slack_ms = options->slack_ms};
    watch_init(&watch);
    /* Its main thread is the only one that acts on having the place, so when that is dead nothing is begun any more;
     * the others are dying, and what they have under way are requests as of any process that dies. */
    watch.dead_fd = deadman_watch(deadman, kill_command, &watch);
    while (!watch.bye && !(watch.dead_supervisor && !watch.any)) {
        struct pollfd polled[] = {{.fd = fd, .events = POLLIN},
                                  {.fd = supervisor_pidfd, .events = POLLIN},
                                  {.fd = watch.dead_fd, .events = POLLIN},
                                  {.fd = watch.signal_fd, .events = POLLIN},
                                  {.fd = watch.timer_fd, .events = POLLIN}};
        set_timer(&watch);
        if (watch.dead_supervisor)
            polled[0].fd = polled[1].fd = polled[2].fd = -1;
        int ready = poll(polled, COUNT_OF(polled), is_unprepared(&watch) ? QUIET_MS : -1);
        if (ready == 0)
            prepare_all(&watch);
        if (ready <= 0)
            continue;
        bool closed = polled[0].revents != 0 && !on_orders(&watch);
        if (polled[3].revents != 0) {
            struct signalfd_siginfo info;
            while (read(watch.signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
                ;
            reap(&watch);
        }
        /* After the deaths of its children: if none is left, nothing is to be killed. */
        if ((closed || polled[1].revents != 0 || polled[2].revents != 0) && !watch.dead_supervisor)
            supervisor_died(&watch);
        if (polled[4].revents != 0)
            on_timer(&watch);
    }
    drop_ready(&watch);
    cgroup_remove(&watch.cgroup);
    _exit(0);
}
