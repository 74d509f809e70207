/* once_options.h: what is asked of `baton once`. */
#ifndef CLI_ONCE_OPTIONS_H
#define CLI_ONCE_OPTIONS_H

#include "cli/candidate.h"
#include "cli/once_view.h"

/* Of `baton once`, checked, with the defaults filled in. */
struct once_options {
    struct candidate candidate;
    struct once_view view;
    const char *key; /* NULL: the operands are a verb about what is recorded, and its keys */
    char *const *command;
    struct baton_task_options task;
    bool any_command, output;
    int32_t retries, conflict_status;
    char *const *operands;
    int operand_count;
    char what[BATON_TASK_WHAT_MAX + 1];
};

/* CLI_GO and *ret, which stays; or the exit status with which the command is over. */
int once_options_parse(int argc, char **argv, const struct once_options **ret);

#endif
