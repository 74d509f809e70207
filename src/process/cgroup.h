/* cgroup.h: a cgroup of its own for a command, where that is permitted (cgroups(7), version 2). It is a second net: the
 * kernel kills all of it at once, also what forks faster than anybody can list. */
#ifndef PROCESS_CGROUP_H
#define PROCESS_CGROUP_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

struct cgroup {
    char path[PATH_MAX]; /* "": none */
    int fd;
    bool killed; /* cgroup_kill was called; see cgroup_fork */
};

/* Make one below the caller's own. Without permission, or without version 2, there is none. */
void cgroup_make(struct cgroup *cgroup);
/* fork(2), the child in the cgroup from its birth: to move a process costs the kernel tens of milliseconds. Where
 * clone3(2) is refused (as seccomp filters of containers do), the child moves itself before it goes on. Nobody may be
 * in the cgroup any more if it was killed. */
pid_t cgroup_fork(struct cgroup *cgroup);
void cgroup_kill(struct cgroup *cgroup);
/* Asked by a process of cgroup_fork: can it be killed by that (Linux 5.14), whatever its privileges become? */
bool cgroup_can_kill(const struct cgroup *cgroup);
void cgroup_remove(struct cgroup *cgroup);

#endif
