/* run.c: `baton run NAME -- COMMAND`: the command runs only while this instance leads. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/base.h"
#include "cli/run.h"

static void turn(struct run *run)
{
    struct pollfd polled[] = {
        {.fd = baton_fd(run->client), .events = POLLIN},   {.fd = run->guard.fd, .events = POLLIN},
        {.fd = run->signal_fd, .events = POLLIN},          {.fd = run->notify.fd, .events = POLLIN},
        {.fd = run->health.check.pidfd, .events = POLLIN}, {.fd = run->follow.guard.fd, .events = POLLIN}};
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
    if (polled[5].revents != 0)
        run_follow_on_guard(run);
    run_on_time(run);
    run_follow_step(run);
}

static int run_all(struct run *run)
{
    struct baton_error err;
    const struct run_options *options = run->options;
    if (candidate_open(&options->candidate, true, &run->client, &err) < 0 ||
        candidate_stand(&options->candidate, run->client, options->name, true, &run->election, &err) < 0) {
        int status = cli_fail(&err);
        guard_bye(&run->guard);
        guard_bye(&run->follow.guard);
        baton_close(run->client);
        return status;
    }
    run_follow_wait(run);
    while (!run->resigned || run->follow.running)
        turn(run);
    baton_close(run->client);
    guard_bye(&run->guard);
    guard_bye(&run->follow.guard);
    return run->status;
}

static int run_command(int argc, char **argv)
{
    static const int caught[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH, SIGCHLD};
    const struct run_options *options;
    struct run run = {.notify = {.fd = -1},
                      .follow.guard = {.fd = -1, .limit_ms = NEVER_MS},
                      .stop_signal = SIGTERM,
                      .restart_ms = NEVER_MS,
                      .testament_ms = NEVER_MS,
                      .deadline_ms = NEVER_MS,
                      .backoff_ms = RUN_BACKOFF_FIRST_MS,
                      .watchdog_at_ms = NEVER_MS,
                      .say_alive_ms = NEVER_MS,
                      .duplicate_until_ms = NEVER_MS};
    struct baton_error err;
    int status = run_options_parse(argc, argv, &options);
    if (status != CLI_GO)
        return status;
    run.options = options;
    run.say_alive_every_ms = notify_init();
    if (run.say_alive_every_ms > 0)
        run.say_alive_ms = 0;
    health_init(&run.health, options->health, options->health_every_ms);
    run.signal_fd = candidate_signals(caught, COUNT_OF(caught));
    if (run.signal_fd < 0)
        return EX_OSERR;
    /* The guard is forked first of all, while there is one thread. */
    struct guard_options guarded = {.argv = options->command,
                                    .verb = "run",
                                    .name = options->name,
                                    .grace_ms = options->candidate.grace_ms,
                                    .slack_ms = options->candidate.slack_ms};
    sigemptyset(&guarded.ignored);
    if (guard_start(&run.guard, &guarded, &err) < 0)
        return cli_fail(&err);
    if (run_follow_begin(&run, &err) < 0) {
        guard_bye(&run.guard);
        return cli_fail(&err);
    }
    cli_print_begin();
    if (notify_listen(&run.notify, &err) < 0) {
        guard_bye(&run.guard);
        guard_bye(&run.follow.guard);
        return cli_fail(&err);
    }
    status = run_all(&run);
    notify_close(&run.notify);
    close(run.signal_fd);
    return status;
}

const struct cli_command command_run = {"run", "run a command while this instance leads", run_command};
