/* supervisor.h: the process that people see: it has, or wants, something (the place of an election's leader, a lock, a
 * task), and a command runs while it has it. The loop of `baton run`, `lock` and `once`: the session, the signals, the
 * stop, and the end.
 */
#ifndef CLI_SUPERVISOR_H
#define CLI_SUPERVISOR_H

#include <poll.h>

#include "cli/candidate.h"
#include "cli/supervise.h"
#include "cli/trouble.h"

/* How long the engine may take to hear that a supervisor leaves, when its command is gone; and after a second signal.
 * Then the process ends (after a third signal at once), and its guard ends the session as that of a dead one. */
#define SUPERVISOR_END_MS 5000
#define SUPERVISOR_HURRY_MS 1000
#define SUPERVISOR_POLLED_MAX 4 /* descriptors of a kind */

struct supervisor;

/* What one kind of supervisor does in its own way. */
struct supervisor_kind {
    const char *verb, *what; /* "run", "place": for messages */
    bool hangup_ends;        /* SIGHUP ends it, as SIGTERM; else the command gets it */
    bool keeps_terminal;     /* the command has the terminal, if there is one, and what is typed there */
    /* Does this instance have the place, lock or task at this very moment? Then the term or token must be put into
     * *environment. */
    enum supervise_may (*may_start)(struct supervisor *supervisor, struct guard_environment *environment);
    /* No process of the command is left, or it could not be started. The kind may say so, want it again, or leave. */
    void (*gone)(struct supervisor *supervisor, const struct supervise_outcome *outcome);
    /* Nothing runs: answer the stop, if one is under way; when leaving, give the place up. May be called many times. */
    void (*give_back)(struct supervisor *supervisor);
    /* It was decided to leave, or to stop (event->kind is BATON_STOP); something may still run. NULL: nothing to do. */
    void (*leaving)(struct supervisor *supervisor);
    void (*stopping)(struct supervisor *supervisor, const struct baton_event *event);
    bool (*stop_takes)(struct supervisor *supervisor, uint32_t ms);           /* baton_stop_takes() */
    void (*event)(struct supervisor *supervisor, const struct baton_event *); /* but of the session, and the stop */
    /* The rest may be NULL. */
    void (*unanswered)(struct supervisor *supervisor); /* it ends without the engine's answer: say what that means */
    void (*guard_died)(struct supervisor *supervisor); /* and all descendants are swept */
    void (*say)(struct supervisor *supervisor, const char *event, const char *words); /* NULL: cli_error */
    size_t (*poll)(struct supervisor *supervisor, struct pollfd polled[SUPERVISOR_POLLED_MAX]);
    int64_t (*wake_ms)(const struct supervisor *supervisor);
    /* After each poll. `children`: a SIGCHLD has come. */
    void (*turn)(struct supervisor *supervisor, const struct pollfd polled[SUPERVISOR_POLLED_MAX], bool children);
    void (*signal)(struct supervisor *supervisor, int number); /* one that is passed on: to others than the command */
    void (*hurry)(struct supervisor *supervisor);              /* a second signal has come: no more patience */
    size_t (*children)(const struct supervisor *supervisor, pid_t pids[SUPERVISOR_POLLED_MAX]); /* its own */
    bool (*busy)(const struct supervisor *supervisor); /* another command of it (--follow) runs still */
};

struct supervisor {
    const struct supervisor_kind *kind;
    const struct candidate *candidate;
    const char *name;
    char *const *argv;
    struct baton *client;
    struct supervised command;
    struct guard_signals inherited;
    bool on_terminal; /* the command is in our process group, in the foreground of our terminal or not */
    int signal_fd;
    struct trouble trouble; /* of the engine */
    int64_t deadline_ms;    /* of the session, as it was told last; NEVER_MS */
    int64_t stop_until_ms;  /* of a stop that was told and is not answered; NEVER_MS */
    int64_t takes_ms;       /* when to say again that the stop takes longer */
    int64_t turn_ms;        /* when the loop has turned last */
    int64_t end_ms;         /* then the engine has had its time; NEVER_MS */
    int stop_signal;        /* the last signal to end; 0: none has come */
    bool leaving;           /* for good */
    bool hurried;           /* ... and at once: a second signal has come */
    bool unanswered;        /* the engine was not waited for any longer */
    bool over;              /* there is nothing more to wait for */
    bool lost;              /* what the command ran under was lost before it had ended */
    bool exited;            /* the command has ended, with wait_status */
    int wait_status;
    int status; /* to exit with; -1: the command's */
};

/* Take the signals and fork the guard, while there is one thread; before supervisor_loop. `outputs`: what the command
 * is to have for its output and its errors; NULL: what we have. CLI_GO, or an exit status. */
int supervisor_begin(struct supervisor *supervisor, const int *outputs);
/* Runs until the supervisor is over. */
void supervisor_loop(struct supervisor *supervisor);
/* Closes the client and lets the guard go, also after a supervisor_begin that has failed. Where the engine was not
 * waited for, this does not return, but ends the process with supervisor_status(): the guard does the rest. */
void supervisor_end(struct supervisor *supervisor);

/* Leave for good: start nothing any more, and be over when nothing runs and the engine has heard of it. */
void supervisor_leave(struct supervisor *supervisor, int status);
/* Stop the command, with the grace. */
void supervisor_stop_in_grace(struct supervisor *supervisor);
/* Options of a guard that all commands of this supervisor have. */
void supervisor_guard_options(const struct supervisor *supervisor, struct guard_options *options);
void supervisor_environment(const struct supervisor *supervisor, struct guard_environment *environment);

/* As shells say it: 128 and the number of the signal that ended it. */
int supervisor_wait_status(int wait_status);
int supervisor_exec_status(int error); /* as env(1) and timeout(1): 127 there is no such command, 126 the rest */
int supervisor_status(const struct supervisor *supervisor);
/* The same, for main(); but where a key of the terminal has ended all (Ctrl-C), this process dies of that signal, as
 * the command did: a shell then ends its script, too. */
int supervisor_exit(const struct supervisor *supervisor);

#endif
