/* run.c: `baton run NAME -- COMMAND`: the command runs only while this instance leads. */
#include <sysexits.h>

#include "base/base.h"
#include "cli/run.h"

static struct run *run_of(struct supervisor *supervisor)
{
    return (struct run *)supervisor;
}

/* ---- the place ---- */

static void give_back(struct supervisor *supervisor)
{
    struct run *run = run_of(supervisor);
    if (run->election != NULL)
        baton_stopped(run->election);
}

static bool stop_takes(struct supervisor *supervisor, uint32_t ms)
{
    struct run *run = run_of(supervisor);
    return run->election != NULL && baton_stop_takes(run->election, ms);
}

static void leaving(struct supervisor *supervisor)
{
    struct run *run = run_of(supervisor);
    if (supervisor->status < 0 && !supervise_runs(&supervisor->command))
        supervisor->status = 0; /* it was asked to end, and had nothing to end */
    if (run->election != NULL)
        baton_resign(run->election);
    else
        run->resigned = true;
    notify_say("STOPPING=1");
}

static void guard_died(struct supervisor *supervisor)
{
    run_well_stop(run_of(supervisor));
}

/* ---- the second command ---- */

static bool is_busy(const struct supervisor *supervisor)
{
    return supervise_runs(&((const struct run *)supervisor)->follow.command);
}

static void pass_on_signal(struct supervisor *supervisor, int number)
{
    supervise_signal(&run_of(supervisor)->follow.command, number);
}

static void hurry(struct supervisor *supervisor)
{
    run_follow_hurry(run_of(supervisor));
}

/* ---- the loop ---- */

enum { POLLED_NOTIFY, POLLED_HEALTH, POLLED_FOLLOW, POLLED };
static_assert(POLLED <= SUPERVISOR_POLLED_MAX, "a supervisor polls what its kind has");

static size_t polled_of(struct supervisor *supervisor, struct pollfd polled[SUPERVISOR_POLLED_MAX])
{
    struct run *run = run_of(supervisor);
    polled[POLLED_NOTIFY] = (struct pollfd){.fd = run->well.notify.fd, .events = POLLIN};
    polled[POLLED_HEALTH] = (struct pollfd){.fd = run->well.health.check.pidfd, .events = POLLIN};
    polled[POLLED_FOLLOW] = (struct pollfd){.fd = run->follow.command.guard.fd, .events = POLLIN};
    return POLLED;
}

static void turn(struct supervisor *supervisor, const struct pollfd polled[SUPERVISOR_POLLED_MAX], bool children)
{
    struct run *run = run_of(supervisor);
    int64_t now_ms = baton_now_ms();
    if (polled[POLLED_NOTIFY].revents != 0)
        run_well_on_notify(run);
    run_well_step(run, now_ms);
    run_follow_step(run, children);
    run_on_time(run, now_ms);
    if (run->resigned && !supervise_runs(&supervisor->command) && !is_busy(supervisor))
        supervisor->over = true;
}

static size_t own_children(const struct supervisor *supervisor, pid_t pids[SUPERVISOR_POLLED_MAX])
{
    const struct run *run = (const struct run *)supervisor;
    pids[0] = run->follow.command.guard.pid;
    pids[1] = run->well.health.check.pid;
    return 2;
}

static void say(struct supervisor *supervisor, const char *event, const char *words)
{
    run_say(run_of(supervisor), event, "%s", words);
}

static const struct supervisor_kind an_election = {.verb = "run",
                                                   .what = "place",
                                                   .may_start = run_may_start,
                                                   .gone = run_gone,
                                                   .give_back = give_back,
                                                   .leaving = leaving,
                                                   .stopping = run_stopping,
                                                   .stop_takes = stop_takes,
                                                   .event = run_event,
                                                   .guard_died = guard_died,
                                                   .say = say,
                                                   .poll = polled_of,
                                                   .wake_ms = run_wake_ms,
                                                   .turn = turn,
                                                   .signal = pass_on_signal,
                                                   .hurry = hurry,
                                                   .children = own_children,
                                                   .busy = is_busy};

/* ---- begin and end ---- */

/* Also after a failure, everything is there that end() releases. The guards are forked first, while there is one
 * thread. */
static int begin(struct run *run)
{
    struct baton_error err;
    int status = supervisor_begin(&run->supervisor, NULL);
    int begun = status == CLI_GO ? run_follow_begin(run, &err) : 0;
    cli_print_begin();
    if (run->options->candidate.json)
        cli_print_json(stderr, run->options->name);
    if (begun < 0)
        status = cli_fail(&err);
    if (status == CLI_GO && run_well_begin(run, &err) < 0)
        status = cli_fail(&err);
    return status;
}

static int stand(struct run *run)
{
    struct supervisor *supervisor = &run->supervisor;
    struct baton_error err;
    if (candidate_open(supervisor->candidate, true, &supervisor->client, &err) < 0 ||
        candidate_stand(supervisor->candidate, supervisor->client, supervisor->name, true, &run->election, &err) < 0)
        return cli_fail(&err);
    run_follow_wait(run);
    supervisor_loop(supervisor);
    return CLI_GO;
}

static int run_command(int argc, char **argv)
{
    const struct run_options *options;
    struct run run = {.well.notify.fd = -1,
                      .testament_ms = NEVER_MS,
                      .alive_ms = NEVER_MS,
                      .duplicate_until_ms = NEVER_MS,
                      .supervisor.kind = &an_election};
    int status = run_options_parse(argc, argv, &options);
    if (status != CLI_GO)
        return status;
    run.options = options;
    run.supervisor.candidate = &options->candidate;
    run.supervisor.name = options->name;
    run.supervisor.argv = options->command;
    run.alive_every_ms = notify_init();
    if (run.alive_every_ms > 0)
        run.alive_ms = 0;
    status = begin(&run);
    if (status == CLI_GO)
        status = stand(&run);
    supervisor_end(&run.supervisor);
    supervise_end(&run.follow.command);
    notify_close(&run.well.notify);
    return status != CLI_GO ? status : supervisor_status(&run.supervisor);
}

const struct cli_command command_run = {"run", "run a command while this instance leads", run_command};
