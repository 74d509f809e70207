/* state.h: what the core keeps between two steps. Private to src/core. */
#ifndef CORE_STATE_H
#define CORE_STATE_H

#include "base/base.h"
#include "core/core.h"
#include "core/protocol.h"
#include "core/tenure.h"

/* ---- session (session.c) ---- */

enum session_state { SESSION_NONE, SESSION_OPENING, SESSION_VALID };

#define RENEWALS_KEPT 4 /* renewals under way whose time of sending is remembered */

struct session {
    enum session_state state;
    uint64_t id;
    uint32_t ttl_ms;      /* granted */
    int64_t deadline_ms;  /* valid before this */
    int64_t next_ms;      /* when to open or to renew */
    uint64_t open_ticket; /* of the opening under way */
    int64_t open_sent_ms;
    struct {
        uint64_t ticket;
        int64_t sent_ms;
    } renewals[RENEWALS_KEPT];
    unsigned renewal_at;
    unsigned failures;          /* openings that failed in a row; */
    struct baton_error failure; /* ... and why the last one did */
    bool condemned;             /* not renewed any more: somebody did not answer a stop in time */
    int64_t alive_ms;           /* the program's last sign of progress */
};

/* ---- contest (contest.c) ---- */

/* A write that the contest has under way, or may try again later. */
struct attempt {
    uint64_t ticket;   /* 0: none is under way */
    uint64_t session;  /* that it is bound to; 0: none */
    int64_t retry_ms;  /* not before */
    uint64_t revision; /* at which it was answered: a view older than this does not show it */
    bool unknown;      /* an answer was UNKNOWN: it may still take effect */
};

/* What instances compete for: to lead an election, to hold a lock, to do a task. */
struct contest {
    char *name; /* NULL: all of its kind */
    void *user;
    uint64_t watch;
    struct view view;
    int64_t wake_ms;
    size_t timer;   /* place in core->timers, + 1; 0: none */
    uint32_t index; /* in core->contests */
    const struct protocol *protocol;
    bool dirty, forgotten;
    bool resting;      /* the view may stand still until those ahead go; see rest.c */
    bool retell;       /* it was taken over with a view that is ready: whoever has it now is to be told */
    int64_t parked_ms; /* nobody has it; it stays, with its view, until then. 0: somebody has it */

    bool standing, resigning;
    bool looking;  /* it stands, but asks for no session yet: perhaps there is nothing to do */
    bool released; /* its program has ended it, and knows; it goes by itself */
    bool presence_seen;
    bool unreadable_told;
    struct tenure *tenure; /* the first one; most have no other */
    uint32_t tenure_count;
    struct stand_options options;
    struct attempt presence;
    struct attempt removal; /* of an entry that is no candidacy's any more */
    char *end_text;         /* told with TELL_RESIGNED */
    enum baton_code end_code;
    char cid[CID_MAX_BYTES]; /* "": no candidacy in this session yet */

    void *part; /* its protocol's own: struct leadership, lock, task */
};

static inline struct tenure *contest_tenure(const struct contest *contest, uint32_t part)
{
    assert(part < contest->tenure_count);
    return &contest->tenure[part];
}

/* Who has been succeeded leaves a moment later: what that takes would be taken from the one that begins just now, when
 * both are on one machine. */
#define GIVE_WAY_MS 5

#define PARKED_MAX 16 /* contests whose view is kept for the next who wants one; */
#define PARKED_MS 200 /* ... for so long: it is woken by each change meanwhile */

struct core {
    struct core_options options;
    int64_t now_ms, wall_ms;
    uint32_t next_sequence;
    uint32_t cid_count;
    struct session session;
    struct baton_error away;   /* why the engine cannot be asked now; code BATON_OK: it can */
    struct contest **contests; /* by index; NULL: a free place */
    size_t contest_count, contest_room;
    size_t standing_count;
    struct contest *parked[PARKED_MAX];
    size_t parked_count;
    uint32_t stop_max_ms;    /* the largest stop_ms of all candidacies */
    struct contest **timers; /* a heap by wake_ms */
    size_t timer_count, timer_room;
    struct contest **dirty;
    size_t dirty_count, dirty_room;
    struct request *requests;
    size_t request_count, request_room;
    struct update *todo; /* during a step */
};

/* Does the rule hold? Only in the simulation's own build can it be broken: elsewhere the compiler leaves out what is
 * there for a broken one. */
static inline bool rule(const struct core *core, enum core_rule rule)
{
#ifdef CORE_SIMULATED
    return (core->options.broken & (UINT64_C(1) << rule)) == 0;
#else
    return true;
#endif
}

static inline bool session_valid(const struct core *core)
{
    return core->session.state == SESSION_VALID && core->now_ms < core->session.deadline_ms;
}

/* ---- todo (update.c) ---- */

struct action *todo_add(struct core *core, enum action_kind kind);
struct action *todo_tell(struct core *core, enum tell_kind tell, struct contest *election, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* ---- writes (writes.c) ----
 *
 * The lower half of a ticket says whose it is: a contest's, with the number of its write above the contest's place; or
 * with the highest bit a request's, or the session's. The upper half is not used again. */

#define TICKET_SESSION 0xffffffffU
#define TICKET_REQUEST 0x80000000U

/* A contest's writes. */
enum { WRITE_PRESENCE, WRITE_FIRST /* of its protocol's own */ };

uint64_t ticket_new(struct core *core, uint32_t owner);
static inline uint32_t ticket_owner(uint64_t ticket)
{
    return (uint32_t)ticket;
}
static inline uint32_t write_owner(const struct contest *contest, unsigned which)
{
    assert(which < TICKET_REQUEST / CONTESTS_MAX);
    return which * CONTESTS_MAX + contest->index;
}
struct contest *contest_of_ticket(const struct core *core, uint64_t ticket); /* also of a watch's; NULL: it is gone */

/* Key and value (may be NULL) are taken over. Fills attempt->ticket. The action may be filled further. */
struct action *todo_write(struct core *core, struct attempt *attempt, uint32_t owner, enum baton_write_kind kind,
                          char *key, char *value, uint64_t session, uint64_t if_revision);
/* Close an attempt by its answer; how long to wait before the next. true: it says that the session is over. */
bool attempt_answered(struct core *core, struct attempt *attempt, const struct baton_reply *reply);
/* Wake the contest when the attempt may be made again; an answer wakes it anyway. */
void attempt_wait(struct core *core, struct contest *contest, const struct attempt *attempt);
bool attempt_may(const struct core *core, const struct attempt *attempt);
struct attempt *write_of_ticket(struct contest *contest, uint64_t ticket); /* NULL: it was given up */
/* One of the contest's writes was answered; the view has moved. */
void contest_answered(struct core *core, struct contest *contest, const struct baton_reply *reply);
void writes_seen(struct contest *contest);
/* Nothing that would be judged by the view is under way, and the view shows what was. */
bool writes_settled(struct contest *contest);

/* ---- between the files ---- */

/* session.c */
void session_event(struct core *core, const struct event *happened);
void session_check(struct core *core); /* has the deadline passed? */
void session_step(struct core *core);  /* open, renew or end it */
int64_t session_wake(const struct core *core);
void session_over(struct core *core, const char *why);

/* contest.c */
void contest_step(struct core *core, struct contest *contest);
void contest_session_over(struct core *core, struct contest *contest);
void contest_resign(struct core *core, struct contest *contest);
/* It ends by itself, and this is told. */
void contest_end(struct core *core, struct contest *contest, enum baton_code code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void contest_forget_candidacy(struct contest *contest);
/* Something of this client is there, or under way, that nobody would act for but this contest. */
bool contest_is_haunted(const struct core *core, const struct contest *contest);
const struct view_record *contest_presence(const struct contest *contest); /* its own, in the view, or NULL */
void contest_remove_presence(struct core *core, struct contest *contest);

/* parking.c */
struct contest *contest_take_parked(struct core *core, enum contest_kind kind, const char *name, void *user);
bool contest_stays_parked(struct core *core, struct contest *contest); /* nobody has it: does it stay? */
/* Nobody has it for now, until this time. false: too many are parked. */
bool contest_park(struct core *core, struct contest *contest, int64_t until_ms);
void contest_unpark(struct core *core, struct contest *contest, void *user);

/* rest.c: may its view stand still? */
void contest_rest(struct core *core, struct contest *contest);
struct rest_keys {
    char *list[BATON_REST_KEYS_MAX];
    size_t count;
    char *slow; /* looked at now and then; NULL: none */
};
void rest_until(struct rest_keys *keys, const char *key); /* is copied */
size_t rest_attentive(const struct core *core);           /* so many ahead do not let one rest */

/* request.c */
struct request *request_of_ticket(struct core *core, uint64_t ticket);
bool request_answered(struct core *core, struct request *request, const struct baton_reply *reply);
void requests_step(struct core *core);
void requests_free(struct core *core);
int64_t requests_wake(const struct core *core);
bool requests_need_session(const struct core *core);
bool requests_about(const struct core *core, const struct contest *contest);
void requests_forget(struct core *core, const struct contest *election);

/* timers.c */
void contest_mark(struct core *core, struct contest *contest); /* step it in this turn */
void contests_mark_all(struct core *core);
void contest_wake(struct core *core, struct contest *contest, int64_t at_ms); /* at this time, at the latest */
void timer_set(struct core *core, struct contest *election, int64_t wake_ms);
void timer_remove(struct core *core, struct contest *election);

#endif
