/* etcd.c: the table of the engine, its opening and closing, and writes. */
#include "engine/etcd/etcd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/environment.h"

#define TTL_MIN_MS 2000 /* etcd's own minimum with its default election timeout of 1 s is 2 s */
#define TTL_MAX_MS 86400000
#define STEP_MS 50 /* a few round trips, each with an fsync on a majority */

/* ---- what is shared ---- */

struct request *request_new(struct baton_engine *engine, uint64_t ticket)
{
    struct request *request = mem_new(sizeof(*request));
    request->engine = engine;
    request->ticket = ticket;
    request->next = engine->requests;
    request->place = &engine->requests;
    if (request->next != NULL)
        request->next->place = &request->next;
    engine->requests = request;
    return request;
}

void request_free(struct request *request)
{
    assert(*request->place == request); /* it is freed once */
    *request->place = request->next;
    if (request->next != NULL)
        request->next->place = request->place;
    free(request);
}

char *etcd_key(const struct baton_engine *engine, const char *key)
{
    return mem_format("%s%s", engine->url.prefix, key);
}

ProtobufCBinaryData etcd_bytes(const char *text)
{
    return (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *)text};
}

/* ---- writes ---- */

static bool check_write(const struct baton_write *write, char words[GRPC_WORDS_MAX])
{
    size_t length = strlen(write->key);
    if (length == 0 || length > BATON_KEY_MAX)
        snprintf(words, GRPC_WORDS_MAX, "a key has 1 to %d bytes, not %zu", BATON_KEY_MAX, length);
    else if (strcmp(write->key, SESSION_KEY) == 0)
        snprintf(words, GRPC_WORDS_MAX, "the key '%s' is the engine's own", SESSION_KEY);
    else if (write->kind == BATON_WRITE_PUT && strlen(write->value) > BATON_VALUE_MAX)
        snprintf(words, GRPC_WORDS_MAX, "a value has at most %d bytes, not %zu", BATON_VALUE_MAX, strlen(write->value));
    else
        return true;
    return false;
}

static void on_written(void *ctx, const struct grpc_result *result)
{
    struct request *request = ctx;
    struct baton_engine *engine = request->engine;
    uint64_t ticket = request->ticket;
    struct baton_reply reply = {.answer = BATON_ANSWER_DONE};
    request_free(request);
    if (result->status == GRPC_OK) {
        Etcdserverpb__TxnResponse *answer = etcdserverpb__txn_response__unpack(NULL, result->length, result->message);
        if (answer == NULL || answer->header == NULL || result->message == NULL) {
            reply.answer = BATON_ANSWER_UNKNOWN;
            error_set(&reply.error, BATON_UNAVAILABLE, "etcd at %s: its answer to a write cannot be read",
                      link_endpoint(engine->link));
        } else if (!answer->succeeded) {
            reply.answer = BATON_ANSWER_CONFLICT;
        } else {
            reply.revision = (uint64_t)answer->header->revision;
        }
        if (answer != NULL)
            etcdserverpb__txn_response__free_unpacked(answer, NULL);
    } else {
        status_reply(result, link_endpoint(engine->link), "a write", &reply);
    }
    engine->callbacks.written(engine->ctx, ticket, &reply);
}

static void etcd_write(struct baton_engine *engine, uint64_t ticket, const struct baton_write *write)
{
    struct request *request = request_new(engine, ticket);
    struct grpc_result wrong = {.status = GRPC_INVALID_ARGUMENT};
    if (!check_write(write, wrong.words)) {
        link_answer(engine->link, &wrong, on_written, request);
        return;
    }
    struct txn txn;
    assert(write->kind == BATON_WRITE_PUT || write->kind == BATON_WRITE_REMOVE);
    txn_init(&txn, engine->url.prefix, write);
    link_call(engine->link, "KV/Txn", &txn.request.base, LINK_LIMIT_MS, on_written, request);
    txn_release(&txn);
}

/* ---- the link ---- */

static void on_up(void *ctx)
{
    views_up(ctx);
}

static void on_down(void *ctx)
{
    views_down(ctx);
}

static void on_trouble(void *ctx, const struct baton_error *err)
{
    struct baton_engine *engine = ctx;
    engine->callbacks.trouble(engine->ctx, err);
}

static void on_message(void *ctx, const uint8_t *message, size_t length)
{
    views_message(ctx, message, length);
}

static void maybe_closed(struct baton_engine *engine)
{
    if (!engine->link_closed || !engine->timer_closed)
        return;
    void (*closed)(void *ctx) = engine->callbacks.closed;
    void *ctx = engine->ctx;
    etcd_url_release(&engine->url);
    free(engine->url_text);
    free(engine);
    closed(ctx);
}

static void on_link_closed(void *ctx)
{
    struct baton_engine *engine = ctx;
    engine->link_closed = true;
    maybe_closed(engine);
}

static void on_timer_closed(uv_handle_t *timer)
{
    struct baton_engine *engine = timer->data;
    engine->timer_closed = true;
    maybe_closed(engine);
}

static const struct link_callbacks link_callbacks = {
    .up = on_up, .down = on_down, .trouble = on_trouble, .message = on_message, .closed = on_link_closed};

/* ---- open and close ---- */

static int etcd_open(const char *url, bool create, uv_loop_t *loop, const struct baton_engine_callbacks *callbacks,
                     void *ctx, struct baton_engine **ret, struct baton_error *err)
{
    struct etcd_url parsed;
    if (etcd_url_parse(url, &parsed, err) < 0)
        return -1;
    if (etcd_files_check(&parsed, err) < 0) {
        etcd_url_release(&parsed);
        return -1;
    }
    /* libcurl believes it, and would write to that file from its start on. */
    if (!environment_is_believed() && getenv("SSLKEYLOGFILE") != NULL) {
        etcd_url_release(&parsed);
        return error_set(err, BATON_DENIED,
                         "etcd: this program has more rights than its caller, who has set SSLKEYLOGFILE; unset it");
    }
    grpc_prepare();
    struct baton_engine *engine = mem_new(sizeof(*engine));
    engine->ops = &baton_engine_etcd;
    engine->callbacks = *callbacks;
    engine->ctx = ctx;
    engine->url = parsed;
    engine->url_text = mem_text(url);
    views_init(engine, loop);
    engine->link = link_new(&engine->url, loop, &link_callbacks, engine);
    *ret = engine;
    return 0;
}

static void etcd_close(struct baton_engine *engine)
{
    assert(!engine->link_closed && !engine->timer_closed);
    for (struct request *request = engine->requests, *next; request != NULL; request = next) {
        next = request->next;
        free(request);
    }
    engine->requests = NULL;
    views_release(engine);
    sessions_release(engine);
    link_close(engine->link);
    uv_close((uv_handle_t *)&engine->views.retry, on_timer_closed);
}

static int etcd_session_export(struct baton_engine *engine, uint64_t id, char text[BATON_EXPORT_MAX], int *ret_fd,
                               struct baton_error *err)
{
    *ret_fd = -1;
    return sessions_export(engine, id, text, err);
}

__attribute__((visibility("default"))) const struct baton_engine_ops baton_engine_etcd = {
    .abi = BATON_ENGINE_ABI,
    .scheme = "etcd",
    .ttl_min_ms = TTL_MIN_MS,
    .ttl_max_ms = TTL_MAX_MS,
    .step_ms = STEP_MS,
    .open = etcd_open,
    .close = etcd_close,
    .session_open = sessions_open,
    .session_renew = sessions_renew,
    .session_end = sessions_end,
    .session_export = etcd_session_export,
    .write = etcd_write,
    .watch = views_add,
    .unwatch = views_remove,
    .rest = views_rest,
    .goes_on_late = true,
    .guard_open = etcd_guard_open,
    .guard_end = etcd_guard_end,
    .guard_close = etcd_guard_close,
    .guard_testament = etcd_guard_testament,
    .guard_renew = etcd_guard_renew,
};
