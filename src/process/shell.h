/* shell.h: one run of a shell command: a health check, a hook. It has a process group of its own. */
#ifndef PROCESS_SHELL_H
#define PROCESS_SHELL_H

#include <stdbool.h>
#include <sys/types.h>

struct shell {
    pid_t pid; /* 0: it does not run */
    int pidfd; /* readable when it has ended; -1: it does not run */
};

void shell_init(struct shell *shell);
/* Run `/bin/sh -c COMMAND` with this environment (NULL: ours). false: it could not be started; errno says why. */
bool shell_start(struct shell *shell, const char *command, char *const *environment);
/* Has it ended? Then *ret_status is its wait status, and it does not run any more. */
bool shell_ended(struct shell *shell, int *ret_status);
/* SIGKILL to its process group, and forget it: whoever collects all children (orphans_collect) collects it. For a loop
 * that must go on: what hangs in the kernel, on a dead NFS say, is not over when it is killed. */
void shell_drop(struct shell *shell);
/* The same, and wait for the end of the shell itself, for so long. false: it is not over. */
bool shell_kill(struct shell *shell, int limit_ms);

#endif
