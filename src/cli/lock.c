/* lock.c: `baton lock NAME -- COMMAND`: the command runs while this instance holds the lock. */
#include <errno.h>
#include <poll.h>

#include "base/base.h"
#include "cli/lock_view.h"
#include "cli/supervise.h"

#define DESCRIBE_FREE 1 /* the exit code of --describe when nobody holds it */

struct lock_options {
    struct candidate candidate;
    const char *name;
    char *const *command;
    struct baton_lock_options lock;
    bool shared, exclusive, describe, nonblock;
    int32_t slots, conflict_status;
    uint32_t timeout_ms;
};

struct locking {
    struct supervisor supervisor; /* first */
    const struct lock_options *options;
    struct baton_lock *lock;
};

/* ---- options ---- */

static int check_options(struct lock_options *into)
{
    if (into->describe)
        return into->command == NULL ? CLI_GO : cli_usage_error("lock", "--describe takes no command");
    if (into->command == NULL)
        return cli_usage_error("lock", "there is no command: write it after --, as in baton lock %s -- ./job",
                               into->name);
    if (into->shared + into->exclusive + (into->slots != 1) > 1)
        return cli_usage_error("lock", "--shared, --exclusive and --slots: only one of them");
    if (into->nonblock && into->lock.wait_ms != UINT32_MAX)
        return cli_usage_error("lock", "--nonblock and --wait: only one of them");
    into->lock.slots = into->shared ? BATON_SHARED : (uint32_t)into->slots;
    /* --wait 0 is not to wait, as with flock(1). */
    into->lock.try_only = into->nonblock || into->lock.wait_ms == 0;
    if (into->lock.wait_ms == UINT32_MAX)
        into->lock.wait_ms = 0;
    return candidate_fit(&into->candidate, "lock");
}

static const char about[] = "Runs COMMAND while this instance holds the lock NAME; it waits in line for it.\n"
                            "The lock passes on when COMMAND, with all its descendants, is over; COMMAND is\n"
                            "ended before a lost lock can pass on. Its environment has BATON_NAME, BATON_ID,\n"
                            "BATON_TOKEN (it grows from holder to holder) and BATON_URL. Exits with the\n"
                            "status of COMMAND.";

static int parse_options(int argc, char **argv, struct lock_options *into, struct cli_args *ret)
{
    const struct cli_option options[] = {
        CLI_OPTION_URL(&into->candidate.url),
        CLI_OPTION_ID(&into->candidate.id),
        CLI_OPTION_TTL(&into->candidate.ttl_ms),
        {.name = "nonblock",
         .letter = 'n',
         .kind = CLI_FLAG,
         .into = &into->nonblock,
         .help = "fail when the lock cannot be had at once"},
        {.name = "wait",
         .letter = 'w',
         .kind = CLI_DURATION,
         .into = &into->lock.wait_ms,
         .value = "DURATION",
         .help = "fail when the lock cannot be had within this time; 0: at once"},
        {.name = "conflict-exit-code",
         .letter = 'E',
         .kind = CLI_NUMBER,
         .into = &into->conflict_status,
         .value = "N",
         .min = 0,
         .max = 255,
         .help = "the exit code then (default: 1)"},
        {.name = "exclusive",
         .letter = 'x',
         .kind = CLI_FLAG,
         .into = &into->exclusive,
         .help = "one holder (default)"},
        {.name = "shared",
         .letter = 's',
         .kind = CLI_FLAG,
         .into = &into->shared,
         .help = "with other shared holders, never beside an exclusive one"},
        {.name = "slots",
         .kind = CLI_NUMBER,
         .into = &into->slots,
         .value = "N",
         .min = 1,
         .max = BATON_SLOTS_MAX,
         .help = "up to N holders; all who want the lock must say the same N"},
        {.name = "grace",
         .kind = CLI_DURATION,
         .into = &into->candidate.grace_ms,
         .value = "DURATION",
         .help = "from SIGTERM to SIGKILL when the lock is about to be lost\n(default: 3s, at most a third of --ttl)"},
        {.name = "describe",
         .kind = CLI_FLAG,
         .into = &into->describe,
         .help = "show who holds the lock and who waits, and do nothing;\nexit code 0: somebody holds it, else 1"},
        CLI_OPTION_WAIT(&into->timeout_ms),
        CLI_OPTION_JSON(&into->candidate.json),
    };
    const struct cli_form form = {.command = "lock",
                                  .synopsis = "[OPTIONS] NAME -- COMMAND [ARG...]",
                                  .about = about,
                                  .options = options,
                                  .option_count = COUNT_OF(options),
                                  .operands_min = 1,
                                  .operands_max = 1,
                                  .operands = "NAME",
                                  .names_election = true,
                                  .takes_command = true,
                                  .command_optional = true};
    return cli_parse(&form, argc, argv, ret);
}

static int parse(int argc, char **argv, struct lock_options *into)
{
    static struct cli_args args;
    int status = parse_options(argc, argv, into, &args);
    if (status != CLI_GO)
        return status;
    into->name = args.operands[0];
    into->command = args.command_count > 0 ? args.command : NULL;
    return check_options(into);
}

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

static void on_released(struct locking *locking, const struct baton_event *event)
{
    locking->supervisor.over = true;
    if (event->code == BATON_OK)
        return;
    cli_error("%s", event->text);
    if (event->code == BATON_CONFLICT || event->code == BATON_TIMEOUT)
        locking->supervisor.status = locking->options->conflict_status;
    else
        locking->supervisor.status = cli_exit_code(event->code);
}

static void on_baton(struct locking *locking)
{
    struct baton_event event;
    struct supervisor *supervisor = &locking->supervisor;
    while (!supervisor->over && baton_next(supervisor->client, &event)) {
        if (supervise_event(supervisor, &event))
            continue;
        if (event.kind == BATON_ACQUIRED)
            supervise_start(supervisor, &(struct guard_environment){.token = event.term});
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
    struct lock_options options = {.slots = 1, .conflict_status = 1, .timeout_ms = CLI_WAIT_DEFAULT_MS};
    candidate_init(&options.candidate);
    baton_lock_options_init(&options.lock);
    options.lock.wait_ms = UINT32_MAX;
    int status = parse(argc, argv, &options);
    if (status != CLI_GO)
        return status;
    return options.describe ? describe(&options) : run_lock(&options);
}

const struct cli_command command_lock = {"lock", "run a command while this instance holds a lock", run};
