/* link.h: one connection to one member of the cluster at a time, and the calls that go over it.
 *
 * Calls wait until there is a connection, each at most until its limit. A connection is given up as a whole: when it
 * breaks, when a call gets no answer within its limit (the member hangs, or the network loses packets), and when the
 * member says that it has no leader. Every call that was under way is then answered GRPC_BROKEN, and the next endpoint
 * is tried. So answers and the messages of the stream are in one order, and a member that does not answer cannot make a
 * view stand still unnoticed.
 *
 * When etcd has forgotten the token, the link logs in again, and sends the refused calls again; no caller sees it.
 *
 * All on one loop. No callback is called from inside a function here.
 */
#ifndef ETCD_LINK_H
#define ETCD_LINK_H

#include <uv.h>

#include "engine/etcd/grpc.h"

#define LINK_LIMIT_MS 2500 /* for an answer, where there is no reason for another limit */

struct link;

typedef void (*link_done)(void *ctx, const struct grpc_result *result);

struct link_callbacks {
    void (*up)(void *ctx);   /* there is a connection; the stream may be opened */
    void (*down)(void *ctx); /* it is gone, and the stream with it (each call has been answered) */
    void (*trouble)(void *ctx, const struct baton_error *err); /* no endpoint can be used; NULL: one can again */
    void (*message)(void *ctx, const uint8_t *message, size_t length); /* came over the stream */
    void (*closed)(void *ctx);
};

struct link *link_new(const struct etcd_url *url, uv_loop_t *loop, const struct link_callbacks *callbacks, void *ctx);
/* Every call that is under way is forgotten; `closed` follows, and nothing else. */
void link_close(struct link *link);

/* A call with one request and (at most) one answer. `method` is of static life: "KV/Range". */
void link_call(struct link *link, const char *method, const ProtobufCMessage *request, int64_t limit_ms, link_done done,
               void *ctx);
/* Answer `done` from the loop, as if a call had ended so. */
void link_answer(struct link *link, const struct grpc_result *result, link_done done, void *ctx);
/* No answer is told to this ctx any more. */
void link_forget(struct link *link, const void *ctx);

bool link_is_up(const struct link *link);
/* While it is up: send over its stream (one; opened by the first message, as `method`). */
void link_stream(struct link *link, const char *method, const ProtobufCMessage *request);
/* Give up the connection for a reason that the caller has seen, and take the next endpoint. */
void link_drop(struct link *link, const char *why);
/* While it is up: connect to the same endpoint anew, with a new token for the stream, too. It is no failure. */
void link_renew(struct link *link);

const char *link_endpoint(const struct link *link); /* in use, or tried last */

#endif
