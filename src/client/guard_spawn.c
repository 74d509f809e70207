/* guard_spawn.c: start a process that is nobody's child, from a thread of a program that we know nothing about.
 *
 * The program must not be sent a SIGCHLD, find a child that it does not know, or be copied (it may be large): so a
 * first child, without a signal at its end and invisible to wait(2) (clone(2), __WCLONE), which shares our memory while
 * we wait (CLONE_VFORK), makes a second one, which calls exec; then the first ends, and the second belongs to init.
 * Between clone and exec there are system calls only.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/environment.h"
#include "client/client.h"
#include "client/guard.h"

#define STACK_BYTES (64 * 1024) /* of each of the two */

struct spawn {
    const char *path;
    const char *const *argv;
    char *const *environment;
    char *stack;
    int socket, pidfd, null; /* all above GUARD_PIDFD */
    int error;
};

/* A sanitizer would look at the stack of another thread. */
#define PLAIN __attribute__((no_sanitize("address", "thread", "undefined")))

PLAIN static int second(void *arg)
{
    struct spawn *spawn = arg;
    bool done = dup2(spawn->null, 0) >= 0 && dup2(spawn->null, 1) >= 0 && dup2(spawn->null, 2) >= 0 &&
                dup2(spawn->socket, GUARD_SOCKET_FD) >= 0 && dup2(spawn->pidfd, GUARD_PIDFD) >= 0;
    /* Whatever the program has open that is not closed by exec; an old sandbox may refuse it. */
    (void)syscall(SYS_close_range, GUARD_PIDFD + 1, ~0U, 0);
    if (done)
        (void)syscall(SYS_execve, spawn->path, spawn->argv, spawn->environment);
    spawn->error = errno;
    return 127;
}

PLAIN static int first(void *arg)
{
    struct spawn *spawn = arg;
    if (clone(second, spawn->stack + STACK_BYTES, CLONE_VM | CLONE_VFORK | SIGCHLD, spawn) < 0)
        spawn->error = errno;
    return 0;
}

static int raise_fd(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, GUARD_PIDFD + 1);
}

static int run(struct spawn *spawn)
{
    char *stacks = mmap(NULL, (size_t)2 * STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stacks == MAP_FAILED)
        return errno;
    spawn->stack = stacks;
    pid_t pid = clone(first, stacks + (size_t)2 * STACK_BYTES, CLONE_VM | CLONE_VFORK, spawn);
    int error = pid < 0 ? errno : 0;
    while (pid > 0 && waitpid(pid, NULL, __WCLONE) < 0 && errno == EINTR)
        ;
    munmap(stacks, (size_t)2 * STACK_BYTES);
    return error != 0 ? error : spawn->error;
}

/* Takes nothing over. 0, or an errno. */
static int spawn_with(const char *path, int socket, int pidfd)
{
    const char *const argv[] = {"baton-guard", GUARD_PROTOCOL, NULL};
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    struct spawn spawn = {.path = path, .argv = argv, .environment = environment_all()};
    spawn.socket = raise_fd(socket);
    spawn.pidfd = raise_fd(pidfd);
    spawn.null = raise_fd(null);
    bool ready = spawn.socket >= 0 && spawn.pidfd >= 0 && spawn.null >= 0;
    int error = ready ? run(&spawn) : errno;
    int fds[] = {null, spawn.socket, spawn.pidfd, spawn.null};
    for (size_t i = 0; i < COUNT_OF(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    return error;
}

int client_guard_spawn(const char *path, struct baton_error *err)
{
    int pair[2];
    int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (self < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
        error_errno(err, errno, "cannot prepare a guard");
        if (self >= 0)
            close(self);
        return -1;
    }
    int error = spawn_with(path, pair[1], self);
    close(self);
    close(pair[1]);
    if (error == 0)
        return pair[0];
    close(pair[0]);
    return error_errno(err, error, "cannot start the guard %s", path);
}
