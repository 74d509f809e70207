/* tree.c: see tree.h. The children of a process are listed in /proc/PID/task/TID/children (proc(5)). */
#include "process/tree.h"

#include <dirent.h>
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
static char *children_of(pid_t parent, const char *thread)
{
    char path[300];
    snprintf(path, sizeof(path), "/proc/%d/task/%s/children", (int)parent, thread);
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

/* What is sent, and to whom not. */
struct sending {
    int number;
    pid_t but;
    unsigned sent;
    void (*failed)(void *ctx, pid_t pid, int error);
    void *ctx;
};

static void signal_below(struct sending *sending, pid_t parent, int parent_pidfd, int depth);

static void signal_one(struct sending *sending, pid_t pid, int pidfd)
{
    if (sending->but != 0 && getpgid(pid) == sending->but)
        return;
    if (send_to(pidfd, sending->number) == 0)
        sending->sent++;
    else if (errno != ESRCH && sending->failed != NULL)
        sending->failed(sending->ctx, pid, errno);
}

/* Between the list and the signal its pid may have been used again, and so may its parent's: it is held by a pidfd, and
 * must be a child of the parent after that, whose pid must still be its own after that. The parent first: a dead one
 * forks no more while its children are listed. */
static void signal_tree(struct sending *sending, pid_t pid, pid_t parent, int parent_pidfd, int depth)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0)
        return;
    if (is_child(pid, parent) && is_held(parent_pidfd)) {
        signal_one(sending, pid, pidfd);
        if (depth < DEPTH_MAX)
            signal_below(sending, pid, pidfd, depth + 1);
    }
    close(pidfd);
}

static void signal_list(struct sending *sending, char *list, pid_t parent, int parent_pidfd, int depth)
{
    char *at = list, *end;
    for (long pid = strtol(at, &end, 10); end != at; pid = strtol(at, &end, 10)) {
        at = end;
        signal_tree(sending, (pid_t)pid, parent, parent_pidfd, depth);
    }
}

/* Each thread has children of its own. */
static void signal_below(struct sending *sending, pid_t parent, int parent_pidfd, int depth)
{
    char path[32];
    snprintf(path, sizeof(path), "/proc/%d/task", (int)parent);
    DIR *threads = opendir(path);
    const struct dirent *thread;
    while (threads != NULL && (thread = readdir(threads)) != NULL) {
        char *list = thread->d_name[0] != '.' ? children_of(parent, thread->d_name) : NULL;
        if (list != NULL)
            signal_list(sending, list, parent, parent_pidfd, depth);
        free(list);
    }
    if (threads != NULL)
        closedir(threads);
}

unsigned tree_signal(int number, pid_t but, void (*failed)(void *ctx, pid_t pid, int error), void *ctx)
{
    struct sending sending = {.number = number, .but = but, .failed = failed, .ctx = ctx};
    int self_pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    signal_below(&sending, getpid(), self_pidfd, 0);
    if (self_pidfd >= 0)
        close(self_pidfd);
    return sending.sent;
}

void tree_words(pid_t pid, int error, char *ret, size_t size)
{
    char path[32], name[32] = "";
    snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
    int fd = pid > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t got = fd >= 0 ? read(fd, name, sizeof(name) - 1) : -1;
    if (fd >= 0)
        close(fd);
    name[got > 0 ? got : 0] = '\0';
    name[strcspn(name, "\n")] = '\0';
    const char *why = error != 0 ? strerror(error) : "it was killed, and is still there";
    if (pid > 0)
        snprintf(ret, size, "cannot end process %d (%s): %s", (int)pid, name[0] != '\0' ? name : "?", why);
    else
        snprintf(ret, size, "cannot end what is left: it cannot be seen (is /proc mounted, with hidepid?)");
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
