/* shell.c: see shell.h. */
#include "process/shell.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

void shell_init(struct shell *shell)
{
    *shell = (struct shell){.pidfd = -1};
}

bool shell_start(struct shell *shell, const char *command, char *const *environment)
{
    char *argv[] = {(char *)"sh", (char *)"-c", (char *)command, NULL};
    posix_spawnattr_t attributes;
    sigset_t none, ours;
    sigemptyset(&none);
    sigemptyset(&ours);
    sigaddset(&ours, SIGPIPE); /* the only one that we ignore */
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &ours);
    int error =
        posix_spawn(&shell->pid, "/bin/sh", NULL, &attributes, argv, environment != NULL ? environment : environ);
    posix_spawnattr_destroy(&attributes);
    if (error != 0) {
        shell_init(shell);
        errno = error;
        return false;
    }
    shell->pidfd = (int)syscall(SYS_pidfd_open, shell->pid, 0);
    return true;
}

static void forget(struct shell *shell)
{
    if (shell->pidfd >= 0)
        close(shell->pidfd);
    shell_init(shell);
}

bool shell_ended(struct shell *shell, int *ret_status)
{
    if (shell->pid <= 0)
        return false;
    pid_t pid = waitpid(shell->pid, ret_status, WNOHANG);
    if (pid == 0 || (pid < 0 && errno != ECHILD))
        return false;
    if (pid < 0)
        *ret_status = W_EXITCODE(1, 0); /* somebody else has collected it */
    forget(shell);
    return true;
}

/* Its pid is its own until it is collected, which another part of this process may have done. */
static bool is_there(const struct shell *shell)
{
    return shell->pidfd < 0 || syscall(SYS_pidfd_send_signal, shell->pidfd, 0, NULL, 0) == 0 || errno == EPERM;
}

static void kill_group(const struct shell *shell)
{
    if (shell->pid > 0 && is_there(shell))
        kill(-shell->pid, SIGKILL);
}

void shell_drop(struct shell *shell)
{
    kill_group(shell);
    forget(shell);
}

bool shell_kill(struct shell *shell, int limit_ms)
{
    struct pollfd ended = {.fd = shell->pidfd, .events = POLLIN};
    bool over = true;
    kill_group(shell);
    if (shell->pid > 0) {
        (void)poll(&ended, 1, limit_ms);
        over = waitpid(shell->pid, NULL, WNOHANG) != 0;
    }
    forget(shell);
    return over;
}
