/* etcd.h: the parts of the engine, and its state. Private to src/engine/etcd.
 *
 * A session is a lease, a record is a key under NAMESPACE/, and revisions are etcd's own. One loop, one connection:
 * link.h. Nothing here is called from another thread.
 */
#ifndef ETCD_ETCD_H
#define ETCD_ETCD_H

#include "base/base.h"
#include "base/clock.h"
#include "baton/engine.h"
#include "engine/etcd/etcd.pb-c.h"
#include "engine/etcd/link.h"
#include "engine/etcd/question.h"
#include "engine/etcd/status.h"
#include "engine/rest.h"

/* A lease that this engine has opened, or was asked about. */
struct session {
    struct session *next;
    uint64_t id;
    uint32_t ttl_ms;
    bool ending, over;
};

/* A request of the owner's that is not answered yet. */
struct request {
    struct request *next, **place;
    struct baton_engine *engine;
    uint64_t ticket, session;
    uint32_t ttl_ms;
    int64_t until_ms;
};

struct view;
struct views {
    struct view *first;
    struct view *wanted, **last_wanted; /* to be read, in order */
    bool troubled;                      /* one was refused, and none was read since */
    void *by_number;                    /* a tree (tsearch(3)) */
    int64_t last_number;
    unsigned reading;
    size_t count, resting;
    uv_timer_t retry;
};

struct baton_engine {
    const struct baton_engine_ops *ops;
    struct baton_engine_callbacks callbacks;
    void *ctx;
    struct etcd_url url;
    char *url_text;
    struct link *link;
    bool link_closed, timer_closed;
    struct request *requests;
    struct session *sessions;
    struct views views;
};

extern const struct baton_engine_ops baton_engine_etcd;

/* A write as a transaction of etcd's, for one grpc_call_put or link_call: its parts, which point to each other. */
struct txn {
    Etcdserverpb__TxnRequest request;
    Etcdserverpb__Compare compare, *compares[1];
    Etcdserverpb__RequestOp op, *ops[1];
    Etcdserverpb__PutRequest put;
    Etcdserverpb__DeleteRangeRequest removal;
    char *key;
};
void txn_init(struct txn *txn, const char *prefix, const struct baton_write *write);
void txn_release(struct txn *txn);

/* etcd.c */
struct request *request_new(struct baton_engine *engine, uint64_t ticket);
void request_free(struct request *request);
/* The key in etcd: NAMESPACE/KEY. The caller frees it. */
char *etcd_key(const struct baton_engine *engine, const char *key);
ProtobufCBinaryData etcd_bytes(const char *text);

/* sessions.c */
void sessions_open(struct baton_engine *engine, uint64_t ticket, uint32_t ttl_ms);
void sessions_renew(struct baton_engine *engine, uint64_t ticket, uint64_t id);
void sessions_end(struct baton_engine *engine, uint64_t id);
int sessions_export(struct baton_engine *engine, uint64_t id, char text[BATON_EXPORT_MAX], struct baton_error *err);
void sessions_release(struct baton_engine *engine);

/* views.c */
void views_init(struct baton_engine *engine, uv_loop_t *loop);
void views_add(struct baton_engine *engine, uint64_t watch, const char *prefix);
void views_remove(struct baton_engine *engine, uint64_t watch);
void views_rest(struct baton_engine *engine, uint64_t watch, const struct baton_rest *asked);
void views_look(struct baton_engine *engine); /* a session is renewed: those that rest look at what they want to */
void views_up(struct baton_engine *engine);
void views_down(struct baton_engine *engine);
void views_message(struct baton_engine *engine, const uint8_t *message, size_t length);
void views_release(struct baton_engine *engine);

/* guard.c */
int etcd_guard_open(const char *text, int fd, struct baton_engine_guard **ret, struct baton_error *err);
int etcd_guard_end(struct baton_engine_guard *guard, uint32_t timeout_ms, struct baton_error *err);
void etcd_guard_close(struct baton_engine_guard *guard);
int etcd_guard_renew(struct baton_engine_guard *guard, uint32_t timeout_ms, uint32_t *ret_ttl_ms,
                     struct baton_error *err);
void etcd_guard_testament(struct baton_engine_guard *guard, const struct baton_write *write);

#endif
