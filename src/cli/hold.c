/* hold.c: `baton hold NAME` and `baton release NAME`: nobody leads while something is maintained. */
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "cli/cli.h"
#include "cli/observer.h"
#include "cli/present.h"

#define TIMEOUT_DEFAULT_MS 10000
#define EXIT_NOT_KNOWN 1 /* nobody leads, but whether the leader has stopped is not known */
#define WHY_MAX 200      /* bytes; see baton_hold() */

/* A leader that stops for the hold writes a decision that names nobody. If the last one still names it, its session has
 * ended, which says nothing about what it did in it. */
static bool has_stopped(const struct baton_status *status)
{
    return status->term_count == 0 || status->terms[0].id[0] == '\0';
}

/* The hold is stored; but whoever holds an election wants to work on what its leader uses, so wait for its end. */
static int wait_for_stop(struct observer *observer, struct baton_error *err)
{
    struct baton_event event;
    bool led = observer->status[0].leader != NULL;
    if (observer_refresh(observer, err) < 0)
        return -1;
    while (observer->status[0].leader != NULL) {
        led = true;
        int got = observer_next(observer, observer->until_ms, &event, err);
        if (got < 0)
            return -1;
        if (got == 0)
            return error_set(
                err, BATON_TIMEOUT,
                "the election '%s' is on hold, but its leader '%s' has not stopped yet; see baton status %s",
                observer->name, observer->status[0].leader, observer->name);
    }
    if (led && !has_stopped(&observer->status[0]))
        return error_set(err, BATON_LOST,
                         "the election '%s' is on hold and nobody leads, but the session of '%s' has ended without its "
                         "answer, and whether it has stopped is not known",
                         observer->name, observer->status[0].terms[0].id);
    return 0;
}

static int hold(struct observer *observer, const char *why)
{
    struct baton_error err;
    uint32_t wait_ms = observer_left_ms(observer);
    uint64_t request = baton_hold(observer->election, why, wait_ms);
    if (observer_reply(observer, request, wait_ms, &err) < 0)
        return cli_fail(&err);
    if (wait_for_stop(observer, &err) < 0) {
        int status = cli_fail(&err);
        return err.code == BATON_LOST ? EXIT_NOT_KNOWN : status;
    }
    cli_say("%s: on hold, nobody leads; baton release %s ends it", observer->name, observer->name);
    return 0;
}

static int release(struct observer *observer)
{
    struct baton_error err;
    if (!observer_exists(&observer->status[0]))
        return present_no_election(observer);
    if (!observer->status[0].held) {
        cli_say("%s: not on hold; nothing to do", observer->name);
        return 0;
    }
    uint32_t wait_ms = observer_left_ms(observer);
    uint64_t request = baton_release(observer->election, wait_ms);
    if (observer_reply(observer, request, wait_ms, &err) < 0)
        return cli_fail(&err);
    cli_say("%s: released", observer->name);
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
        {.name = "engine-timeout",
         .kind = CLI_DURATION,
         .into = &timeout_ms,
         .value = "DURATION",
         .min = 1,
         .help = "how long to wait for the engine, and for the leader to stop\n(default: 10s)"},
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
    struct observer observer;
    status = observer_begin(&observer, url, args.operands[0], true, timeout_ms);
    if (status == CLI_GO)
        status = hold(&observer, why);
    observer_close(&observer);
    return status;
}

static int run_release(int argc, char **argv)
{
    const char *url = NULL;
    uint32_t timeout_ms = CLI_ENGINE_TIMEOUT_MS;
    const struct cli_option options[] = {CLI_OPTION_URL(&url), CLI_OPTION_ENGINE_TIMEOUT(&timeout_ms)};
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
    struct observer observer;
    status = observer_begin(&observer, url, args.operands[0], false, timeout_ms);
    if (status == CLI_GO)
        status = release(&observer);
    observer_close(&observer);
    return status;
}

const struct cli_command command_hold = {"hold", "let nobody lead while you maintain something", run_hold};
const struct cli_command command_release = {"release", "end a hold", run_release};
