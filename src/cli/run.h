/* run.h: one `baton run`: a candidacy, a guard, and the command between them; and, if it was asked for, a second
 * command for the time in which it does not lead. */
#ifndef CLI_RUN_H
#define CLI_RUN_H

#include "cli/run_options.h"
#include "process/guard.h"
#include "process/health.h"
#include "process/notify.h"

#define RUN_BACKOFF_FIRST_MS 100
#define RUN_BACKOFF_LAST_MS 5000
#define RUN_TESTAMENT_LATE_MS 2 /* a command that has just been told to start has the core first */
#define RUN_UNHEALTHY 124       /* as timeout(1): the command was ended because it did not show that it was well */

/* The second command, of who does not lead. */
struct run_follow {
    struct guard guard;
    char *argv[4];
    bool running;  /* descendants of it may be left */
    bool stopping; /* it was told to end */
    bool backing_off;
    int64_t start_ms; /* when to start it, if it is to run then; NEVER_MS */
    int64_t started_ms, backoff_ms;
};

struct run {
    const struct run_options *options;
    struct baton *client;
    struct baton_election *election;
    struct guard guard;
    struct notify_socket notify;
    struct health health;
    struct run_follow follow;
    int signal_fd;

    int64_t deadline_ms;                 /* of the session */
    uint64_t term;                       /* led now; 0: none */
    char testament[BATON_TESTAMENT_MAX]; /* that the guard was told */
    int64_t testament_ms;                /* when to look whether it is another one now; NEVER_MS */
    bool stopping;                       /* BATON_STOP was told, and not answered */
    int64_t until_ms;                    /* of the stop */
    bool running;                        /* descendants of the command may be left */
    bool pending;                        /* it is to start when the follower's command is over */
    int stop_signal;                     /* what the command is ended with */
    bool told;                           /* it was sent that */
    bool unhealthy;                      /* it is being ended because of the watchdog or the health check */
    int wait_status;                     /* of the last command that ended */
    bool ended;                          /* there is one */
    bool leaving;                        /* for good: resign, then exit */
    bool resigned, stand_again;
    int status;         /* to exit with */
    int64_t restart_ms; /* when to start the command again; NEVER_MS */
    int64_t backoff_ms;
    int64_t watchdog_at_ms; /* when the command's silence is too long; NEVER_MS */
    int64_t say_alive_ms;   /* when to tell systemd that we are */
    unsigned say_alive_every_ms;
    bool said_ready;
    bool said_stranger;         /* that messages of others are dropped */
    int64_t duplicate_until_ms; /* when another one with our id is no remnant any more; NEVER_MS */
    char duplicate[BATON_ERROR_TEXT];
};

/* run_events.c: what happens, one function each */
void run_on_baton(struct run *run);
void run_on_guard(struct run *run);
void run_on_signals(struct run *run);
void run_on_notify(struct run *run);
void run_on_time(struct run *run);
int64_t run_wake_ms(const struct run *run);
void run_leave(struct run *run, int status); /* for good */
void run_command_may_start(struct run *run); /* the follower's command is over */

/* run_follow.c */
int run_follow_begin(struct run *run, struct baton_error *err);
void run_follow_wait(struct run *run);                     /* it has begun to stand */
void run_follow_stood(struct run *run, bool leader_known); /* it stands; somebody leads, or nobody is known yet */
void run_follow_step(struct run *run);                     /* start or stop it, as is due */
void run_follow_kill(struct run *run);
void run_follow_on_guard(struct run *run);

/* run_say.c: for people, for programs (--json), and for systemd */
void run_say(const struct run *run, const char *event, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
