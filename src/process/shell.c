/* shell.c: see shell.h. */
#include "process/shell.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "process/outlet.h"

extern char **environ;

void shell_init(struct shell *shell)
{
    *shell = (struct shell){.pidfd = -1, .order_fd = -1};
}

bool shell_start(struct shell *shell, const char *command, char *const *environment)
{
    char *argv[] = {(char *)"sh", (char *)"-c", (char *)command, NULL};
    assert(shell->pid <= 0); /* one at a time: the earlier one was collected, or given up (shell_drop) */
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t outputs;
    sigset_t none, ours;
    sigemptyset(&none);
    sigemptyset(&ours);
    sigaddset(&ours, SIGPIPE); /* the only one that we ignore */
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &ours);
    posix_spawn_file_actions_init(&outputs);
    for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++)
        if (outlet_fd(fd) != fd)
            posix_spawn_file_actions_adddup2(&outputs, outlet_fd(fd), fd);
    int error =
        posix_spawn(&shell->pid, "/bin/sh", &outputs, &attributes, argv, environment != NULL ? environment : environ);
    posix_spawn_file_actions_destroy(&outputs);
    posix_spawnattr_destroy(&attributes);
    if (error != 0) {
        shell_init(shell);
        errno = error;
        return false;
    }
    shell->pidfd = (int)syscall(SYS_pidfd_open, shell->pid, 0);
    return true;
}

/* The child. It has been forked from a process with threads: only what is safe in a signal handler. */
static void wait_and_become(const char *command, char *const *environment, int order_fd, const int outputs[2])
{
    char *argv[] = {(char *)"sh", (char *)"-c", (char *)command, NULL};
    int64_t latest_ms;
    sigset_t none;
    setpgid(0, 0);
    if (read(order_fd, &latest_ms, sizeof(latest_ms)) != (ssize_t)sizeof(latest_ms) || clock_now_ms() >= latest_ms)
        _exit(SHELL_LATE);
    for (int i = 0; i < 2; i++)
        if (outputs[i] != STDOUT_FILENO + i)
            (void)dup2(outputs[i], STDOUT_FILENO + i);
    signal(SIGPIPE, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve("/bin/sh", argv, environment);
    _exit(127);
}

bool shell_prepare(struct shell *shell, const char *command, char *const *environment)
{
    int ends[2];
    const int outputs[] = {outlet_fd(STDOUT_FILENO), outlet_fd(STDERR_FILENO)};
    if (pipe2(ends, O_CLOEXEC) < 0)
        return false;
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[1]); /* so that the end of this process is seen */
        wait_and_become(command, environment != NULL ? environment : environ, ends[0], outputs);
    }
    close(ends[0]);
    if (pid < 0) {
        int error = errno;
        close(ends[1]);
        errno = error;
        return false;
    }
    setpgid(pid, pid); /* in both: whoever is first */
    *shell = (struct shell){.pid = pid, .pidfd = (int)syscall(SYS_pidfd_open, pid, 0), .order_fd = ends[1]};
    return true;
}

void shell_go(struct shell *shell, int64_t latest_ms)
{
    assert(shell->pid > 0 && shell->order_fd >= 0);
    (void)!write(shell->order_fd, &latest_ms, sizeof(latest_ms)); /* one that is dead already is found dead */
    close(shell->order_fd);
    shell->order_fd = -1;
}

static void forget(struct shell *shell)
{
    if (shell->order_fd >= 0)
        close(shell->order_fd);
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

void shell_end(struct shell *shell)
{
    kill_group(shell);
}

void shell_drop(struct shell *shell)
{
    kill_group(shell);
    forget(shell);
}
