/* tree.h: all that descends from this process, and the end of it.
 *
 * The caller is a child subreaper (PR_SET_CHILD_SUBREAPER, prctl(2)): whoever loses its parent becomes the caller's
 * child. So "no child is left" means "no descendant is left", also after double forks and setsid(2).
 */
#ifndef PROCESS_TREE_H
#define PROCESS_TREE_H

#include <stdbool.h>
#include <sys/types.h>

/* Send a signal to every descendant that is not in the process group `but` (0: to all). Those that are created
 * meanwhile are found by the next call: to kill, call it again at each SIGCHLD until tree_reap says that none is left.
 */
void tree_signal(int number, pid_t but);

/* Collect the dead. `died` (or NULL) is called for each, with its wait status. true: no child is left. */
bool tree_reap(void (*died)(void *ctx, pid_t pid, int status), void *ctx);

#endif
