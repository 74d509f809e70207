/* guard.h: the guard: a small process that runs the command, and ends it when its supervisor cannot.
 *
 *     supervisor (the pid that people see)
 *       └─ guard (its child; both are child subreapers)
 *            └─ the command, in a process group of its own, and all that it starts
 *
 * While the supervisor lives, it says what to do: start, signal, stop. The guard ends all of it by itself, and then the
 * session through the engine, when the supervisor is dead, and when the deadline comes near that the supervisor was to
 * move on (it is stopped, or hangs): SIGTERM at deadline - grace - slack, SIGKILL at deadline - slack. On an engine
 * that gives a descriptor with the session, the guard holds it, so the place passes on only when the last descendant
 * is gone. If the guard is killed, the kernel kills the command (PR_SET_PDEATHSIG), and the supervisor the rest. So a
 * guard that hangs (it is stopped, or does not read what it is told) is killed by the supervisor.
 */
#ifndef PROCESS_GUARD_H
#define PROCESS_GUARD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "baton/baton.h"

/* What the supervisor has of its guard. */
struct guard {
    pid_t pid;
    int fd;           /* messages; readable when there is one, and at the guard's death */
    int pidfd;        /* readable when the guard is dead */
    int64_t limit_ms; /* of a stop: who has not done it by then hangs; NEVER_MS */
    bool hung;        /* it was killed for that; GUARD_DEAD follows */
    struct deadman *deadman;
    bool gone; /* GUARD_GONE came along with GUARD_EXITED, and is next */
};

/* Fork the guard: before any thread exists; the thread that calls this is the supervisor. `argv` is the command.
 * `outputs`: two descriptors for its standard output and its standard error; NULL: those of the caller. In the guard
 * this does not return. The caller becomes a child subreaper. 0, or -1 with err. */
int guard_start(struct guard *guard, char *const *argv, const int *outputs, struct baton_error *err);

/* What the command is started with. */
struct guard_environment {
    char name[BATON_NAME_MAX + 1], id[BATON_ID_MAX + 1], url[BATON_URL_MAX + 1], notify[108], watchdog_us[24];
    uint64_t term, token, attempt; /* 0: not given */
    bool fence_pg;                 /* the term goes into PGOPTIONS, for every connection by libpq */
};
void guard_spawn(struct guard *guard, const struct guard_environment *environment);
void guard_signal(struct guard *guard, int number); /* to the command's process group */
/* The stop: `number` to every descendant now (0: nothing), SIGKILL to all of them at kill_at_ms. If they are not gone
 * at limit_ms, the guard hangs. A further stop can only make these times earlier. */
void guard_stop(struct guard *guard, int number, int64_t kill_at_ms, int64_t limit_ms);
#define GUARD_LATE_MS 2000 /* from kill_at_ms to limit_ms, where no deadline asks for less */
/* When to call guard_on_time; NEVER_MS. */
int64_t guard_wake_ms(const struct guard *guard);
void guard_on_time(struct guard *guard, int64_t now_ms);
/* The session's deadline, and how long before it to end the command. */
void guard_deadline(struct guard *guard, int64_t deadline_ms, int64_t grace_ms, int64_t slack_ms);
/* How to end the session. Takes over lifeline->fd. */
void guard_lifeline(struct guard *guard, struct baton_lifeline *lifeline);
/* What to write before the session is ended, if this process is dead then (baton_testament). */
void guard_testament(struct guard *guard, const char *text);
/* Nothing runs any more, and the session is the supervisor's own matter: the guard exits. */
void guard_bye(struct guard *guard);

enum guard_news {
    GUARD_NOTHING,
    GUARD_FAILED,  /* the command could not be started: error, an errno; GUARD_GONE does not follow */
    GUARD_EXITED,  /* the command itself: its wait status; what it left behind is being killed */
    GUARD_GONE,    /* no descendant is left; `by_guard`: the guard has ended it, and then the session */
    GUARD_TROUBLE, /* text: the session could not be prepared for its end, or not ended */
    GUARD_DEAD     /* the guard itself is gone */
};
struct guard_message {
    enum guard_news news;
    int status, error;
    bool by_guard;
    bool and_gone; /* of GUARD_EXITED: one message that wakes its reader once; guard_next makes two of it */
    char text[BATON_ERROR_TEXT];
};
/* The next message, without waiting. */
enum guard_news guard_next(struct guard *guard, struct guard_message *ret);

/* After GUARD_DEAD: kill all that is left, here, and wait for it, until `limit_ms`. true: none is left. */
bool guard_replace(struct guard *guard, int64_t limit_ms);

#endif
