/* run_events.c: `baton run`, event by event. Nothing here waits. */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/base.h"
#include "cli/cli.h"
#include "cli/run.h"

/* ---- leaving ---- */

void run_leave(struct run *run, int status)
{
    if (run->leaving)
        return;
    run->leaving = true;
    run->status = status;
    run->restart_ms = NEVER_MS;
    run->pending = false;
    if (run->election != NULL)
        baton_resign(run->election);
    else
        run->resigned = true;
    notify_say("STOPPING=1");
}

/* Give the place to another one, and stand again. */
static void step_down(struct run *run)
{
    if (run->leaving || run->stand_again)
        return;
    run->stand_again = true;
    run->restart_ms = NEVER_MS;
    baton_resign(run->election);
}

/* ---- the command ---- */

static void start_command(struct run *run)
{
    struct guard_environment environment = {.term = run->term};
    text_copy(environment.name, sizeof(environment.name), run->options->name);
    text_copy(environment.id, sizeof(environment.id), baton_id(run->client));
    text_copy(environment.url, sizeof(environment.url), baton_url(run->client));
    text_copy(environment.notify, sizeof(environment.notify), run->notify.address);
    environment.fence_pg = run->options->fence_pg;
    if (run->options->watchdog_ms > 0)
        snprintf(environment.watchdog_us, sizeof(environment.watchdog_us), "%" PRIu64,
                 (uint64_t)run->options->watchdog_ms * 1000);
    run->restart_ms = NEVER_MS;
    run->pending = run->follow.running;
    if (run->pending)
        return;
    run->running = true;
    run->told = run->unhealthy = false;
    guard_spawn(&run->guard, &environment, run->deadline_ms);
    run->watchdog_at_ms = run->options->watchdog_ms > 0 ? baton_now_ms() + run->options->watchdog_ms : NEVER_MS;
    health_start(&run->health, baton_now_ms());
}

void run_command_may_start(struct run *run)
{
    if (run->pending && run->term != 0 && !run->stopping && !run->leaving && !run->running)
        start_command(run);
}

/* It is told once; what comes after that can only take time from it. */
static void stop_command(struct run *run, int64_t kill_at_ms, int64_t limit_ms)
{
    health_stop(&run->health);
    run->watchdog_at_ms = NEVER_MS;
    guard_stop(&run->guard, run->told ? 0 : run->stop_signal, kill_at_ms, limit_ms);
    run->told = true;
}

static void stop_in_grace(struct run *run)
{
    int64_t kill_at_ms = baton_now_ms() + run->options->candidate.grace_ms;
    stop_command(run, kill_at_ms, kill_at_ms + GUARD_LATE_MS);
}

static void stop_in_time(struct run *run)
{
    const struct candidate *candidate = &run->options->candidate;
    stop_command(run, run->until_ms - candidate->slack_ms, candidate_limit_ms(candidate, run->until_ms));
}

static void unwell(struct run *run, const char *why)
{
    if (!run->running || run->stopping || run->unhealthy)
        return;
    run->unhealthy = true;
    run_say(run, "unhealthy", "%s: the command of '%s' %s: it loses its place", run->options->name, run->options->name,
            why);
    stop_in_grace(run);
}

static int exit_status(int wait_status)
{
    return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

/* No descendant is left. */
static void command_gone(struct run *run, bool by_guard)
{
    run->running = false;
    health_stop(&run->health);
    run->watchdog_at_ms = NEVER_MS;
    if (run->leaving && run->ended)
        run->status = exit_status(run->wait_status);
    if (run->stopping) {
        baton_stopped(run->election);
        return;
    }
    if (run->leaving)
        baton_stopped(run->election); /* it was told to stop before the library was asked */
    if (run->leaving || run->term == 0)
        return;
    if (by_guard) {
        /* This process stood still for too long, and the guard has ended the session as well. Whatever is left of the
         * candidacy: nothing runs any more. */
        run_say(run, "killed", "%s: this instance did not renew in time: the guard has ended the command",
                run->options->name);
        step_down(run);
        baton_stopped(run->election);
        return;
    }
    bool failed = run->unhealthy || !run->ended || exit_status(run->wait_status) != 0;
    if (run->options->restart == RESTART_NEVER || (run->options->restart == RESTART_ON_FAILURE && !failed)) {
        run_leave(run, run->unhealthy ? RUN_UNHEALTHY : exit_status(run->wait_status));
        baton_stopped(run->election); /* nothing runs any more: hand over at once */
        return;
    }
    if (run->unhealthy) {
        step_down(run);
        return;
    }
    run->restart_ms = baton_now_ms() + run->backoff_ms;
    run_say(run, "restart", "%s: the command has ended with status %d; it is started again in %" PRId64 " ms",
            run->options->name, exit_status(run->wait_status), run->backoff_ms);
    run->backoff_ms = 2 * run->backoff_ms < RUN_BACKOFF_LAST_MS ? 2 * run->backoff_ms : RUN_BACKOFF_LAST_MS;
}

static void command_failed(struct run *run, int error)
{
    run->running = false;
    health_stop(&run->health);
    run->watchdog_at_ms = NEVER_MS;
    cli_error("%s: cannot run '%s': %s", run->options->name, run->options->command[0], strerror(error));
    run->ended = false;
    if (run->stopping)
        baton_stopped(run->election);
    run_leave(run, error == ENOENT ? 127 : 126); /* as env(1), timeout(1) */
}

static void guard_died(struct run *run)
{
    cli_error(run->guard.hung ? "%s: the guard hangs: it is killed, and the command with it"
                              : "%s: the guard is gone: the command is killed",
              run->options->name);
    run->ended = false;
    run_leave(run, EX_SOFTWARE);
}

void run_on_guard(struct run *run)
{
    struct guard_message message;
    while (guard_next(&run->guard, &message) != GUARD_NOTHING) {
        switch (message.news) {
        case GUARD_FAILED:
            command_failed(run, message.error);
            break;
        case GUARD_EXITED:
            run->wait_status = message.status;
            run->ended = true;
            break;
        case GUARD_GONE:
            command_gone(run, message.by_guard);
            break;
        case GUARD_REFUSED:
            command_gone(run, true);
            break;
        case GUARD_STUCK:
        case GUARD_TROUBLE:
            cli_error("%s: %s", run->options->name, message.text);
            break;
        case GUARD_DEAD:
            guard_died(run);
            break;
        case GUARD_NOTHING:
            return;
        }
    }
}

/* ---- the election ---- */

static void session_began(struct run *run, const struct baton_event *event)
{
    struct baton_lifeline lifeline;
    struct baton_error err;
    run->deadline_ms = event->until_ms;
    guard_deadline(&run->guard, event->until_ms);
    if (baton_lifeline(run->client, &lifeline, &err) == 0)
        guard_lifeline(&run->guard, &lifeline);
    else if (err.code != BATON_LOST)
        cli_error("%s: the guard cannot end the session when it must: %s", run->options->name, err.text);
}

static void testament_may_differ(struct run *run)
{
    if (run->testament_ms == NEVER_MS)
        run->testament_ms = baton_now_ms() + RUN_TESTAMENT_LATE_MS;
}

/* The guard does with it what this process cannot do any more when it is dead. */
static void tell_testament(struct run *run)
{
    char testament[BATON_TESTAMENT_MAX];
    run->testament_ms = NEVER_MS;
    if (run->election == NULL)
        return;
    baton_testament(run->election, testament);
    if (strcmp(testament, run->testament) == 0)
        return;
    text_copy(run->testament, sizeof(run->testament), testament);
    guard_testament(&run->guard, testament);
}

static void on_lead(struct run *run, const struct baton_event *event)
{
    char status[160];
    run->term = event->term;
    run->backoff_ms = RUN_BACKOFF_FIRST_MS;
    if (run->leaving || run->running)
        return; /* told to stop soon; or the last command is still being ended */
    start_command(run);
    run_say(run, "lead", "%s: leads with term %" PRIu64, run->options->name, run->term);
    snprintf(status, sizeof(status), "STATUS=leads (term %" PRIu64 ")", run->term);
    notify_say(status);
    testament_may_differ(run);
}

static void on_stop(struct run *run, const struct baton_event *event)
{
    run->stopping = true;
    run->pending = false;
    run->until_ms = event->until_ms;
    run->restart_ms = NEVER_MS;
    if (!run->leaving)
        run_say(run, "stop", "%s: stops: %s", run->options->name, event->text);
    if (!run->running) {
        baton_stopped(run->election);
        return;
    }
    stop_in_time(run);
    testament_may_differ(run); /* that of who stops names whom it stops for */
}

static void on_follow(struct run *run)
{
    run->stopping = false;
    run->term = 0;
    run_follow_stood(run, true);
    testament_may_differ(run);
    if (!run->leaving) {
        run_say(run, "follow", "%s: follows", run->options->name);
        notify_say("STATUS=follows");
    }
}

/* Is there anything to look for in what is new? */
static bool is_curious(const struct run *run)
{
    return !run->said_ready || (run->options->follow != NULL && !run->follow.running && run->term == 0);
}

/* Ready, for systemd, is when the candidacy stands. */
static void on_changed(struct run *run)
{
    struct baton_status *status;
    size_t count;
    testament_may_differ(run);
    if (!is_curious(run) || baton_status(run->election, &status, &count, NULL) < 0)
        return;
    bool ready_before = run->said_ready;
    for (size_t i = 0; i < status->candidate_count && !run->said_ready; i++)
        run->said_ready = strcmp(status->candidates[i].id, baton_id(run->client)) == 0;
    if (run->said_ready)
        run_follow_stood(run, status->leader != NULL && strcmp(status->leader, baton_id(run->client)) != 0);
    if (run->said_ready && !ready_before) {
        notify_say("READY=1\nSTATUS=stands");
        run_say(run, "stand", "%s: stands as %s", run->options->name, baton_id(run->client));
    }
    baton_status_free(status, count);
}

static void on_resigned(struct run *run)
{
    struct baton_error err;
    if (run->leaving) {
        run->resigned = true;
        return;
    }
    run->stand_again = false;
    baton_election_free(run->election);
    run->election = NULL;
    if (candidate_stand(&run->options->candidate, run->client, run->options->name, true, &run->election, &err) < 0)
        run_leave(run, cli_fail(&err));
}

/* A session of ours that was lost may leave its presence behind for a ttl; after that it is somebody else. */
static void on_duplicate(struct run *run, const struct baton_event *event)
{
    run->duplicate_until_ms = baton_now_ms() + run->options->candidate.ttl_ms + 1000;
    text_copy(run->duplicate, sizeof(run->duplicate), event->text);
    run_say(run, "duplicate", "%s: %s", run->options->name, event->text);
}

static void on_event(struct run *run, const struct baton_event *event)
{
    switch (event->kind) {
    case BATON_SESSION:
        session_began(run, event);
        return;
    case BATON_RENEWED:
        run->deadline_ms = event->until_ms;
        guard_deadline(&run->guard, event->until_ms);
        return;
    case BATON_LEAD:
        on_lead(run, event);
        return;
    case BATON_STOP:
        on_stop(run, event);
        return;
    case BATON_FOLLOW:
        on_follow(run);
        return;
    case BATON_CHANGED:
        on_changed(run);
        return;
    case BATON_RESIGNED:
        on_resigned(run);
        return;
    case BATON_DUPLICATE:
        on_duplicate(run, event);
        return;
    case BATON_LOST_SESSION:
        run_say(run, "lost", "%s: the session is over: %s", run->options->name, event->text);
        return;
    case BATON_TROUBLE:
        run_say(run, "trouble", "%s", event->text);
        return;
    case BATON_RECOVERED:
        run_say(run, "recovered", "%s: the engine can be used again", run->options->name);
        return;
    case BATON_NONE:
    case BATON_REPLY:
    case BATON_ACQUIRED: /* of locks */
    case BATON_RELEASED:
    case BATON_BEGIN: /* of tasks */
    case BATON_OUTCOME:
        return;
    }
}

void run_on_baton(struct run *run)
{
    struct baton_event event;
    while (!run->resigned && baton_next(run->client, &event))
        on_event(run, &event);
}

/* ---- signals ---- */

void run_on_signals(struct run *run)
{
    struct signalfd_siginfo info;
    while (read(run->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        int number = (int)info.ssi_signo;
        switch (number) {
        case SIGTERM:
        case SIGINT:
        case SIGQUIT:
            if (run->leaving) {
                if (run->running) /* a second one: no more patience */
                    guard_stop(&run->guard, 0, baton_now_ms(), baton_now_ms() + GUARD_LATE_MS);
                run_follow_kill(run);
                break;
            }
            run->stop_signal = number;
            run->ended = false;
            /* At once: to ask the library first whether this is a stop, which it will be, costs two wake-ups. */
            if (run->running) {
                stop_in_grace(run);
                sched_yield(); /* the guard is woken where its waker runs, and that one has more to do */
            }
            run_leave(run, 0);
            break;
        case SIGCHLD:
            run_on_guard(run);
            run_follow_on_guard(run);
            break;
        default:
            guard_signal(&run->guard, number);
            break;
        }
    }
}

/* ---- the notify socket ---- */

void run_on_notify(struct run *run)
{
    struct notify_said said;
    if (!notify_read(&run->notify, run->guard.pid, &said))
        return;
    if (said.strangers > 0 && !run->said_stranger) {
        run->said_stranger = true;
        run_say(run, "dropped",
                "%s: a message to the command's notify socket is dropped: process %d (uid %u) was not started by the "
                "command (this is told once)",
                run->options->name, (int)said.stranger_pid, (unsigned)said.stranger_uid);
    }
    if (!run->running)
        return;
    if (said.ready)
        run_say(run, "ready", "%s: the command is ready", run->options->name);
    if (said.stopping) {
        /* It ends by itself: its silence means nothing any more. */
        run_say(run, "stopping", "%s: the command says that it stops", run->options->name);
        run->watchdog_at_ms = NEVER_MS;
        health_stop(&run->health);
    }
    if (said.watchdog && run->watchdog_at_ms != NEVER_MS)
        run->watchdog_at_ms = baton_now_ms() + run->options->watchdog_ms;
    if (said.status[0] != '\0') {
        char status[256];
        snprintf(status, sizeof(status), "STATUS=leads (term %" PRIu64 "): %s", run->term, said.status);
        notify_say(status);
    }
    if (said.watchdog_trigger && run->options->watchdog_ms > 0)
        unwell(run, "has said WATCHDOG=trigger");
}

/* ---- time ---- */

int64_t run_wake_ms(const struct run *run)
{
    const int64_t times[] = {run->restart_ms,
                             run->testament_ms,
                             run->watchdog_at_ms,
                             run->say_alive_ms,
                             run->duplicate_until_ms,
                             run->follow.start_ms,
                             health_wake_ms(&run->health),
                             guard_wake_ms(&run->guard),
                             guard_wake_ms(&run->follow.guard)};
    int64_t wake_ms = NEVER_MS;
    for (size_t i = 0; i < COUNT_OF(times); i++)
        if (times[i] < wake_ms)
            wake_ms = times[i];
    return wake_ms;
}

static void check_duplicate(struct run *run)
{
    struct baton_status *status;
    size_t count, same = 0;
    run->duplicate_until_ms = NEVER_MS;
    if (baton_status(run->election, &status, &count, NULL) < 0)
        return;
    for (size_t i = 0; i < status->candidate_count; i++)
        same += strcmp(status->candidates[i].id, baton_id(run->client)) == 0;
    baton_status_free(status, count);
    if (same < 2)
        return;
    cli_error("%s: the id '%s' is in use by another live candidate; give each instance an id of its own (--id)",
              run->options->name, baton_id(run->client));
    run_leave(run, EX_UNAVAILABLE);
}

void run_on_time(struct run *run)
{
    int64_t now_ms = baton_now_ms();
    guard_on_time(&run->guard, now_ms);
    guard_on_time(&run->follow.guard, now_ms);
    run_on_guard(run);
    run_follow_on_guard(run);
    if (now_ms >= run->restart_ms && run->term != 0 && !run->stopping)
        start_command(run);
    if (now_ms >= run->testament_ms)
        tell_testament(run);
    if (now_ms >= run->watchdog_at_ms) {
        run->watchdog_at_ms = NEVER_MS;
        unwell(run, "has not said WATCHDOG=1 in time");
    }
    if (now_ms >= run->say_alive_ms) {
        notify_say("WATCHDOG=1");
        run->say_alive_ms = now_ms + run->say_alive_every_ms;
    }
    if (now_ms >= run->duplicate_until_ms)
        check_duplicate(run);
    if (!health_step(&run->health, now_ms)) {
        char why[80];
        snprintf(why, sizeof(why), "has failed its health check %d times in a row", HEALTH_FAILURES);
        unwell(run, why);
    }
}
