/* supervise.c: see supervise.h. */
#include "cli/supervise.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/base.h"

/* ---- begin and end ---- */

int supervise_begin(struct supervisor *supervisor, const int *outputs)
{
    static const int caught[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH, SIGCHLD};
    struct baton_error err;
    supervisor->status = -1;
    supervisor->kill_at_ms = supervisor->limit_ms = NEVER_MS;
    supervisor->signal_fd = candidate_signals(caught, COUNT_OF(caught));
    if (supervisor->signal_fd < 0)
        return EX_OSERR;
    supervisor->deadline_ms = NEVER_MS;
    struct guard_options options = {.argv = supervisor->command,
                                    .outputs = outputs,
                                    .verb = supervisor->user->what,
                                    .name = supervisor->name,
                                    .grace_ms = supervisor->candidate->grace_ms,
                                    .slack_ms = supervisor->candidate->slack_ms};
    sigemptyset(&options.ignored);
    int started = guard_start(&supervisor->guard, &options, &err);
    cli_print_begin();
    if (started < 0)
        return cli_fail(&err);
    return CLI_GO;
}

void supervise_end(struct supervisor *supervisor)
{
    baton_close(supervisor->client);
    guard_bye(&supervisor->guard);
    close(supervisor->signal_fd);
}

int supervise_command_status(const struct supervisor *supervisor)
{
    int status = supervisor->wait_status;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int supervise_exit_status(const struct supervisor *supervisor)
{
    if (supervisor->status >= 0)
        return supervisor->status;
    if (supervisor->ended)
        return supervise_command_status(supervisor);
    return supervisor->stop_signal != 0 ? 128 + supervisor->stop_signal : EX_TEMPFAIL;
}

/* ---- the command ---- */

void supervise_start(struct supervisor *supervisor, struct guard_environment *environment)
{
    text_copy(environment->name, sizeof(environment->name), supervisor->name);
    text_copy(environment->id, sizeof(environment->id), baton_id(supervisor->client));
    text_copy(environment->url, sizeof(environment->url), baton_url(supervisor->client));
    supervisor->running = true;
    supervisor->ended = false;
    guard_spawn(&supervisor->guard, environment, supervisor->deadline_ms);
}

static void gone(struct supervisor *supervisor)
{
    supervisor->running = false;
    supervisor->user->gone(supervisor);
}

static void guard_died(struct supervisor *supervisor)
{
    cli_error(supervisor->guard.hung ? "%s: the guard hangs: it is killed, and the command with it"
                                     : "%s: the guard is gone: the command is killed",
              supervisor->name);
    supervisor->status = EX_SOFTWARE;
    supervisor->lost = supervisor->running;
}

void supervise_on_guard(struct supervisor *supervisor)
{
    struct guard_message message;
    const char *name = supervisor->name;
    while (guard_next(&supervisor->guard, &message) != GUARD_NOTHING) {
        switch (message.news) {
        case GUARD_EXITED:
            supervisor->wait_status = message.status;
            supervisor->ended = true;
            break;
        case GUARD_REFUSED:
        case GUARD_GONE:
            if (message.by_guard || message.news == GUARD_REFUSED) {
                cli_error("%s: the %s is lost: this instance did not renew in time, and the guard has ended the "
                          "command",
                          name, supervisor->user->what);
                supervisor->status = EX_TEMPFAIL;
                supervisor->lost = true;
            }
            gone(supervisor);
            break;
        case GUARD_FAILED:
            cli_error("%s: cannot run '%s': %s", name, supervisor->command[0], strerror(message.error));
            supervisor->status = message.error == ENOENT ? 127 : 126; /* as env(1), timeout(1) */
            supervisor->failed = true;
            gone(supervisor);
            break;
        case GUARD_STUCK:
        case GUARD_TROUBLE:
            cli_error("%s: %s", name, message.text);
            break;
        case GUARD_DEAD:
            guard_died(supervisor);
            break;
        case GUARD_NOTHING:
            return;
        }
    }
}

/* ---- what the library says ---- */

static void session_began(struct supervisor *supervisor, const struct baton_event *event)
{
    struct baton_lifeline lifeline;
    struct baton_error err;
    supervisor->deadline_ms = event->until_ms;
    guard_deadline(&supervisor->guard, event->until_ms);
    if (baton_lifeline(supervisor->client, &lifeline, &err) == 0)
        guard_lifeline(&supervisor->guard, &lifeline);
    else if (err.code != BATON_LOST)
        cli_error("%s: the guard cannot end the session when it must: %s", supervisor->name, err.text);
}

static void on_stop(struct supervisor *supervisor, const struct baton_event *event)
{
    cli_error("%s: the %s is lost: %s", supervisor->name, supervisor->user->what, event->text);
    supervisor->status = EX_TEMPFAIL;
    supervisor->kill_at_ms = event->until_ms - supervisor->candidate->slack_ms;
    supervisor->limit_ms = candidate_limit_ms(supervisor->candidate, event->until_ms);
    supervisor->lost = !supervisor->ended;
    if (supervisor->running)
        guard_stop(&supervisor->guard, SIGTERM, supervisor->kill_at_ms, supervisor->limit_ms);
    else
        supervisor->user->give_up(supervisor);
}

bool supervise_event(struct supervisor *supervisor, const struct baton_event *event)
{
    switch (event->kind) {
    case BATON_SESSION:
        session_began(supervisor, event);
        return true;
    case BATON_RENEWED:
        supervisor->deadline_ms = event->until_ms;
        guard_deadline(&supervisor->guard, event->until_ms);
        return true;
    case BATON_STOP:
        on_stop(supervisor, event);
        return true;
    case BATON_TROUBLE:
        cli_error("%s", event->text);
        return true;
    default:
        return false;
    }
}

/* ---- signals ---- */

void supervise_on_signals(struct supervisor *supervisor)
{
    struct signalfd_siginfo info;
    while (read(supervisor->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        int number = (int)info.ssi_signo;
        if (number == SIGCHLD) {
            supervise_on_guard(supervisor);
            continue;
        }
        if (number != SIGTERM && number != SIGINT && number != SIGQUIT && number != SIGHUP) {
            guard_signal(&supervisor->guard, number);
            continue;
        }
        bool again = supervisor->stop_signal != 0;
        supervisor->stop_signal = number;
        int64_t kill_at_ms = baton_now_ms() + (again ? 0 : supervisor->candidate->grace_ms);
        if (supervisor->running) /* a second one: no more patience */
            guard_stop(&supervisor->guard, again ? 0 : number, kill_at_ms, kill_at_ms + GUARD_LATE_MS);
        else
            supervisor->user->give_up(supervisor);
    }
}

/* ---- time ---- */

int supervise_wait_ms(const struct supervisor *supervisor)
{
    int64_t wake_ms = guard_wake_ms(&supervisor->guard), now_ms = baton_now_ms();
    if (wake_ms == NEVER_MS)
        return -1;
    return wake_ms <= now_ms ? 0 : wake_ms - now_ms > 60000 ? 60000 : (int)(wake_ms - now_ms);
}

void supervise_on_time(struct supervisor *supervisor)
{
    guard_on_time(&supervisor->guard, baton_now_ms());
    supervise_on_guard(supervisor);
}
