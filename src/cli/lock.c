/* lock.c: `baton lock NAME -- COMMAND`: the command runs while this instance holds the lock. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>

#include "base/base.h"
#include "cli/lock_options.h"
#include "cli/lock_view.h"
#include "cli/supervise.h"

#define DESCRIBE_FREE 1 /* the exit code of --describe when nobody holds it */

struct locking {
    struct supervisor supervisor; /* first */
    const struct lock_options *options;
    struct baton_lock *lock;
    int64_t asked_ms;
};

/* ---- the command ---- */

/* The lock goes with the session, which is ended next. */
static void command_gone(struct supervisor *supervisor)
{
    struct locking *locking = (struct locking *)supervisor;
    supervisor->over = true;
    baton_unlock(locking->lock);
}

static void give_up(struct supervisor *supervisor)
{
    baton_unlock(((struct locking *)supervisor)->lock);
}

static const struct supervised a_lock = {.what = "lock", .gone = command_gone, .give_up = give_up};

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
    supervise_start(&locking->supervisor, &(struct guard_environment){.token = event->term});
}

static void on_released(struct locking *locking, const struct baton_event *event)
{
    locking->supervisor.over = true;
    if (event->code == BATON_OK)
        return;
    /* As with flock(1), that others have it is told by the exit status alone: cron would send a mail for each word. */
    bool others = event->code == BATON_CONFLICT || event->code == BATON_TIMEOUT;
    if (!others || locking->options->verbose)
        cli_error("%s", event->text);
    locking->supervisor.status = others ? locking->options->conflict_status : cli_exit_code(event->code);
}

static void on_baton(struct locking *locking)
{
    struct baton_event event;
    struct supervisor *supervisor = &locking->supervisor;
    while (!supervisor->over && baton_next(supervisor->client, &event)) {
        if (supervise_event(supervisor, &event))
            continue;
        if (event.kind == BATON_ACQUIRED)
            on_acquired(locking, &event);
        else if (event.kind == BATON_RELEASED)
            on_released(locking, &event);
    }
}

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
            .user = &a_lock, .candidate = &options->candidate, .name = options->name, .command = options->command}};
    struct supervisor *supervisor = &locking.supervisor;
    struct baton_error err;
    int status = supervise_begin(supervisor, NULL);
    if (status != CLI_GO)
        return status;
    if (open_lock(&locking, &err) < 0) {
        supervisor->status = cli_fail(&err);
        supervisor->over = true;
    }
    while (!supervisor->over) {
        struct pollfd polled[] = {{.fd = supervisor->guard.pid > 0 ? supervisor->guard.fd : -1, .events = POLLIN},
                                  {.fd = baton_fd(supervisor->client), .events = POLLIN},
                                  {.fd = supervisor->signal_fd, .events = POLLIN}};
        if (poll(polled, COUNT_OF(polled), supervise_wait_ms(supervisor)) < 0 && errno != EINTR)
            break;
        if (polled[0].revents != 0)
            supervise_on_guard(supervisor);
        if (polled[1].revents != 0)
            on_baton(&locking);
        if (polled[2].revents != 0)
            supervise_on_signals(supervisor);
        supervise_on_time(supervisor);
    }
    supervise_end(supervisor);
    return supervise_exit_status(supervisor);
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
