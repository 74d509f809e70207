/* run_follow.c: the second command of `baton run --follow CMD`: it runs while this instance does not lead. Never at one
 * time with the first: each begins when no descendant of the other is left. It has a guard of its own, so that it is
 * over when this process dies; no session depends on it. */
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sysexits.h>

#include "base/base.h"
#include "cli/cli.h"
#include "cli/run.h"

/* After standing: how long to wait for a leader to be known. A candidate that is alone leads within that time, without
 * having followed. */
#define LEADER_UNKNOWN_MS 1000
/* From the start, when the engine does not answer: one of the two is to run all the same. */
#define ENGINE_UNKNOWN_MS 5000

static bool wanted(const struct run *run)
{
    const struct supervisor *supervisor = &run->supervisor;
    return run->options->follow != NULL && !supervisor->leaving && run->term == 0 &&
           !supervise_runs(&supervisor->command);
}

/* ---- the command ---- */

static enum supervise_may may_start(void *ctx, struct guard_environment *environment, int64_t *deadline_ms)
{
    struct run *run = ctx;
    if (!wanted(run))
        return SUPERVISE_MUST_NOT;
    supervisor_environment(&run->supervisor, environment);
    run->follow.started_ms = baton_now_ms();
    run->follow.backing_off = false;
    return SUPERVISE_YES;
}

/* It has ended by itself: one of the two is always to run. */
static void again(struct run *run)
{
    struct run_follow *follow = &run->follow;
    int64_t now_ms = baton_now_ms();
    if (now_ms - follow->started_ms > BACKOFF_LAST_MS)
        backoff_reset(&follow->backoff);
    int64_t wait_ms = backoff_take(&follow->backoff);
    follow->backing_off = true;
    run_say(run, "follow-restart", "%s: the command of a follower has ended; it is started again in %" PRId64 " ms",
            run->options->name, wait_ms);
    supervise_want(&follow->command, now_ms + wait_ms);
}

static void gone(void *ctx, const struct supervise_outcome *outcome)
{
    struct run *run = ctx;
    struct supervised *command = &run->supervisor.command;
    if (outcome->error != 0)
        cli_error("%s: cannot run /bin/sh for --follow: %s", run->options->name, strerror(outcome->error));
    if (!outcome->told && wanted(run) && run->follow.command.state == SUPERVISE_WAITING)
        again(run);
    if (command->state == SUPERVISE_STARTING && command->start_ms == NEVER_MS)
        supervise_want(command, 0); /* it has waited for this */
}

/* What its guard has left is swept together with all other descendants. */
static void guard_died(void *ctx, bool hung)
{
    struct run *run = ctx;
    cli_error("%s: the guard of the follower's command %s: all commands are killed", run->options->name,
              hung ? "hangs" : "is gone");
    run_well_stop(run);
    supervisor_leave(&run->supervisor, EX_SOFTWARE);
}

static void left(void *ctx, unsigned count)
{
    struct run *run = ctx;
    run_say(run, "left", "%s: the command of a follower has ended and has left %u %s behind, which %s ended, too",
            run->options->name, count, count == 1 ? "process" : "processes", count == 1 ? "is" : "are");
}

static void stuck(void *ctx, const char *text)
{
    struct run *run = ctx;
    cli_error("%s: %s; nothing else is started before it is gone", run->options->name, text);
}

static void trouble(void *ctx, const char *text)
{
    cli_error("%s: %s", ((struct run *)ctx)->options->name, text);
}

static const struct supervise_user the_follower = {
    .may_start = may_start, .gone = gone, .guard_died = guard_died, .left = left, .stuck = stuck, .trouble = trouble};

/* ---- when ---- */

int run_follow_begin(struct run *run, struct baton_error *err)
{
    static char shell[] = "/bin/sh", script[] = "-c";
    struct run_follow *follow = &run->follow;
    struct guard_options options = {0};
    supervise_init(&follow->command, &the_follower, run);
    if (run->options->follow == NULL)
        return 0;
    follow->argv[0] = shell;
    follow->argv[1] = script;
    follow->argv[2] = (char *)run->options->follow;
    supervisor_guard_options(&run->supervisor, &options);
    options.argv = follow->argv;
    options.verb = "run --follow";
    options.slack_ms = 0; /* there is no deadline */
    return supervise_begin(&follow->command, &options, err);
}

void run_follow_wait(struct run *run)
{
    if (run->options->follow != NULL)
        supervise_want(&run->follow.command, baton_now_ms() + ENGINE_UNKNOWN_MS);
}

void run_follow_stood(struct run *run, bool leader_known)
{
    struct run_follow *follow = &run->follow;
    enum supervise_state state = follow->command.state;
    if (!wanted(run) || follow->backing_off || (state != SUPERVISE_WAITING && state != SUPERVISE_STARTING))
        return;
    int64_t at_ms = baton_now_ms() + (leader_known ? 0 : LEADER_UNKNOWN_MS);
    if (at_ms < follow->command.start_ms)
        supervise_want(&follow->command, at_ms);
}

static void stop(struct run *run, int64_t grace_ms)
{
    int64_t kill_at_ms = baton_now_ms() + grace_ms;
    supervise_stop(&run->follow.command, SIGTERM, kill_at_ms, kill_at_ms + GUARD_LATE_MS);
}

void run_follow_step(struct run *run, bool children)
{
    struct run_follow *follow = &run->follow;
    if (run->supervisor.leaving && !follow->command.last)
        supervise_finish(&follow->command);
    if (!wanted(run)) {
        follow->backing_off = false;
        supervise_unwant(&follow->command);
        if (follow->command.state == SUPERVISE_RUNNING)
            stop(run, run->options->candidate.grace_ms);
    }
    supervise_step(&follow->command, baton_now_ms(), children);
}

void run_follow_hurry(struct run *run)
{
    stop(run, 0);
}
