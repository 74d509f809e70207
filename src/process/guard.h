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
 *
 * How a command ends: SIGTERM to every process of it, then the whole grace for all that is left, also when the first
 * process is gone, then SIGKILL until nothing is left. The same when the first process ends by itself and leaves others
 * behind. When the supervisor is dead: SIGKILL to all, at once.
 */
#ifndef PROCESS_GUARD_H
#define PROCESS_GUARD_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "baton/baton.h"
#include "process/tree.h"

/* Signals as whoever started us has left them: nohup(1) has SIGHUP ignored, a script may block some. */
struct guard_signals {
    sigset_t ignored, blocked;
};

struct guard_options {
    char *const *argv;            /* the command. NULL: none; what is guarded is what `end_hook` takes down */
    const int *outputs;           /* two descriptors for its output and its errors; NULL: those of the caller */
    const char *verb;             /* "run": for the guard's title in ps(1) */
    const char *name;             /* of the election, lock or task: likewise */
    const char *end_hook;         /* NULL, or a shell command (see guard_spawn) */
    uint32_t end_hook_ms;         /* how long the end hook may run; then it gets SIGKILL */
    uint32_t grace_ms;            /* from SIGTERM to SIGKILL */
    uint32_t slack_ms;            /* from SIGKILL to the deadline; more where there is much memory to give back */
    struct guard_signals signals; /* the command gets exactly these ignored and blocked */
    /* The command may raise its privileges (sudo, set-uid programs). Without this it may not, unless the guard can end
     * it all the same: it is root's, or the command has a cgroup of its own. */
    bool allow_privileges;
    /* The command keeps the caller's terminal, and is in the caller's process group, as under flock(1). So what is
     * typed there (Ctrl-C: ssi_code SI_KERNEL in signalfd(2)) reaches the command without the supervisor, which need
     * not send it once more (guard_stop with number 0). Ctrl-Z suspends nobody: the guard wakes the command, and the
     * supervisor must ignore SIGTSTP. */
    bool keep_terminal;
};

/* A guard, as its supervisor sees it. */
struct guard {
    pid_t pid;        /* 0: there is none; guard_next says what becomes of what it has left */
    int fd;           /* messages; readable when there is one, and at the guard's death. -1 after that */
    int pidfd;        /* readable when the guard is dead; -1 after that */
    int64_t limit_ms; /* when to act (guard_on_time); NEVER_MS */
    bool hung;        /* it was killed because it hung; GUARD_DEAD follows */
    bool gone;        /* GUARD_GONE came along with GUARD_EXITED, and is next */
    bool sweeping;    /* the guard is dead, and what it has left is not gone yet */
    int64_t sweep_ms; /* how long to wait for the next look at that */
    struct tree_stuck stuck;
    struct deadman *deadman;
};

/* Fork the guard: before any thread exists; the thread that calls this is the supervisor. All of `options` may be
 * forgotten afterwards. In the guard this does not return. The caller becomes a child subreaper and gets SIGCHLD by
 * default. 0, or -1 with err. */
int guard_start(struct guard *guard, const struct guard_options *options, struct baton_error *err);

/* What the command is started with. */
struct guard_environment {
    char name[BATON_NAME_MAX + 1], id[BATON_ID_MAX + 1], url[BATON_URL_MAX + 1], notify[108], watchdog_us[24];
    uint64_t term, token, attempt; /* 0: not given */
    bool fence_pg;                 /* the term goes into PGOPTIONS, for every connection by libpq */
};
/* Start the command, for a session with this deadline (NEVER_MS: for none). It is not started at deadline - slack or
 * later, whatever has kept the order on its way: GUARD_REFUSED. From now on the end hook has something to take down:
 * the guard runs it, with this environment, when it ends the session by itself, before that. */
void guard_spawn(struct guard *guard, const struct guard_environment *environment, int64_t deadline_ms);
/* The end hook has nothing to take down any more: the guard must not run it. */
void guard_down(struct guard *guard);
/* The supervisor runs a hook of its own, in a process group of its own (0: none): it does not outlive the supervisor,
 * and is over before the end hook begins. `pidfd` (pidfd_open(2)) stays the caller's. */
void guard_hook(struct guard *guard, pid_t pid, int pidfd);
void guard_signal(struct guard *guard, int number); /* to the command's process group */
/* The stop: `number` to every process of the command now (0: nothing), SIGKILL to all that are left at kill_at_ms, and
 * never later than at deadline - slack. If the guard has not begun with that at limit_ms, it hangs. A further stop can
 * only make these times earlier. */
void guard_stop(struct guard *guard, int number, int64_t kill_at_ms, int64_t limit_ms);
#define GUARD_LATE_MS 2000 /* from kill_at_ms to limit_ms, where no deadline asks for less */
/* When to call guard_on_time, and guard_next after it; NEVER_MS. */
int64_t guard_wake_ms(const struct guard *guard);
void guard_on_time(struct guard *guard, int64_t now_ms);
/* Tell the guard the session's new deadline. */
void guard_deadline(struct guard *guard, int64_t deadline_ms);
/* Tell the guard how to end the session. Takes over lifeline->fd. */
void guard_lifeline(struct guard *guard, struct baton_lifeline *lifeline);
/* Tell the guard what to write before it ends the session, if this process is dead then (baton_testament). */
void guard_testament(struct guard *guard, const char *text);
/* Nothing runs any more, and the session is the supervisor's own matter: the guard exits. */
void guard_bye(struct guard *guard);

enum guard_news {
    GUARD_NOTHING,
    GUARD_REFUSED, /* the command was not started: the session is over, or nearly; GUARD_GONE does not follow */
    GUARD_FAILED,  /* the command could not be started: error, an errno; GUARD_GONE does not follow */
    GUARD_EXITED, /* the command itself: its wait status. `left`: so many processes that it has left behind are ended */
    GUARD_GONE,   /* no process of the command is left; `by_guard`: the guard has ended it, and then the session */
    GUARD_STUCK,  /* a process cannot be ended, or only later. Said once for each; it is tried again and again, and
                     GUARD_GONE follows when none is left. pid (0: not known), error (an errno; 0: it was killed, and is
                     still there), text: "cannot end process 7 (sudo): Operation not permitted" */
    GUARD_TROUBLE, /* text: the session could not be prepared for its end, or not ended */
    /* The guard itself is gone, and collected. The supervisor takes its place: it must call guard_next at each SIGCHLD
     * and when guard_wake_ms says, never waits, and must hold the session until GUARD_GONE, which follows in any case
     * (GUARD_STUCK may come before). */
    GUARD_DEAD
};
struct guard_message {
    enum guard_news news;
    int status, error;
    pid_t pid;
    unsigned left;
    bool by_guard;
    bool and_gone; /* with GUARD_EXITED: GUARD_GONE, too. It is one message so as to wake its reader once; guard_next
                      makes two of it */
    char text[BATON_ERROR_TEXT];
};
/* The next message, without waiting. */
enum guard_news guard_next(struct guard *guard, struct guard_message *ret);

#endif
