/* supervisor.c: see supervisor.h. */
#include "cli/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/base.h"
#include "process/orphans.h"

/* ---- the end ---- */

int supervisor_wait_status(int wait_status)
{
    return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

int supervisor_exec_status(int error)
{
    return error == ENOENT ? 127 : 126;
}

int supervisor_status(const struct supervisor *supervisor)
{
    if (supervisor->status >= 0)
        return supervisor->status;
    if (supervisor->exited)
        return supervisor_wait_status(supervisor->wait_status);
    return supervisor->stop_signal != 0 ? 128 + supervisor->stop_signal : EX_TEMPFAIL;
}

static bool is_idle(const struct supervisor *supervisor)
{
    const struct supervisor_kind *kind = supervisor->kind;
    return !supervise_runs(&supervisor->command) && !(kind->busy != NULL && kind->busy(supervisor));
}

void supervisor_leave(struct supervisor *supervisor, int status)
{
    if (supervisor->leaving)
        return;
    supervisor->leaving = true;
    if (status >= 0)
        supervisor->status = status;
    supervise_finish(&supervisor->command);
    if (supervisor->kind->leaving != NULL)
        supervisor->kind->leaving(supervisor);
    if (!supervise_runs(&supervisor->command))
        supervisor->kind->give_back(supervisor);
}

/* It has left, and nothing runs: the engine has so long to hear of it. */
static void check_end(struct supervisor *supervisor, int64_t now_ms)
{
    if (!supervisor->leaving || supervisor->over || !is_idle(supervisor))
        return;
    int64_t limit_ms = now_ms + (supervisor->hurried ? SUPERVISOR_HURRY_MS : SUPERVISOR_END_MS);
    if (limit_ms < supervisor->end_ms)
        supervisor->end_ms = limit_ms;
    if (now_ms >= supervisor->end_ms) {
        supervisor->unanswered = true;
        supervisor->over = true;
        cli_error("%s: ends without an answer of the engine; what is left of the %s is over when the session is",
                  supervisor->name, supervisor->kind->what);
        if (supervisor->kind->unanswered != NULL)
            supervisor->kind->unanswered(supervisor);
    }
}

void supervisor_end(struct supervisor *supervisor)
{
    if (supervisor->unanswered) {
        (void)cli_print_end();
        _exit(supervisor_status(supervisor));
    }
    baton_close(supervisor->client);
    supervise_end(&supervisor->command);
    if (supervisor->signal_fd >= 0)
        close(supervisor->signal_fd);
}

/* ---- the command ---- */

void supervisor_environment(const struct supervisor *supervisor, struct guard_environment *environment)
{
    text_copy(environment->name, sizeof(environment->name), supervisor->name);
    text_copy(environment->id, sizeof(environment->id), baton_id(supervisor->client));
    text_copy(environment->url, sizeof(environment->url), baton_url(supervisor->client));
}

static enum supervise_may may_start(void *ctx, struct guard_environment *environment, int64_t *deadline_ms)
{
    struct supervisor *supervisor = ctx;
    supervisor_environment(supervisor, environment);
    *deadline_ms = supervisor->deadline_ms;
    supervisor->exited = false;
    return supervisor->kind->may_start(supervisor, environment);
}

static void answer_stop(struct supervisor *supervisor)
{
    assert(!supervise_runs(&supervisor->command)); /* a stop is over when nothing of the command is left */
    supervisor->stop_until_ms = NEVER_MS;
    supervisor->kind->give_back(supervisor);
}

static void tell_cannot_run(const struct supervisor *supervisor, int error)
{
    const char *command = supervisor->argv[0];
    if (error == ENOENT && supervisor->argv[1] == NULL && strpbrk(command, " \t|&;<>") != NULL)
        cli_error("%s: cannot run '%s': %s; a line for the shell is: sh -c '%s'", supervisor->name, command,
                  strerror(error), command);
    else
        cli_error("%s: cannot run '%s': %s", supervisor->name, command, strerror(error));
}

static void gone(void *ctx, const struct supervise_outcome *outcome)
{
    struct supervisor *supervisor = ctx;
    supervisor->exited = outcome->exited;
    supervisor->wait_status = outcome->wait_status;
    if (outcome->by_guard)
        supervisor->lost = true;
    if (outcome->error != 0)
        tell_cannot_run(supervisor, outcome->error);
    supervisor->kind->gone(supervisor, outcome);
    if (supervisor->stop_until_ms != NEVER_MS || supervisor->leaving)
        answer_stop(supervisor);
}

static void guard_died(void *ctx, bool hung)
{
    struct supervisor *supervisor = ctx;
    cli_error(hung ? "%s: the guard hangs: it is killed, and the command with it"
                   : "%s: the guard is gone: the command is killed",
              supervisor->name);
    if (supervisor->kind->guard_died != NULL)
        supervisor->kind->guard_died(supervisor);
    supervisor->lost = true;
    supervisor->takes_ms = 0;
    supervisor_leave(supervisor, EX_SOFTWARE);
    supervisor->status = EX_SOFTWARE;
}

static void say(struct supervisor *supervisor, const char *event, const char *words)
{
    if (supervisor->kind->say != NULL)
        supervisor->kind->say(supervisor, event, words);
    else
        cli_error("%s", words);
}

static void left(void *ctx, unsigned count)
{
    struct supervisor *supervisor = ctx;
    char words[BATON_ERROR_TEXT];
    snprintf(words, sizeof(words), "%s: the command has ended and has left %u %s behind, which %s ended, too",
             supervisor->name, count, count == 1 ? "process" : "processes", count == 1 ? "is" : "are");
    say(supervisor, "left", words);
}

static void stuck(void *ctx, const char *text)
{
    struct supervisor *supervisor = ctx;
    char words[BATON_ERROR_TEXT];
    supervisor->takes_ms = 0;
    snprintf(words, sizeof(words), "%s: %.250s; the %s does not pass on before it is gone", supervisor->name, text,
             supervisor->kind->what);
    say(supervisor, "stuck", words);
}

static void trouble(void *ctx, const char *text)
{
    cli_error("%s: %s", ((struct supervisor *)ctx)->name, text);
}

static const struct supervise_user the_command = {
    .may_start = may_start, .gone = gone, .guard_died = guard_died, .left = left, .stuck = stuck, .trouble = trouble};

void supervisor_stop_in_grace(struct supervisor *supervisor)
{
    int64_t kill_at_ms = baton_now_ms() + supervisor->candidate->grace_ms;
    supervise_stop(&supervisor->command, supervisor->stop_signal != 0 ? supervisor->stop_signal : SIGTERM, kill_at_ms,
                   kill_at_ms + GUARD_LATE_MS);
}

/* ---- what the library says ---- */

static void session_began(struct supervisor *supervisor, const struct baton_event *event)
{
    struct baton_lifeline lifeline;
    struct baton_error err;
    struct guard *guard = &supervisor->command.guard;
    guard_deadline(guard, event->until_ms);
    if (baton_lifeline(supervisor->client, &lifeline, &err) == 0)
        guard_lifeline(guard, &lifeline);
    else if (err.code != BATON_LOST)
        cli_error("%s: the guard cannot end the session when it must: %s", supervisor->name, err.text);
}

/* It may come again, with an earlier time. */
static void on_stop(struct supervisor *supervisor, const struct baton_event *event)
{
    const struct candidate *candidate = supervisor->candidate;
    supervisor->stop_until_ms = event->until_ms;
    supervisor->takes_ms = 0;
    supervisor->kind->stopping(supervisor, event);
    supervise_unwant(&supervisor->command);
    if (!supervise_runs(&supervisor->command)) {
        answer_stop(supervisor);
        return;
    }
    supervisor->lost = supervisor->lost || !supervisor->command.outcome.exited;
    supervise_stop(&supervisor->command, supervisor->stop_signal != 0 ? supervisor->stop_signal : SIGTERM,
                   event->until_ms - candidate->slack_ms, candidate_limit_ms(candidate, event->until_ms));
}

static void on_trouble(struct supervisor *supervisor, const struct baton_event *event)
{
    char text[TROUBLE_TEXT];
    bool of_client = event->election == NULL && event->lock == NULL && event->task == NULL;
    const char *words = event->text;
    if (of_client)
        words = trouble_event(&supervisor->trouble, baton_url(supervisor->client), event, text);
    if (words != NULL)
        say(supervisor, event->kind == BATON_TROUBLE ? "trouble" : "recovered", words);
}

static void on_event(struct supervisor *supervisor, const struct baton_event *event)
{
    switch (event->kind) {
    case BATON_SESSION:
        supervisor->deadline_ms = event->until_ms;
        session_began(supervisor, event);
        return;
    case BATON_RENEWED:
        supervisor->deadline_ms = event->until_ms;
        guard_deadline(&supervisor->command.guard, event->until_ms);
        return;
    case BATON_LOST_SESSION:
        supervisor->deadline_ms = 0;
        supervisor->kind->event(supervisor, event);
        return;
    case BATON_STOP:
        on_stop(supervisor, event);
        return;
    case BATON_TROUBLE:
    case BATON_RECOVERED:
        on_trouble(supervisor, event);
        return;
    default:
        supervisor->kind->event(supervisor, event);
        return;
    }
}

/* A process that nobody can end must not live beside the next command: the stop takes as long as that process lives. */
static void keep_place(struct supervisor *supervisor, int64_t now_ms)
{
    uint32_t ttl_ms = supervisor->candidate->ttl_ms;
    if (!supervise_lasts(&supervisor->command) || now_ms < supervisor->takes_ms)
        return;
    (void)supervisor->kind->stop_takes(supervisor, ttl_ms);
    supervisor->takes_ms = now_ms + ttl_ms / 4;
}

/* ---- signals ---- */

static void on_ending_signal(struct supervisor *supervisor, int number)
{
    int64_t now_ms = baton_now_ms();
    bool again = supervisor->leaving;
    supervisor->stop_signal = number;
    if (!again) {
        supervisor_stop_in_grace(supervisor);
        supervisor_leave(supervisor, -1);
        return;
    }
    /* A second one: no more patience, neither with the command nor with the engine. */
    if (supervisor->hurried)
        supervisor->end_ms = now_ms;
    supervisor->hurried = true;
    supervise_stop(&supervisor->command, 0, now_ms, now_ms + GUARD_LATE_MS);
    if (supervisor->kind->hurry != NULL)
        supervisor->kind->hurry(supervisor);
    if (supervise_lasts(&supervisor->command))
        cli_error("%s: something that the command has started cannot be killed yet; the %s is kept until it is gone",
                  supervisor->name, supervisor->kind->what);
}

/* A key (Ctrl-C) reaches every process in the foreground. While the command runs, the command decides what it means: a
 * debugger or a shell goes on. */
static bool is_typed(const struct supervisor *supervisor, const struct signalfd_siginfo *info)
{
    int number = (int)info->ssi_signo;
    return supervisor->on_terminal && info->ssi_code == SI_KERNEL && supervise_runs(&supervisor->command) &&
           (number == SIGINT || number == SIGQUIT || number == SIGWINCH);
}

/* true: there was a SIGCHLD. */
static bool on_signals(struct supervisor *supervisor)
{
    struct signalfd_siginfo info;
    bool children = false;
    while (read(supervisor->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        int number = (int)info.ssi_signo;
        if (number == SIGCHLD) {
            children = true;
        } else if (is_typed(supervisor, &info)) {
            continue;
        } else if (number == SIGTERM || number == SIGINT || number == SIGQUIT ||
                   (number == SIGHUP && supervisor->kind->hangup_ends)) {
            on_ending_signal(supervisor, number);
        } else {
            supervise_signal(&supervisor->command, number);
            if (supervisor->kind->signal != NULL)
                supervisor->kind->signal(supervisor, number);
        }
    }
    return children;
}

/* This process is a subreaper: it inherits children that it does not know. */
static void collect(struct supervisor *supervisor)
{
    pid_t known[SUPERVISOR_POLLED_MAX + 1] = {supervisor->command.guard.pid};
    size_t count = 1;
    if (supervisor->kind->children != NULL)
        count += supervisor->kind->children(supervisor, known + 1);
    orphans_collect(known, count);
}

/* ---- the loop ---- */

static int wait_ms(const struct supervisor *supervisor)
{
    const struct supervisor_kind *kind = supervisor->kind;
    /* The library renews only while this loop turns; a renewal makes it turn, so this is for when there is none. */
    const int64_t times[] = {supervise_wake_ms(&supervisor->command),
                             supervisor->end_ms,
                             trouble_wake_ms(&supervisor->trouble),
                             supervise_lasts(&supervisor->command) ? supervisor->takes_ms : NEVER_MS,
                             supervisor->turn_ms + (int64_t)supervisor->candidate->ttl_ms * 3 / 8,
                             kind->wake_ms != NULL ? kind->wake_ms(supervisor) : NEVER_MS};
    int64_t wake_ms = NEVER_MS;
    for (size_t i = 0; i < COUNT_OF(times); i++)
        if (times[i] < wake_ms)
            wake_ms = times[i];
    int64_t left_ms = wake_ms - baton_now_ms();
    return left_ms <= 0 ? 0 : left_ms > 60000 ? 60000 : (int)left_ms;
}

static void turn(struct supervisor *supervisor)
{
    const struct supervisor_kind *kind = supervisor->kind;
    struct baton_event event;
    char text[TROUBLE_TEXT];
    struct pollfd polled[3 + SUPERVISOR_POLLED_MAX] = {{.fd = baton_fd(supervisor->client), .events = POLLIN},
                                                       {.fd = supervisor->command.guard.fd, .events = POLLIN},
                                                       {.fd = supervisor->signal_fd, .events = POLLIN}};
    size_t count = 3 + (kind->poll != NULL ? kind->poll(supervisor, polled + 3) : 0);
    if (poll(polled, (nfds_t)count, wait_ms(supervisor)) < 0)
        for (size_t i = 0; i < count; i++)
            polled[i].revents = 0;
    supervisor->turn_ms = baton_now_ms();
    baton_alive(supervisor->client);
    supervise_step(&supervisor->command, supervisor->turn_ms, false);
    while (!supervisor->over && baton_next(supervisor->client, &event))
        on_event(supervisor, &event);
    const char *still = trouble_due(&supervisor->trouble, baton_url(supervisor->client), text);
    if (still != NULL)
        say(supervisor, "trouble", still);
    bool children = polled[2].revents != 0 && on_signals(supervisor);
    int64_t now_ms = baton_now_ms();
    supervise_step(&supervisor->command, now_ms, children);
    if (kind->turn != NULL)
        kind->turn(supervisor, polled + 3, children);
    if (children)
        collect(supervisor);
    keep_place(supervisor, now_ms);
    check_end(supervisor, now_ms);
}

void supervisor_loop(struct supervisor *supervisor)
{
    while (!supervisor->over)
        turn(supervisor);
}

/* ---- begin ---- */

void supervisor_guard_options(const struct supervisor *supervisor, struct guard_options *options)
{
    const struct candidate *candidate = supervisor->candidate;
    options->argv = supervisor->argv;
    options->verb = supervisor->kind->verb;
    options->name = supervisor->name;
    options->grace_ms = candidate->grace_ms;
    options->slack_ms = candidate->slack_ms;
    options->signals = supervisor->inherited;
    options->allow_privileges = candidate->allow_privileges;
}

static bool has_terminal(void)
{
    int fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

int supervisor_exit(const struct supervisor *supervisor)
{
    int number = supervisor->stop_signal, wait_status = supervisor->wait_status;
    if (supervisor->exited)
        number = WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0;
    if (!supervisor->on_terminal || (number != SIGINT && number != SIGQUIT))
        return supervisor_status(supervisor);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    (void)cli_print_end();
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0}); /* the core that tells something is the command's */
    signal(number, SIG_DFL);
    raise(number);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    return supervisor_status(supervisor);
}

int supervisor_begin(struct supervisor *supervisor, const int *outputs)
{
    static const int caught[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH, SIGCHLD};
    struct baton_error err;
    struct guard_options options = {.outputs = outputs};
    supervisor->status = -1;
    supervisor->deadline_ms = supervisor->stop_until_ms = supervisor->end_ms = NEVER_MS;
    supervisor->turn_ms = baton_now_ms();
    supervise_init(&supervisor->command, &the_command, supervisor);
    candidate_inherited(&supervisor->inherited);
    supervisor->signal_fd = candidate_signals(caught, COUNT_OF(caught));
    if (supervisor->signal_fd < 0)
        return EX_OSERR;
    supervisor_guard_options(supervisor, &options);
    supervisor->on_terminal = options.keep_terminal = supervisor->kind->keeps_terminal && has_terminal();
    if (supervisor->on_terminal)
        signal(SIGTSTP, SIG_IGN); /* who holds a lock is not suspended */
    if (supervise_begin(&supervisor->command, &options, &err) == 0)
        return CLI_GO;
    cli_print_begin(); /* the signals are blocked already */
    return cli_fail(&err);
}
