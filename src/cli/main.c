/* main.c: `baton COMMAND …`: finds the command, runs it, and makes sure that what it printed was written. */
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "base/base.h"
#include "base/descriptors.h"
#include "cli/cli.h"
#include "cli/nearest.h"
#include "process/title.h"

#define DESCRIPTORS_NEEDED 28 /* by what needs most, run --follow, but for those of its guards */

#define COMMAND(name) extern const struct cli_command command_##name;
#include "cli/commands.h"
#undef COMMAND

#define COMMAND(name) &command_##name,
const struct cli_command *const cli_commands[] = {
#include "cli/commands.h"
    NULL};
#undef COMMAND

const struct cli_command *cli_command_find(const char *name)
{
    for (const struct cli_command *const *each = cli_commands; *each != NULL; each++)
        if (strcmp((*each)->name, name) == 0)
            return *each;
    return NULL;
}

void cli_print_commands(FILE *to)
{
    fputs("baton: lets instances of a program agree on which one of them leads.\n"
          "\n"
          "Usage: baton COMMAND [OPTIONS] [ARGUMENTS]\n"
          "\n"
          "Commands:\n",
          to);
    for (const struct cli_command *const *each = cli_commands; *each != NULL; each++)
        fprintf(to, "  %-10s %s\n", (*each)->name, (*each)->summary);
    fputs("\n"
          "baton COMMAND --help tells about one command, man baton about all of them.\n",
          to);
}

static const struct cli_command *command_of(const char *word)
{
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        return cli_command_find("help");
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0)
        return cli_command_find("version");
    return cli_command_find(word);
}

/* " (did you mean status?)", or nothing. */
static const char *meant(const char *word, char text[48])
{
    struct nearest nearest = {.word = word};
    if (word[0] == '-') {
        nearest_look(&nearest, "--help");
        nearest_look(&nearest, "--version");
    } else {
        for (const struct cli_command *const *each = cli_commands; *each != NULL; each++)
            nearest_look(&nearest, (*each)->name);
    }
    text[0] = '\0';
    if (nearest.found != NULL)
        snprintf(text, 48, " (did you mean %s?)", nearest.found);
    return text;
}

int cli_unknown_command(const char *word)
{
    char text[48];
    cli_error("unknown %s '%s'%s; see baton --help", word[0] == '-' ? "option" : "command", word, meant(word, text));
    return EX_USAGE;
}

int main(int argc, char **argv)
{
    struct baton_error err;
    title_init(argc, argv);
    setlocale(LC_CTYPE, "");
    if (descriptors_standard(&err) < 0)
        return cli_fail(&err);
    if (argc < 2) {
        cli_print_commands(stderr);
        return EX_USAGE;
    }
    const struct cli_command *command = command_of(argv[1]);
    if (command == NULL)
        return cli_unknown_command(argv[1]);
    if (descriptors_room(DESCRIPTORS_NEEDED, &err) < 0)
        return cli_fail(&err);
    argv[1] = (char *)command->name;
    int status = command->run(argc - 1, argv + 1);
    return cli_print_end() == CLI_OUT_FAILED ? EX_IOERR : status;
}
