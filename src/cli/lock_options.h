/* lock_options.h: what is asked of `baton lock`. */
#ifndef CLI_LOCK_OPTIONS_H
#define CLI_LOCK_OPTIONS_H

#include "cli/candidate.h"

/* Of `baton lock`, checked, with the defaults filled in. */
struct lock_options {
    struct candidate candidate;
    const char *name;
    char *const *command;
    struct baton_lock_options lock;
    bool describe, verbose;
    int32_t slots, conflict_status;
    uint32_t timeout_ms;
};

/* CLI_GO and *ret, which stays; or the exit status with which the command is over. */
int lock_options_parse(int argc, char **argv, const struct lock_options **ret);

#endif
