/* orphans.h: the dead children of a child subreaper (PR_SET_CHILD_SUBREAPER, prctl(2)) whom nobody else waits for. */
#ifndef PROCESS_ORPHANS_H
#define PROCESS_ORPHANS_H

#include <stddef.h>
#include <sys/types.h>

/* Collect all dead children but the `known` ones, for which other code waits. Must be called at each SIGCHLD, after
 * that other code has looked. */
void orphans_collect(const pid_t *known, size_t count);

#endif
