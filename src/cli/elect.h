/* elect.h: one `baton elect`: a candidacy, its hooks, and the guard that takes down what they have set up when this
 * process cannot. */
#ifndef CLI_ELECT_H
#define CLI_ELECT_H

#include "cli/candidate.h"
#include "cli/trouble.h"
#include "process/guard.h"
#include "process/shell.h"

/* What the last hook was started for. */
enum elect_hook { ELECT_HOOK_NONE, ELECT_HOOK_FOLLOW, ELECT_HOOK_LEAD };

struct elect {
    struct candidate candidate;
    const char *name, *on_lead, *on_follow;
    struct baton *client;
    struct baton_election *election;
    struct guard guard;
    struct guard_signals inherited;
    int signal_fd;
    int64_t deadline_ms; /* of the session, as it was told last; NEVER_MS */
    uint64_t term;       /* led now, or last; 0: none */
    uint64_t told_term;  /* of the leader that was printed last */
    bool told_vacant;
    bool leading;  /* this instance leads: the hooks must be brought up to that */
    bool stopping; /* a stop must be answered */
    bool overrun;  /* a hook of the stop was not in time: the stop must not be answered while the session lasts */
    bool lost;     /* the session is over: the stop may be answered */

    struct shell hook; /* the one that runs */
    enum elect_hook hook_for;
    int64_t hook_limit_ms; /* a hook that still runs then is killed; NEVER_MS */
    int64_t settle_ms;     /* at the start: then it follows, although no leader is known; NEVER_MS */
    uint32_t guard_ms;     /* what is left of the lease for the guard, when the hooks have had their grace */
    bool guard_gone;
    bool armed;         /* the guard has something to take down */
    bool left_to_guard; /* ... and its time for that has come: it has begun, whether or not this process goes on */
    uint64_t down_term; /* the term that the guard has taken down: no hook may be run for it any more */

    struct trouble trouble;
    char testament[BATON_TESTAMENT_MAX]; /* the last one that the guard was told */
    bool ready, leaving, resigned;
    bool hurried;    /* a second signal: the guard does the rest */
    bool given_up;   /* the engine has had its time to answer: likewise */
    int64_t end_ms;  /* when the engine has had that time, for an instance that leaves; NEVER_MS */
    int stop_signal; /* 0: none */
    int status;
};

/* elect_hooks.c: hooks run one at a time, in order. None may begin for a place that is not had any more. */
void elect_hooks_init(struct elect *elect);
int elect_hooks_begin(struct elect *elect, struct baton_error *err); /* forks the guard */
/* Run the hooks that are due, and answer a stop when they have ended. */
void elect_hooks_run(struct elect *elect);
/* At the start, when others lead or nobody is known to: run --on-follow if a term of this instance was lost. */
void elect_hooks_follow_first(struct elect *elect, const struct baton_status *status);
void elect_hooks_stop(struct elect *elect, int64_t until_ms);
void elect_hooks_on_guard(struct elect *elect);
void elect_hooks_on_end(struct elect *elect); /* the descriptor of the hook is readable */
void elect_hooks_on_time(struct elect *elect, int64_t now_ms);
int64_t elect_hooks_wake_ms(const struct elect *elect);
/* The session has begun, or its deadline has moved. */
void elect_hooks_session(struct elect *elect, int64_t deadline_ms, bool begun);
bool elect_hooks_are_done(const struct elect *elect); /* nothing runs, and nothing is set up */

void elect_leave(struct elect *elect, int status);

#endif
