/* orphans.c: see orphans.h. */
#include "process/orphans.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/wait.h>

static bool is_known(pid_t pid, const pid_t *known, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (known[i] == pid)
            return true;
    return false;
}

/* A dead one that is known hides the others: the kernel shows the same one again and again. So all children are asked
 * one by one, which /proc lists (proc(5)). */
static void collect_listed(const pid_t *known, size_t count)
{
    int pid;
    FILE *list = fopen("/proc/thread-self/children", "re");
    if (list == NULL)
        return;
    while (fscanf(list, "%d", &pid) == 1)
        if (!is_known(pid, known, count))
            (void)waitpid(pid, NULL, WNOHANG);
    (void)fclose(list);
}

void orphans_collect(const pid_t *known, size_t count)
{
    for (;;) {
        siginfo_t info = {.si_pid = 0};
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0) {
            if (errno == EINTR)
                continue;
            return;
        }
        if (info.si_pid == 0)
            return;
        if (is_known(info.si_pid, known, count)) {
            collect_listed(known, count);
            return;
        }
        (void)waitpid(info.si_pid, NULL, WNOHANG);
    }
}
