/* descent.c: see descent.h. The parent of a process is the fourth field of /proc/PID/stat (proc(5)). */
#include "process/descent.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TRIES 8
#define STEPS_MAX 4096 /* a tree that is deeper, or changes for so long, is nobody's descent */

/* 0: it is not known. */
static pid_t parent_of(pid_t pid)
{
    char path[64], text[512];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t got = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[got > 0 ? got : 0] = '\0';
    const char *end = strrchr(text, ')');
    int parent;
    return end != NULL && sscanf(end + 1, " %*c %d", &parent) == 1 ? (pid_t)parent : 0;
}

static enum descent walk(pid_t pid, pid_t ancestor)
{
    for (int i = 0; i < STEPS_MAX; i++) {
        if (pid == ancestor)
            return i > 0 ? DESCENT_YES : DESCENT_NO;
        if (pid <= 1)
            return DESCENT_NO;
        pid_t parent = parent_of(pid);
        if (parent == 0)
            return DESCENT_GONE;
        pid = parent;
    }
    return DESCENT_NO;
}

enum descent descent_of(pid_t pid, pid_t ancestor)
{
    enum descent result = DESCENT_NO;
    if (ancestor <= 0 || pid <= 0)
        return result;
    for (int i = 0; i < TRIES; i++) {
        result = walk(pid, ancestor);
        if (result != DESCENT_GONE || parent_of(pid) == 0)
            return result;
        /* One between them has died while we walked: by now the process has another parent. */
    }
    return result;
}
