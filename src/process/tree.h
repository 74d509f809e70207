/* tree.h: all that descends from this process, and the end of it.
 *
 * The caller is a child subreaper (PR_SET_CHILD_SUBREAPER, prctl(2)): whoever loses its parent becomes the caller's
 * child. So "no child is left" means "no descendant is left", also after double forks and setsid(2).
 */
#ifndef PROCESS_TREE_H
#define PROCESS_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Send a signal to every descendant that is not in the process group `but` (0: to all). Those that are created
 * meanwhile are found by the next call: to kill, call it again at each SIGCHLD until tree_reap says that none is left.
 * `failed` (or NULL) is called for each that cannot be sent it, with the errno. How many were sent it. */
unsigned tree_signal(int number, pid_t but, void (*failed)(void *ctx, pid_t pid, int error), void *ctx);

/* "cannot end process 7 (sudo): Operation not permitted"; error 0: it was killed, and is still there. */
void tree_words(pid_t pid, int error, char *ret, size_t size);

/* Collect the dead. `died` (or NULL) is called for each, with its wait status. true: no child is left. */
bool tree_reap(void (*died)(void *ctx, pid_t pid, int status), void *ctx);

#endif
