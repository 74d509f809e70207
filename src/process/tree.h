/* tree.h: all that descends from this process, and the end of it.
 *
 * The caller is a child subreaper (PR_SET_CHILD_SUBREAPER, prctl(2)): whoever loses its parent becomes the caller's
 * child. So "no child is left" means "no descendant is left", also after double forks and setsid(2).
 */
#ifndef PROCESS_TREE_H
#define PROCESS_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Send a signal to every descendant but the process `but` and all of the process group `but` (0: to all). Those that
 * are created meanwhile are found by the next call: to kill, call it again at each SIGCHLD until tree_reap says that
 * none is left. `told` (or NULL) is called for each that is no zombie, with the errno, or 0. How many were sent it. */
typedef void tree_told(void *ctx, pid_t pid, int error);
unsigned tree_signal(int number, pid_t but, tree_told *told, void *ctx);

/* What the descendants have in memory; what they share with each other counts once. */
int64_t tree_resident_mib(void);

bool tree_is_child(pid_t pid, pid_t parent);

/* Which processes were told as such that cannot be ended. */
#define TREE_STUCK_MAX 64
#define TREE_STUCK_AFTER_MS 1000
struct tree_stuck {
    int64_t began_ms; /* when they were killed first */
    pid_t pids[TREE_STUCK_MAX];
    unsigned count;
};
/* Is this one to be told now? It cannot be sent SIGKILL, or was sent it long ago (error 0); once for each. pid 0: one
 * that cannot be seen. */
bool tree_is_stuck(struct tree_stuck *stuck, pid_t pid, int error);

/* "cannot end process 7 (sudo): Operation not permitted"; error 0: it was killed, and is still there. */
void tree_words(pid_t pid, int error, char *ret, size_t size);

/* Collect the dead. `died` (or NULL) is called for each, with its wait status. true: no child is left. */
bool tree_reap(void (*died)(void *ctx, pid_t pid, int status), void *ctx);

#endif
