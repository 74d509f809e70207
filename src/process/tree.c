/* tree.c: see tree.h. The children of a process are listed in /proc/PID/task/TID/children (proc(5)). */
#include "process/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEPTH_MAX 64 /* deeper ones come up when those above them are dead */
#define LIST_BYTES 65536

static bool is_child(pid_t pid, pid_t parent)
{
    char path[64], text[512];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[got > 0 ? got : 0] = '\0';
    const char *end = strrchr(text, ')');
    int above;
    return end != NULL && sscanf(end + 1, " %*c %d", &above) == 1 && above == (int)parent;
}

/* The list of children as text, on the heap; NULL: there is none. */
static char *children_of(pid_t parent)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)parent, (int)parent);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    char *list = malloc(LIST_BYTES);
    size_t length = 0;
    ssize_t got;
    while (list != NULL && length < LIST_BYTES - 1 && (got = read(fd, list + length, LIST_BYTES - 1 - length)) > 0)
        length += (size_t)got;
    close(fd);
    if (list != NULL)
        list[length] = '\0';
    return list;
}

static int send_to(int pidfd, int number)
{
    return (int)syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0);
}

/* Its pid is its own as long as its parent has not waited for it. (One whose pid cannot be held is not known.) */
static bool is_held(int pidfd)
{
    return pidfd >= 0 && (send_to(pidfd, 0) == 0 || errno == EPERM);
}

static void signal_below(int number, pid_t parent, int parent_pidfd, pid_t but, int depth);

/* Between the list and the signal its pid may have been used again, and so may its parent's: it is held by a pidfd, and
 * must be a child of the parent after that, whose pid must still be its own after that. The parent first: a dead one
 * forks no more while its children are listed. */
static void signal_tree(int number, pid_t pid, pid_t parent, int parent_pidfd, pid_t but, int depth)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0)
        return;
    if (is_child(pid, parent) && is_held(parent_pidfd)) {
        if (but == 0 || getpgid(pid) != but)
            (void)send_to(pidfd, number);
        if (depth < DEPTH_MAX)
            signal_below(number, pid, pidfd, but, depth + 1);
    }
    close(pidfd);
}

static void signal_below(int number, pid_t parent, int parent_pidfd, pid_t but, int depth)
{
    char *list = children_of(parent);
    if (list == NULL)
        return;
    char *at = list, *end;
    for (long pid = strtol(at, &end, 10); end != at; pid = strtol(at, &end, 10)) {
        at = end;
        signal_tree(number, (pid_t)pid, parent, parent_pidfd, but, depth);
    }
    free(list);
}

void tree_signal(int number, pid_t but)
{
    int self_pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    signal_below(number, getpid(), self_pidfd, but, 0);
    if (self_pidfd >= 0)
        close(self_pidfd);
}

bool tree_reap(void (*died)(void *ctx, pid_t pid, int status), void *ctx)
{
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid == 0)
            return false;
        if (pid < 0 && errno != EINTR)
            return true;
        if (pid > 0 && died != NULL)
            died(ctx, pid, status);
    }
}
