/* core.h: everything that baton decides, as a function of what happened.
 *
 * One core is one client: one session at a time, and any number of contests (elections, locks and tasks) that it stands
 * in or observes. This header has what all contests have in common; election/, lock/ and task/ have what each adds.
 *
 * The core is pure: no clock, no I/O, no threads, no randomness of its own. Everything that happened goes in by
 * core_step, and everything to do comes out: writes, renewals, what to tell the program, and when to call again. It is
 * level-triggered: after any event each contest looks at its view and says what should be written. So a lost reply, a
 * duplicate or a reconnect needs no case of its own.
 *
 * Not thread-safe: one thread at a time. Limits: CONTESTS_MAX, REQUESTS_MAX, and those of view.h and of the records.
 */
#ifndef CORE_CORE_H
#define CORE_CORE_H

#include "baton/records.h"
#include "core/protocols.h"
#include "core/rules.h"
#include "core/view.h"

#define CONTESTS_MAX 65536
#define REQUESTS_MAX 1024 /* operator's requests under way, in one client */

/* The first few in a line do not rest: some of them may be dead, or stand still; and more of them where a view takes
 * some time to go on, while the line moves. */
#define ATTENTIVE 4
#define ATTENTIVE_LATE 8

struct core;
struct contest;

struct core_options {
    const char *id, *address, *host;
    uint32_t ttl_ms;      /* asked for; the engine may grant more */
    uint32_t step_ms;     /* by how much candidates stagger their claims: a few round trips */
    uint32_t watchdog_ms; /* renew only while EVENT_ALIVE comes at least this often; 0: always */
    uint32_t attentive;   /* with so many ahead of it, a candidate or an entry lets its view rest; 0: ATTENTIVE */
    uint64_t broken;      /* in the simulation's build only: a bit for each rule of rules.h that is switched off */
};

struct core *core_new(const struct core_options *options);
void core_free(struct core *core);

/* ---- what happens ---- */

enum event_kind {
    EVENT_TICK,            /* time passed */
    EVENT_SESSION_OPENED,  /* ticket; session and ttl_ms, or session 0 and reply->error */
    EVENT_SESSION_RENEWED, /* ticket; reply */
    EVENT_SESSION_ENDED,   /* session: the engine knows that it is over */
    EVENT_WRITTEN,         /* ticket; reply */
    EVENT_CHANGED,         /* watch; batch */
    EVENT_ALIVE,           /* the program makes progress */
    EVENT_TROUBLE,         /* reply->error: the engine cannot be asked now; its code BATON_OK: it can again */
    EVENT_STOPPED,         /* contest, part: the program answers that it has stopped */
    EVENT_RESIGN           /* contest: the program ends its candidacy, releases the lock, does not want the task */
};

/* Every pointer is valid for the call only. */
struct event {
    enum event_kind kind;
    int64_t now_ms;  /* CLOCK_BOOTTIME; never goes back */
    int64_t wall_ms; /* for the records that people read */
    uint64_t ticket, session, watch;
    uint32_t ttl_ms, part;
    const struct baton_reply *reply;
    const struct baton_batch *batch;
    struct contest *contest;
};

/* ---- what to do ---- */

enum action_kind {
    ACTION_SESSION_OPEN,  /* ticket, ttl_ms */
    ACTION_SESSION_RENEW, /* ticket, session */
    ACTION_SESSION_END,   /* session */
    ACTION_WATCH,         /* watch, write.key: the prefix */
    ACTION_UNWATCH,       /* watch */
    ACTION_REST,          /* watch, keys, write.key: the slow one, or NULL. No keys: it is not to rest any more */
    ACTION_WRITE,         /* ticket, write */
    ACTION_TELL           /* tell, contest and the rest */
};

enum tell_kind {
    TELL_LEAD,      /* part, term: it leads; of a lock: it holds, of a task: it works, the term is its token */
    TELL_STOP,      /* part, term, until_ms: do not use the term any more, stop, answer EVENT_STOPPED before until_ms */
    TELL_FOLLOW,    /* part, term: the stop is over */
    TELL_CHANGED,   /* the roster is new, or the queue */
    TELL_RESIGNED,  /* the candidacy, or the attempt, is over: code, text (locks); the contest observes on */
    TELL_OUTCOME,   /* code, text: of a task, see core_once; of a lock that will not be had. TELL_RESIGNED follows,
                       when its entry is gone */
    TELL_DUPLICATE, /* another live candidate has our id */
    TELL_REPLY,     /* request, code, text */
    TELL_SESSION,   /* session, until_ms: a session began */
    TELL_RENEWED,   /* until_ms: its deadline moved */
    TELL_SESSION_LOST, /* session, text */
    TELL_TROUBLE,      /* code, text: the engine refused something that we need */
    TELL_GONE          /* user: a contest that was forgotten is freed */
};

/* "LEAD". Never NULL. */
const char *tell_name(enum tell_kind tell);

struct action {
    enum action_kind kind;
    uint64_t ticket, session, watch;
    uint32_t ttl_ms, part;
    struct baton_write write; /* its key and value are the action's own */
    char *keys[BATON_REST_KEYS_MAX];
    size_t key_count;
    enum tell_kind tell;
    struct contest *contest;
    void *user;
    uint64_t term, request;
    int64_t until_ms;
    enum baton_code code;
    char *text;
};

/* In the order in which it must be done. */
struct update {
    struct action *actions;
    size_t count, room;
    int64_t deadline_ms; /* call again at this time, at the latest (EVENT_TICK); NEVER_MS: no need */
};

void update_init(struct update *update);
void update_clear(struct update *update);
void update_release(struct update *update);

/* Let `happened` be known; what is to be done is added to `todo`. */
void core_step(struct core *core, const struct event *happened, struct update *todo);

/* ---- contests ---- */

struct stand_options {
    int32_t priority;
    bool preempt;
    bool attentive;   /* its view never rests */
    uint32_t stop_ms; /* what a stop may take; 0: the program asks before each use and needs no time */
};

/* Watch an election, a lock or a task (name NULL: all of them, in one view). `user` comes back by contest_user. NULL
 * with err when there are too many. Not told to the engine until the next core_step. */
struct contest *core_observe(struct core *core, enum contest_kind kind, const char *name, void *user,
                             struct baton_error *err);
/* Stand in an election that is observed. -1: it stands already (BATON_CONFLICT) or cannot (BATON_INVALID). */
int core_stand(struct core *core, struct contest *election, const struct stand_options *options,
               struct baton_error *err);

/* The program was told to stop, and needs until then: the session goes on being renewed. It counts from now on; an
 * earlier time than it has already changes nothing. When the session is about to be lost meanwhile, TELL_STOP comes
 * again. false: it is not being stopped, or the place is gone already. */
bool core_stop_takes(struct core *core, struct contest *contest, uint32_t part, int64_t until_ms);

/* Forget a contest that does not stand (a standing one is resigned first). */
void core_forget(struct core *core, struct contest *contest);

void *contest_user(const struct contest *contest);
const char *contest_name(const struct contest *contest); /* NULL: all of its kind */
const struct view *contest_view(const struct contest *contest);
enum contest_kind contest_kind(const struct contest *contest);
bool contest_standing(const struct contest *contest);
const char *contest_cid(const struct contest *contest); /* "" while it does not stand */

/* Does this client lead, or hold the lock, at now_ms? The term, or the token, or 0. `part`: 0 where there is but one
 * thing to have. */
uint64_t contest_leads(const struct core *core, const struct contest *contest, uint32_t part, int64_t now_ms);

/* How many candidacies, entries and tasks of this client there are: also those whose end is under way. */
size_t core_standing(const struct core *core);

/* Until when a session is valid whose opening or renewal was sent at sent_ms. */
int64_t session_deadline_ms(int64_t sent_ms, uint32_t ttl_ms);
/* The session: its id (0: none), its deadline, the granted ttl. */
uint64_t core_session(const struct core *core, int64_t *ret_deadline_ms, uint32_t *ret_ttl_ms);

#endif
