/* lock_options.c: see lock_options.h. */
#include "cli/lock_options.h"

#include "base/base.h"

/* A process asks once; so the table of options can be a constant that points into it. */
static struct lock_options asked = {.slots = 1, .conflict_status = 1, .timeout_ms = CLI_ENGINE_TIMEOUT_MS};

static const char about[] = "Runs COMMAND while this instance holds the lock NAME; it waits in line for it.\n"
                            "The lock passes on when COMMAND, with all its descendants, is over; COMMAND is\n"
                            "ended before a lost lock can pass on. Its environment has BATON_NAME, BATON_ID,\n"
                            "BATON_TOKEN (it grows from holder to holder) and BATON_URL. Exits with the\n"
                            "status of COMMAND.";

static const struct cli_option options[] = {
    CLI_OPTION_URL(&asked.candidate.url),
    CLI_OPTION_ID(&asked.candidate.id),
    CLI_OPTION_TTL(&asked.candidate.ttl_ms),
    {.name = "nonblock",
     .letter = 'n',
     .kind = CLI_FLAG,
     .into = &asked.nonblock,
     .help = "fail when the lock cannot be had at once"},
    {.name = "wait",
     .letter = 'w',
     .kind = CLI_DURATION,
     .into = &asked.lock.wait_ms,
     .value = "DURATION",
     .help = "fail when the lock cannot be had within this time; 0: at once"},
    {.name = "conflict-exit-code",
     .letter = 'E',
     .kind = CLI_NUMBER,
     .into = &asked.conflict_status,
     .value = "N",
     .min = 0,
     .max = 255,
     .help = "the exit code then (default: 1)"},
    {.name = "exclusive", .letter = 'x', .kind = CLI_FLAG, .into = &asked.exclusive, .help = "one holder (default)"},
    {.name = "shared",
     .letter = 's',
     .kind = CLI_FLAG,
     .into = &asked.shared,
     .help = "with other shared holders, never beside an exclusive one"},
    {.name = "slots",
     .kind = CLI_NUMBER,
     .into = &asked.slots,
     .value = "N",
     .min = 1,
     .max = BATON_SLOTS_MAX,
     .help = "up to N holders; all who want the lock must say the same N"},
    {.name = "grace",
     .kind = CLI_DURATION,
     .into = &asked.candidate.grace_ms,
     .value = "DURATION",
     .help = "from SIGTERM to SIGKILL when the lock is about to be lost\n(default: 3s, at most a third of --ttl)"},
    {.name = "describe",
     .kind = CLI_FLAG,
     .into = &asked.describe,
     .help = "show who holds the lock and who waits, and do nothing;\nexit code 0: somebody holds it, else 1"},
    CLI_OPTION_ENGINE_TIMEOUT(&asked.timeout_ms),
    CLI_OPTION_JSON(&asked.candidate.json),
};

static const struct cli_form form = {.command = "lock",
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

static int check(void)
{
    if (asked.describe)
        return asked.command == NULL ? CLI_GO : cli_usage_error("lock", "--describe takes no command");
    if (asked.command == NULL)
        return cli_usage_error("lock", "there is no command: write it after --, as in baton lock %s -- ./job",
                               asked.name);
    if (asked.shared + asked.exclusive + (asked.slots != 1) > 1)
        return cli_usage_error("lock", "--shared, --exclusive and --slots: only one of them");
    if (asked.nonblock && asked.lock.wait_ms != UINT32_MAX)
        return cli_usage_error("lock", "--nonblock and --wait: only one of them");
    asked.lock.slots = asked.shared ? BATON_SHARED : (uint32_t)asked.slots;
    /* --wait 0 is not to wait, as with flock(1). */
    asked.lock.try_only = asked.nonblock || asked.lock.wait_ms == 0;
    if (asked.lock.wait_ms == UINT32_MAX)
        asked.lock.wait_ms = 0;
    return candidate_fit(&asked.candidate, "lock");
}

int lock_options_parse(int argc, char **argv, const struct lock_options **ret)
{
    struct cli_args args;
    candidate_init(&asked.candidate);
    baton_lock_options_init(&asked.lock);
    asked.lock.wait_ms = UINT32_MAX;
    int status = cli_parse(&form, argc, argv, &args);
    if (status != CLI_GO)
        return status;
    asked.name = args.operands[0];
    asked.command = args.command_count > 0 ? args.command : NULL;
    *ret = &asked;
    return check();
}
