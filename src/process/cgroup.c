/* cgroup.c: see cgroup.h. */
#include "process/cgroup.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
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

void cgroup_make(struct cgroup *cgroup)
{
    char mount[1024], own[1024];
    cgroup->path[0] = '\0';
    if (!find_mount(mount, sizeof(mount)) || !find_own(own, sizeof(own)))
        return;
    snprintf(cgroup->path, sizeof(cgroup->path), "%s%s%sbaton-%d", mount, own, strcmp(own, "/") == 0 ? "" : "/",
             (int)getpid());
    cgroup->fd = -1;
    if (mkdir(cgroup->path, 0755) == 0)
        cgroup->fd = open(cgroup->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (cgroup->fd < 0)
        cgroup->path[0] = '\0';
}

static void put(const struct cgroup *cgroup, const char *file, const char *text)
{
    char path[PATH_MAX + 32];
    if (cgroup->path[0] == '\0')
        return;
    snprintf(path, sizeof(path), "%s/%s", cgroup->path, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)!write(fd, text, strlen(text));
    close(fd);
}

pid_t cgroup_fork(const struct cgroup *cgroup)
{
    if (cgroup->path[0] != '\0') {
        struct clone_args args = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (uint64_t)cgroup->fd};
        pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
        if (pid >= 0)
            return pid;
    }
    return fork();
}

void cgroup_kill(const struct cgroup *cgroup)
{
    put(cgroup, "cgroup.kill", "1");
}

void cgroup_remove(struct cgroup *cgroup)
{
    if (cgroup->path[0] != '\0')
        (void)rmdir(cgroup->path);
    if (cgroup->path[0] != '\0')
        close(cgroup->fd);
    cgroup->path[0] = '\0';
}
