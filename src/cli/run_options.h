/* run_options.h: what is asked of `baton run`. */
#ifndef CLI_RUN_OPTIONS_H
#define CLI_RUN_OPTIONS_H

#include "cli/candidate.h"
#include "cli/restart.h"

/* The options of `baton run`, checked, with the defaults filled in. */
struct run_options {
    struct candidate candidate;
    const char *name, *health, *follow;
    uint32_t watchdog_ms, health_every_ms, start_period_ms;
    enum restart_policy restart;
    bool fence_pg;
    char *const *command;
};

/* CLI_GO and *ret, which stays; or the exit status with which the command is over. */
int run_options_parse(int argc, char **argv, const struct run_options **ret);

#endif
