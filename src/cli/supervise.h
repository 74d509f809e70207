/* supervise.h: one command under its guard, from the wish to run it to the end of the last process of it. This is the
 * one state machine of `baton run` (for its command and for that of --follow), `baton lock` and `baton once`.
 *
 * It promises: the command is started only while its user says that it may be, at that very moment; it is told to end
 * once, and what comes after that only takes time from it; its user hears that it is gone when no process of it is
 * left, whatever became of the guard. Nothing here waits.
 */
#ifndef CLI_SUPERVISE_H
#define CLI_SUPERVISE_H

#include "process/guard.h"

enum supervise_state {
    SUPERVISE_WAITING,  /* nothing runs, and nothing is to */
    SUPERVISE_STARTING, /* it is to be started, at start_ms or when it may be */
    SUPERVISE_RUNNING,
    SUPERVISE_STOPPING, /* told to end; or it has ended, and the guard ends what it has left behind */
    SUPERVISE_SWEEPING, /* the guard is dead: what it has left is killed here */
    SUPERVISE_STUCK,    /* something cannot be killed. It is tried again and again, and this is over when it is gone */
    SUPERVISE_OVER      /* nothing runs, and nothing will any more */
};

/* How a command has ended, when no process of it is left. */
struct supervise_outcome {
    bool exited; /* the command has ended, with wait_status. (Without: it was never started, or its end was not seen) */
    int wait_status;
    bool told;     /* supervise_stop had told it to end */
    bool by_guard; /* the guard has ended it: the session was about to end */
    bool refused;  /* ... or has not started it (by_guard is set, too) */
    int error;     /* why it could not be executed: an errno; 0: it was */
};

enum supervise_may { SUPERVISE_YES, SUPERVISE_LATER, SUPERVISE_MUST_NOT };

struct supervise_user {
    /* May the command be started now? If so, *environment and *deadline_ms (of its session; NEVER_MS: there is none)
     * must be set. LATER: this is asked again after the next supervise_want. MUST_NOT: the command is not wanted any
     * more. */
    enum supervise_may (*may_start)(void *ctx, struct guard_environment *environment, int64_t *deadline_ms);
    /* No process of the command is left, or it was not started. The user may want it again, unless it is over. */
    void (*gone)(void *ctx, const struct supervise_outcome *outcome);
    /* The guard is dead (`hung`: because it hung, and was killed). Nothing is started any more; gone() follows. */
    void (*guard_died)(void *ctx, bool hung);
    /* The command has ended and has left so many processes behind, which are being ended. */
    void (*left)(void *ctx, unsigned count);
    /* A process cannot be ended, as `text` says. Nothing that depends on its end may go on. */
    void (*stuck)(void *ctx, const char *text);
    /* The guard cannot do something that it should. */
    void (*trouble)(void *ctx, const char *text);
};

struct supervised {
    enum supervise_state state;
    const struct supervise_user *user;
    void *ctx;
    struct guard guard;
    int64_t start_ms;                 /* of STARTING */
    bool last;                        /* supervise_finish was called: when nothing of it is left, it is over */
    struct supervise_outcome outcome; /* of the command that runs */
};

/* Fork the guard; see guard_start(). 0, or -1 with err. supervise_end() may be called in both cases. */
void supervise_init(struct supervised *it, const struct supervise_user *user, void *ctx);
int supervise_begin(struct supervised *it, const struct guard_options *options, struct baton_error *err);
/* Nothing runs any more: let the guard go. */
void supervise_end(struct supervised *it);

/* Start the command, at `at_ms` or as soon after that as it may be. Must be called only while nothing runs. */
void supervise_want(struct supervised *it, int64_t at_ms);
/* Do not start the command, if it has not been started yet. */
void supervise_unwant(struct supervised *it);
/* Stop the command: see guard_stop(). `number` is sent once. A command that does not run yet is not wanted any more. */
void supervise_stop(struct supervised *it, int number, int64_t kill_at_ms, int64_t limit_ms);
/* No further command follows: when nothing of this one is left (now, perhaps), it is over. This does not stop it. */
void supervise_finish(struct supervised *it);
void supervise_signal(struct supervised *it, int number); /* to the command's process group, if it runs */

/* May processes of the command be left? */
bool supervise_runs(const struct supervised *it);
/* Does a process of the command live that nobody can end at once? Then the place must be kept. */
bool supervise_lasts(const struct supervised *it);

/* For the loop: poll guard.fd, until this time at the latest; then call supervise_step, whatever has come. `children`:
 * a SIGCHLD has come. */
int64_t supervise_wake_ms(const struct supervised *it);
void supervise_step(struct supervised *it, int64_t now_ms, bool children);

#endif
