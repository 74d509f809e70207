/* help.c: `baton help [COMMAND]`. */
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "cli/cli.h"

static int run(int argc, char **argv)
{
    const struct cli_form form = {.command = "help",
                                  .synopsis = "[COMMAND]",
                                  .about = "Tells about one command, or lists them all.",
                                  .operands_max = 1};
    struct cli_args args;
    int status = cli_parse(&form, argc, argv, &args);
    if (status != CLI_GO)
        return status;
    if (args.operand_count == 0) {
        cli_print_commands(stdout);
        return 0;
    }
    const struct cli_command *command = cli_command_find(args.operands[0]);
    if (command == NULL)
        return cli_unknown_command(args.operands[0]);
    char help[] = "--help";
    char *asked[] = {(char *)command->name, help, NULL};
    return command->run(2, asked);
}

const struct cli_command command_help = {"help", "tell about a command", run};
