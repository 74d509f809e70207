/* shell.h: one run of a shell command: a health check, or a hook. It has a process group of its own, and does not wait
 * for the reader of what it prints (outlet.h). */
#ifndef PROCESS_SHELL_H
#define PROCESS_SHELL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct shell {
    pid_t pid;    /* 0: it does not run */
    int pidfd;    /* readable when it has ended; -1: it does not run */
    int order_fd; /* of one that is prepared; -1 */
};

void shell_init(struct shell *shell);
/* Run `/bin/sh -c COMMAND` with this environment (NULL: ours). false: it could not be started; errno says why. */
bool shell_start(struct shell *shell, const char *command, char *const *environment);
/* The same in two steps: a child is there, and executes nothing before shell_go, nor at `latest_ms` or later (NEVER_MS:
 * no limit; it ends with SHELL_LATE then), nor when this process is dead. So others can be told of it first. */
bool shell_prepare(struct shell *shell, const char *command, char *const *environment);
void shell_go(struct shell *shell, int64_t latest_ms);
#define SHELL_LATE 125
/* SIGKILL to its process group; its end is heard of as any other. */
void shell_end(struct shell *shell);
/* Has it ended? Then *ret_status is its wait status, and it does not run any more. */
bool shell_ended(struct shell *shell, int *ret_status);
/* SIGKILL to its process group, and forget it: whoever collects all children (orphans_collect) collects it. For a loop
 * that must go on: what hangs in the kernel, on a dead NFS say, is not over when it is killed. */
void shell_drop(struct shell *shell);

#endif
