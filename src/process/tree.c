/* tree.c: see tree.h. The children of a process are listed in /proc/PID/task/TID/children (proc(5)). */
#include "process/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEPTH_MAX 64 /* deeper ones come up when those above them are dead */
#define LIST_BYTES 65536

static void kill_below(pid_t parent, pid_t spare, int depth);

/* A child of ours, or of a descendant, is killed by pidfd: between the listing and the kill its pid may have been used
 * again only if its parent has reaped it; so it must still have that parent after the pidfd is open. */
static bool still_child(pid_t pid, pid_t parent)
{
    char path[64], text[512];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *stat = fopen(path, "re");
    if (stat == NULL)
        return false;
    size_t got = fread(text, 1, sizeof(text) - 1, stat);
    fclose(stat);
    text[got] = '\0';
    const char *end = NULL;
    for (const char *c = text; *c != '\0'; c++)
        if (*c == ')')
            end = c;
    int above = 0;
    return end != NULL && sscanf(end + 1, " %*c %d", &above) == 1 && above == (int)parent;
}

static void kill_one(pid_t pid, pid_t parent)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return;
    if (still_child(pid, parent))
        (void)syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
    close(fd);
}

static void kill_below(pid_t parent, pid_t spare, int depth)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)parent, (int)parent);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    char *list = malloc(LIST_BYTES);
    size_t length = 0;
    ssize_t got;
    while (list != NULL && length < LIST_BYTES - 1 && (got = read(fd, list + length, LIST_BYTES - 1 - length)) > 0)
        length += (size_t)got;
    close(fd);
    if (list == NULL)
        return;
    list[length] = '\0';
    char *at = list, *end;
    for (long pid = strtol(at, &end, 10); end != at; pid = strtol(at, &end, 10)) {
        at = end;
        if (pid == spare)
            continue;
        /* The parent first: it forks no more while its children are listed. */
        kill_one((pid_t)pid, parent);
        if (depth < DEPTH_MAX)
            kill_below((pid_t)pid, 0, depth + 1);
    }
    free(list);
}

void tree_kill(pid_t spare)
{
    kill_below(getpid(), spare, 0);
}

bool tree_reap(pid_t spare, void (*died)(void *ctx, pid_t pid, int status), void *ctx)
{
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid > 0) {
            died(ctx, pid, status);
            continue;
        }
        if (pid < 0 && errno == EINTR)
            continue;
        if (pid < 0)
            return true;
        break;
    }
    if (spare == 0)
        return false;
    /* Something lives: is it only the spare one? */
    char path[64], text[64] = {0};
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)getpid(), (int)getpid());
    FILE *children = fopen(path, "re");
    if (children == NULL)
        return false;
    size_t got = fread(text, 1, sizeof(text) - 1, children);
    fclose(children);
    text[got] = '\0';
    long first = 0, second = 0;
    return sscanf(text, "%ld %ld", &first, &second) == 1 && first == spare;
}
