/* run.h: one `baton run`: a candidacy, a supervised command for the time in which it leads, and, if it was asked for, a
 * second one for the rest. */
#ifndef CLI_RUN_H
#define CLI_RUN_H

#include "cli/restart.h"
#include "cli/run_options.h"
#include "cli/supervisor.h"
#include "process/health.h"
#include "process/notify.h"

#define RUN_TESTAMENT_LATE_MS 2 /* a command that has just been told to start has the core first */
#define RUN_UNWELL 124          /* as timeout(1): the command was ended because it did not show that it was well */

/* How the command shows that it is well. */
struct run_well {
    struct notify_socket notify;
    struct health health;
    int64_t begin_ms;       /* when its start period is over; NEVER_MS: it is, or the command does not run */
    int64_t watchdog_at_ms; /* when its silence is too long; NEVER_MS: it may be silent */
    bool failed;            /* it is being ended because it is not well */
    bool said_stranger;     /* that messages of others are dropped */
};

/* The second command (--follow), which runs while this instance does not lead. */
struct run_follow {
    struct supervised command;
    char *argv[4];
    struct backoff backoff;
    bool backing_off;
    int64_t started_ms;
};

struct run {
    struct supervisor supervisor; /* first */
    const struct run_options *options;
    struct baton_election *election;
    uint64_t term;         /* led now; 0: none */
    uint64_t started_term; /* of the command that runs */
    struct backoff backoff;
    struct run_well well;
    struct run_follow follow;
    char testament[BATON_TESTAMENT_MAX]; /* that the guard was told */
    int64_t testament_ms;                /* when to look whether it is another one now; NEVER_MS */
    bool stand_again;                    /* it has resigned in order to stand again */
    bool resigned;                       /* for good */
    int64_t alive_ms;                    /* when to tell systemd that we are; NEVER_MS */
    unsigned alive_every_ms;
    bool said_ready;
    int64_t duplicate_until_ms; /* when another one with our id is no remnant any more; NEVER_MS */
};

/* run_events.c: what happens */
enum supervise_may run_may_start(struct supervisor *supervisor, struct guard_environment *environment);
void run_gone(struct supervisor *supervisor, const struct supervise_outcome *outcome);
void run_stopping(struct supervisor *supervisor, const struct baton_event *event);
void run_event(struct supervisor *supervisor, const struct baton_event *event);
int64_t run_wake_ms(const struct supervisor *supervisor);
void run_on_time(struct run *run, int64_t now_ms);

/* run_well.c */
int run_well_begin(struct run *run, struct baton_error *err);
void run_well_start(struct run *run); /* the command runs */
void run_well_stop(struct run *run);  /* it does not, or is to end */
void run_well_on_notify(struct run *run);
int64_t run_well_wake_ms(const struct run_well *well);
void run_well_step(struct run *run, int64_t now_ms);

/* run_follow.c */
int run_follow_begin(struct run *run, struct baton_error *err);
void run_follow_wait(struct run *run);                     /* it has begun to stand */
void run_follow_stood(struct run *run, bool leader_known); /* it stands; somebody leads, or nobody is known yet */
void run_follow_step(struct run *run, bool children);      /* start or stop it, as is due */
void run_follow_hurry(struct run *run);                    /* no more patience */

/* run_say.c: for people, for programs (--json), and for systemd */
void run_say(const struct run *run, const char *event, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
