/* lock.c: `baton lock NAME -- COMMAND`: the command runs while this instance holds the lock. What the supervisor, the
 * guard and the command are to each other is the same as under `baton run`. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/base.h"
#include "cli/candidate.h"
#include "cli/lock_view.h"
#include "process/guard.h"

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
    const struct lock_options *options;
    struct baton *client;
    struct baton_lock *lock;
    struct guard guard;
    int signal_fd;
    bool running; /* descendants of the command may be left */
    bool started;
    bool over;  /* the lock was released, or never had */
    bool ended; /* the command itself has, with wait_status */
    int wait_status;
    int stop_signal; /* that was taken; 0: none */
    int status;      /* to exit with; -1: the command's */
    int64_t kill_at_ms;
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

static void start_command(struct locking *locking, uint64_t token)
{
    struct guard_environment environment = {.token = token};
    text_copy(environment.name, sizeof(environment.name), locking->options->name);
    text_copy(environment.id, sizeof(environment.id), baton_id(locking->client));
    text_copy(environment.url, sizeof(environment.url), baton_url(locking->client));
    locking->running = locking->started = true;
    guard_spawn(&locking->guard, &environment);
}

static int command_status(const struct locking *locking)
{
    int status = locking->wait_status;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* The lock goes with the session, which is ended next. */
static void command_gone(struct locking *locking)
{
    locking->running = false;
    locking->over = true;
    baton_unlock(locking->lock);
}

static void on_guard(struct locking *locking)
{
    struct guard_message message;
    const char *name = locking->options->name;
    while (guard_next(&locking->guard, &message) != GUARD_NOTHING) {
        switch (message.news) {
        case GUARD_EXITED:
            locking->wait_status = message.status;
            locking->ended = true;
            break;
        case GUARD_GONE:
            if (message.by_guard) {
                cli_error("%s: the lock is lost: this instance did not renew in time, and the guard has ended the "
                          "command",
                          name);
                locking->status = EX_TEMPFAIL;
            }
            command_gone(locking);
            break;
        case GUARD_FAILED:
            cli_error("%s: cannot run '%s': %s", name, locking->options->command[0], strerror(message.error));
            locking->status = message.error == ENOENT ? 127 : 126; /* as env(1), timeout(1) */
            command_gone(locking);
            break;
        case GUARD_TROUBLE:
            cli_error("%s: %s", name, message.text);
            break;
        case GUARD_DEAD:
            cli_error("%s: the guard is gone: the command is killed", name);
            locking->status = EX_SOFTWARE;
            if (guard_replace(&locking->guard,
                              locking->options->candidate.slack_ms + (int64_t)locking->options->candidate.grace_ms))
                command_gone(locking);
            else
                locking->over = true; /* the session ends by itself, not before its ttl */
            return;
        case GUARD_STARTED:
            if (locking->kill_at_ms != NEVER_MS)
                guard_stop(&locking->guard, SIGTERM, locking->kill_at_ms);
            break;
        case GUARD_NOTHING:
            return;
        }
    }
}

/* ---- the lock ---- */

static void session_began(struct locking *locking, const struct baton_event *event)
{
    struct baton_lifeline lifeline;
    struct baton_error err;
    const struct candidate *candidate = &locking->options->candidate;
    guard_deadline(&locking->guard, event->until_ms, candidate->grace_ms, candidate->slack_ms);
    if (baton_lifeline(locking->client, &lifeline, &err) == 0)
        guard_lifeline(&locking->guard, &lifeline);
    else if (err.code != BATON_LOST)
        cli_error("%s: the guard cannot end the session when it must: %s", locking->options->name, err.text);
}

static void on_stop(struct locking *locking, const struct baton_event *event)
{
    cli_error("%s: the lock is lost: %s", locking->options->name, event->text);
    locking->status = EX_TEMPFAIL;
    locking->kill_at_ms = event->until_ms - locking->options->candidate.slack_ms;
    if (locking->running)
        guard_stop(&locking->guard, SIGTERM, locking->kill_at_ms);
    else
        baton_unlock(locking->lock);
}

static void on_released(struct locking *locking, const struct baton_event *event)
{
    locking->over = true;
    if (event->code == BATON_OK)
        return;
    cli_error("%s", event->text);
    if (event->code == BATON_CONFLICT || event->code == BATON_TIMEOUT)
        locking->status = locking->options->conflict_status;
    else
        locking->status = cli_exit_code(event->code);
}

static void on_baton(struct locking *locking)
{
    struct baton_event event;
    const struct candidate *candidate = &locking->options->candidate;
    while (!locking->over && baton_next(locking->client, &event)) {
        switch (event.kind) {
        case BATON_SESSION:
            session_began(locking, &event);
            break;
        case BATON_RENEWED:
            guard_deadline(&locking->guard, event.until_ms, candidate->grace_ms, candidate->slack_ms);
            break;
        case BATON_ACQUIRED:
            start_command(locking, event.term);
            break;
        case BATON_STOP:
            on_stop(locking, &event);
            break;
        case BATON_RELEASED:
            on_released(locking, &event);
            break;
        case BATON_TROUBLE:
            cli_error("%s", event.text);
            break;
        default:
            break;
        }
    }
}

/* ---- signals ---- */

static void on_signals(struct locking *locking)
{
    struct signalfd_siginfo info;
    while (read(locking->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        int number = (int)info.ssi_signo;
        if (number == SIGCHLD)
            continue;
        if (number != SIGTERM && number != SIGINT && number != SIGQUIT && number != SIGHUP) {
            guard_signal(&locking->guard, number);
            continue;
        }
        bool again = locking->stop_signal != 0;
        locking->stop_signal = number;
        if (locking->running) /* a second one: no more patience */
            guard_stop(&locking->guard, again ? 0 : number,
                       baton_now_ms() + (again ? 0 : locking->options->candidate.grace_ms));
        else
            baton_unlock(locking->lock);
    }
}

/* ---- begin and end ---- */

static int open_lock(struct locking *locking, struct baton_error *err)
{
    const struct lock_options *options = locking->options;
    struct baton_lock_options lock = options->lock;
    lock.stop_ms = options->candidate.grace_ms + options->candidate.slack_ms;
    if (candidate_open(&options->candidate, true, &locking->client, err) < 0)
        return -1;
    return baton_lock(locking->client, options->name, &lock, &locking->lock, err);
}

static int exit_status(const struct locking *locking)
{
    if (locking->status >= 0)
        return locking->status;
    if (locking->ended)
        return command_status(locking);
    return locking->stop_signal != 0 ? 128 + locking->stop_signal : EX_TEMPFAIL;
}

static int run_lock(struct locking *locking)
{
    struct baton_error err;
    if (open_lock(locking, &err) < 0) {
        int status = cli_fail(&err);
        guard_bye(&locking->guard);
        baton_close(locking->client);
        return status;
    }
    while (!locking->over) {
        struct pollfd polled[] = {{.fd = locking->guard.pid > 0 ? locking->guard.fd : -1, .events = POLLIN},
                                  {.fd = baton_fd(locking->client), .events = POLLIN},
                                  {.fd = locking->signal_fd, .events = POLLIN}};
        if (poll(polled, COUNT_OF(polled), -1) < 0 && errno != EINTR)
            break;
        if (polled[0].revents != 0)
            on_guard(locking);
        if (polled[1].revents != 0)
            on_baton(locking);
        if (polled[2].revents != 0)
            on_signals(locking);
    }
    baton_close(locking->client);
    guard_bye(&locking->guard);
    return exit_status(locking);
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
    static const int caught[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH, SIGCHLD};
    struct lock_options options = {.slots = 1, .conflict_status = 1, .timeout_ms = CLI_WAIT_DEFAULT_MS};
    struct locking locking = {.options = &options, .status = -1, .kill_at_ms = NEVER_MS};
    struct baton_error err;
    candidate_init(&options.candidate);
    baton_lock_options_init(&options.lock);
    options.lock.wait_ms = UINT32_MAX;
    int status = parse(argc, argv, &options);
    if (status != CLI_GO)
        return status;
    if (options.describe)
        return describe(&options);
    locking.signal_fd = candidate_signals(caught, COUNT_OF(caught));
    if (locking.signal_fd < 0)
        return EX_OSERR;
    /* The guard is forked first of all, while there is one thread. */
    if (guard_start(&locking.guard, options.command, &err) < 0)
        return cli_fail(&err);
    status = run_lock(&locking);
    close(locking.signal_fd);
    return status;
}

const struct cli_command command_lock = {"lock", "run a command while this instance holds a lock", run};
