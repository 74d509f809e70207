/* supervise.h: a command that runs while this instance has something: a lock, a task. What the supervisor, the guard
 * and the command are to each other is the same as under `baton run`. */
#ifndef CLI_SUPERVISE_H
#define CLI_SUPERVISE_H

#include "cli/candidate.h"
#include "process/guard.h"

struct supervisor;

/* How whoever uses a supervisor is asked. */
struct supervised {
    const char *what; /* "lock": for messages */
    /* No descendant of the command is left, or it could not be run (supervisor->failed). */
    void (*gone)(struct supervisor *supervisor);
    /* A signal came while it did not run: do not want it any more. */
    void (*give_up)(struct supervisor *supervisor);
};

struct supervisor {
    const struct supervised *user;
    const struct candidate *candidate;
    const char *name;
    char *const *command;
    struct baton *client;
    struct guard guard;
    int signal_fd;
    bool running; /* descendants of the command may be left */
    bool over;    /* there is nothing more to wait for */
    bool ended;   /* the command itself has, with wait_status */
    bool failed;  /* it could not be run */
    bool lost;    /* what it was to run under was lost before it had ended */
    int wait_status;
    int stop_signal;              /* that was taken; 0: none */
    int status;                   /* to exit with; -1: the command's */
    int64_t kill_at_ms, limit_ms; /* of a stop; NEVER_MS */
    int64_t deadline_ms;          /* of the session; NEVER_MS */
};

/* Take the signals and fork the guard; before there is a client, while there is one thread. `outputs`: what the command
 * is to have for its output and its errors; NULL: what we have. CLI_GO, or an exit status. */
int supervise_begin(struct supervisor *supervisor, const int *outputs);
void supervise_end(struct supervisor *supervisor); /* closes the client */

void supervise_start(struct supervisor *supervisor, struct guard_environment *environment);
/* Of a session, its renewal, a stop and trouble. false: the event is another one. */
bool supervise_event(struct supervisor *supervisor, const struct baton_event *event);
void supervise_on_guard(struct supervisor *supervisor);
void supervise_on_signals(struct supervisor *supervisor);
int supervise_wait_ms(const struct supervisor *supervisor); /* until supervise_on_time, for poll(2) */
void supervise_on_time(struct supervisor *supervisor);

/* As shells say it: 128 and the number of the signal that ended it. */
int supervise_command_status(const struct supervisor *supervisor);
int supervise_exit_status(const struct supervisor *supervisor);

#endif
