/* handle.h: what a program holds of a client: a candidacy, a lock, a task, or the observation of one. Private to
 * src/client. What all kinds have in common is here; what differs is a row of handle_kind for each.
 *
 * To add a kind: its row in handle.c, a file with its public functions, and its public header.
 */
#ifndef CLIENT_HANDLE_H
#define CLIENT_HANDLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "baton/baton.h"
#include "core/core.h"

struct baton;
struct queued;
struct shared_page;

/* The places in which the queue remembers events of a handle, or of the client, that were not taken yet (queue.c). */
enum queue_place {
    QUEUED_TROUBLE, /* of either */
    QUEUED_RECOVERED,
    QUEUED_LEAD, /* of a handle */
    QUEUED_STOP,
    QUEUED_FOLLOW,
    QUEUED_CHANGED,
    QUEUED_DUPLICATE,
    QUEUED_SESSION = QUEUED_LEAD, /* of the client */
    QUEUED_RENEWED,
    QUEUED_LOST_SESSION,
    QUEUED_PLACES = QUEUED_DUPLICATE + 1,
    QUEUED_NOWHERE
};

struct handle {
    struct baton *client;
    struct contest *core; /* the core's part; NULL: it is to get one */
    enum contest_kind kind;
    char *name; /* "": every one of its kind */
    bool all;   /* it observes every one of its kind */
    struct shared_page *page;
    _Atomic uint64_t term; /* what the program has: the term or token; 0: nothing */
    uint32_t stop_ms;
    bool standing;     /* in the client's tree of names: nobody else of this client may want the same */
    bool freed;        /* by the program: nothing is told of it any more */
    bool unlocked;     /* the program has stopped by itself, so it need not be told to (lock, task) */
    bool outcome_told; /* the attempt is over, and the program knows */
    bool recording;    /* how the work ended is not recorded yet (task) */
    bool troubled;     /* trouble of it was told */
    bool stopping;     /* STOP was told, and the core waits for the answer, until stop_until_ms */
    int64_t stop_until_ms;
    bool want_stopped, want_resign; /* the program has asked for that, and the loop has not seen it */
    unsigned requests;              /* not answered yet */
    struct queued *queued[QUEUED_PLACES];
    bool asking; /* it is in the client's list of handles that want something of the loop */
    struct handle *asking_next;
    struct handle *next, **place; /* among all of the client's; *place is this one */
};

struct baton_election {
    struct handle handle;
};

struct baton_lock {
    struct handle handle;
};

struct baton_task {
    struct handle handle;
};

/* What the program is told of a kind of handle. BATON_NONE: it is not told. */
struct handle_kind {
    const char *stands[2]; /* "this client STANDS[0] 'name' STANDS[1]": why a second one is refused */
    const char *leaves;    /* of one that was freed: what it still waits for */
    enum baton_event_kind lead, follow, resigned, outcome;
    bool ends_by_outcome; /* after the outcome nothing is told, and the next attempt may begin */
    void (*name_in)(struct baton_event *event, struct handle *handle); /* which member of the event names it */
};
const struct handle_kind *handle_kind(const struct handle *handle);

/* All with the client's mutex held, unless something else is said. */

/* A new one, on the heap, without a contest. name NULL: every one of the kind. */
struct handle *handle_new(struct baton *b, enum contest_kind kind, const char *name);
/* It belongs to this contest from now on, and to the client's list. */
void handle_add(struct handle *handle, struct contest *core);
/* Of one that was never added. */
void handle_free(struct handle *handle);
/* A new one that observes; NULL with err. */
struct handle *handle_open(struct baton *b, enum contest_kind kind, const char *name, struct baton_error *err);
/* The same for a program's call: checks the name, takes the mutex itself, wakes the loop. */
struct handle *handle_observe(struct baton *b, enum contest_kind kind, const char *name, struct baton_error *err);
/* 0, or -1: this client stands for that name already. */
int handle_check_standing(struct baton *b, enum contest_kind kind, const char *name, struct baton_error *err);
/* 0, or -1: a stop that may take so long does not fit the ttl. Without the mutex. */
int handle_check_stop(const struct baton *b, uint32_t stop_ms, struct baton_error *err);
void handle_stands(struct handle *handle, uint32_t stop_ms);
/* It does not stand any more; twice is once. */
void handle_withdrawn(struct handle *handle);
/* The core has freed its part: the handle is taken from all lists and freed. */
void handle_gone(struct handle *handle);
/* `want` is one of the handle's wishes: the loop will look at it, when it is woken. */
void handle_ask(struct handle *handle, bool *want);
/* A number for a request about this handle ("transfer"). false: it cannot be made; BATON_REPLY says why. */
bool handle_request(struct handle *handle, const char *what, uint64_t *ret_number);
/* BATON_REPLY to a request that is refused before it is made. */
void handle_refuse_request(struct handle *handle, uint64_t number, const struct baton_error *err);

/* What the public functions of each kind do, by any thread, without the mutex. */
bool handle_leads(const struct handle *handle, uint64_t *ret_term); /* also in a signal handler */
void handle_stopped(struct handle *handle);
bool handle_stop_takes(struct handle *handle, uint32_t ms);
void handle_resign(struct handle *handle);
void handle_release(struct handle *handle); /* baton_..._free() */
bool handle_known(const struct handle *handle);

#endif
