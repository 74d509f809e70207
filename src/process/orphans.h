/* orphans.h: the dead children of a child subreaper (PR_SET_CHILD_SUBREAPER, prctl(2)) whom nobody else waits for. */
#ifndef PROCESS_ORPHANS_H
#define PROCESS_ORPHANS_H

#include <stddef.h>
#include <sys/types.h>

/* Collect all that are dead, but those that are `known` to somebody, who waits for them: they are left as they are.
 * Call it at SIGCHLD, after whoever knows one has looked. */
void orphans_collect(const pid_t *known, size_t count);

#endif
