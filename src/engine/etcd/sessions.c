/* sessions.c: a session is a lease.
 *
 * Its number is the revision of a put that is made for it, and the lease is granted with that number as its id: so it
 * is never used again in this cluster, whatever the members' clocks and their random numbers do.
 *
 * A renewal is a LeaseKeepAlive stream of one message. Its answer alone is no proof that the lease will last: a member
 * can answer for a lease whose revocation is under way. What is safe is that the owner counts its own deadline, and
 * that the view shows its bound records gone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/etcd/etcd.h"

#define RENEW_LIMIT_MIN_MS 400

static struct session *session_find(const struct baton_engine *engine, uint64_t id)
{
    struct session *session = engine->sessions;
    while (session != NULL && session->id != id)
        session = session->next;
    return session;
}

static struct session *session_add(struct baton_engine *engine, uint64_t id, uint32_t ttl_ms)
{
    struct session *session = mem_new(sizeof(*session));
    assert(id != 0);
    *session = (struct session){.next = engine->sessions, .id = id, .ttl_ms = ttl_ms};
    engine->sessions = session;
    return session;
}

static void session_drop(struct baton_engine *engine, uint64_t id)
{
    for (struct session **at = &engine->sessions; *at != NULL; at = &(*at)->next) {
        struct session *session = *at;
        if (session->id != id)
            continue;
        *at = session->next;
        free(session);
        return;
    }
}

void sessions_release(struct baton_engine *engine)
{
    while (engine->sessions != NULL)
        session_drop(engine, engine->sessions->id);
}

/* ---- open: a put for its number, then the lease ---- */

static void open_begin(struct request *request);

/* It may have been done, or not: asking again takes as long as the link needs to find a member that answers. */
static bool worth_another(const struct request *request, const struct grpc_result *result)
{
    return (result->status == GRPC_BROKEN || result->status == GRPC_UNAVAILABLE) && clock_now_ms() < request->until_ms;
}

/* A call without an answer may be made again: a number is used once, and a lease that nobody knows of ends by itself.
 */
static void open_failed(struct request *request, const struct grpc_result *result)
{
    struct baton_engine *engine = request->engine;
    struct baton_error err;
    if (worth_another(request, result)) {
        open_begin(request);
        return;
    }
    status_error(result, link_endpoint(engine->link), "a session cannot be opened", &err);
    uint64_t ticket = request->ticket;
    request_free(request);
    engine->callbacks.session_opened(engine->ctx, ticket, 0, 0, &err);
}

static void on_granted(void *ctx, const struct grpc_result *result)
{
    struct request *request = ctx;
    struct baton_engine *engine = request->engine;
    Etcdserverpb__LeaseGrantResponse *answer = NULL;
    if (result->status == GRPC_OK)
        answer = etcdserverpb__lease_grant_response__unpack(NULL, result->length, result->message);
    if (answer == NULL || (uint64_t)answer->id != request->session || answer->ttl <= 0) {
        if (answer != NULL)
            etcdserverpb__lease_grant_response__free_unpacked(answer, NULL);
        open_failed(request, result);
        return;
    }
    uint64_t ticket = request->ticket;
    struct session *session = session_add(engine, request->session, (uint32_t)answer->ttl * 1000);
    etcdserverpb__lease_grant_response__free_unpacked(answer, NULL);
    request_free(request);
    engine->callbacks.session_opened(engine->ctx, ticket, session->id, session->ttl_ms, NULL);
}

static int64_t left_ms(const struct request *request)
{
    int64_t left = request->until_ms - clock_now_ms();
    return left > 0 ? left : 0;
}

static void on_numbered(void *ctx, const struct grpc_result *result)
{
    struct request *request = ctx;
    Etcdserverpb__PutResponse *answer = NULL;
    if (result->status == GRPC_OK)
        answer = etcdserverpb__put_response__unpack(NULL, result->length, result->message);
    request->session = answer != NULL && answer->header != NULL ? (uint64_t)answer->header->revision : 0;
    if (answer != NULL)
        etcdserverpb__put_response__free_unpacked(answer, NULL);
    if (request->session == 0) {
        open_failed(request, result);
        return;
    }
    Etcdserverpb__LeaseGrantRequest grant = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    assert(request->ttl_ms >= request->engine->ops->ttl_min_ms);
    grant.ttl = (request->ttl_ms + 999) / 1000;
    grant.id = (int64_t)request->session;
    link_call(request->engine->link, "Lease/LeaseGrant", &grant.base, left_ms(request), on_granted, request);
}

static void open_begin(struct request *request)
{
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    char *key = etcd_key(request->engine, SESSION_KEY);
    put.key = etcd_bytes(key);
    put.value = etcd_bytes("{\"v\":1}");
    link_call(request->engine->link, "KV/Put", &put.base, left_ms(request), on_numbered, request);
    free(key);
}

void sessions_open(struct baton_engine *engine, uint64_t ticket, uint32_t ttl_ms)
{
    struct request *request = request_new(engine, ticket);
    request->ttl_ms = ttl_ms > engine->ops->ttl_min_ms ? ttl_ms : engine->ops->ttl_min_ms;
    request->until_ms = clock_now_ms() + request->ttl_ms;
    open_begin(request);
}

/* ---- renew ---- */

static void on_renewed(void *ctx, const struct grpc_result *result)
{
    struct request *request = ctx;
    struct baton_engine *engine = request->engine;
    struct session *session = session_find(engine, request->session);
    uint64_t ticket = request->ticket, id = request->session;
    struct baton_reply reply = {.answer = BATON_ANSWER_DONE};
    Etcdserverpb__LeaseKeepAliveResponse *answer = NULL;
    if (result->status == GRPC_OK && result->message != NULL)
        answer = etcdserverpb__lease_keep_alive_response__unpack(NULL, result->length, result->message);
    if (answer != NULL && answer->ttl <= 0) { /* that is how etcd says that there is no such lease */
        reply.answer = BATON_ANSWER_REFUSED;
        error_set(&reply.error, BATON_LOST, "etcd at %s: the session's lease %llx is over (expired or revoked)",
                  link_endpoint(engine->link), (unsigned long long)id);
        if (session != NULL)
            session->over = true; /* its owner will end it, and is told so then */
    } else if (answer == NULL) {
        /* Whatever went wrong, the lease may live. */
        status_reply(result, link_endpoint(engine->link), "a renewal", &reply);
        reply.answer = BATON_ANSWER_UNKNOWN;
        if (reply.error.code == BATON_OK)
            error_set(&reply.error, BATON_UNAVAILABLE, "etcd at %s: a renewal got no answer",
                      link_endpoint(engine->link));
    }
    if (answer != NULL)
        etcdserverpb__lease_keep_alive_response__free_unpacked(answer, NULL);
    request_free(request);
    engine->callbacks.session_renewed(engine->ctx, ticket, &reply);
}

void sessions_renew(struct baton_engine *engine, uint64_t ticket, uint64_t id)
{
    struct request *request = request_new(engine, ticket);
    const struct session *session = session_find(engine, id);
    /* Several tries, at other members, too, have to fit into what is left of the ttl. */
    int64_t limit_ms = (session != NULL ? session->ttl_ms : engine->ops->ttl_min_ms) / 5;
    limit_ms = limit_ms < RENEW_LIMIT_MIN_MS ? RENEW_LIMIT_MIN_MS : limit_ms;
    limit_ms = limit_ms > LINK_LIMIT_MS ? LINK_LIMIT_MS : limit_ms;
    Etcdserverpb__LeaseKeepAliveRequest renewal = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
    renewal.id = (int64_t)id;
    request->session = id;
    link_call(engine->link, "Lease/LeaseKeepAlive", &renewal.base, limit_ms, on_renewed, request);
    views_look(engine);
}

/* ---- end ---- */

static void revoke_lease(struct request *request);

static void on_revoked(void *ctx, const struct grpc_result *result)
{
    struct request *request = ctx;
    struct baton_engine *engine = request->engine;
    uint64_t id = request->session;
    bool over = result->status == GRPC_OK || result->status == GRPC_NOT_FOUND;
    if (worth_another(request, result)) {
        revoke_lease(request);
        return;
    }
    request_free(request);
    bool ours = session_find(engine, id) != NULL;
    session_drop(engine, id);
    if (over && ours)
        engine->callbacks.session_ended(engine->ctx, id);
}

static void revoke_lease(struct request *request)
{
    Etcdserverpb__LeaseRevokeRequest revocation = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    assert(request->session != 0);
    revocation.id = (int64_t)request->session;
    int64_t left = left_ms(request);
    link_call(request->engine->link, "Lease/LeaseRevoke", &revocation.base, left < LINK_LIMIT_MS ? left : LINK_LIMIT_MS,
              on_revoked, request);
}

void sessions_end(struct baton_engine *engine, uint64_t id)
{
    struct session *session = session_find(engine, id);
    if (session != NULL && session->ending)
        return;
    struct request *request = request_new(engine, 0);
    request->session = id;
    /* As long as it takes: without its quorum etcd ends no lease, and with a new leader it prolongs them all. */
    request->until_ms = session != NULL ? NEVER_MS : clock_now_ms() + LINK_LIMIT_MS;
    if (session != NULL)
        session->ending = true;
    revoke_lease(request);
}

/* ---- for a guard ---- */

int sessions_export(struct baton_engine *engine, uint64_t id, char text[BATON_EXPORT_MAX], struct baton_error *err)
{
    const struct session *session = session_find(engine, id);
    if (session == NULL || session->over)
        return error_set(err, BATON_LOST, "etcd: session %llu is over", (unsigned long long)id);
    int length = snprintf(text, BATON_EXPORT_MAX, "%llu %s", (unsigned long long)id, engine->url_text);
    if (length >= BATON_EXPORT_MAX)
        return error_set(err, BATON_INVALID, "etcd: the URL is too long for a guard: %zu bytes",
                         strlen(engine->url_text));
    return 0;
}
