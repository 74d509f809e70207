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

#include "base/clock.h"

#define DEPTH_MAX 64 /* deeper ones come up when those above them are dead */
#define LIST_BYTES 65536

/* What /proc says of a process: its state and its parent. false: nothing. */
static bool read_stat(pid_t pid, char *state, pid_t *parent)
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
    if (end == NULL || sscanf(end + 1, " %c %d", state, &above) != 2)
        return false;
    *parent = (pid_t)above;
    return true;
}

bool tree_is_child(pid_t pid, pid_t parent)
{
    char state;
    pid_t above;
    return read_stat(pid, &state, &above) && above == parent;
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

/* ---- a walk ---- */

/* What is done with each process. */
struct walk {
    bool (*visit)(struct walk *walk, pid_t pid, int pidfd); /* false: it is not one of those */
    unsigned count;
    /* of a signal */
    int number;
    pid_t but;
    tree_told *told;
    void *ctx;
    /* of memory, in pages */
    int64_t alone, shared;
};

static void walk_below(struct walk *walk, pid_t parent, int parent_pidfd, int depth);

/* Between the list and the visit its pid may have been used again, and so may its parent's: it is held by a pidfd, and
 * must be a child of the parent after that, whose pid must still be its own after that. The parent first: a dead one
 * forks no more while its children are listed. */
static void walk_tree(struct walk *walk, pid_t pid, pid_t parent, int parent_pidfd, int depth)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0) {
        if (errno != ESRCH && walk->told != NULL && tree_is_child(pid, parent))
            walk->told(walk->ctx, pid, errno); /* no descriptor is left */
        return;
    }
    if (tree_is_child(pid, parent) && is_held(parent_pidfd)) {
        walk->count += walk->visit(walk, pid, pidfd);
        if (depth < DEPTH_MAX)
            walk_below(walk, pid, pidfd, depth + 1);
    }
    close(pidfd);
}

static void walk_list(struct walk *walk, const char *list, pid_t parent, int parent_pidfd, int depth)
{
    const char *at = list;
    char *end;
    for (long pid = strtol(at, &end, 10); end != at; pid = strtol(at, &end, 10)) {
        at = end;
        walk_tree(walk, (pid_t)pid, parent, parent_pidfd, depth);
    }
}

/* Each thread has children of its own. */
static void walk_below(struct walk *walk, pid_t parent, int parent_pidfd, int depth)
{
    char path[32];
    snprintf(path, sizeof(path), "/proc/%d/task", (int)parent);
    DIR *threads = opendir(path);
    const struct dirent *thread;
    while (threads != NULL && (thread = readdir(threads)) != NULL) {
        char *list = thread->d_name[0] != '.' ? children_of(parent, thread->d_name) : NULL;
        if (list != NULL)
            walk_list(walk, list, parent, parent_pidfd, depth);
        free(list);
    }
    if (threads != NULL)
        closedir(threads);
}

static void walk_all(struct walk *walk)
{
    int self_pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    walk_below(walk, getpid(), self_pidfd, 0);
    if (self_pidfd >= 0)
        close(self_pidfd);
}

/* ---- signals ---- */

static bool is_zombie(pid_t pid)
{
    char state = 'Z';
    pid_t parent;
    (void)read_stat(pid, &state, &parent);
    return state == 'Z' || state == 'X';
}

static bool send_one(struct walk *walk, pid_t pid, int pidfd)
{
    if (walk->but != 0 && (pid == walk->but || getpgid(pid) == walk->but))
        return false;
    if (is_zombie(pid)) /* before the signal, which may kill it at once */
        return false;
    int error = send_to(pidfd, walk->number) == 0 ? 0 : errno;
    if (error == ESRCH)
        return false;
    if (walk->told != NULL)
        walk->told(walk->ctx, pid, error);
    return error == 0;
}

unsigned tree_signal(int number, pid_t but, tree_told *told, void *ctx)
{
    struct walk walk = {.visit = send_one, .number = number, .but = but, .told = told, .ctx = ctx};
    walk_all(&walk);
    return walk.count;
}

/* ---- memory ---- */

static bool add_memory(struct walk *walk, pid_t pid, int pidfd)
{
    char path[32], text[128];
    long long resident, shared;
    snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[got > 0 ? got : 0] = '\0';
    if (sscanf(text, "%*s %lld %lld", &resident, &shared) != 2)
        return false;
    walk->alone += resident - shared;
    if (shared > walk->shared)
        walk->shared = shared;
    return true;
}

int64_t tree_resident_mib(void)
{
    struct walk walk = {.visit = add_memory};
    walk_all(&walk);
    return (walk.alone + walk.shared) * sysconf(_SC_PAGESIZE) / (1024 * 1024);
}

/* ---- words ---- */

bool tree_is_stuck(struct tree_stuck *stuck, pid_t pid, int error)
{
    if (error == 0 && clock_now_ms() - stuck->began_ms < TREE_STUCK_AFTER_MS)
        return false;
    for (unsigned i = 0; i < stuck->count; i++)
        if (stuck->pids[i] == pid)
            return false;
    if (stuck->count == TREE_STUCK_MAX)
        return false;
    stuck->pids[stuck->count++] = pid;
    return true;
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
