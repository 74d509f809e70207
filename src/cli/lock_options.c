/* lock_options.c: see lock_options.h. The options of flock(1) are taken as flock takes them, so that a script which
 * says flock may say baton lock instead; what cannot be taken is refused with the reason. */
#include "cli/lock_options.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "cli/lock_name.h"

enum { LOCK_EXCLUSIVE = 1, LOCK_SHARED };

/* A process asks once; so the table of options can be a constant that points into it. */
static struct lock_options asked = {.slots = 1, .conflict_status = 1, .timeout_ms = CLI_ENGINE_TIMEOUT_MS};
static int32_t asked_kind; /* LOCK_EXCLUSIVE, LOCK_SHARED; 0: neither was said */
static const char *asked_line;
static bool asked_close, asked_no_fork; /* of no effect; see baton-lock(1) */

static const char about[] = "Runs COMMAND while this instance holds the lock NAME; it waits in line for it.\n"
                            "The lock passes on when COMMAND, with all its descendants, is over; COMMAND is\n"
                            "ended before a lost lock can pass on. Its environment has BATON_NAME, BATON_ID,\n"
                            "BATON_TOKEN (it grows from holder to holder) and BATON_URL. Exits with the\n"
                            "status of COMMAND.\n\n"
                            "The options are those of flock(1), and more. NAME may be a file's path, as there (with\n"
                            "a slash in it, or a dot in front); the file is not touched, and need not exist.";

static const struct cli_option options[] = {
    CLI_OPTION_URL(&asked.candidate.url),
    CLI_OPTION_ID(&asked.candidate.id),
    CLI_OPTION_TTL(&asked.candidate.ttl_ms),
    {.name = "nonblock",
     .letter = 'n',
     .also = {"nb", "nonblocking"},
     .kind = CLI_FLAG,
     .into = &asked.lock.try_only,
     .help = "fail when the lock cannot be had at once"},
    {.name = "wait",
     .letter = 'w',
     .also = {"timeout"},
     .kind = CLI_WAIT,
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
     .help = "the exit code when others have it (default: 1)"},
    {.name = "exclusive",
     .letter = 'x',
     .also = {"e"},
     .kind = CLI_CONSTANT,
     .into = &asked_kind,
     .min = LOCK_EXCLUSIVE,
     .help = "one holder (default)"},
    {.name = "shared",
     .letter = 's',
     .kind = CLI_CONSTANT,
     .into = &asked_kind,
     .min = LOCK_SHARED,
     .help = "with other shared holders, never beside an exclusive one"},
    {.name = "slots",
     .kind = CLI_NUMBER,
     .into = &asked.slots,
     .value = "N",
     .min = 1,
     .max = BATON_SLOTS_MAX,
     .help = "up to N holders; all who want the lock must say the same N"},
    {.name = "command",
     .letter = 'c',
     .kind = CLI_TEXT,
     .into = &asked_line,
     .value = "LINE",
     .help = "in place of COMMAND: a line for $SHELL (else /bin/sh)"},
    {.name = "grace",
     .kind = CLI_DURATION,
     .into = &asked.candidate.grace_ms,
     .value = "DURATION",
     .help = "from SIGTERM to SIGKILL when the lock is about to be lost\n(default: 3s, at most a third of --ttl)"},
    CANDIDATE_OPTION_SLACK(&asked.candidate.slack_ms),
    CANDIDATE_OPTION_PRIVILEGES(&asked.candidate.allow_privileges),
    {.name = "describe",
     .kind = CLI_FLAG,
     .into = &asked.describe,
     .help = "show who holds the lock and who waits, and do nothing;\nexit code 0: somebody holds it, else 1"},
    {.name = "verbose",
     .kind = CLI_FLAG,
     .into = &asked.verbose,
     .help = "tell how long it took, what is run, or who else has the lock"},
    {.name = "close",
     .letter = 'o',
     .kind = CLI_FLAG,
     .into = &asked_close,
     .help = "of flock(1); it is always so: COMMAND inherits nothing of the lock"},
    {.name = "no-fork",
     .letter = 'F',
     .kind = CLI_FLAG,
     .into = &asked_no_fork,
     .help = "of flock(1); of no effect: COMMAND is looked after"},
    {.name = "unlock",
     .letter = 'u',
     .kind = CLI_REFUSED,
     .value = "a lock is held for a command, and passes on when that is over; no descriptor holds it that could be "
              "unlocked. End the command instead: baton lock --describe NAME tells whose it is"},
    {.name = "fcntl",
     .kind = CLI_REFUSED,
     .value = "no file is locked, so nobody who locks files by fcntl(2) would see it; let them use baton lock, too"},
    CLI_OPTION_ENGINE_TIMEOUT(&asked.timeout_ms),
    CLI_OPTION_JSON(&asked.candidate.json),
    {.name = "version", .letter = 'V', .kind = CLI_VERSION, .help = "print the version of baton"},
};

static const struct cli_form form = {.command = "lock",
                                     .synopsis = "[OPTIONS] NAME [--] COMMAND [ARG...]",
                                     .about = about,
                                     .options = options,
                                     .option_count = COUNT_OF(options),
                                     .operands_min = 1,
                                     .operands_max = 1,
                                     .operands = "NAME",
                                     .takes_command = true,
                                     .command_optional = true,
                                     .dashes_end_options = true};

/* CLI_GO, or an exit status. */
static int take_name(const char *name)
{
    static char of_path[BATON_NAME_MAX + 1];
    struct baton_error err;
    asked.name = name;
    if (strchr(name, '/') != NULL || name[0] == '.') {
        asked.name = of_path;
        return lock_name_of_path(name, of_path, &err) < 0 ? cli_fail(&err) : CLI_GO;
    }
    if (baton_check_name("the name", name, &err) == 0)
        return CLI_GO;
    return name[0] == '\0' || strlen(name) > BATON_NAME_MAX
               ? cli_usage_error("lock", "%s", err.text)
               : cli_usage_error("lock", "%s; a file's path has a slash, as in ./FILE", err.text);
}

/* --command, as flock(1) runs it. */
static char *const *shell_command(const char *line)
{
    static char *words[4];
    const char *shell = getenv("SHELL");
    words[0] = (char *)(shell != NULL && shell[0] != '\0' ? shell : "/bin/sh");
    words[1] = (char *)"-c";
    words[2] = (char *)line;
    return words;
}

/* flock(1) takes the number of a descriptor in place of a name and a command. */
static int refuse_no_command(const char *name)
{
    if (name[strspn(name, "0123456789")] != '\0')
        return cli_usage_error("lock", "there is no command, as in baton lock %s -- ./job", name);
    return cli_usage_error("lock",
                           "there is no command, and '%s' is no descriptor here: a lock is held for a command, which "
                           "can be ended when the lock is lost. Put what it is held for into a script, or write baton "
                           "lock NAME -c '...'",
                           name);
}

/* Behind `-- NAME`, where no option is read any more, flock(1) still takes -c LINE. */
static int take_line(struct cli_args *args)
{
    if (asked_line != NULL || args->command_count == 0 ||
        (strcmp(args->command[0], "-c") != 0 && strcmp(args->command[0], "--command") != 0))
        return CLI_GO;
    if (args->command_count == 1)
        return cli_usage_error("lock", "the option '%s' needs a value", args->command[0]);
    asked_line = args->command[1];
    args->command += 2;
    args->command_count -= 2;
    return CLI_GO;
}

static int check(const struct cli_args *args)
{
    if (asked.describe)
        return args->command == NULL && asked_line == NULL ? CLI_GO
                                                           : cli_usage_error("lock", "--describe takes no command");
    if (asked_line != NULL && args->command_count > 0)
        return cli_usage_error("lock", "--command is the whole command: '%.60s' is one argument too many",
                               args->command[0]);
    if (asked_line == NULL && args->command_count == 0)
        return refuse_no_command(args->operands[0]);
    if (asked_close && asked_no_fork) /* as flock(1) */
        return cli_usage_error("lock", "--close and --no-fork: only one of them");
    if (asked_kind != 0 && asked.slots != 1)
        return cli_usage_error("lock", "--%s and --slots: only one of them",
                               asked_kind == LOCK_SHARED ? "shared" : "exclusive");
    asked.command = asked_line != NULL ? shell_command(asked_line) : args->command;
    asked.lock.slots = asked_kind == LOCK_SHARED ? BATON_SHARED : (uint32_t)asked.slots;
    /* --wait 0 is not to wait, and --nonblock is stronger than --wait, as with flock(1). */
    asked.lock.try_only = asked.lock.try_only || asked.lock.wait_ms == 0;
    if (asked.lock.try_only || asked.lock.wait_ms == CLI_FOR_EVER)
        asked.lock.wait_ms = 0;
    return candidate_fit(&asked.candidate, "lock");
}

int lock_options_parse(int argc, char **argv, const struct lock_options **ret)
{
    struct cli_args args;
    candidate_init(&asked.candidate);
    baton_lock_options_init(&asked.lock);
    asked.lock.wait_ms = CLI_FOR_EVER;
    int status = cli_parse(&form, argc, argv, &args);
    if (status == CLI_GO)
        status = take_name(args.operands[0]);
    if (status == CLI_GO)
        status = take_line(&args);
    if (status != CLI_GO)
        return status;
    *ret = &asked;
    return check(&args);
}
