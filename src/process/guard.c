/* guard.c: the supervisor's side of its guard. */
#include "process/guard.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/descriptors.h"
#include "process/message.h"
#include "process/tree.h"

#define BYE_MS 2000
#define SWEEP_FIRST_MS 20
#define SWEEP_LAST_MS 1000

/* What a guard needs to be one is made before it is forked: what cannot be had is told with words then. */
static int prepare(struct guard_base *base, int pair[2], struct baton_error *err)
{
    sigset_t heard;
    sigemptyset(&heard);
    sigaddset(&heard, SIGCHLD);
    sigaddset(&heard, SIGTSTP);
    signal(SIGCHLD, SIG_DFL); /* ignored, it would not be sent, and no status be kept */
    *base =
        (struct guard_base){.supervisor = getpid(), .fd = -1, .supervisor_pidfd = -1, .signal_fd = -1, .timer_fd = -1};
    base->supervisor_pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (base->supervisor_pidfd < 0 && errno == ENOSYS)
        return error_errno(err, errno, "cannot make a pidfd (Linux 5.3 is needed)");
    if (base->supervisor_pidfd < 0 || (base->deadman = deadman_new()) == NULL || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 ||
        (base->signal_fd = signalfd(-1, &heard, SFD_CLOEXEC | SFD_NONBLOCK)) < 0 ||
        (base->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK)) < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return error_errno(err, errno, "cannot prepare the guard");
    base->fd = pair[1];
    return 0;
}

static void release(const struct guard_base *base)
{
    const int fds[] = {base->fd, base->supervisor_pidfd, base->signal_fd, base->timer_fd};
    for (size_t i = 0; i < COUNT_OF(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

int guard_start(struct guard *guard, const struct guard_options *options, struct baton_error *err)
{
    struct guard_base base;
    int pair[2] = {-1, -1};
    *guard = (struct guard){.fd = -1, .pidfd = -1, .limit_ms = NEVER_MS};
    if (prepare(&base, pair, err) < 0) {
        release(&base);
        deadman_free(base.deadman);
        return -1;
    }
    pid_t pid = fork();
    if (pid == 0) {
        close(pair[0]);
        guard_main(options, &base);
    }
    int error = errno;
    release(&base);
    if (pid < 0) {
        error_errno(err, error, "cannot fork the guard");
        deadman_free(base.deadman);
        close(pair[0]);
        return -1;
    }
    *guard = (struct guard){.pid = pid,
                            .fd = pair[0],
                            .pidfd = (int)syscall(SYS_pidfd_open, pid, 0),
                            .limit_ms = NEVER_MS,
                            .deadman = base.deadman};
    if (guard->pidfd >= 0)
        return 0;
    error_errno(err, errno, "cannot make a pidfd of the guard");
    guard_bye(guard);
    return -1;
}

/* What is used of an order's union. */
static size_t used_of(const struct order *order)
{
    switch (order->kind) {
    case ORDER_SPAWN:
        return sizeof(order->environment);
    case ORDER_LIFELINE:
        return sizeof(order->lifeline);
    case ORDER_TESTAMENT:
        return strlen(order->testament) + 1;
    default:
        return 0;
    }
}

/* It can end the command no more, but its death can: the kernel and the sweep do the rest. */
static void hangs(struct guard *guard)
{
    guard->hung = true;
    guard->limit_ms = NEVER_MS;
    kill(guard->pid, SIGKILL);
}

/* The guard reads at once, and there are few orders: when one cannot be sent (the socket is full, or there are more
 * descriptors on their way than are permitted), it hangs: to wait would make the supervisor hang, too, and to go on
 * without the order would be to promise what nobody does. If the guard is dead, guard_next says so. */
static void order(struct guard *guard, const struct order *order, int fd)
{
    if (guard->pid <= 0)
        return;
    ssize_t sent = descriptor_send(guard->fd, order, offsetof(struct order, lifeline) + used_of(order), fd);
    if (sent < 0 && errno != EPIPE && errno != ECONNRESET && !guard->hung)
        hangs(guard);
}

void guard_spawn(struct guard *guard, const struct guard_environment *environment, int64_t deadline_ms)
{
    order(guard, &(struct order){.kind = ORDER_SPAWN, .at_ms = deadline_ms, .environment = *environment}, -1);
}

void guard_down(struct guard *guard)
{
    order(guard, &(struct order){.kind = ORDER_DOWN}, -1);
}

void guard_hook(struct guard *guard, pid_t pid, int pidfd)
{
    order(guard, &(struct order){.kind = ORDER_HOOK, .number = (int)pid}, pidfd);
}

void guard_signal(struct guard *guard, int number)
{
    order(guard, &(struct order){.kind = ORDER_SIGNAL, .number = number}, -1);
}

void guard_stop(struct guard *guard, int number, int64_t kill_at_ms, int64_t limit_ms)
{
    if (limit_ms < guard->limit_ms && !guard->hung)
        guard->limit_ms = limit_ms;
    order(guard, &(struct order){.kind = ORDER_STOP, .number = number, .at_ms = kill_at_ms}, -1);
}

int64_t guard_wake_ms(const struct guard *guard)
{
    return guard->limit_ms;
}

void guard_on_time(struct guard *guard, int64_t now_ms)
{
    if (guard->pid > 0 && now_ms >= guard->limit_ms)
        hangs(guard);
}

void guard_deadline(struct guard *guard, int64_t deadline_ms)
{
    order(guard, &(struct order){.kind = ORDER_DEADLINE, .at_ms = deadline_ms}, -1);
}

void guard_lifeline(struct guard *guard, struct baton_lifeline *lifeline)
{
    struct order message = {.kind = ORDER_LIFELINE, .number = lifeline->fd >= 0};
    message.lifeline.session = lifeline->session;
    text_copy(message.lifeline.text, sizeof(message.lifeline.text), lifeline->text);
    order(guard, &message, lifeline->fd);
    if (lifeline->fd >= 0)
        close(lifeline->fd);
    lifeline->fd = -1;
}

void guard_testament(struct guard *guard, const char *text)
{
    struct order message = {.kind = ORDER_TESTAMENT};
    text_copy(message.testament, sizeof(message.testament), text);
    order(guard, &message, -1);
}

static void forget(struct guard *guard)
{
    close(guard->fd);
    if (guard->pidfd >= 0)
        close(guard->pidfd);
    deadman_free(guard->deadman);
    *guard = (struct guard){.fd = -1, .pidfd = -1, .limit_ms = NEVER_MS, .hung = guard->hung};
}

void guard_bye(struct guard *guard)
{
    if (guard->pid <= 0)
        return;
    order(guard, &(struct order){.kind = ORDER_BYE}, -1);
    struct pollfd dead = {.fd = guard->pidfd, .events = POLLIN};
    if (guard->pidfd < 0 || poll(&dead, 1, BYE_MS) <= 0) {
        kill(guard->pid, SIGKILL);
        if (guard->pidfd >= 0)
            (void)poll(&dead, 1, BYE_MS);
    }
    (void)waitpid(guard->pid, NULL, WNOHANG);
    forget(guard);
}

/* ---- after its death ---- */

static void begin_sweep(struct guard *guard)
{
    assert(guard->pid > 0 && !guard->sweeping);
    kill(guard->pid, SIGKILL); /* if it has only closed its end */
    forget(guard);
    guard->sweeping = true;
    guard->sweep_ms = SWEEP_FIRST_MS;
    guard->stuck.began_ms = guard->limit_ms = clock_now_ms();
}

struct sweep {
    struct guard *guard;
    struct guard_message *message;
};

static void swept(void *ctx, pid_t pid, int error)
{
    const struct sweep *sweep = ctx;
    if (sweep->message->news != GUARD_NOTHING || !tree_is_stuck(&sweep->guard->stuck, pid, error))
        return;
    *sweep->message = (struct guard_message){.news = GUARD_STUCK, .pid = pid, .error = error};
    tree_words(pid, error, sweep->message->text, sizeof(sweep->message->text));
}

/* All that is left is ours, or will be when its parents are dead. One look, which waits for nothing: SIGKILL, and
 * collect. The next one is at the next death, or a little later: a process that was just born has sent none. */
static void sweep(struct guard *guard, struct guard_message *ret)
{
    struct sweep sweep = {.guard = guard, .message = ret};
    assert(guard->sweeping && guard->pid == 0);
    unsigned seen = tree_signal(SIGKILL, 0, swept, &sweep);
    if (tree_reap(NULL, NULL)) {
        guard->sweeping = false;
        guard->stuck.count = 0;
        guard->limit_ms = NEVER_MS;
        *ret = (struct guard_message){.news = GUARD_GONE};
        return;
    }
    guard->limit_ms = clock_now_ms() + guard->sweep_ms;
    guard->sweep_ms = 2 * guard->sweep_ms < SWEEP_LAST_MS ? 2 * guard->sweep_ms : SWEEP_LAST_MS;
    if (seen == 0 && guard->stuck.count == 0)
        swept(&sweep, 0, 0);
}

/* ---- what it says ---- */

/* A stop that is done has no limit any more, and one that the guard is at has another one. */
static void hear(struct guard *guard, const struct guard_message *message)
{
    switch (message->news) {
    case GUARD_NOTHING: /* it kills, again and again, and says so each time */
        if (guard->limit_ms != NEVER_MS)
            guard->limit_ms = clock_now_ms() + GUARD_LATE_MS;
        return;
    case GUARD_EXITED:
        guard->gone = message->and_gone;
        if (message->and_gone)
            guard->limit_ms = NEVER_MS;
        return;
    case GUARD_GONE:
    case GUARD_FAILED:
    case GUARD_REFUSED:
        guard->limit_ms = NEVER_MS;
        return;
    default:
        return;
    }
}

static enum guard_news next_of_living(struct guard *guard, struct guard_message *ret)
{
    ssize_t got;
    while ((got = recv(guard->fd, ret, sizeof(*ret), MSG_DONTWAIT)) == (ssize_t)sizeof(*ret)) {
        hear(guard, ret);
        if (ret->news != GUARD_NOTHING)
            return ret->news;
    }
    *ret = (struct guard_message){.news = GUARD_NOTHING};
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return GUARD_NOTHING;
    begin_sweep(guard);
    ret->news = GUARD_DEAD;
    return GUARD_DEAD;
}

enum guard_news guard_next(struct guard *guard, struct guard_message *ret)
{
    *ret = (struct guard_message){.news = guard->gone ? GUARD_GONE : GUARD_NOTHING};
    if (guard->gone) {
        guard->gone = false;
        return ret->news;
    }
    if (guard->sweeping)
        sweep(guard, ret);
    else if (guard->pid > 0)
        return next_of_living(guard, ret);
    return ret->news;
}
