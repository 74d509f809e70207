/* guard_end.c: how a guard ends the session: the lifeline, the testament, and the hook that takes down what is no
 * process of the command. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "process/guard_watch.h"
#include "process/outlet.h"
#include "process/tree.h"

/* The engine may be unreachable: it is tried again until the session has ended by itself, and a little longer, since an
 * engine may look for sessions that are over only now and then (etcd: every 500 ms). */
#define END_LATE_MS 1000
#define READERS_MS 500 /* then the outputs are given up; and it is tried on */
#define GIVE_WAY_MS 2
#define RENEW_TRY_MS 500 /* for one answer of the engine */
#define HOOK_KILL_MS 500 /* a hook that was killed is over by then, but for one that hangs in the kernel */

/* ---- the lifeline and the testament ---- */

/* To prepare for the end takes a few ms, in which the command could have begun: it is done in a quiet time, or when it
 * is needed. The descriptor, which holds the place, is here at once. */
void ending_take_lifeline(struct watch *watch, const struct order *order, int fd)
{
    struct ending *ending = &watch->ending;
    struct baton_error err;
    baton_guard_free(ending->guard);
    ending->guard = NULL;
    if (ending->has_lifeline && ending->lifeline.fd >= 0)
        close(ending->lifeline.fd);
    ending->has_lifeline = order->number == (fd >= 0);
    if (!ending->has_lifeline) {
        if (fd >= 0)
            close(fd);
        error_set(&err, BATON_UNAVAILABLE,
                  "the descriptor that holds the session did not arrive: too many open files (ulimit -n)?");
        watch_say_trouble(watch, "the guard cannot hold or end the session when it must", &err);
        return;
    }
    ending->holds = fd >= 0;
    ending->lifeline = (struct baton_lifeline){.session = order->lifeline.session, .fd = fd};
    text_copy(ending->lifeline.text, sizeof(ending->lifeline.text), order->lifeline.text);
}

static void open_lifeline(struct watch *watch)
{
    struct ending *ending = &watch->ending;
    struct baton_error err;
    if (!ending->has_lifeline)
        return;
    ending->has_lifeline = false;
    ending->to_bequeath = true;
    if (baton_guard_open(&ending->lifeline, &ending->guard, &err) < 0) {
        ending->guard = NULL;
        watch_say_trouble(watch, "the guard cannot end the session when it must", &err);
    }
}

void ending_take_testament(struct watch *watch, const char *text)
{
    struct ending *ending = &watch->ending;
    if (text != NULL)
        text_copy(ending->testament, sizeof(ending->testament), text);
    /* NULL: the same again, so that what was made ahead stays good. */
    if (text != NULL || (ending->guard != NULL && ending->testament[0] != '\0'))
        ending->to_bequeath = true;
}

static void bequeath(struct watch *watch)
{
    struct ending *ending = &watch->ending;
    struct baton_error err;
    if (ending->guard == NULL || !ending->to_bequeath)
        return;
    ending->to_bequeath = false;
    if (baton_guard_testament(ending->guard, ending->testament, &err) < 0)
        watch_say_trouble(watch, "the place is not passed on", &err);
}

bool ending_is_unprepared(const struct watch *watch)
{
    const struct ending *ending = &watch->ending;
    bool runs = watch->command.state != COMMAND_WAITING;
    return (ending->has_lifeline && runs) || (ending->to_bequeath && ending->guard != NULL);
}

/* While no command runs, nobody waits for its end, and it may be told to begin at any moment. */
void ending_prepare(struct watch *watch)
{
    if (watch->command.state != COMMAND_WAITING)
        open_lifeline(watch);
    bequeath(watch);
}

/* ---- while something is left ---- */

static void renew_at(struct ending *ending, int64_t now_ms, int64_t in_ms)
{
    ending->renew_ms = now_ms + (in_ms > 0 ? in_ms : 1);
}

/* What is left may be there for long. Most is gone long before the first renewal. */
void ending_hold(struct watch *watch)
{
    int64_t now_ms = clock_now_ms();
    if (watch->ending.renew_ms == NEVER_MS && watch->deadline_ms != NEVER_MS && watch->deadline_ms > now_ms)
        renew_at(&watch->ending, now_ms, (watch->deadline_ms - now_ms) / 2);
}

static void renew(struct watch *watch, int64_t now_ms)
{
    struct ending *ending = &watch->ending;
    struct baton_error err;
    int64_t left_ms = watch->deadline_ms - now_ms, until_ms;
    ending->renew_ms = NEVER_MS;
    open_lifeline(watch);
    if (ending->guard == NULL)
        return;
    uint32_t timeout_ms = (uint32_t)(left_ms / 2 < RENEW_TRY_MS ? left_ms / 2 : RENEW_TRY_MS);
    if (left_ms > 1 && baton_guard_renew(ending->guard, timeout_ms, &until_ms, &err) == 0) {
        watch->deadline_ms = until_ms;
        renew_at(ending, now_ms, (until_ms - now_ms) / 3);
    } else if (left_ms > 1 && err.code != BATON_LOST && err.code != BATON_UNSUPPORTED) {
        renew_at(ending, now_ms, left_ms / 4); /* nobody knows: again */
    } else {
        if (left_ms <= 1)
            error_set(&err, BATON_LOST, "it could not be renewed in time");
        watch_say_trouble(watch, "the session ends although something of the command is left", &err);
    }
}

/* ---- the end ---- */

/* Whoever reads what the command printed waits for the end of that, and not for the engine. */
static void let_readers_go(struct watch *watch)
{
    command_drop_ready(watch);
    int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = STDIN_FILENO; nowhere >= 0 && fd <= STDERR_FILENO; fd++)
        (void)dup2(nowhere, fd);
}

static int end_session(struct watch *watch, struct baton_error *err)
{
    struct baton_guard *guard = watch->ending.guard;
    assert(guard != NULL && watch->orphaned);
    int64_t left_ms = watch->deadline_ms == NEVER_MS ? 0 : watch->deadline_ms - clock_now_ms();
    uint32_t limit_ms = END_LATE_MS + (uint32_t)(left_ms > 0 ? left_ms : 0);
    if (!watch->supervisor_dead)
        return baton_guard_end(guard, limit_ms, err);
    if (baton_guard_end(guard, limit_ms < READERS_MS ? limit_ms : READERS_MS, err) == 0)
        return 0;
    let_readers_go(watch);
    return baton_guard_end(guard, limit_ms, err);
}

void ending_finish(struct watch *watch)
{
    struct ending *ending = &watch->ending;
    struct baton_error err;
    ending->renew_ms = NEVER_MS;
    open_lifeline(watch);
    if (ending->guard == NULL)
        return;
    /* Its handover, but only for the dead: a supervisor that lives may yet do something else with its place. */
    if (!watch->supervisor_dead) {
        ending->testament[0] = '\0';
        ending->to_bequeath = true;
    }
    bequeath(watch);
    if (end_session(watch, &err) < 0)
        watch_say_trouble(watch, "the session could not be ended", &err);
    /* Whoever was woken by that may wait for this very core: what is left to do here has time. */
    (void)poll(NULL, 0, GIVE_WAY_MS);
    baton_guard_free(ending->guard);
    ending->guard = NULL;
}

/* ---- hooks ---- */

void ending_take_hook(struct watch *watch, pid_t pid, int pidfd)
{
    struct ending *ending = &watch->ending;
    if (ending->hook_pidfd >= 0)
        close(ending->hook_pidfd);
    ending->hook_pidfd = pidfd;
    ending->hook = pid;
}

void ending_kill_hook(struct watch *watch)
{
    struct ending *ending = &watch->ending;
    struct pollfd dead = {.fd = ending->hook_pidfd, .events = POLLIN};
    /* While it lives, its number is its own. */
    if (ending->hook_pidfd >= 0 && poll(&dead, 1, 0) == 0) {
        kill(-ending->hook, SIGKILL);
        (void)poll(&dead, 1, HOOK_KILL_MS);
    }
    ending_take_hook(watch, 0, -1);
}

static void become_hook(struct watch *watch, const int outputs[2])
{
    char *argv[] = {(char *)"sh", (char *)"-c", (char *)watch->options->end_hook, NULL};
    setpgid(0, 0);
    for (int i = 0; i < 2; i++)
        if (outputs[i] != STDOUT_FILENO + i)
            (void)dup2(outputs[i], STDOUT_FILENO + i);
    command_set_environment(&watch->ending.environment);
    setenv("BATON_STATE", "follow", 1);
    command_become(watch);
    execv("/bin/sh", argv);
    _exit(127);
}

bool ending_start_hook(struct watch *watch)
{
    struct ending *ending = &watch->ending;
    if (watch->options->end_hook == NULL || !ending->armed)
        return false;
    assert(ending->end_hook == 0);
    ending_kill_hook(watch); /* that of a supervisor that hangs */
    ending->armed = false;
    const int outputs[] = {outlet_fd(STDOUT_FILENO), outlet_fd(STDERR_FILENO)};
    ending->end_hook = fork();
    if (ending->end_hook == 0)
        become_hook(watch, outputs);
    if (ending->end_hook < 0) {
        struct baton_error err;
        error_errno(&err, errno, "cannot fork");
        watch_say_trouble(watch, "the hook is not run", &err);
        ending->end_hook = 0;
        return false;
    }
    setpgid(ending->end_hook, ending->end_hook);
    ending->end_hook_ms = clock_now_ms();
    ending->end_hook_kill_ms = ending->end_hook_ms + watch->options->end_hook_ms;
    /* Where nothing but the time holds the session, it must be over before the next one can begin. */
    int64_t latest_ms = watch->deadline_ms == NEVER_MS ? NEVER_MS : watch->deadline_ms - watch->options->slack_ms / 2;
    if (!ending->holds && latest_ms < ending->end_hook_kill_ms)
        ending->end_hook_kill_ms = latest_ms;
    return true;
}

void ending_on_time(struct watch *watch, int64_t now_ms)
{
    struct ending *ending = &watch->ending;
    struct baton_error err;
    if (now_ms >= ending->renew_ms)
        renew(watch, now_ms);
    if (ending->end_hook <= 0 || now_ms < ending->end_hook_kill_ms)
        return;
    ending->end_hook_kill_ms = NEVER_MS; /* its death ends the session */
    kill(-ending->end_hook, SIGKILL);
    error_set(&err, BATON_UNAVAILABLE, "it has not ended within %lld ms, and is killed",
              (long long)(now_ms - ending->end_hook_ms));
    watch_say_trouble(watch, "the hook for 'follow'", &err);
}
