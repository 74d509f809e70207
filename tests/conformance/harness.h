/* harness.h: engines under test: a client remembers everything that its engine tells, and checks at once what must hold
 * for every engine (one answer a ticket, no callback from inside a call, views that only move forward by whole
 * revisions). Every wait has a limit. */
#ifndef CONFORMANCE_HARNESS_H
#define CONFORMANCE_HARNESS_H

#include "baton/engine.h"

#define WAIT_MS 20000 /* no wait lasts longer; far beyond what anything should take */
#define TICKETS_MAX 40000
#define WATCHES_MAX 8

struct view {
    bool watched, begun;
    struct baton_record *records; /* by key */
    size_t count, room;
    uint64_t revision, began; /* now; and at the last reset */
    size_t resets, batches;
    size_t last_removed;    /* removals in the last batch that had any ... */
    uint64_t removed_first; /* ... and the first and last revision of them */
    uint64_t removed_last;
    int64_t changed_ms; /* when the last batch came */
};

struct client {
    const struct baton_engine_ops *ops;
    struct baton_engine *engine;
    uv_loop_t *loop;
    bool inside, closed;
    uint64_t last_ticket;
    unsigned char answered[TICKETS_MAX]; /* how often, by ticket */
    struct baton_reply reply;            /* the last */
    uint64_t done_revision;              /* the greatest that was answered DONE */
    size_t answers, done;
    uint64_t session;
    uint32_t ttl_ms;
    struct baton_error error; /* of the last session_opened that failed */
    uint64_t ended;           /* the last session that was told to be over */
    size_t ended_count;
    struct baton_error trouble;            /* BATON_OK: none */
    uint64_t revisions[TICKETS_MAX];       /* of writes that were answered DONE, by ticket */
    unsigned char answers_by[TICKETS_MAX]; /* enum baton_answer, by ticket */
    /* Looks at each change of view 0 in the order in which it comes, and at the view after each batch. */
    void (*on_change)(struct client *client, const struct baton_change *change);
    void (*on_batch)(struct client *client);
    void *ctx;
    struct view views[WATCHES_MAX];
};

/* The engine of url; the test fails if there is none. */
const struct baton_engine_ops *harness_ops(const char *url);

struct client *client_new(const char *url, uv_loop_t *loop);
/* The same, for what must not open. NULL and err. */
struct client *client_try(const char *url, uv_loop_t *loop, struct baton_error *err);
/* Close, wait for `closed`, free. */
void client_free(struct client *client);
/* Run the loop until done(ctx), or fail after WAIT_MS. wait_for returns whether it came within ms. */
bool wait_for(uv_loop_t *loop, bool (*done)(void *ctx), void *ctx, int64_t ms);
void wait_until(uv_loop_t *loop, bool (*done)(void *ctx), void *ctx);

/* Requests; each gives its ticket. */
uint64_t client_put(struct client *client, const char *key, const char *value, uint64_t session, uint64_t if_revision);
uint64_t client_remove(struct client *client, const char *key, uint64_t if_revision);
uint64_t client_session_open(struct client *client, uint32_t ttl_ms);
uint64_t client_renew(struct client *client, uint64_t session);
void client_session_end(struct client *client, uint64_t session);
void client_watch(struct client *client, unsigned watch, const char *prefix);
void client_unwatch(struct client *client, unsigned watch);
/* Let it rest until `key` (NULL: no more), and look at `slow` at times; if the engine can. */
void client_rest(struct client *client, unsigned watch, const char *key, const char *slow);

/* Requests, and the wait for their answer. */
const struct baton_reply *latched_put(struct client *client, const char *key, uint64_t session); /* it must not exist */
const struct baton_reply *latched_removal(struct client *client, const char *key);
const struct baton_reply *put(struct client *client, const char *key, const char *value, uint64_t session,
                              uint64_t if_revision);
const struct baton_reply *removal(struct client *client, const char *key, uint64_t if_revision);
const struct baton_reply *renewal(struct client *client, uint64_t session);
uint64_t session_new(struct client *client, uint32_t ttl_ms);
void wait_answer(struct client *client, uint64_t ticket);
void wait_view(struct client *client, unsigned watch, uint64_t revision);
void wait_key(struct client *client, unsigned watch, const char *key, bool there);

const struct baton_record *view_get(const struct client *client, unsigned watch, const char *key);

#endif
