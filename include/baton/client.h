/* client.h: a client of a namespace: its options, its life, and the queue of what has happened. Threads, fork, time and
 * memory: see baton.h. */
#ifndef BATON_CLIENT_H
#define BATON_CLIENT_H

#include "baton/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BATON_API __attribute__((visibility("default")))

#define BATON_NAME_MAX 128    /* bytes of a name, of an election or a lock, and of a task's key */
#define BATON_ID_MAX 128      /* bytes of an instance's id */
#define BATON_ADDRESS_MAX 255 /* bytes of an address */
#define BATON_URL_MAX 960     /* bytes of a URL: a guard is told it, and so is the command, in one message each */
#define BATON_TTL_DEFAULT_MS 10000
#define BATON_RECORDS_MAX 262144  /* records of one election, lock or task that are looked at; more: BATON_TROUBLE */
#define BATON_ELECTIONS_MAX 65536 /* elections, locks and tasks of one client */

struct baton;          /* one connection of this process to a namespace, with one session at a time */
struct baton_election; /* see election.h */
struct baton_lock;     /* see lock.h */
struct baton_task;     /* see task.h */

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

/* Is `name` a legal election name or id (BATON_NAME_MAX)? 0, or -1 with words that begin with `what`. */
BATON_API int baton_check_name(const char *what, const char *name, struct baton_error *err);

/* CLOCK_BOOTTIME in ms: the clock of every `until_ms`. */
BATON_API int64_t baton_now_ms(void);

#ifdef __cplusplus
}
#endif

#endif
