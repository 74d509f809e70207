/* run_options.c: see run_options.h. */
#include "cli/run_options.h"

#include <string.h>

#include "base/base.h"

/* A process asks once; so the table of options can be a constant that points into it. */
static struct run_options asked = {.health_every_ms = 5000};

static const char *asked_restart = "never", *asked_fence;

static const struct cli_option options[] = {
    CANDIDATE_OPTIONS(&asked.candidate),
    {.name = "grace",
     .kind = CLI_DURATION,
     .into = &asked.candidate.grace_ms,
     .value = "DURATION",
     .help = "from SIGTERM to SIGKILL when the command must stop\n(default: 3s, or a third of --ttl if that is less)"},
    CANDIDATE_OPTION_SLACK(&asked.candidate.slack_ms),
    CANDIDATE_OPTION_PRIVILEGES(&asked.candidate.allow_privileges),
    {.name = "restart",
     .kind = CLI_CHOICE,
     .into = &asked_restart,
     .value = "never|on-failure|always",
     .help = "when the command ends by itself: exit and hand over, or start\nit again while leading (default: never)"},
    {.name = "fence",
     .kind = CLI_CHOICE,
     .into = &asked_fence,
     .value = "pg",
     .help = "give the term to each connection that the command makes by libpq\n(PGOPTIONS), for tables that are "
             "guarded: see man baton-run"},
    {.name = "follow",
     .kind = CLI_TEXT,
     .into = &asked.follow,
     .value = "CMD",
     .help = "a shell command that runs while this instance does not lead, and\nnever at one time with COMMAND"},
    {.name = "watchdog",
     .kind = CLI_DURATION,
     .into = &asked.watchdog_ms,
     .value = "DURATION",
     .min = 1,
     .help = "the command loses its place when it does not say WATCHDOG=1\n(sd_notify) at least this often"},
    {.name = "health",
     .kind = CLI_TEXT,
     .into = &asked.health,
     .value = "CMD",
     .help = "the command loses its place when this shell command fails three\ntimes in a row"},
    {.name = "health-every",
     .kind = CLI_DURATION,
     .into = &asked.health_every_ms,
     .value = "DURATION",
     .min = 10,
     .help = "how often --health asks, and how long it may take (default: 5s)"},
    {.name = "start-period",
     .kind = CLI_DURATION,
     .into = &asked.start_period_ms,
     .value = "DURATION",
     .help = "after each start, until READY=1 but no longer than this, neither\n--watchdog nor --health counts "
             "(default: 0)"},
};

static const struct cli_form form = {.command = "run",
                                     .synopsis = "[OPTIONS] NAME [--] COMMAND [ARG...]",
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

int run_options_parse(int argc, char **argv, const struct run_options **ret)
{
    struct cli_args args;
    candidate_init(&asked.candidate);
    int status = cli_parse(&form, argc, argv, &args);
    if (status != CLI_GO)
        return status;
    asked.name = args.operands[0];
    asked.command = args.command;
    asked.fence_pg = asked_fence != NULL;
    asked.restart = strcmp(asked_restart, "never") == 0        ? RESTART_NEVER
                    : strcmp(asked_restart, "on-failure") == 0 ? RESTART_ON_FAILURE
                                                               : RESTART_ALWAYS;
    *ret = &asked;
    return candidate_fit(&asked.candidate, "run");
}
