/* health.c: see health.h. */
#include "process/health.h"

#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"

extern char **environ;

void health_init(struct health *health, const char *command, int64_t every_ms)
{
    *health = (struct health){.command = command, .every_ms = every_ms, .pidfd = -1};
}

void health_start(struct health *health, int64_t now_ms)
{
    if (health->command == NULL)
        return;
    health->on = true;
    health->failures = 0;
    health->next_ms = now_ms + health->every_ms;
}

static void end_check(struct health *health)
{
    if (health->pid <= 0)
        return;
    kill(-health->pid, SIGKILL);
    waitpid(health->pid, NULL, 0);
    if (health->pidfd >= 0)
        close(health->pidfd);
    health->pid = 0;
    health->pidfd = -1;
}

void health_stop(struct health *health)
{
    end_check(health);
    health->on = false;
}

static void begin_check(struct health *health, int64_t now_ms)
{
    char *argv[] = {(char *)"sh", (char *)"-c", (char *)health->command, NULL};
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    if (posix_spawn(&health->pid, "/bin/sh", NULL, &attributes, argv, environ) != 0) {
        health->pid = 0;
        health->failures++;
    } else {
        health->pidfd = (int)syscall(SYS_pidfd_open, health->pid, 0);
    }
    posix_spawnattr_destroy(&attributes);
    health->next_ms = now_ms + health->every_ms;
}

bool health_step(struct health *health, int64_t now_ms)
{
    if (!health->on)
        return true;
    int status;
    if (health->pid > 0 && waitpid(health->pid, &status, WNOHANG) == health->pid) {
        bool well = WIFEXITED(status) && WEXITSTATUS(status) == 0;
        health->failures = well ? 0 : health->failures + 1;
        close(health->pidfd);
        health->pid = 0;
        health->pidfd = -1;
    }
    if (now_ms >= health->next_ms) {
        if (health->pid > 0) {
            end_check(health);
            health->failures++;
        }
        begin_check(health, now_ms);
    }
    return health->failures < HEALTH_FAILURES;
}

int64_t health_wake_ms(const struct health *health)
{
    return health->on ? health->next_ms : NEVER_MS;
}
