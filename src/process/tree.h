/* tree.h: all that descends from this process, and the end of it.
 *
 * The caller is a child subreaper (PR_SET_CHILD_SUBREAPER, prctl(2)): whoever loses its parent becomes the caller's
 * child. So "no child is left" means "no descendant is left", also after double forks and setsid(2).
 */
#ifndef PROCESS_TREE_H
#define PROCESS_TREE_H

#include <stdbool.h>
#include <sys/types.h>

/* SIGKILL to every descendant but `spare` (0: none). Those that are created meanwhile are found by the next call: call
 * it again at each SIGCHLD until tree_reap says that none is left. */
void tree_kill(pid_t spare);

/* Collect the dead. `died` is called for each, with its wait status. true: no child is left (but `spare`). */
bool tree_reap(pid_t spare, void (*died)(void *ctx, pid_t pid, int status), void *ctx);

#endif
