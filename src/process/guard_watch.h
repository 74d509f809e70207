/* guard_watch.h: the state of a guard, in three parts: its command, the end of the session, and the times. Only the
 * files guard_*.c may include it. */
#ifndef PROCESS_GUARD_WATCH_H
#define PROCESS_GUARD_WATCH_H

#include <pthread.h>

#include "process/cgroup.h"
#include "process/message.h"
#include "process/tree.h"

/* The steps go downward, and from each state but the first back to it when nothing is left (command_set_state). */
enum command_state {
    COMMAND_WAITING,  /* nothing runs */
    COMMAND_RUNNING,  /* it was started, and nobody has asked for its end */
    COMMAND_STOPPING, /* each of its processes was sent a signal to end; SIGKILL at kill_at_ms */
    COMMAND_KILLING,  /* SIGKILL to all that is left, again and again */
    COMMAND_ENDING    /* nothing of it is left; the end hook runs, and then the session is ended */
};

struct command {
    enum command_state state;
    pid_t pid;      /* its first process; 0: gone. Set, and its death collected, under the watch's mutex */
    pid_t group;    /* its process group, if it has one of its own; kept when the first process is gone */
    int report_fd;  /* of the first process, until its exec: why it was not executed; -1 */
    bool announced; /* that it could not be started was told: its end is not */
    int stop_number;
    int64_t stop_rest_ms;        /* when all but the process group is sent stop_number; NEVER_MS */
    int64_t kill_at_ms;          /* of a stop; NEVER_MS */
    int64_t go_on_ms;            /* when to wake again what its terminal has suspended; NEVER_MS */
    int64_t look_ms;             /* when to look again whether something is left to kill; NEVER_MS */
    int64_t pause_ms;            /* between such looks; it grows */
    struct guard_message exited; /* that the first process has ended, which is not told yet */
    struct tree_stuck stuck;
};

/* The next command: a child that is forked already, and executes it when it is told to. */
struct ready {
    pid_t pid; /* 0: none */
    int order_fd, report_fd;
    bool wanted; /* it should be forked, in a quiet time */
};

/* The order to a prepared child. */
struct ready_order {
    int64_t latest_ms; /* it must not be executed then or later; NEVER_MS */
    struct guard_environment environment;
};
/* A prepared child reports an errno, or that it was too late. */
#define REPORT_LATE (-1)

/* How the session is ended. */
struct ending {
    struct baton_guard *guard;
    struct baton_lifeline lifeline; /* not opened yet */
    bool has_lifeline;
    bool holds;       /* it has a descriptor, without which the place cannot pass on */
    bool to_bequeath; /* the engine's guard does not know the testament yet */
    char testament[BATON_TESTAMENT_MAX];
    bool armed;                           /* the end hook has something to take down */
    struct guard_environment environment; /* of the end hook */
    int64_t renew_ms;                     /* when to renew the session, as long as something is left; NEVER_MS */
    pid_t end_hook;                       /* that runs; 0 */
    int64_t end_hook_ms;                  /* since when */
    int64_t end_hook_kill_ms;
    pid_t hook; /* of the supervisor; 0 */
    int hook_pidfd;
};

struct watch {
    const struct guard_options *options;
    const struct guard_base *base;
    int dead_fd; /* -1, or readable when the supervisor's main thread is dead */
    struct cgroup cgroup;
    pthread_mutex_t mutex;
    struct ready ready;
    struct command command;
    struct ending ending;
    bool orphaned; /* the guard ends the session when nothing is left: the supervisor is dead, or the deadline near */
    bool supervisor_dead; /* nobody is there to hear or to order anything */
    bool bye;
    int64_t deadline_ms; /* NEVER_MS */
    int64_t kill_by_ms;  /* the deadline, less the slack of now */
    int64_t stop_by_ms;  /* ... and less the grace */
    char oom_before[16]; /* oom_score_adj as the supervisor has it; "": it was not changed */
};

/* guard_main.c */
void watch_say(struct watch *watch, const struct guard_message *message);
void watch_say_trouble(struct watch *watch, const char *what, const struct baton_error *err);
void watch_gone(struct watch *watch); /* nothing of the command is left */

/* guard_command.c */
void command_init(struct watch *watch);
void command_set_state(struct command *command, enum command_state state);
int command_prepare(struct watch *watch); /* 0, or an errno */
void command_drop_ready(struct watch *watch);
void command_spawn(struct watch *watch, const struct guard_environment *environment, int64_t deadline_ms);
void command_signal(struct watch *watch, int number);
void command_stop(struct watch *watch, int number, int64_t kill_at_ms);
void command_on_suspend(struct watch *watch); /* Ctrl-Z */
void command_kill(struct watch *watch);
void command_kill_first(struct watch *watch); /* by any thread */
void command_reap(struct watch *watch);       /* at each SIGCHLD */
void command_on_time(struct watch *watch, int64_t now_ms);
int64_t command_wake_ms(const struct command *command);
void command_set_environment(const struct guard_environment *environment);
void command_become(
    const struct watch *watch); /* in a child: signals, OOM score and privileges as the command has them */
void command_say_exited(struct watch *watch);
int64_t slack_for(int64_t least_ms, int64_t resident_mib, int64_t left_ms); /* with so much left of the lease */
int64_t command_slack_ms(const struct watch *watch, int64_t now_ms);        /* what its end takes, by what it has */

/* guard_end.c */
void ending_take_lifeline(struct watch *watch, const struct order *order, int fd);
void ending_take_testament(struct watch *watch, const char *text);
void ending_take_hook(struct watch *watch, pid_t pid, int pidfd); /* takes the descriptor over */
void ending_kill_hook(struct watch *watch);                       /* the supervisor's, which is dead */
bool ending_is_unprepared(const struct watch *watch);
void ending_prepare(struct watch *watch);
bool ending_start_hook(struct watch *watch); /* false: there is none to run */
void ending_hold(struct watch *watch);       /* keep the session for as long as something is left */
void ending_on_time(struct watch *watch, int64_t now_ms);
void ending_finish(struct watch *watch); /* end the session */

#endif
