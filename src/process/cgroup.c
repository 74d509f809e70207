/* cgroup.c: see cgroup.h. */
#include "process/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/base.h"

static bool find_mount(char *mount, size_t size)
{
    FILE *mounts = fopen("/proc/self/mounts", "re");
    char line[PATH_MAX + 256], where[PATH_MAX], type[64];
    bool found = false;
    while (mounts != NULL && !found && fgets(line, sizeof(line), mounts) != NULL)
        found = sscanf(line, "%*s %4095s %63s", where, type) == 2 && strcmp(type, "cgroup2") == 0;
    if (mounts != NULL)
        fclose(mounts);
    return found && text_copy(mount, size, where);
}

static bool find_own(char *own, size_t size)
{
    FILE *groups = fopen("/proc/self/cgroup", "re");
    char line[PATH_MAX];
    bool found = false;
    while (groups != NULL && !found && fgets(line, sizeof(line), groups) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        found = text_starts(line, "0::/") && text_copy(own, size, line + 3);
    }
    if (groups != NULL)
        fclose(groups);
    return found;
}

enum { SWEPT_MAX = 64 }; /* a start removes at most so many; the next one goes on */

/* A guard that was killed leaves its cgroup. The lock on the folder tells it from that of a living one, also of another
 * pid namespace; the kernel removes it only if there is no process in it. */
static void sweep(const char *parent)
{
    DIR *folder = opendir(parent);
    struct dirent *entry;
    for (int swept = 0; folder != NULL && swept < SWEPT_MAX && (entry = readdir(folder)) != NULL;) {
        if (!text_starts(entry->d_name, "baton-"))
            continue;
        int fd = openat(dirfd(folder), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
            swept += unlinkat(dirfd(folder), entry->d_name, AT_REMOVEDIR) == 0;
        if (fd >= 0)
            close(fd);
    }
    if (folder != NULL)
        closedir(folder);
}

/* Somebody who looks whether it is left over may have it locked at this moment, and anybody for longer who may read the
 * folder. Nobody waits for them: an empty one may be removed then, and the command goes without. */
static void hold(int fd)
{
    (void)flock(fd, LOCK_EX | LOCK_NB);
}

void cgroup_make(struct cgroup *cgroup)
{
    char mount[1024], own[1024];
    *cgroup = (struct cgroup){.fd = -1};
    if (!find_mount(mount, sizeof(mount)) || !find_own(own, sizeof(own)))
        return;
    int length = snprintf(cgroup->path, sizeof(cgroup->path), "%s%s", mount, strcmp(own, "/") == 0 ? "" : own);
    sweep(cgroup->path);
    snprintf(cgroup->path + length, sizeof(cgroup->path) - (size_t)length, "/baton-%d", (int)getpid());
    /* One of this name is of an earlier process with this id, and empty, or else it is not ours to use. */
    bool made = mkdir(cgroup->path, 0755) == 0 ||
                (errno == EEXIST && rmdir(cgroup->path) == 0 && mkdir(cgroup->path, 0755) == 0);
    if (made)
        cgroup->fd = open(cgroup->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (cgroup->fd < 0)
        cgroup->path[0] = '\0';
    else
        hold(cgroup->fd);
}

static int open_file(const struct cgroup *cgroup, const char *file)
{
    char path[PATH_MAX + 32];
    snprintf(path, sizeof(path), "%s/%s", cgroup->path, file);
    return cgroup->path[0] != '\0' ? open(path, O_WRONLY | O_CLOEXEC) : -1;
}

static bool put(const struct cgroup *cgroup, const char *file, const char *text)
{
    int fd = open_file(cgroup, file);
    if (fd < 0)
        return false;
    bool done = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    close(fd);
    return done;
}

/* Linux (seen with 6.18) kills whoever is born by CLONE_INTO_CGROUP into a cgroup whose cgroup.kill was ever used: it
 * compares how often that was with the number of the parent's own cgroup. A new one begins at 0. */
static bool make_anew(struct cgroup *cgroup)
{
    if (rmdir(cgroup->path) < 0 || mkdir(cgroup->path, 0755) < 0)
        return false;
    int fd = open(cgroup->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    close(cgroup->fd);
    cgroup->fd = fd;
    hold(fd);
    cgroup->killed = false;
    return true;
}

pid_t cgroup_fork(struct cgroup *cgroup)
{
    if (cgroup->path[0] != '\0' && (!cgroup->killed || make_anew(cgroup))) {
        struct clone_args args = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (uint64_t)cgroup->fd};
        pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
        if (pid >= 0)
            return pid;
    }
    pid_t pid = fork();
    if (pid == 0 && !put(cgroup, "cgroup.procs", "0"))
        cgroup->path[0] = '\0'; /* it is not in it */
    return pid;
}

void cgroup_kill(struct cgroup *cgroup)
{
    cgroup->killed = true;
    (void)put(cgroup, "cgroup.kill", "1");
}

bool cgroup_can_kill(const struct cgroup *cgroup)
{
    int fd = open_file(cgroup, "cgroup.kill");
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

void cgroup_remove(struct cgroup *cgroup)
{
    if (cgroup->path[0] != '\0')
        (void)rmdir(cgroup->path);
    if (cgroup->path[0] != '\0')
        close(cgroup->fd);
    cgroup->path[0] = '\0';
}
