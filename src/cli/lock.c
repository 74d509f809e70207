/* lock.c: `baton lock NAME -- COMMAND`: the command runs while this instance holds the lock. */
#include <inttypes.h>
#include <sysexits.h>

#include "base/base.h"
#include "cli/lock_options.h"
#include "cli/lock_view.h"
#include "cli/supervisor.h"

#define DESCRIBE_FREE 1 /* the exit code of --describe when nobody holds it */

struct locking {
    struct supervisor supervisor; /* first */
    const struct lock_options *options;
    struct baton_lock *lock;
    uint64_t token;
    int64_t asked_ms;
};

/* ---- the command ---- */

static enum supervise_may may_start(struct supervisor *supervisor, struct guard_environment *environment)
{
    struct locking *locking = (struct locking *)supervisor;
    environment->token = locking->token;
    return baton_holds(locking->lock, NULL) ? SUPERVISE_YES : SUPERVISE_MUST_NOT;
}

/* The lock goes with the session, which is ended next. */
static void command_gone(struct supervisor *supervisor, const struct supervise_outcome *outcome)
{
    if (outcome->by_guard) {
        cli_error("%s: the lock is lost: this instance did not renew in time, and %s", supervisor->name,
                  outcome->refused ? "the command is not started" : "the guard has ended the command");
        supervisor->status = EX_TEMPFAIL;
    }
    if (outcome->error != 0)
        supervisor->status = supervisor_exec_status(outcome->error);
    baton_unlock(((struct locking *)supervisor)->lock);
    supervisor->over = true;
}

static void give_back(struct supervisor *supervisor)
{
    baton_unlock(((struct locking *)supervisor)->lock);
}

/* ---- the lock ---- */

static void on_acquired(struct locking *locking, const struct baton_event *event)
{
    const struct lock_options *options = locking->options;
    if (options->verbose) {
        int64_t took_ms = baton_now_ms() - locking->asked_ms;
        cli_error("%s: getting the lock took %" PRId64 ".%03" PRId64 " s", options->name, took_ms / 1000,
                  took_ms % 1000);
        cli_error("%s: executing %s", options->name, options->command[0]);
    }
    locking->token = event->term;
    if (!locking->supervisor.leaving)
        supervise_want(&locking->supervisor.command, 0);
}

static void on_released(struct locking *locking, const struct baton_event *event)
{
    struct supervisor *supervisor = &locking->supervisor;
    supervisor->over = true;
    if (event->code == BATON_OK || supervisor->stop_signal != 0)
        return;
    /* As with flock(1), that others have it is told by the exit status alone: cron would send a mail for each word. */
    bool others = event->code == BATON_CONFLICT || event->code == BATON_TIMEOUT;
    if (!others || locking->options->verbose)
        cli_error("%s", event->text);
    supervisor->status = others ? locking->options->conflict_status : cli_exit_code(event->code);
}

static void on_stop(struct supervisor *supervisor, const struct baton_event *event)
{
    cli_error("%s: the lock is lost: %s", supervisor->name, event->text);
    supervisor->status = EX_TEMPFAIL;
}

static bool stop_takes(struct supervisor *supervisor, uint32_t ms)
{
    return baton_lock_stop_takes(((struct locking *)supervisor)->lock, ms);
}

static void on_event(struct supervisor *supervisor, const struct baton_event *event)
{
    struct locking *locking = (struct locking *)supervisor;
    if (event->kind == BATON_ACQUIRED)
        on_acquired(locking, event);
    else if (event->kind == BATON_RELEASED)
        on_released(locking, event);
}

static const struct supervisor_kind a_lock = {.verb = "lock",
                                              .what = "lock",
                                              .hangup_ends = true,
                                              .keeps_terminal = true,
                                              .may_start = may_start,
                                              .gone = command_gone,
                                              .give_back = give_back,
                                              .stopping = on_stop,
                                              .stop_takes = stop_takes,
                                              .event = on_event};

static int open_lock(struct locking *locking, struct baton_error *err)
{
    const struct lock_options *options = locking->options;
    struct baton_lock_options lock = options->lock;
    lock.stop_ms = options->candidate.grace_ms + options->candidate.slack_ms;
    if (candidate_open(&options->candidate, true, &locking->supervisor.client, err) < 0)
        return -1;
    return baton_lock(locking->supervisor.client, options->name, &lock, &locking->lock, err);
}

static int run_lock(const struct lock_options *options)
{
    struct locking locking = {
        .options = options,
        .asked_ms = baton_now_ms(),
        .supervisor = {
            .kind = &a_lock, .candidate = &options->candidate, .name = options->name, .argv = options->command}};
    struct supervisor *supervisor = &locking.supervisor;
    struct baton_error err;
    int status = supervisor_begin(supervisor, NULL);
    cli_print_begin();
    if (status != CLI_GO)
        return status;
    if (open_lock(&locking, &err) == 0)
        supervisor_loop(supervisor);
    else
        supervisor->status = cli_fail(&err);
    supervisor_end(supervisor);
    return supervisor_exit(supervisor);
}

static int describe(const struct lock_options *options)
{
    struct baton_options client_options;
    struct baton *client = NULL;
    struct baton_lock_status *status = NULL;
    struct baton_error err;
    size_t count = 0;
    baton_options_init(&client_options);
    client_options.url = options->candidate.url;
    client_options.create = false;
    if (baton_open(&client_options, &client, &err) < 0 ||
        lock_view_get(client, options->name, baton_now_ms() + options->timeout_ms, &status, &count, &err) < 0) {
        baton_close(client);
        return cli_fail(&err);
    }
    if (options->candidate.json)
        lock_view_print_json(status);
    else
        lock_view_print(status);
    int result = status->holders > 0 ? 0 : DESCRIBE_FREE;
    baton_lock_status_free(status, count);
    baton_close(client);
    return result;
}

static int run(int argc, char **argv)
{
    const struct lock_options *options;
    int status = lock_options_parse(argc, argv, &options);
    if (status != CLI_GO)
        return status;
    return options->describe ? describe(options) : run_lock(options);
}

const struct cli_command command_lock = {"lock", "run a command while this instance holds a lock", run};
