/* health.h: a check that is run again and again: `sh -c CMD`, exit status 0 means well. A check may take as long as the
 * time between two checks; then it is killed, and counts as failed. Nothing here waits; the caller collects all
 * children that it does not know (orphans_collect). */
#ifndef PROCESS_HEALTH_H
#define PROCESS_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "process/shell.h"

#define HEALTH_FAILURES 3 /* in a row: the command is not well */

struct health {
    const char *command; /* NULL: there is no check */
    int64_t every_ms;
    bool on;
    struct shell check;
    int64_t next_ms; /* when to begin the next, or to kill this one */
    unsigned failures;
};

void health_init(struct health *health, const char *command, int64_t every_ms);
/* The command runs now: begin to check it. */
void health_start(struct health *health, int64_t now_ms);
/* The command does not run any more: a check that runs is killed. */
void health_stop(struct health *health);
/* Do what is due. false: it has failed HEALTH_FAILURES times in a row. */
bool health_step(struct health *health, int64_t now_ms);
int64_t health_wake_ms(const struct health *health);

#endif
