/* baton.h: leader election for a program.
 *
 *     struct baton_options options;
 *     baton_options_init(&options);
 *     struct baton *b;
 *     struct baton_error err;
 *     if (baton_open(&options, &b, &err) < 0) { fprintf(stderr, "%s\n", err.text); ... }
 *     struct baton_election *e;
 *     baton_stand(b, "db-writer", NULL, &e, &err);
 *     ... if (baton_leads(e, &term)) write_row(term, ...);
 *     baton_close(b);
 *
 * Threads: a client runs one thread of its own, which blocks all signals and calls nothing of the program's. Every
 * function here may be called from any thread, but not from a signal handler (except baton_leads). There are no
 * callbacks: what happened is taken from a queue (baton_next) until that is empty, and baton_fd() is readable until
 * then.
 *
 * Fork: a forked child does not lead: baton_leads() is false there, and every other call fails with BATON_CLOSED.
 * The child may call baton_close() to free its copy; nothing of the parent's is touched. While a child lives that has
 * not called exec, the place of a parent that died passes on after the ttl, not at once (local engine).
 *
 * Time: all times are milliseconds of CLOCK_BOOTTIME (clock_gettime(2)), which counts suspend; `wall_ms` fields are
 * milliseconds since the epoch, for people.
 *
 * Memory: small allocations that fail stop the process (its places pass on); see ARCHITECTURE.md.
 */
#ifndef BATON_BATON_H
#define BATON_BATON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "baton/error.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BATON_API __attribute__((visibility("default")))

#define BATON_NAME_MAX 128    /* bytes of an election's name */
#define BATON_ID_MAX 128      /* bytes of an instance's id */
#define BATON_ADDRESS_MAX 255 /* bytes of an address */
#define BATON_URL_MAX 960     /* bytes of a URL: a guard is told it, and so is the command, in one message each */
#define BATON_TTL_DEFAULT_MS 10000
#define BATON_TERMS_KEPT 16         /* terms that an election's history keeps */
#define BATON_RECORDS_MAX 262144    /* records of one election, lock or task that are looked at; more: BATON_TROUBLE */
#define BATON_ELECTIONS_MAX 65536   /* elections, locks and tasks of one client */
#define BATON_SLOTS_MAX 1000000     /* of a lock */
#define BATON_SHARED UINT32_MAX     /* ... of a shared lock: as many as there are */
#define BATON_TASK_OUTPUT_MAX 16384 /* bytes that are kept of each of a task's two outputs */
#define BATON_TASK_EXPIRE_DEFAULT_MS UINT64_C(34560000000) /* 400 days: how long a task's result is kept */
#define BATON_TASK_WHAT_MAX 256                            /* bytes of what a task is said to be */

struct baton;          /* one connection of this process to a namespace, with one session at a time */
struct baton_election; /* a candidacy in one election, or the observation of one */
struct baton_lock;     /* an attempt at a lock, or the observation of one */
struct baton_task;     /* the wish that a task be done once, or the observation of one */

/* The guard of a client: a small process of its own, started when the client first stands for an election and has a
 * session. When the program's process is dead, and no child of it that has not called exec is left, the guard passes
 * the place on (of a client that leads one election; others become vacant) and ends the session: the next leader need
 * not wait for the ttl. It does nothing else; a program that hangs or is stopped loses its places by the ttl. It is no
 * child of the program, sends it no SIGCHLD, shares no descriptor with it, and ends with it; when it is killed, another
 * one is started. Its executable is found beside the library, or by $BATON_GUARD.
 *
 * But a program that collects orphans collects the guard: to a program that is a child subreaper (prctl(2)) it is a
 * child that waitpid(-1) may return when it has ended, with a SIGCHLD, and that a loop until no child is left waits
 * for, until baton_close(). A program that is the first process of its pid namespace (a container's, without an init)
 * has none, and is told so (BATON_TROUBLE; with BATON_GUARD_ON, baton_open fails): the kernel would kill it with the
 * program, so a crash costs a ttl there, and also where an init ends the container as soon as the program is dead. */
enum baton_guard_use {
    BATON_GUARD_AUTO, /* where the engine does not see deaths by itself (etcd): tried, and told when it cannot be had */
    BATON_GUARD_ON,   /* baton_open fails when its executable is not there */
    BATON_GUARD_OFF   /* the program has a guard of its own (baton_guard_open), or none */
};

struct baton_options {
    const char *url;     /* NULL: $BATON_URL, else "local:" (the user's state directory); "" is refused */
    const char *id;      /* of this instance, unique among those alive; NULL: HOST-PID-RANDOM */
    const char *address; /* where others reach this instance; "" or NULL: none. Any text up to BATON_ADDRESS_MAX */
    uint32_t ttl_ms;     /* of the session; default BATON_TTL_DEFAULT_MS; at least the engine's minimum */
    /* The session is renewed only while the program calls baton_alive() at least this often; 0: no watchdog. A
     * program that hangs for `watchdog_ms` then loses its places within a ttl. Less than ttl_ms. */
    uint32_t watchdog_ms;
    bool renewals; /* queue a BATON_RENEWED when the session's deadline has moved */
    enum baton_guard_use guard;
    /* Make a state directory that is not there (engine local). Default true. A program that only looks sets false, so
     * that a mistyped path is told (BATON_NOT_FOUND) and not made. */
    bool create;
};

/* Defaults. Every field may then be changed. */
BATON_API void baton_options_init(struct baton_options *options);

/* Open a client. The engine need not be reachable; it must be one that exists, with a URL that can be right.
 * Errors: BATON_INVALID (URL, id, address, ttl), BATON_UNSUPPORTED (unknown scheme, network file system),
 * BATON_DENIED, BATON_FULL, BATON_CORRUPT, BATON_NEWER, BATON_UNAVAILABLE, BATON_SYSTEM; BATON_UNSUPPORTED also when
 * a guard was asked for (BATON_GUARD_ON) and cannot be had. Where descriptor 0, 1 or 2 is closed, /dev/null is opened
 * in its place, and is closed again by an exec. Returns 0 and *ret, or -1. */
BATON_API int baton_open(const struct baton_options *options, struct baton **ret, struct baton_error *err);

/* Hand over everything held: each election led is told to stop (BATON_STOP in the queue, if anybody still reads it),
 * and passes on as soon as baton_stopped() was said or the candidacy's stop_ms is over, whichever is first; then the
 * session is ended and all memory is freed, the elections too. Blocks for at most the longest stop_ms (or what is left
 * of a time that baton_stop_takes() was told) plus 2 s, and what the engine needs to let go of a store that hangs
 * (local: 2 s). NULL is allowed. A program that wants to stop its work first calls baton_resign(), waits for
 * BATON_RESIGNED, and then closes. */
BATON_API void baton_close(struct baton *b);

/* The id and the URL in use, in full: with "local:" it names the directory. Valid until close. */
BATON_API const char *baton_id(const struct baton *b);
BATON_API const char *baton_url(const struct baton *b);

/* A descriptor that is readable (poll, epoll, select, any loop) while baton_next() has something, and until it has said
 * that it has nothing. Do not read it. -1 in a forked child. */
BATON_API int baton_fd(const struct baton *b);

enum baton_event_kind {
    BATON_NONE = 0,
    BATON_LEAD,         /* this instance leads `election` with `term` */
    BATON_STOP,         /* stop what is done as the leader, before `until_ms`, then call baton_stopped() */
    BATON_FOLLOW,       /* the stop is over (answered, or too late to matter): this instance does not lead */
    BATON_CHANGED,      /* what baton_status() tells of `election` is new (several may be told as one) */
    BATON_RESIGNED,     /* the answer to baton_resign(): the place was passed on, the candidacy is over */
    BATON_REPLY,        /* the answer to a request (baton_transfer, _hold, _release): `request`, `code`, `text` */
    BATON_SESSION,      /* a session began: `session`; `until_ms` is its deadline */
    BATON_RENEWED,      /* the session's deadline moved to `until_ms` (only with options.renewals) */
    BATON_LOST_SESSION, /* the session is over; a new one will be opened, and each candidacy stands again */
    BATON_DUPLICATE,    /* another live candidate of `election` has this instance's id: it waits (never leads) */
    BATON_TROUBLE,      /* the engine, or the guard, cannot be used now, or a record cannot be read: `code`, `text` */
    BATON_RECOVERED,    /* it can be used again */
    BATON_ACQUIRED,     /* this client holds `lock`; `term` is its token */
    BATON_RELEASED,     /* the attempt at `lock` is over: `code`, `text`; see baton_lock() */
    BATON_BEGIN,        /* this client is to do `task` now; `term` is its token. Answer by baton_done() */
    BATON_OUTCOME       /* `task` is settled, or will not be for this client: `code`, `text`; see baton_once() */
};

/* `text` says why, in one line, where there is a why. A STOP whose `until_ms` is not in the future says that the
 * session is over already, or the presence removed: others may lead now, so there is nothing to wait for. It comes
 * again, with an earlier `until_ms`, when that happens during a stop. */
struct baton_event {
    enum baton_event_kind kind;
    struct baton_election *election; /* NULL where it is about the client, a lock or a task */
    struct baton_lock *lock;         /* NULL where it is not about a lock */
    struct baton_task *task;         /* NULL where it is not about a task */
    uint64_t term;
    uint64_t session;
    int64_t until_ms;
    uint64_t request;
    enum baton_code code;
    char text[BATON_ERROR_TEXT];
};

/* The kind's name: "lead". Never NULL. */
BATON_API const char *baton_event_name(enum baton_event_kind kind);

/* Take the oldest event. false: there is none (and the fd is not readable). For one election and one stop, the order
 * is always LEAD, STOP, FOLLOW. CHANGED, RENEWED and DUPLICATE are told once until they are taken. The queue of a
 * program that does not look stays short: what began and ended untaken (LEAD, STOP, FOLLOW of one term; a session; a
 * trouble) is left out when it begins again. Nothing else is. */
BATON_API bool baton_next(struct baton *b, struct baton_event *ret);

/* Tell the watchdog (options.watchdog_ms) that the program makes progress. */
BATON_API void baton_alive(struct baton *b);

struct baton_stand_options {
    int32_t priority; /* -1000..1000, default 0; at a vacancy the highest goes first */
    bool preempt;     /* ask a live leader of lower priority to hand over to this one */
    /* What a stop may take, in ms. 0: the program only asks baton_leads() before each thing it does as the leader,
     * and needs no time. Otherwise it answers BATON_STOP by baton_stopped() within this time; a program that does
     * not has its session end. When renewals fail, STOP comes this long before the deadline. At most ttl/2. */
    uint32_t stop_ms;
    /* The candidate wants every change at once, wherever it stands. Without this, one that has some others ahead (a
     * candidate that is not about to lead) may be told of a new leader only when its session is renewed, up to ttl/3
     * later: so an election with a thousand candidates does not wake all of them for each change. (An observer is
     * always told at once.) */
    bool attentive;
};
BATON_API void baton_stand_options_init(struct baton_stand_options *options);

/* Stand for the election `name` (1..BATON_NAME_MAX of A-Z a-z 0-9 . _ - : @ +, beginning with a letter or digit).
 * options NULL: defaults. A client stands at most once in an election (BATON_CONFLICT). Returns 0 and *ret (until
 * baton_election_free, or close), or -1 with BATON_INVALID, BATON_CONFLICT, BATON_FULL. */
BATON_API int baton_stand(struct baton *b, const char *name, const struct baton_stand_options *options,
                          struct baton_election **ret, struct baton_error *err);

/* Observe without standing. name NULL: every election of the namespace (one handle; see baton_status). */
BATON_API int baton_observe(struct baton *b, const char *name, struct baton_election **ret, struct baton_error *err);

/* Does this instance lead, now? True only while the newest decision known names it, its session is valid at this very
 * moment, and it was not told to stop. *ret_term (may be NULL) is the term, untouched on false. Takes no lock, sends
 * nothing, costs about one clock_gettime; safe from any thread and signal handler. */
BATON_API bool baton_leads(const struct baton_election *e, uint64_t *ret_term);

/* The answer to BATON_STOP: what was done as the leader is over, for good, in every thread and child of the program.
 * Without a stop under way it does nothing. A program that has stopped already when it resigns calls this right after
 * baton_resign(): then the handover waits for nothing. */
BATON_API void baton_stopped(struct baton_election *e);

/* The stop takes longer than was said: "not over yet, keep my place, for up to `ms` more from now". It may be said
 * again and again until baton_stopped(), and best before the time that is left is over: a program that hangs passes its
 * place on when that is. baton_leads() stays false. The place is kept as long as the session can be renewed: when
 * renewals fail, BATON_STOP comes once more, with the session's deadline as its `until_ms`, and the place is gone then,
 * unless one of them succeeds (and this is said again, if it must be). For what cannot be interrupted, so that nobody
 * else leads beside it. false: no stop is under way, or the place is gone already. */
BATON_API bool baton_stop_takes(struct baton_election *e, uint32_t ms);

/* End the candidacy: stop (two-sided), hand over, withdraw; BATON_RESIGNED follows. Twice is once. */
BATON_API void baton_resign(struct baton_election *e);

/* Free the handle. A candidacy is resigned first, in the background; no event of it comes any more, so if it leads, it
 * passes on when its stop_ms is over. Until then its name cannot be stood for again. NULL allowed. */
BATON_API void baton_election_free(struct baton_election *e);

BATON_API const char *baton_election_name(const struct baton_election *e); /* "" for "every election" */

/* ---- locks ----
 *
 * A lock is a queue. An attempt stands in it from baton_lock() on, and holds when nobody ahead of it keeps it from
 * that: an exclusive one (slots 1) when it is the first, a counted one when fewer than `slots` are ahead, a shared one
 * when no exclusive one is ahead. So nobody is overtaken. All who want one lock must say the same: exclusive and shared
 * attempts mix, counted ones only with those of the same number; an attempt that disagrees with one ahead is refused.
 *
 * The token grows from holder to holder of an exclusive lock, as a term does: give it along with what you write.
 */
struct baton_lock_options {
    uint32_t slots;   /* how many may hold it at once: 1 (default), up to BATON_SLOTS_MAX, or BATON_SHARED */
    bool try_only;    /* give up when it is held by others */
    uint32_t wait_ms; /* give up when it is still held by others after so long; 0: never */
    /* What a stop may take, in ms, when the session is about to be lost (BATON_STOP); as in baton_stand_options. */
    uint32_t stop_ms;
};
BATON_API void baton_lock_options_init(struct baton_lock_options *options);

/* Stand in the queue of the lock `name`. options NULL: defaults. Answered by BATON_ACQUIRED, or by BATON_RELEASED:
 * BATON_CONFLICT (try_only: others have it), BATON_TIMEOUT (wait_ms: others still have it), BATON_UNAVAILABLE or what
 * troubles the engine (nobody can tell who has it: with try_only at once, or after 10 s of silence; with wait_ms after
 * that time, or 3 s of silence if that is longer), BATON_INVALID (others disagree about the slots). After ACQUIRED:
 * BATON_STOP when the session may be lost (answer by baton_unlock() when you have stopped), then BATON_RELEASED with
 * BATON_LOST. Who waits keeps waiting when the session is lost, at the end of the queue. A client has one attempt at a
 * lock at a time (BATON_CONFLICT), from here to baton_unlock(); the next one need not wait for BATON_RELEASED. 0 and
 * *ret (until baton_lock_free, or close), or -1 with BATON_INVALID, BATON_CONFLICT, BATON_FULL. */
BATON_API int baton_lock(struct baton *b, const char *name, const struct baton_lock_options *options,
                         struct baton_lock **ret, struct baton_error *err);

/* Does this client hold it, now? As baton_leads: false in a forked child; no lock, no message; from any thread and
 * signal handler. *ret_token (may be NULL) is untouched on false. */
BATON_API bool baton_holds(const struct baton_lock *lock, uint64_t *ret_token);

/* What was done under the lock is over: give it up, or stop waiting for it. BATON_RELEASED (BATON_OK) follows; whoever
 * wants the lock then has it at once. Twice is once; of a lock that is lost it does nothing.
 * (local: an entry that nobody else has wanted stays visible for up to 0.2 s. Whoever takes the lock again meanwhile,
 * in the same client, has it without a write, with a new token.) */
BATON_API void baton_unlock(struct baton_lock *lock);

/* After BATON_STOP: what was done under the lock takes `ms` more to stop; see baton_stop_takes(). */
BATON_API bool baton_lock_stop_takes(struct baton_lock *lock, uint32_t ms);

/* Free the handle; it is unlocked first, in the background. NULL allowed. */
BATON_API void baton_lock_free(struct baton_lock *lock);

BATON_API const char *baton_lock_name(const struct baton_lock *lock); /* "" for "every lock" */

/* Look at a lock without wanting it; name NULL: at every lock of the namespace. BATON_CHANGED tells of news. */
BATON_API int baton_observe_lock(struct baton *b, const char *name, struct baton_lock **ret, struct baton_error *err);

/* What is known of a lock: one state that it really had. */
struct baton_lock_entry {
    const char *id, *host;
    uint32_t slots; /* as this one was told */
    bool holds;
    uint64_t token;        /* a holder that has taken the same lock again may have a newer one */
    int64_t since_wall_ms; /* when it began to wait */
};
struct baton_lock_status {
    const char *name;
    bool known;                             /* a view has arrived; while false, all below is empty */
    uint64_t revision;                      /* of the view */
    const struct baton_lock_entry *entries; /* in the order of the queue */
    size_t entry_count;
    size_t holders;
    const char *trouble; /* a record that cannot be used, and why; NULL: all can */
};

/* Has a view arrived, so that baton_lock_status tells what there is? */
BATON_API bool baton_lock_known(const struct baton_lock *lock);

/* A copy; free with baton_lock_status_free. Of every lock: one entry a lock, in the order of their names. */
BATON_API int baton_lock_status(const struct baton_lock *lock, struct baton_lock_status **ret, size_t *ret_count,
                                struct baton_error *err);
BATON_API void baton_lock_status_free(struct baton_lock_status *status, size_t count);

/* ---- tasks ----
 *
 * A task is work that is to be done once, by one of those who want it done; its key names it (a date in the key makes a
 * task a day). The first one to come claims it and works; the others wait, and are told how it ended.
 * What was recorded stays until it expires or is forgotten (baton_forget): who comes later is told the same, at the
 * cost of one read. So a task is done at most once. Where a worker was lost nobody knows how far it came; it is begun
 * again only where both say `at_least_once`.
 *
 * A result expires 400 days after the end unless other times are asked for; after that, the next one that wants the
 * task does it once more. For what must never be done twice (a migration), `expire_ms` must be 0: never.
 */
struct baton_task_options {
    const char *what;        /* what is done, up to BATON_TASK_WHAT_MAX bytes. Who says another one than the claim does
                              * is refused: one key for two things is a mistake. NULL or "": not compared */
    bool at_least_once;      /* if the worker is lost, another one may begin, where both say so */
    uint32_t retries;        /* take up what has failed, at most so many times */
    uint32_t retry_after_ms; /* ... not sooner after the failure (by the machines' wall clocks) */
    uint64_t expire_ms;      /* forget the result so long after the end (by their wall clocks), up to 8,000 years;
                              * default BATON_TASK_EXPIRE_DEFAULT_MS; 0: never */
    bool try_only;           /* do not wait while others do it */
    uint32_t wait_ms;        /* give up waiting after so long; 0: never. Work that has begun is not interrupted */
    uint32_t stop_ms;        /* what a stop may take, in ms; as in baton_stand_options */
};
BATON_API void baton_task_options_init(struct baton_task_options *options);

/* Want the task `key` (1..BATON_NAME_MAX bytes of UTF-8 without control characters) done. options NULL: defaults. If it
 * is this client that is to do it: BATON_BEGIN; do it, and answer by baton_done(), or by baton_give_up() when
 * BATON_STOP comes (the session may be lost) and you have stopped. In the end, for everybody, BATON_OUTCOME: BATON_OK
 * (it is settled: baton_task_status tells how), BATON_CONFLICT (try_only: others do it), BATON_TIMEOUT (wait_ms:
 * others still do it), BATON_UNAVAILABLE or what troubles the engine (nobody can tell, as with a lock), BATON_INVALID
 * (others mean something else by this key), BATON_LOST (this client did it, and the session was lost or the claim
 * removed before the result was recorded), BATON_CLOSED (given up), BATON_CORRUPT or BATON_NEWER (a record that cannot
 * be used). A failure that is taken up again may bring another BATON_BEGIN before. A client wants a task once at a time
 * (BATON_CONFLICT). 0 and *ret (until baton_task_free, or close), or -1 with BATON_INVALID, BATON_CONFLICT, BATON_FULL.
 */
BATON_API int baton_once(struct baton *b, const char *key, const struct baton_task_options *options,
                         struct baton_task **ret, struct baton_error *err);

/* Is this client to do the task, at this moment? As baton_holds(). */
BATON_API bool baton_works(const struct baton_task *task, uint64_t *ret_token);

/* The work is over. `status` 0: it is done; 1..INT32_MAX: it has failed; BATON_TASK_NOT_BEGUN: nothing was done, the
 * claim is given back, and whoever is next may begin (this client too, unless it gives up). Of each output the last
 * BATON_TASK_OUTPUT_MAX bytes are kept (NULL: nothing); the bytes are copied. BATON_OUTCOME follows when it is
 * recorded, which is tried until it is, also when the session is over by now, unless others have recorded the task as
 * lost. Only between BATON_BEGIN and this call; otherwise it does nothing. */
#define BATON_TASK_NOT_BEGUN (-1)
struct baton_task_result {
    int32_t status;
    const char *out, *err;
    size_t out_size, err_size;
    uint64_t out_left_out, err_left_out; /* bytes before them that the program itself has not kept */
};
BATON_API void baton_done(struct baton_task *task, const struct baton_task_result *result);

/* Do not want the task any more. A program that was working must have stopped, and leaves the task lost. BATON_OUTCOME
 * follows. */
BATON_API void baton_give_up(struct baton_task *task);

/* After BATON_STOP: the work takes `ms` more to stop; see baton_stop_takes(). */
BATON_API bool baton_task_stop_takes(struct baton_task *task, uint32_t ms);

/* Free the handle; it is given up first, in the background (after a baton_done: when the result is recorded). NULL
 * allowed. */
BATON_API void baton_task_free(struct baton_task *task);

BATON_API const char *baton_task_key(const struct baton_task *task); /* "" for "every task" */

/* Look at a task without wanting it; key NULL: at every task of the namespace. */
BATON_API int baton_observe_task(struct baton *b, const char *key, struct baton_task **ret, struct baton_error *err);

enum baton_task_state {
    BATON_TASK_NONE,    /* nobody has begun it, or it is forgotten */
    BATON_TASK_RUNNING, /* it is being done */
    BATON_TASK_DONE,
    BATON_TASK_FAILED,
    BATON_TASK_LOST /* its worker is gone, and nobody knows how far it came */
};
/* "none", "running", "done", "failed", "lost". Never NULL. */
BATON_API const char *baton_task_state_name(enum baton_task_state state);

struct baton_task_output {
    const char *bytes; /* NULL: nothing is kept. Ends with a NUL that does not count */
    size_t size;
    uint64_t left_out; /* bytes before them that were not kept */
};
struct baton_task_status {
    const char *key;
    bool known;        /* a view has arrived; while false, all below is empty */
    uint64_t revision; /* of the view */
    enum baton_task_state state;
    bool expired;          /* what follows is old, and the task may be done again */
    const char *id, *host; /* of the last worker; "" */
    const char *what;
    uint32_t attempt; /* 1: the first */
    int32_t status;   /* of what is done or has failed */
    bool at_least_once;
    int64_t since_wall_ms, ended_wall_ms, expires_wall_ms; /* 0: not */
    struct baton_task_output out, err;
    size_t waiting;      /* how many want it, the worker not counted */
    const char *trouble; /* a record that cannot be used, and why; NULL: all can */
};
BATON_API bool baton_task_known(const struct baton_task *task);
/* A copy; free with baton_task_status_free. Of every task: one entry a task, in the order of their keys. */
BATON_API int baton_task_status(const struct baton_task *task, struct baton_task_status **ret, size_t *ret_count,
                                struct baton_error *err);
BATON_API void baton_task_status_free(struct baton_task_status *status, size_t count);

/* Forget what is recorded of one task, so that it may be done once more. Answered by a BATON_REPLY as a transfer is:
 * BATON_OK, BATON_NOT_FOUND, BATON_CONFLICT (it is being done; with `force`, its worker is told to stop, and may have
 * some time for that), BATON_UNAVAILABLE. */
BATON_API uint64_t baton_forget(struct baton_task *task, bool force, uint32_t timeout_ms);

/* The same, but only if its time is over: BATON_CONFLICT if it is not, or not any more. What has expired does not
 * matter any more, but takes up space: `baton once` removes some of it now and then; a program that uses many keys can
 * do it by this. */
BATON_API uint64_t baton_forget_expired(struct baton_task *task, uint32_t timeout_ms);

/* ---- elections: what an operator asks ---- */

/* Ask the leader to hand over to `to_id` (NULL: to whoever is next). The answer is a BATON_REPLY with the returned
 * number in `request` (never 0, but in a forked child; it arrives after at most timeout_ms): BATON_OK (it has stopped,
 * and another one leads), BATON_LOST (another one leads, but the session of the leader has ended without its answer:
 * whether it has stopped is not known), BATON_NOT_FOUND (nobody else stands, no such candidate, no leader),
 * BATON_CONFLICT (it leads already; another transfer is under way; the election is on hold), BATON_TIMEOUT (the
 * leader has not), BATON_UNAVAILABLE or what troubles the engine (nobody can tell). `e` may be a candidacy or an
 * observation of that election. */
BATON_API uint64_t baton_transfer(struct baton_election *e, const char *to_id, uint32_t timeout_ms);

/* Put the election on hold: its leader stops and nobody leads, until the release. Answered by a BATON_REPLY when it is
 * stored: BATON_OK, or BATON_CONFLICT (on hold already; not on hold), or the engine's error. `why` is kept for people
 * (NULL or up to 200 bytes). */
BATON_API uint64_t baton_hold(struct baton_election *e, const char *why, uint32_t timeout_ms);
BATON_API uint64_t baton_release(struct baton_election *e, uint32_t timeout_ms);

/* What is known of an election: one state that the namespace really had. */
struct baton_candidate {
    const char *id, *address, *host;
    int32_t priority;
    bool preempt;
    bool leads; /* the decision names it */
    int64_t since_wall_ms;
};
struct baton_term {
    uint64_t term;
    const char *id;     /* the leader's; "" for nobody */
    const char *reason; /* "claim", "handover", "transfer", "preempt", "resign", "hold", "death" */
    int64_t since_wall_ms;
};
struct baton_status {
    const char *name;
    bool known;         /* a view has arrived; while false, all below is empty */
    uint64_t revision;  /* of the view */
    uint64_t term;      /* of the decision; 0: there never was one */
    const char *leader; /* id; NULL: nobody leads now */
    int64_t since_wall_ms;
    bool held; /* on hold for maintenance */
    const char *held_why, *held_by;
    const struct baton_candidate *candidates; /* in the order in which they would claim */
    size_t candidate_count;
    const struct baton_term *terms; /* newest first */
    size_t term_count;
    const char *trouble; /* a record that cannot be used, and why; NULL: all can */
};

/* A copy of what is known; free with baton_status_free. With an observation of every election: *ret has one entry an
 * election, *ret_count of them, in the order of their names; else exactly one. */
BATON_API int baton_status(const struct baton_election *e, struct baton_status **ret, size_t *ret_count,
                           struct baton_error *err);
BATON_API void baton_status_free(struct baton_status *status, size_t count);

/* What another process of this host needs to end the session when this one cannot: text and a descriptor
 * (close-on-exec, the caller's; -1: none is needed). For a supervisor's guard; see baton_guard_open. */
#define BATON_LIFELINE_MAX 1024
struct baton_lifeline {
    uint64_t session;
    char text[BATON_LIFELINE_MAX];
    int fd;
};
BATON_API int baton_lifeline(struct baton *b, struct baton_lifeline *ret, struct baton_error *err);

/* The guard's side, in the other process: synchronous, needs no client. `open` takes over the descriptor and prepares,
 * `end` ends the session (an ended one is ended, too), `free` frees. */
struct baton_guard;
BATON_API int baton_guard_open(const struct baton_lifeline *lifeline, struct baton_guard **ret,
                               struct baton_error *err);
BATON_API int baton_guard_end(struct baton_guard *guard, uint32_t timeout_ms, struct baton_error *err);
BATON_API void baton_guard_free(struct baton_guard *guard);

/* The testament of a leader: the handover to the next candidate, which its guard may write when this process is dead
 * and everything that it did as the leader is over; then nobody has to claim. It changes with the candidates: take it
 * again after BATON_LEAD, BATON_CHANGED, BATON_STOP and BATON_FOLLOW. One that is old does no harm, it has no effect.
 * After BATON_STOP it is the handover that was asked for.
 * Text; "" when there is none (it does not lead, nobody is next, it is too long, or the engine sees deaths itself, as
 * the local engine does: then the next one claims as soon). */
#define BATON_TESTAMENT_MAX 8192
BATON_API void baton_testament(const struct baton_election *e, char text[BATON_TESTAMENT_MAX]);
/* The guard's side: what baton_guard_end writes first; "" takes it back. Only for a process that is dead. 0, or -1 with
 * BATON_INVALID, or BATON_UNSUPPORTED (guards of this engine write none). */
BATON_API int baton_guard_testament(struct baton_guard *guard, const char *text, struct baton_error *err);
/* The guard's side: renew the session, when the process is dead or hangs and something of it is left that cannot be
 * ended: so the place does not pass on. 0, and *ret_deadline_ms, by when it must be renewed again; -1 with BATON_LOST
 * (the session is over), BATON_UNSUPPORTED (this engine's guards cannot), or another code: it is not known, so try
 * again until the last deadline. Blocks for at most timeout_ms. A process that goes on after that has lost its place
 * all the same (BATON_STOP); its session is ended when it has said baton_stopped(), or by its guard. */
BATON_API int baton_guard_renew(struct baton_guard *guard, uint32_t timeout_ms, int64_t *ret_deadline_ms,
                                struct baton_error *err);

/* Is `name` a legal election name or id (BATON_NAME_MAX)? 0, or -1 with words that begin with `what`. */
BATON_API int baton_check_name(const char *what, const char *name, struct baton_error *err);

/* CLOCK_BOOTTIME in ms: the clock of every `until_ms`. */
BATON_API int64_t baton_now_ms(void);

#ifdef __cplusplus
}
#endif
#endif
