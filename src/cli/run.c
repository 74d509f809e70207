/* run.c: `baton run NAME -- COMMAND`: the command runs only while this instance leads. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/base.h"
#include "cli/cli.h"
#include "cli/run.h"

/* ---- options ---- */

/* All of a stop must fit into what is left of the lease when a renewal was missed. */
static int fit(struct run_options *options)
{
    char grace[32], ttl[32], sum[32], slack[32], half[32];
    options->slack_ms = options->ttl_ms / 10 < RUN_SLACK_MS ? options->ttl_ms / 10 : RUN_SLACK_MS;
    if (!options->grace_given && options->ttl_ms / 3 < options->grace_ms)
        options->grace_ms = options->ttl_ms / 3;
    if (options->grace_ms + options->slack_ms <= options->ttl_ms / 2)
        return CLI_GO;
    return cli_usage_error("run",
                           "--grace %s and %s for the kill make %s; --ttl %s leaves %s for a stop: choose a "
                           "longer --ttl or a shorter --grace",
                           cli_duration_text(options->grace_ms, grace), cli_duration_text(options->slack_ms, slack),
                           cli_duration_text(options->grace_ms + options->slack_ms, sum),
                           cli_duration_text(options->ttl_ms, ttl), cli_duration_text(options->ttl_ms / 2, half));
}

static int parse(int argc, char **argv, struct run_options *into)
{
    static struct cli_args args;
    const char *restart = "never";
    uint32_t grace_ms = UINT32_MAX;
    const struct cli_option options[] = {
        CLI_OPTION_URL(&into->url),
        CLI_OPTION_ID(&into->id),
        CLI_OPTION_ADDRESS(&into->address),
        CLI_OPTION_PRIORITY(&into->priority),
        CLI_OPTION_PREEMPT(&into->preempt),
        CLI_OPTION_TTL(&into->ttl_ms),
        {.name = "grace",
         .kind = CLI_DURATION,
         .into = &grace_ms,
         .value = "DURATION",
         .help =
             "from SIGTERM to SIGKILL when the command must stop\n(default: 3s, or a third of --ttl if that is less)"},
        {.name = "restart",
         .kind = CLI_CHOICE,
         .into = &restart,
         .value = "never|on-failure|always",
         .help =
             "when the command ends by itself: exit and hand over, or start\nit again while leading (default: never)"},
        {.name = "watchdog",
         .kind = CLI_DURATION,
         .into = &into->watchdog_ms,
         .value = "DURATION",
         .min = 1,
         .help = "the command loses its place when it does not say WATCHDOG=1\n(sd_notify) at least this often"},
        {.name = "health",
         .kind = CLI_TEXT,
         .into = &into->health,
         .value = "CMD",
         .help = "the command loses its place when this shell command fails three\ntimes in a row"},
        {.name = "health-every",
         .kind = CLI_DURATION,
         .into = &into->health_every_ms,
         .value = "DURATION",
         .min = 10,
         .help = "how often --health asks, and how long it may take (default: 5s)"},
        CLI_OPTION_JSON(&into->json),
    };
    const struct cli_form form = {.command = "run",
                                  .synopsis = "[OPTIONS] NAME -- COMMAND [ARG...]",
                                  .about =
                                      "Runs COMMAND while this instance leads the election NAME. It is over, with\n"
                                      "all its descendants, before another instance begins. Its environment has\n"
                                      "BATON_NAME, BATON_ID, BATON_TERM (the fencing token) and BATON_URL.\n"
                                      "SIGTERM hands over. Exits with the status of COMMAND.",
                                  .options = options,
                                  .option_count = COUNT_OF(options),
                                  .operands_min = 1,
                                  .operands_max = 1,
                                  .operands = "NAME",
                                  .names_election = true,
                                  .takes_command = true};
    int status = cli_parse(&form, argc, argv, &args);
    if (status != CLI_GO)
        return status;
    into->name = args.operands[0];
    into->command = args.command;
    into->grace_given = grace_ms != UINT32_MAX;
    if (into->grace_given)
        into->grace_ms = grace_ms;
    into->restart = strcmp(restart, "never") == 0        ? RESTART_NEVER
                    : strcmp(restart, "on-failure") == 0 ? RESTART_ON_FAILURE
                                                         : RESTART_ALWAYS;
    return fit(into);
}

/* ---- begin and end ---- */

static int catch_signals(struct run *run)
{
    const int caught[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH, SIGCHLD};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < COUNT_OF(caught); i++)
        sigaddset(&set, caught[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    run->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return run->signal_fd < 0 ? -1 : 0;
}

static int open_client(struct run *run, struct baton_error *err)
{
    const struct run_options *options = run->options;
    struct baton_options client;
    baton_options_init(&client);
    client.url = options->url;
    client.id = options->id;
    client.address = options->address;
    client.ttl_ms = options->ttl_ms;
    client.renewals = true;
    if (baton_open(&client, &run->client, err) < 0)
        return -1;
    baton_stand_options_init(&run->stand);
    run->stand.priority = options->priority;
    run->stand.preempt = options->preempt;
    run->stand.stop_ms = options->grace_ms + options->slack_ms;
    return baton_stand(run->client, options->name, &run->stand, &run->election, err);
}

static void turn(struct run *run)
{
    struct pollfd polled[] = {{.fd = baton_fd(run->client), .events = POLLIN},
                              {.fd = run->guard.pid > 0 ? run->guard.fd : -1, .events = POLLIN},
                              {.fd = run->signal_fd, .events = POLLIN},
                              {.fd = run->notify.fd, .events = POLLIN},
                              {.fd = run->health.check.pidfd, .events = POLLIN}};
    int64_t wake_ms = run_wake_ms(run), now_ms = baton_now_ms();
    int64_t wait_ms = wake_ms == NEVER_MS ? -1 : wake_ms > now_ms ? wake_ms - now_ms : 0;
    if (poll(polled, COUNT_OF(polled), wait_ms > 60000 ? 60000 : (int)wait_ms) < 0 && errno != EINTR)
        return;
    if (polled[1].revents != 0)
        run_on_guard(run);
    if (polled[0].revents != 0)
        run_on_baton(run);
    if (polled[2].revents != 0)
        run_on_signals(run);
    if (polled[3].revents != 0)
        run_on_notify(run);
    run_on_time(run);
}

static int run_all(struct run *run)
{
    struct baton_error err;
    if (open_client(run, &err) < 0) {
        int status = cli_fail(&err);
        guard_bye(&run->guard);
        baton_close(run->client);
        return status;
    }
    while (!run->resigned)
        turn(run);
    baton_close(run->client);
    guard_bye(&run->guard);
    return run->status;
}

static int run_command(int argc, char **argv)
{
    struct run_options options = {.ttl_ms = BATON_TTL_DEFAULT_MS, .grace_ms = RUN_GRACE_MS, .health_every_ms = 5000};
    struct run run = {.options = &options,
                      .notify = {.fd = -1},
                      .stop_signal = SIGTERM,
                      .restart_ms = NEVER_MS,
                      .backoff_ms = RUN_BACKOFF_FIRST_MS,
                      .watchdog_at_ms = NEVER_MS,
                      .say_alive_ms = NEVER_MS,
                      .duplicate_until_ms = NEVER_MS};
    struct baton_error err;
    int status = parse(argc, argv, &options);
    if (status != CLI_GO)
        return status;
    run.say_alive_every_ms = notify_init();
    if (run.say_alive_every_ms > 0)
        run.say_alive_ms = 0;
    health_init(&run.health, options.health, options.health_every_ms);
    if (catch_signals(&run) < 0) {
        cli_error("cannot make a signalfd: %s", strerror(errno));
        return EX_OSERR;
    }
    /* The guard is forked first of all, while there is one thread. */
    if (guard_start(&run.guard, options.command, &err) < 0)
        return cli_fail(&err);
    if (notify_listen(&run.notify, &err) < 0) {
        guard_bye(&run.guard);
        return cli_fail(&err);
    }
    status = run_all(&run);
    notify_close(&run.notify);
    close(run.signal_fd);
    return status;
}

const struct cli_command command_run = {"run", "run a command while this instance leads", run_command};
