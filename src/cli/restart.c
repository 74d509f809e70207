/* restart.c: see restart.h. */
#include "cli/restart.h"

enum restart_next restart_next(enum restart_policy policy, bool unwell, int status)
{
    bool failed = unwell || status != 0;
    if (policy == RESTART_NEVER || (policy == RESTART_ON_FAILURE && !failed))
        return RESTART_LEAVE;
    return unwell ? RESTART_STEP_DOWN : RESTART_AGAIN;
}

int64_t backoff_take(struct backoff *backoff)
{
    int64_t wait_ms = backoff->next_ms > 0 ? backoff->next_ms : BACKOFF_FIRST_MS;
    backoff->next_ms = 2 * wait_ms < BACKOFF_LAST_MS ? 2 * wait_ms : BACKOFF_LAST_MS;
    return wait_ms;
}

void backoff_reset(struct backoff *backoff)
{
    backoff->next_ms = 0;
}
