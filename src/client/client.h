/* client.h: what a client is made of. Private to src/client.
 *
 * One thread runs a libuv loop that owns the engine; engine functions are called there only. One mutex guards the core,
 * the handles and the queue: it is held for a step of the core, never while the engine is called or anything is waited
 * for. What another thread asks for is noted under the mutex, and the loop is woken. Which thread may call a function
 * is said by its header, and asserted: client_is_locked(), driver_is_here().
 */
#ifndef CLIENT_CLIENT_H
#define CLIENT_CLIENT_H

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#include "base/base.h"
#include "baton/baton.h"
#include "client/closing.h"
#include "client/handle.h"
#include "core/election/election.h"
#include "core/lock/lock.h"
#include "core/task/task.h"
#include "engine/engine.h"

/* On a page of its own that a forked child sees as zeroes (MADV_WIPEONFORK, madvise(2)): a child never leads. */
struct shared_page {
    _Atomic int64_t deadline_ms; /* of the session; 0: none */
    _Atomic bool ours;
};

struct queued;

#define TRY_LIMIT_MS 10000   /* a try on an engine that does not answer ends, too; */
#define ANSWER_LEAST_MS 3000 /* ... and a shorter wait leaves the engine so much to answer, on a busy machine */

/* An event that the program has not taken yet; small: there may be several for each of many elections. */
struct queued {
    struct queued *next, *before;
    struct queued **place; /* the place that points to this event (enum queue_place); NULL: none */
    struct handle *handle; /* the subject of this event; NULL: the client */
    uint64_t term, session, request;
    int64_t until_ms;
    char *text; /* NULL: none */
    enum baton_event_kind kind;
    enum baton_code code;
};

struct queue {
    struct queued *first, *last;
    struct queued *queued[QUEUED_PLACES]; /* of the client */
    bool rung;                            /* the descriptor is readable, or will be at once */
};

/* A function that another thread wants run on the loop, and waits for. */
struct call {
    void (*run)(struct baton *b, void *arg);
    void *arg;
    bool done;
    struct call *next;
};

/* The process that ends the session of a program that died (guard.h). A field without another word is the loop's. */
struct client_guard {
    bool wanted;
    bool moved; /* under the mutex: the testament that the guard has may be out of date */
    bool told;  /* under the mutex: the program knows that the guard is missing */
    bool has_testament;
    bool started;
    uint64_t started_ms; /* the last time, by the loop's clock */
    unsigned deaths;
    uint64_t session; /* whose lifeline the guard has; 0: none */
    int fd;           /* to speak to it; -1: it does not run */
    uv_poll_t heard;
    uv_timer_t again;
};

struct baton {
    char *id, *url;
    char *full_url; /* for people; NULL: `url` says it all */
    struct baton_options options;
    const struct baton_engine_ops *ops;
    struct baton_engine *engine;
    struct shared_page *page;
    pthread_t thread;
    uv_loop_t loop;
    uv_async_t asked;
    uv_poll_t due;
    int due_fd;
    _Atomic int64_t alive_ms; /* the last baton_alive that was passed on */
    _Atomic bool alive_asked; /* ... and that the core has not heard of */

    pthread_mutex_t mutex;
    pthread_cond_t moved; /* a call is done, the state has changed */
    /* under the mutex: */
    struct core *core;
    struct update todo;
    struct handle *handles;
    size_t led;            /* elections that it leads */
    void *standing_names;  /* those that stand, by name: a tree (tsearch(3)) */
    struct handle *asking; /* handles that want something of the loop */
    struct queue queue;
    int event_fd;
    struct call *calls;
    uint64_t last_request;
    unsigned requests; /* not answered yet: at most REQUESTS_MAX */
    enum client_state state;
    int64_t due_ms;    /* what due_fd is set to */
    int64_t orphan_ms; /* a stop that nobody can answer any more is over at this time; NEVER_MS: there is none */
    char trouble[BATON_ERROR_TEXT]; /* the last that was told; "": none */
    bool engine_troubled;           /* the engine has said so, and not taken it back */
    bool refused;                   /* something was refused, and nothing was done since */
    /* the loop's own: */
    uint64_t ending; /* a session whose end was asked for, and not answered */
    uint64_t ended;  /* the last one whose end was answered */
    struct client_guard guard;
};

/* client.c */
/* The mutex. A thread holds that of one client at a time, and must not hold it when it locks. */
void client_lock(struct baton *b);
void client_unlock(struct baton *b);
bool client_is_locked(const struct baton *b); /* by the calling thread */
/* With the mutex held, which is free meanwhile: wait for `moved`, at most until `until` (CLOCK_MONOTONIC; NULL: for as
 * long as it takes). 0, or ETIMEDOUT. */
int client_wait_moved(struct baton *b, const struct timespec *until);
bool client_is_ours(const struct baton *b); /* false in a forked child */
int client_check(const struct baton *b, struct baton_error *err);
int client_check_open(const struct baton *b, struct baton_error *err); /* with the mutex held: it is not closing */
void client_wake(struct baton *b);
/* Until when others and the engine are waited for; `wait_ms` as in baton_lock_options, queue->try_only is set. */
void client_wait(struct queue_options *queue, uint32_t wait_ms);

/* closing.c: the whole of baton_close(), until the thread is over */
void closing_run(struct baton *b);

/* driver.c */
int driver_start(struct baton *b, struct baton_error *err);
/* Is the calling thread the one that may call the engine? It is the loop's; while the client is opened, the program's.
 */
bool driver_is_here(const struct baton *b);
/* With the mutex held, in any thread: what the program reads of a handle; step by this time. */
void driver_publish_term(struct handle *handle, uint64_t term);
void driver_step_by(struct baton *b, int64_t at_ms);
/* Run it on the loop and wait. -1: the client is being closed. */
int driver_call(struct baton *b, void (*run)(struct baton *b, void *arg), void *arg, struct baton_error *err);

/* lifeline.c: on the loop, without the mutex */
int lifeline_export(struct baton *b, struct baton_lifeline *ret, struct baton_error *err);
/* With the mutex held, in any thread. */
void testament_text(const struct baton *b, const struct handle *handle, char text[BATON_TESTAMENT_MAX]);

/* guard.c: on the loop */
int client_guard_check(const struct baton_options *options, struct baton_error *err);
void client_guard_init(struct baton *b);
void client_guard_follow(struct baton *b);                      /* the session, or what it leads, may be another one */
void client_guard_leave(struct baton *b, bool session_is_over); /* closes its handles */
/* guard_spawn.c: the descriptor to speak to it, or -1 */
int client_guard_spawn(const char *path, struct baton_error *err);

/* queue.c: with the mutex held */
struct queued *queue_add(struct baton *b, enum baton_event_kind kind, struct handle *handle, const char *text);
void queue_forget(struct baton *b, const struct handle *handle);
void queue_release(struct baton *b);
/* Without the mutex: make the descriptor readable if there is something. */
void queue_ring(struct baton *b);

#endif
