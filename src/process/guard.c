/* guard.c: the supervisor's side of its guard. */
#include "process/guard.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "process/message.h"
#include "process/tree.h"

#define BYE_MS 2000
#define SWEEP_FIRST_MS 20
#define SWEEP_LAST_MS 1000

static void become_guard(const struct guard_options *options, int fd, int supervisor_pidfd, struct deadman *deadman)
{
    const int *outputs = options->outputs;
    if (outputs != NULL && (dup2(outputs[0], STDOUT_FILENO) < 0 || dup2(outputs[1], STDERR_FILENO) < 0))
        _exit(EXIT_FAILURE); /* seen as the guard's death */
    guard_main(options, fd, supervisor_pidfd, deadman);
}

int guard_start(struct guard *guard, const struct guard_options *options, struct baton_error *err)
{
    int pair[2];
    signal(SIGCHLD, SIG_DFL); /* ignored, it would not be sent, and no status be kept */
    *guard = (struct guard){.fd = -1, .pidfd = -1, .limit_ms = NEVER_MS};
    int self_pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (self_pidfd < 0)
        return error_errno(err, errno, "cannot make a pidfd (Linux 5.3 is needed)");
    struct deadman *deadman = deadman_new();
    if (deadman == NULL || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        error_errno(err, errno, "cannot prepare the guard");
        deadman_free(deadman);
        close(self_pidfd);
        return -1;
    }
    pid_t pid = fork();
    if (pid == 0) {
        close(pair[0]);
        become_guard(options, pair[1], self_pidfd, deadman);
    }
    int error = errno;
    close(pair[1]);
    close(self_pidfd);
    if (pid < 0) {
        error_errno(err, error, "cannot fork the guard");
        deadman_free(deadman);
        close(pair[0]);
        return -1;
    }
    *guard = (struct guard){.pid = pid,
                            .fd = pair[0],
                            .pidfd = (int)syscall(SYS_pidfd_open, pid, 0),
                            .limit_ms = NEVER_MS,
                            .deadman = deadman};
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
    struct iovec part = {.iov_base = (void *)order, .iov_len = offsetof(struct order, lifeline) + used_of(order)};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof(control);
        control.header =
            (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
    }
    ssize_t sent;
    do
        sent = sendmsg(guard->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
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

void guard_hook(struct guard *guard, pid_t pid)
{
    order(guard, &(struct order){.kind = ORDER_HOOK, .number = (int)pid}, -1);
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
    struct order message = {.kind = ORDER_LIFELINE};
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
    if (guard->pidfd < 0 || poll(&dead, 1, BYE_MS) <= 0)
        kill(guard->pid, SIGKILL);
    waitpid(guard->pid, NULL, 0);
    forget(guard);
}

/* ---- after its death ---- */

static void begin_sweep(struct guard *guard)
{
    kill(guard->pid, SIGKILL); /* if it has only closed its end */
    forget(guard);
    guard->sweeping = true;
    guard->sweep_ms = SWEEP_FIRST_MS;
    guard->limit_ms = clock_now_ms();
}

static void say_stuck(void *ctx, pid_t pid, int error)
{
    struct guard_message *message = ctx;
    if (message->news != GUARD_NOTHING)
        return;
    *message = (struct guard_message){.news = GUARD_STUCK, .pid = pid, .error = error};
    tree_words(pid, error, message->text, sizeof(message->text));
}

/* All that is left is ours, or will be when its parents are dead. One look, which waits for nothing: SIGKILL, and
 * collect. The next one is at the next death, or a little later: a process that was just born has sent none. */
static void sweep(struct guard *guard, struct guard_message *ret)
{
    struct guard_message stuck = {.news = GUARD_NOTHING};
    tree_signal(SIGKILL, 0, say_stuck, &stuck);
    if (tree_reap(NULL, NULL)) {
        guard->sweeping = guard->said_stuck = false;
        guard->limit_ms = NEVER_MS;
        ret->news = GUARD_GONE;
        return;
    }
    guard->limit_ms = clock_now_ms() + guard->sweep_ms;
    guard->sweep_ms = 2 * guard->sweep_ms < SWEEP_LAST_MS ? 2 * guard->sweep_ms : SWEEP_LAST_MS;
    if (stuck.news == GUARD_STUCK && !guard->said_stuck) {
        guard->said_stuck = true;
        *ret = stuck;
    }
}

/* ---- what it says ---- */

static enum guard_news next_of_living(struct guard *guard, struct guard_message *ret)
{
    ssize_t got = recv(guard->fd, ret, sizeof(*ret), MSG_DONTWAIT);
    if (got == (ssize_t)sizeof(*ret)) {
        guard->gone = ret->and_gone;
        if (ret->news == GUARD_GONE || ret->news == GUARD_FAILED || ret->news == GUARD_REFUSED || ret->and_gone)
            guard->limit_ms = NEVER_MS; /* the stop is done */
        return ret->news;
    }
    ret->news = got < 0 && (errno == EAGAIN || errno == EINTR) ? GUARD_NOTHING : GUARD_DEAD;
    if (ret->news == GUARD_DEAD)
        begin_sweep(guard);
    return ret->news;
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
