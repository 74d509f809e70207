/* restart.h: what follows when a command has ended by itself. */
#ifndef CLI_RESTART_H
#define CLI_RESTART_H

#include <stdbool.h>
#include <stdint.h>

enum restart_policy { RESTART_NEVER, RESTART_ON_FAILURE, RESTART_ALWAYS };

enum restart_next {
    RESTART_LEAVE,     /* end as the command did; the place passes on */
    RESTART_STEP_DOWN, /* the place passes on, and this instance stands again */
    RESTART_AGAIN      /* start it again, with the same term */
};

/* `unwell`: it was ended because it did not show that it was well; else it has ended with `status`. */
enum restart_next restart_next(enum restart_policy policy, bool unwell, int status);

/* How long to wait before a start again: twice as long each time. */
#define BACKOFF_FIRST_MS 100
#define BACKOFF_LAST_MS 5000
struct backoff {
    int64_t next_ms; /* 0: the first */
};
int64_t backoff_take(struct backoff *backoff);
void backoff_reset(struct backoff *backoff);

#endif
