/* health.c: see health.h. */
#include "process/health.h"

#include <sys/wait.h>

#include "base/base.h"

void health_init(struct health *health, const char *command, int64_t every_ms)
{
    *health = (struct health){.command = command, .every_ms = every_ms};
    shell_init(&health->check);
}

void health_start(struct health *health, int64_t now_ms)
{
    if (health->command == NULL)
        return;
    health->on = true;
    health->failures = 0;
    health->next_ms = now_ms + health->every_ms;
}

void health_stop(struct health *health)
{
    shell_drop(&health->check);
    health->on = false;
}

bool health_step(struct health *health, int64_t now_ms)
{
    int status;
    if (!health->on)
        return true;
    if (shell_ended(&health->check, &status))
        health->failures = WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : health->failures + 1;
    if (now_ms >= health->next_ms) {
        if (health->check.pid > 0) {
            shell_drop(&health->check);
            health->failures++;
        }
        if (!shell_start(&health->check, health->command, NULL))
            health->failures++;
        health->next_ms = now_ms + health->every_ms;
    }
    return health->failures < HEALTH_FAILURES;
}

int64_t health_wake_ms(const struct health *health)
{
    return health->on ? health->next_ms : NEVER_MS;
}
