/* hold.c: `baton hold NAME` and `baton release NAME`: nobody leads while something is maintained. */
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "cli/cli.h"
#include "cli/observer.h"
#include "cli/present.h"

#define TIMEOUT_DEFAULT_MS 10000
#define WHY_MAX 200 /* bytes; see baton_hold() */

static uint32_t left_of(int64_t until_ms)
{
    int64_t left_ms = until_ms - baton_now_ms();
    return left_ms > 1 ? (uint32_t)left_ms : 1;
}

/* The hold is stored; but whoever holds an election wants to work on what its leader uses, so wait for its end. */
static int wait_for_stop(struct observer *observer, int64_t until_ms, struct baton_error *err)
{
    struct baton_event event;
    if (observer_refresh(observer, err) < 0)
        return -1;
    while (observer->status[0].leader != NULL) {
        int got = observer_next(observer, until_ms, &event, err);
        if (got < 0)
            return -1;
        if (got == 0)
            return error_set(
                err, BATON_TIMEOUT,
                "the election '%s' is on hold, but its leader '%s' has not stopped yet; see baton status %s",
                observer->name, observer->status[0].leader, observer->name);
    }
    return 0;
}

static int hold(struct observer *observer, const char *why, uint32_t timeout_ms)
{
    struct baton_error err;
    int64_t until_ms = baton_now_ms() + timeout_ms;
    if (observer_first_view(observer, timeout_ms, &err) < 0)
        return cli_fail(&err);
    uint32_t wait_ms = left_of(until_ms);
    uint64_t request = baton_hold(observer->election, why, wait_ms);
    if (observer_reply(observer, request, wait_ms, &err) < 0 || wait_for_stop(observer, until_ms, &err) < 0)
        return cli_fail(&err);
    printf("%s: on hold, nobody leads; baton release %s ends it\n", observer->name, observer->name);
    return 0;
}

static int release(struct observer *observer, uint32_t timeout_ms)
{
    struct baton_error err;
    int64_t until_ms = baton_now_ms() + timeout_ms;
    if (observer_first_view(observer, timeout_ms, &err) < 0)
        return cli_fail(&err);
    if (!observer_exists(&observer->status[0]))
        return present_no_election(observer);
    if (!observer->status[0].held) {
        printf("%s: not on hold; nothing to do\n", observer->name);
        return 0;
    }
    uint32_t wait_ms = left_of(until_ms);
    uint64_t request = baton_release(observer->election, wait_ms);
    if (observer_reply(observer, request, wait_ms, &err) < 0)
        return cli_fail(&err);
    printf("%s: released\n", observer->name);
    return 0;
}

static int run_hold(int argc, char **argv)
{
    const char *url = NULL, *why = NULL;
    uint32_t timeout_ms = TIMEOUT_DEFAULT_MS;
    const struct cli_option options[] = {
        CLI_OPTION_URL(&url),
        {.name = "why",
         .kind = CLI_TEXT,
         .into = &why,
         .value = "TEXT",
         .help = "the reason, for whoever asks baton status; up to 200 bytes"},
        {.name = "timeout",
         .kind = CLI_DURATION,
         .into = &timeout_ms,
         .value = "DURATION",
         .min = 1,
         .help = "how long the leader may take to stop (default: 10s)"},
    };
    const struct cli_form form = {.command = "hold",
                                  .synopsis = "[OPTIONS] NAME",
                                  .about =
                                      "Puts the election NAME on hold for maintenance: its leader stops, and nobody\n"
                                      "leads until baton release. Waits until the leader has stopped.",
                                  .options = options,
                                  .option_count = COUNT_OF(options),
                                  .operands_min = 1,
                                  .operands_max = 1,
                                  .operands = "NAME",
                                  .names_election = true};
    struct cli_args args;
    int status = cli_parse(&form, argc, argv, &args);
    if (status != CLI_GO)
        return status;
    if (why != NULL && strlen(why) > WHY_MAX)
        return cli_usage_error("hold", "--why is too long: %zu bytes, at most %d are allowed", strlen(why), WHY_MAX);
    struct baton_error err;
    struct observer observer;
    if (observer_open(&observer, url, args.operands[0], &err) < 0)
        status = cli_fail(&err);
    else
        status = hold(&observer, why, timeout_ms);
    observer_close(&observer);
    return status;
}

static int run_release(int argc, char **argv)
{
    const char *url = NULL;
    uint32_t timeout_ms = CLI_WAIT_DEFAULT_MS;
    const struct cli_option options[] = {CLI_OPTION_URL(&url), CLI_OPTION_WAIT(&timeout_ms)};
    const struct cli_form form = {.command = "release",
                                  .synopsis = "[OPTIONS] NAME",
                                  .about = "Ends the hold of the election NAME: its candidates may lead again.",
                                  .options = options,
                                  .option_count = COUNT_OF(options),
                                  .operands_min = 1,
                                  .operands_max = 1,
                                  .operands = "NAME",
                                  .names_election = true};
    struct cli_args args;
    int status = cli_parse(&form, argc, argv, &args);
    if (status != CLI_GO)
        return status;
    struct baton_error err;
    struct observer observer;
    if (observer_open(&observer, url, args.operands[0], &err) < 0)
        status = cli_fail(&err);
    else
        status = release(&observer, timeout_ms);
    observer_close(&observer);
    return status;
}

const struct cli_command command_hold = {"hold", "let nobody lead while you maintain something", run_hold};
const struct cli_command command_release = {"release", "end a hold", run_release};
