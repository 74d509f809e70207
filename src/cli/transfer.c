/* transfer.c: `baton transfer NAME`: ask the leader to hand over. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "cli/cli.h"
#include "cli/observer.h"
#include "cli/present.h"

#define TIMEOUT_DEFAULT_MS 10000
#define EXIT_NOT_KNOWN 1 /* another one leads, but whether the old one has stopped is not known */

/* A transfer to the present leader is no error: what was asked for is so, and a script that is run twice goes on. */
static bool leads_already(const struct baton_status *status, const char *to)
{
    if (to == NULL || status->leader == NULL || strcmp(to, status->leader) != 0)
        return false;
    cli_say("%s: %s leads already, term %" PRIu64 "; nothing to do", status->name, to, status->term);
    return true;
}

static int transfer(struct observer *observer, const char *to)
{
    struct baton_error err;
    if (!observer_exists(&observer->status[0]))
        return present_no_election(observer);
    if (leads_already(&observer->status[0], to))
        return 0;
    uint32_t wait_ms = observer_left_ms(observer);
    uint64_t request = baton_transfer(observer->election, to, wait_ms);
    if (observer_reply(observer, request, wait_ms, &err) < 0 || observer_refresh(observer, &err) < 0) {
        int status = cli_fail(&err);
        return err.code == BATON_LOST ? EXIT_NOT_KNOWN : status;
    }
    present_leader(&observer->status[0], cli_colour(stdout));
    return 0;
}

static int run(int argc, char **argv)
{
    const char *url = NULL, *to = NULL;
    uint32_t timeout_ms = TIMEOUT_DEFAULT_MS;
    const struct cli_option options[] = {
        CLI_OPTION_URL(&url),
        {.name = "to",
         .kind = CLI_ID,
         .into = &to,
         .value = "ID",
         .help = "to this candidate (default: to whoever is next)"},
        {.name = "engine-timeout",
         .kind = CLI_DURATION,
         .into = &timeout_ms,
         .value = "DURATION",
         .min = 1,
         .help = "how long to wait for the engine, and for the handover\n(default: 10s)"},
    };
    const struct cli_form form = {.command = "transfer",
                                  .synopsis = "[OPTIONS] NAME",
                                  .about = "Asks the leader of the election NAME to stop and to hand over to another\n"
                                           "candidate, and waits until that one leads.",
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
        status = transfer(&observer, to);
    observer_close(&observer);
    return status;
}

const struct cli_command command_transfer = {"transfer", "ask the leader to hand over", run};
