/* once_options.c: see once_options.h. */
#include "cli/once_options.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "base/base.h"
#include "base/hash.h"

#define COMMAND_NAME_MAX 200 /* bytes of it that are stored */

/* A process asks once; so the table of options can be a constant that points into it. */
static struct once_options asked = {.conflict_status = EX_TEMPFAIL, .view = {.timeout_ms = CLI_ENGINE_TIMEOUT_MS}};

static const char about[] = "Runs COMMAND once: the first instance to ask for KEY runs it, the others wait for\n"
                            "its end and exit with its status; so does who asks later, at once. KEY is any text\n"
                            "of up to 128 bytes (with a date in it, it is once a day). If the instance that\n"
                            "runs it is lost, nobody knows how far it came: it is not run again, and the exit\n"
                            "code is 125 (see --at-least-once). Its environment has BATON_NAME (the key),\n"
                            "BATON_ID, BATON_TOKEN, BATON_ATTEMPT and BATON_URL.\n\n"
                            "baton once list           shows all tasks\n"
                            "baton once show KEY       shows one, with --output what it printed\n"
                            "baton once forget KEY...  forgets what is recorded: it may run once more";

static const struct cli_option options[] = {
    CLI_OPTION_URL(&asked.candidate.url),
    CLI_OPTION_ID(&asked.candidate.id),
    CLI_OPTION_TTL(&asked.candidate.ttl_ms),
    {.name = "no-wait",
     .letter = 'n',
     .kind = CLI_FLAG,
     .into = &asked.task.try_only,
     .help = "fail when others are running it"},
    {.name = "wait",
     .letter = 'w',
     .kind = CLI_WAIT,
     .into = &asked.task.wait_ms,
     .value = "DURATION",
     .help = "fail when others have not ended it within this time; 0: at once"},
    {.name = "conflict-exit-code",
     .letter = 'E',
     .kind = CLI_NUMBER,
     .into = &asked.conflict_status,
     .value = "N",
     .min = 0,
     .max = 255,
     .help = "the exit code then (default: 75)"},
    {.name = "at-least-once",
     .kind = CLI_FLAG,
     .into = &asked.task.at_least_once,
     .help = "run it again when the instance that ran it is lost, if that one\nsaid so, too"},
    {.name = "retries",
     .kind = CLI_NUMBER,
     .into = &asked.retries,
     .value = "N",
     .min = 0,
     .max = 1000000,
     .help = "run it again after a failure, up to N times (default: 0)"},
    {.name = "retry-after",
     .kind = CLI_DURATION,
     .into = &asked.task.retry_after_ms,
     .value = "DURATION",
     .help = "... not sooner after the failure than this (default: at once)"},
    {.name = "expire",
     .kind = CLI_LONG_DURATION,
     .into = &asked.task.expire_ms,
     .value = "DURATION",
     .help = "forget how it ended after this time: it may run once more then\n(default: 400d; never, or 0: keep it)"},
    {.name = "output",
     .letter = 'o',
     .kind = CLI_FLAG,
     .into = &asked.output,
     .help = "keep what it prints, the last 16 KiB of each output, and print it\nwhere it does not run"},
    {.name = "any-command",
     .kind = CLI_FLAG,
     .into = &asked.any_command,
     .help = "do not mind if others run another COMMAND under this KEY"},
    {.name = "grace",
     .kind = CLI_DURATION,
     .into = &asked.candidate.grace_ms,
     .value = "DURATION",
     .help = "from SIGTERM to SIGKILL when it must end\n(default: 3s, at most a third of --ttl)"},
    CANDIDATE_OPTION_SLACK(&asked.candidate.slack_ms),
    CANDIDATE_OPTION_PRIVILEGES(&asked.candidate.allow_privileges),
    {.name = "force",
     .kind = CLI_FLAG,
     .into = &asked.view.force,
     .help = "forget: also what is being run; it is stopped"},
    {.name = "expired", .kind = CLI_FLAG, .into = &asked.view.expired, .help = "forget: all that has expired"},
    CLI_OPTION_ENGINE_TIMEOUT(&asked.view.timeout_ms),
    CLI_OPTION_JSON(&asked.candidate.json),
};

static const struct cli_form form = {.command = "once",
                                     .synopsis = "[OPTIONS] KEY [--] COMMAND [ARG...]",
                                     .about = about,
                                     .options = options,
                                     .option_count = COUNT_OF(options),
                                     .operands_min = 1,
                                     .operands_max = 1000000,
                                     .operands = "KEY",
                                     .takes_command = true,
                                     .command_optional = true,
                                     .dashes_end_options = true,
                                     .verbs = "list show forget"};

/* The command's name and a number of all its words: to find out that others mean another one, without storing what may
 * be secret. */
static void describe_command(char *const *command, char *what, size_t size)
{
    uint64_t hash = HASH_BEGIN;
    const char *slash = strrchr(command[0], '/');
    for (char *const *word = command; *word != NULL; word++)
        hash = hash_byte(hash_text(hash, *word), '\0');
    const char *name = slash != NULL ? slash + 1 : command[0];
    size_t length = strnlen(name, COMMAND_NAME_MAX);
    while (name[length] != '\0' && length > 0 && ((unsigned char)name[length] & 0xc0) == 0x80)
        length--; /* a character of several bytes is not cut */
    snprintf(what, size, "%.*s %016" PRIx64, (int)length, name, hash);
}

static int check(const struct cli_args *args)
{
    struct baton_task_options *task = &asked.task;
    if (args->operand_count != 1)
        return cli_usage_error("once", "one key, and a command, as in baton once %s -- ./migrate", args->operands[0]);
    if (task->try_only && task->wait_ms != CLI_FOR_EVER)
        return cli_usage_error("once", "--no-wait and --wait: only one of them");
    if (task->retry_after_ms > 0 && asked.retries == 0)
        return cli_usage_error("once", "--retry-after without --retries: how often?");
    if (asked.view.force || asked.view.expired)
        return cli_usage_error("once", "--%s is for baton once forget", asked.view.force ? "force" : "expired");
    task->try_only = task->try_only || task->wait_ms == 0;
    if (task->wait_ms == CLI_FOR_EVER)
        task->wait_ms = 0;
    task->retries = (uint32_t)asked.retries;
    asked.key = args->operands[0];
    asked.command = args->command;
    if (!asked.any_command) {
        describe_command(asked.command, asked.what, sizeof(asked.what));
        task->what = asked.what;
    }
    return candidate_fit(&asked.candidate, "once");
}

int once_options_parse(int argc, char **argv, const struct once_options **ret)
{
    struct cli_args args;
    candidate_init(&asked.candidate);
    baton_task_options_init(&asked.task);
    asked.task.wait_ms = CLI_FOR_EVER;
    int status = cli_parse(&form, argc, argv, &args);
    if (status != CLI_GO)
        return status;
    asked.operands = args.operands;
    asked.operand_count = args.operand_count;
    *ret = &asked;
    return args.command_count > 0 ? check(&args) : CLI_GO;
}
