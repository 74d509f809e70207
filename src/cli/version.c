/* version.c: `baton version`, `baton --version`. */
#include <stdio.h>

#include "cli/cli.h"

void cli_print_version(FILE *to)
{
    fprintf(to, "baton %s\n", BATON_VERSION);
}

static int run(int argc, char **argv)
{
    const struct cli_form form = {.command = "version", .synopsis = "", .about = "Prints the version of baton."};
    struct cli_args args;
    int status = cli_parse(&form, argc, argv, &args);
    if (status != CLI_GO)
        return status;
    cli_print_version(stdout);
    return 0;
}

const struct cli_command command_version = {"version", "print the version", run};
