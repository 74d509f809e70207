/* engine.h: the contract of an engine: the table of functions that a new engine implements.
 *
 * An engine stores the records of one namespace, and does nothing else: no policy, no election, no retry that the
 * caller could not see. Everything is asynchronous on the loop given to `open`: no function of the table blocks on
 * a network or on a disk (an engine whose library blocks does that on a worker), and no callback is called from
 * inside a function of the table, from another thread, or after `closed`.
 *
 * What an engine promises (each has a test in tests/conformance):
 *  - a write is applied at most once, whole or not at all;
 *  - every request with a ticket is answered exactly once; while the engine's server is away, too, within a few seconds
 *    (session_open: within the ttl that was asked for);
 *  - a watch is given first everything under its prefix as of one revision (`reset`), then every change in the order
 *    of revisions, all changes of one revision in one batch. After a gap that it cannot fill it begins again with a
 *    `reset`. A view is always a state the namespace really had, and never goes backward;
 *  - when a write is answered DONE, a watch shows it soon, but perhaps not yet;
 *  - revisions grow by every write in the namespace, also across a restart of the engine or a loss of power;
 *  - a session id is never used again in the namespace;
 *  - when a session ends, all its bound records vanish at one revision. It ends by `session_end`, by the guard, by
 *    the proven death of its process, or because it was not renewed for its ttl: never earlier than the granted ttl
 *    after the engine received the last renewal (or the opening);
 *  - a put bound to a session that is over is refused with BATON_LOST; a write with an empty key, or with a key or a
 *    value above its limit (records.h), with BATON_INVALID.
 *
 * Memory: every pointer given to the engine or to a callback is valid for that call only; the receiver copies.
 * Errors carry words for an operator: which engine, which endpoint, what it said, what to try.
 */
#ifndef BATON_ENGINE_H
#define BATON_ENGINE_H

#include <uv.h>

#include "baton/records.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BATON_ENGINE_ABI 1
#define BATON_EXPORT_MAX 1024

struct baton_engine; /* one open namespace; the engine's own struct begins with `const struct baton_engine_ops *` */
struct baton_engine_guard; /* everything that a guard needs to end one session */

/* The callbacks by which an engine tells its owner. All of them are called on the loop's thread, with the `ctx` given
 * to `open`. */
struct baton_engine_callbacks {
    /* The answer to session_open: err NULL and a new id with the ttl that was granted (at least what was asked
     * for, or the engine's own minimum), or session 0 and why not. */
    void (*session_opened)(void *ctx, uint64_t ticket, uint64_t session, uint32_t ttl_ms,
                           const struct baton_error *err);
    /* The answer to session_renew: DONE; UNKNOWN; or REFUSED: the session is over. */
    void (*session_renewed)(void *ctx, uint64_t ticket, const struct baton_reply *reply);
    /* The engine knows that this session is over, however it ended (also the answer to session_end, when it was
     * done). May be called at most once a session, and need not come: the owner counts its own deadline. */
    void (*session_ended)(void *ctx, uint64_t session);
    /* The answer to write. */
    void (*written)(void *ctx, uint64_t ticket, const struct baton_reply *reply);
    /* A view moved. */
    void (*changed)(void *ctx, uint64_t watch, const struct baton_batch *batch);
    /* The engine cannot be used now (err), or it can again (NULL). People are told, and a wait ends that was not to
     * last until an answer comes (a try, a limit); nothing else depends on it. */
    void (*trouble)(void *ctx, const struct baton_error *err);
    /* The answer to close; the engine is gone. */
    void (*closed)(void *ctx);
};

struct baton_engine_ops {
    unsigned abi;        /* BATON_ENGINE_ABI */
    const char *scheme;  /* "local": of its URLs */
    uint32_t ttl_min_ms; /* the smallest ttl it can promise */
    uint32_t ttl_max_ms;
    uint32_t step_ms; /* a few round trips: by how much candidates stagger their claims */
    /* The death of a session's process ends the session at once, without a guard: the kernel tells. */
    bool sees_deaths;
    /* With `rest`: a view takes some time to go on (etcd: 100 ms), so it should have some left when it is woken. */
    bool goes_on_late;

    /* The URL in full, on the heap, where one may leave something out that is this user's or this host's own ("local:":
     * a directory); it is what is told. NULL: this one is in full; NULL in the table: each one is. */
    char *(*full_url)(const char *url);

    /* Check the URL and begin. Fails at once for what cannot become right by waiting (a malformed URL, a damaged or
     * read-only store); an engine that cannot be reached now opens, says so by `trouble`, and goes on trying.
     * (local: opening may touch the disk: it is the one call that may block, before the loop runs.)
     * `create`: a store that is not there is made; else that is NOT_FOUND, and nothing is made. (An engine whose stores
     * are always there, as those of a server are, need not look at it.) */
    int (*open)(const char *url, bool create, uv_loop_t *loop, const struct baton_engine_callbacks *callbacks,
                void *ctx, struct baton_engine **ret, struct baton_error *err);
    /* Give everything back. A session that is still open must be left as it is (its process may be about to die: the
     * ttl or the guard ends it). `closed` follows, and nothing else. */
    void (*close)(struct baton_engine *engine);

    void (*session_open)(struct baton_engine *engine, uint64_t ticket, uint32_t ttl_ms);
    void (*session_renew)(struct baton_engine *engine, uint64_t ticket, uint64_t session);
    void (*session_end)(struct baton_engine *engine, uint64_t session);
    /* Text, and perhaps a file descriptor, that let another process of the same host end this session; *ret_fd is
     * a new descriptor (close-on-exec) of the caller's, or -1. 0, or -1 with err. Does not block. */
    int (*session_export)(struct baton_engine *engine, uint64_t session, char text[BATON_EXPORT_MAX], int *ret_fd,
                          struct baton_error *err);

    void (*write)(struct baton_engine *engine, uint64_t ticket, const struct baton_write *write);
    /* Keep a view of everything whose key begins with `prefix` (empty, or ending with a slash); `watch` is the caller's
     * number for it. */
    void (*watch)(struct baton_engine *engine, uint64_t watch, const char *prefix);
    void (*unwatch)(struct baton_engine *engine, uint64_t watch);

    /* Let a view rest: from now on the engine may withhold its changes. It must go on once one of `keys` is written or
     * removed at a revision above the last one that was told; and, if `slow` is not NULL, once a session of this client
     * is renewed while the record at `slow` has such a revision, or is not there. It may go on at any time, also at
     * once: an engine may ignore `rest`. It goes on from where it was, or with a `reset`, and then does not rest any
     * more. Without keys: it must go on now, if it rests. NULL in the table: views never rest. */
    void (*rest)(struct baton_engine *engine, uint64_t watch, const struct baton_rest *rest);

    /* For engines whose clients share memory: the latch of the client's own record at `key`, which was put with
     * `latched` and created at revision `created`; good until `close`. Any thread may use it. NULL: it has none, which
     * costs time only; NULL in the table: none has.
     *
     * A latch that its owner has freed lets go of the record: the engine removes it before anything else, with
     * `latched`, is put beside it (under the same key up to the last slash), in one step with that. Whoever puts
     * something beside one that is in use marks it as wanted; it cannot be freed then. A record that is removed, or
     * whose session ends, has its latch closed first. What is created after any of that has a larger revision than the
     * last token of the latch (latch.h). */
    struct baton_latch *(*latch)(struct baton_engine *engine, const char *key, uint64_t created);

    /* The guard's part: synchronous, in another process, no loop. guard_open takes over `fd` (also on failure) and
     * prepares what can be prepared; guard_end ends the session: all its bound records vanish, the others are told.
     * Ending a session that is over already is done, too. */
    int (*guard_open)(const char *text, int fd, struct baton_engine_guard **ret, struct baton_error *err);
    int (*guard_end)(struct baton_engine_guard *guard, uint32_t timeout_ms, struct baton_error *err);
    void (*guard_close)(struct baton_engine_guard *guard);
    /* The write that guard_end makes before it ends the session (NULL: none any more); copied. A conflict, or a
     * refusal, does not keep the session from its end. Best in one with it; else before it. NULL in the table: guards
     * write none, and the next one claims when it sees the end. (An engine that sees deaths itself gains little by a
     * testament: on local it made a takeover 3 % shorter.) */
    void (*guard_testament)(struct baton_engine_guard *guard, const struct baton_write *write);
    /* Renew the session for a process that is dead or hangs, because something of it is left that cannot be ended. As
     * session_renew: 0, and it lasts for *ret_ttl_ms from the call on, at least; -1 with BATON_LOST: it is over; -1
     * with another code: nobody knows. NULL in the table: a guard cannot, so the place passes on after the ttl. */
    int (*guard_renew)(struct baton_engine_guard *guard, uint32_t timeout_ms, uint32_t *ret_ttl_ms,
                       struct baton_error *err);
};

/* A loadable engine exports this symbol: `const struct baton_engine_ops baton_engine_SCHEME`. */

#ifdef __cplusplus
}
#endif
#endif
