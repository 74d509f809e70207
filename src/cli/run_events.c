/* run_events.c: `baton run`, event by event: the election, and the end of the command. Nothing here waits. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "base/base.h"
#include "cli/cli.h"
#include "cli/run.h"

static struct run *run_of(struct supervisor *supervisor)
{
    return (struct run *)supervisor;
}

/* Give the place to another one, and stand again. Nothing runs any more: the handover waits for nothing. */
static void step_down(struct run *run)
{
    if (!run->stand_again)
        baton_resign(run->election);
    run->stand_again = true;
    baton_stopped(run->election);
}

/* ---- the command ---- */

enum supervise_may run_may_start(struct supervisor *supervisor, struct guard_environment *environment)
{
    struct run *run = run_of(supervisor);
    const struct run_options *options = run->options;
    if (run->term == 0 || !baton_leads(run->election, NULL))
        return SUPERVISE_MUST_NOT; /* BATON_STOP is on its way */
    if (supervise_runs(&run->follow.command))
        return SUPERVISE_LATER;
    environment->term = run->term;
    environment->fence_pg = options->fence_pg;
    text_copy(environment->notify, sizeof(environment->notify), run->well.notify.address);
    if (options->watchdog_ms > 0)
        snprintf(environment->watchdog_us, sizeof(environment->watchdog_us), "%" PRIu64,
                 (uint64_t)options->watchdog_ms * 1000);
    run->started_term = run->term;
    run_well_start(run);
    return SUPERVISE_YES;
}

/* It has ended by itself, or because it was not well, while this instance leads. */
static void ended(struct run *run, int status)
{
    struct supervisor *supervisor = &run->supervisor;
    bool unwell = run->well.failed;
    switch (restart_next(run->options->restart, unwell, status)) {
    case RESTART_LEAVE:
        supervisor_leave(supervisor, unwell ? RUN_UNWELL : status);
        return;
    case RESTART_STEP_DOWN:
        step_down(run);
        return;
    case RESTART_AGAIN: {
        int64_t wait_ms = backoff_take(&run->backoff);
        run_say(run, "restart", "%s: the command has ended with status %d; it is started again in %" PRId64 " ms",
                run->options->name, status, wait_ms);
        supervise_want(&supervisor->command, baton_now_ms() + wait_ms);
        return;
    }
    }
}

void run_gone(struct supervisor *supervisor, const struct supervise_outcome *outcome)
{
    struct run *run = run_of(supervisor);
    run_well_stop(run);
    if (outcome->error != 0)
        supervisor_leave(supervisor, supervisor_exec_status(outcome->error));
    if (supervisor->leaving || supervisor->stop_until_ms != NEVER_MS)
        return; /* which is answered now */
    if (run->term == 0) {
        run_follow_stood(run, true);
        return;
    }
    if (outcome->by_guard) {
        /* This process stood still for too long, and the guard has ended the session, too. The candidacy may still be
         * there, but nothing runs any more. */
        run_say(run, "killed",
                outcome->refused ? "%s: this instance did not renew in time: the command is not started"
                                 : "%s: this instance did not renew in time: the guard has ended the command",
                run->options->name);
        step_down(run);
        return;
    }
    if (run->started_term != run->term)
        supervise_want(&supervisor->command, 0); /* it was that of an earlier term, and took long to end */
    else
        ended(run, outcome->exited ? supervisor_wait_status(outcome->wait_status) : EX_SOFTWARE);
}

/* ---- the testament: what the guard does when this process, dead, cannot ---- */

static void testament_may_differ(struct run *run)
{
    if (run->testament_ms == NEVER_MS)
        run->testament_ms = baton_now_ms() + RUN_TESTAMENT_LATE_MS;
}

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
    guard_testament(&run->supervisor.command.guard, testament);
}

/* ---- the election ---- */

static void on_lead(struct run *run, const struct baton_event *event)
{
    char status[160];
    struct supervisor *supervisor = &run->supervisor;
    run->term = event->term;
    backoff_reset(&run->backoff);
    if (supervisor->leaving)
        return;                                /* told to stop soon */
    if (!supervise_runs(&supervisor->command)) /* else when the last one is gone */
        supervise_want(&supervisor->command, 0);
    run_say(run, "lead", "%s: leads with term %" PRIu64, run->options->name, run->term);
    snprintf(status, sizeof(status), "STATUS=leads (term %" PRIu64 ")", run->term);
    notify_say(status);
    testament_may_differ(run);
}

void run_stopping(struct supervisor *supervisor, const struct baton_event *event)
{
    struct run *run = run_of(supervisor);
    if (!supervisor->leaving)
        run_say(run, "stop", "%s: stops: %s", run->options->name, event->text);
    run_well_stop(run);
    testament_may_differ(run); /* during a stop it names the candidate that was asked for */
}

static void on_follow(struct run *run)
{
    run->supervisor.stop_until_ms = NEVER_MS; /* answered, or too late for that */
    run->term = 0;
    run_follow_stood(run, true);
    testament_may_differ(run);
    if (!run->supervisor.leaving) {
        run_say(run, "follow", "%s: follows", run->options->name);
        notify_say("STATUS=follows");
    }
}

/* Is there anything to look for in what is new? */
static bool is_curious(const struct run *run)
{
    return !run->said_ready ||
           (run->options->follow != NULL && !supervise_runs(&run->follow.command) && run->term == 0);
}

/* Ready, for systemd, is when the candidacy stands. */
static void on_changed(struct run *run)
{
    struct baton_status *status;
    size_t count;
    const char *id = baton_id(run->supervisor.client);
    testament_may_differ(run);
    if (!is_curious(run) || baton_status(run->election, &status, &count, NULL) < 0)
        return;
    bool ready_before = run->said_ready;
    for (size_t i = 0; i < status->candidate_count && !run->said_ready; i++)
        run->said_ready = strcmp(status->candidates[i].id, id) == 0;
    if (run->said_ready)
        run_follow_stood(run, status->leader != NULL && strcmp(status->leader, id) != 0);
    if (run->said_ready && !ready_before) {
        notify_say("READY=1\nSTATUS=stands");
        run_say(run, "stand", "%s: stands as %s", run->options->name, id);
    }
    baton_status_free(status, count);
}

static void on_resigned(struct run *run)
{
    struct baton_error err;
    struct supervisor *supervisor = &run->supervisor;
    if (supervisor->leaving) {
        run->resigned = true;
        return;
    }
    run->stand_again = false;
    run->term = 0;
    baton_election_free(run->election);
    run->election = NULL;
    if (candidate_stand(supervisor->candidate, supervisor->client, run->options->name, true, &run->election, &err) < 0)
        supervisor_leave(supervisor, cli_fail(&err));
}

/* A session of ours that was lost may leave its presence behind for a ttl; after that it is somebody else. */
static void on_duplicate(struct run *run, const struct baton_event *event)
{
    run->duplicate_until_ms = baton_now_ms() + run->options->candidate.ttl_ms + 1000;
    run_say(run, "duplicate", "%s: %s", run->options->name, event->text);
}

void run_event(struct supervisor *supervisor, const struct baton_event *event)
{
    struct run *run = run_of(supervisor);
    switch (event->kind) {
    case BATON_LEAD:
        on_lead(run, event);
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
    default:
        return;
    }
}

/* ---- time ---- */

int64_t run_wake_ms(const struct supervisor *supervisor)
{
    const struct run *run = (const struct run *)supervisor;
    const int64_t times[] = {run->testament_ms, run->alive_ms, run->duplicate_until_ms, run_well_wake_ms(&run->well),
                             supervise_wake_ms(&run->follow.command)};
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
    const char *id = baton_id(run->supervisor.client);
    run->duplicate_until_ms = NEVER_MS;
    if (baton_status(run->election, &status, &count, NULL) < 0)
        return;
    for (size_t i = 0; i < status->candidate_count; i++)
        same += strcmp(status->candidates[i].id, id) == 0;
    baton_status_free(status, count);
    if (same < 2)
        return;
    cli_error("%s: the id '%s' is in use by another live candidate; give each instance an id of its own (--id)",
              run->options->name, id);
    supervisor_leave(&run->supervisor, EX_UNAVAILABLE);
}

void run_on_time(struct run *run, int64_t now_ms)
{
    if (now_ms >= run->testament_ms)
        tell_testament(run);
    if (now_ms >= run->alive_ms) {
        notify_say("WATCHDOG=1");
        run->alive_ms = now_ms + run->alive_every_ms;
    }
    if (now_ms >= run->duplicate_until_ms)
        check_duplicate(run);
}
