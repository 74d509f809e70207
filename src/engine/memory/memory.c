/* memory.c: the store on loops: the engine `memory:NAME` of one process.
 *
 * A namespace is there from its first use until the process ends, so that it outlives the engines that are open on it.
 * Engines on several loops, in several threads, may share one. A session ends by its ttl in whichever engine is open.
 */
#include "engine/memory/memory.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/clock.h"
#include "engine/memory/store.h"
#include "engine/rest.h"
#include "engine/write.h"

#define TTL_MIN_MS 100
#define TTL_MAX_MS 86400000
#define STEP_MS 20
#define NAME_BYTES 200

struct session {
    uint64_t id;
    uint32_t ttl_ms;
    int64_t renewed_ms;
};

struct namespace
{
    struct namespace *next;
    char *name;
    struct store *store;
    struct session *sessions;
    size_t session_count;
    struct baton_engine *engines;
};

enum answer_kind { ANSWER_OPENED, ANSWER_RENEWED, ANSWER_ENDED, ANSWER_WRITTEN, ANSWER_CHANGED };

struct answer {
    struct answer *next;
    enum answer_kind kind;
    uint64_t ticket, session; /* of ANSWER_CHANGED: the watch's id and serial */
    uint32_t ttl_ms;
    struct baton_reply reply;
    struct baton_batch batch;
};

struct watch {
    struct watch *next;
    uint64_t id, seen;
    uint64_t serial; /* the caller may use an id again: batches of the watch before are not for this one */
    char *prefix;
    bool told;
    struct rest rest;
};

struct baton_engine {
    const struct baton_engine_ops *ops;
    struct baton_engine_callbacks callbacks;
    void *ctx;
    struct namespace *space;
    struct baton_engine *next; /* in the namespace */
    uv_async_t wake;
    uv_timer_t expiry;
    int handles; /* still open */
    bool closing;
    /* under the mutex */
    struct answer *answers, **last;
    /* the loop's own */
    struct watch *watches;
    uint64_t last_serial;
};

struct baton_engine_guard {
    struct namespace *space;
    uint64_t session;
    struct baton_write testament; /* no key: none */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* for everything that namespaces hold */
static struct namespace *namespaces;

/* ---- the namespace, under the mutex ---- */

static struct namespace *space_find(const char *name)
{
    struct namespace *space = namespaces;
    while (space != NULL && strcmp(space->name, name) != 0)
        space = space->next;
    return space;
}

static struct namespace *space_get(const char *name)
{
    struct namespace *space = space_find(name);
    if (space != NULL)
        return space;
    space = mem_new(sizeof(*space));
    space->name = mem_text(name);
    space->store = store_new();
    space->next = namespaces;
    namespaces = space;
    return space;
}

static void wake_all(struct namespace *space)
{
    for (struct baton_engine *engine = space->engines; engine != NULL; engine = engine->next)
        uv_async_send(&engine->wake);
}

static struct session *session_find(struct namespace *space, uint64_t id)
{
    for (size_t i = 0; i < space->session_count; i++)
        if (space->sessions[i].id == id)
            return &space->sessions[i];
    return NULL;
}

static bool session_drop(struct namespace *space, uint64_t id)
{
    struct session *session = session_find(space, id);
    if (session == NULL)
        return false;
    assert(store_session_alive(space->store, id)); /* both know the same sessions */
    *session = space->sessions[--space->session_count];
    (void)store_session_end(space->store, id);
    wake_all(space);
    return true;
}

/* Both times are rounded down, so what passed may be 1 ms less than their difference. */
static int64_t expires_ms(const struct session *session)
{
    return session->renewed_ms + session->ttl_ms + 1;
}

/* End what was not renewed; when to look again. */
static int64_t expire(struct namespace *space, int64_t now_ms)
{
    int64_t next_ms = NEVER_MS;
    for (size_t i = 0; i < space->session_count;) {
        if (expires_ms(&space->sessions[i]) <= now_ms) {
            (void)session_drop(space, space->sessions[i].id);
            continue;
        }
        if (expires_ms(&space->sessions[i]) < next_ms)
            next_ms = expires_ms(&space->sessions[i]);
        i++;
    }
    return next_ms;
}

/* ---- answers ---- */

static struct answer *answer_new(enum answer_kind kind, uint64_t ticket)
{
    struct answer *answer = mem_new(sizeof(*answer));
    answer->kind = kind;
    answer->ticket = ticket;
    return answer;
}

static void answer_free(struct answer *answer)
{
    for (size_t i = 0; i < answer->batch.count; i++) {
        free((char *)answer->batch.changes[i].record.key);
        free((char *)answer->batch.changes[i].record.value);
    }
    free((struct baton_change *)answer->batch.changes);
    free(answer);
}

/* Under the mutex. */
static void answer_add(struct baton_engine *engine, struct answer *answer)
{
    assert(!engine->closing && *engine->last == NULL);
    *engine->last = answer;
    engine->last = &answer->next;
    uv_async_send(&engine->wake);
}

static void batch_copy(struct baton_batch *to, const struct baton_batch *from)
{
    *to = *from;
    struct baton_change *changes = mem_new(from->count * sizeof(*changes));
    for (size_t i = 0; i < from->count; i++) {
        changes[i] = from->changes[i];
        changes[i].record.key = mem_text(from->changes[i].record.key);
        changes[i].record.value =
            from->changes[i].kind == BATON_CHANGE_PUT ? mem_text(from->changes[i].record.value) : NULL;
    }
    to->changes = changes;
}

/* Under the mutex: bring every watch to the present revision, so that they all show one state. */
static void read_watches(struct baton_engine *engine)
{
    struct store *store = engine->space->store;
    uint64_t revision = store_revision(store);
    for (struct watch *watch = engine->watches; watch != NULL; watch = watch->next) {
        struct baton_batch batch;
        if (watch->told && watch->seen == revision)
            continue;
        assert(watch->seen <= revision); /* a view never goes backward */
        bool changed = store_read(store, watch->prefix, watch->seen, 0, &batch);
        assert(watch->told || changed); /* the first batch is a reset */
        if (watch->rest.count > 0 && (!changed || !rest_ends_by(&watch->rest, &batch)))
            continue;
        rest_end(&watch->rest);
        if (changed) {
            struct answer *answer = answer_new(ANSWER_CHANGED, watch->id);
            answer->session = watch->serial;
            batch_copy(&answer->batch, &batch);
            *engine->last = answer;
            engine->last = &answer->next;
        }
        watch->told = true;
        watch->seen = revision;
    }
}

static bool watched(const struct baton_engine *engine, uint64_t serial)
{
    const struct watch *watch = engine->watches;
    while (watch != NULL && watch->serial != serial)
        watch = watch->next;
    return watch != NULL;
}

static void tell(struct baton_engine *engine, const struct answer *answer)
{
    const struct baton_engine_callbacks *callbacks = &engine->callbacks;
    switch (answer->kind) {
    case ANSWER_OPENED:
        callbacks->session_opened(engine->ctx, answer->ticket, answer->session, answer->ttl_ms, NULL);
        return;
    case ANSWER_RENEWED:
        callbacks->session_renewed(engine->ctx, answer->ticket, &answer->reply);
        return;
    case ANSWER_ENDED:
        callbacks->session_ended(engine->ctx, answer->session);
        return;
    case ANSWER_WRITTEN:
        callbacks->written(engine->ctx, answer->ticket, &answer->reply);
        return;
    case ANSWER_CHANGED:
        if (watched(engine, answer->session))
            callbacks->changed(engine->ctx, answer->ticket, &answer->batch);
        return;
    }
    IMPOSSIBLE("answer %d", (int)answer->kind);
}

static void on_expiry(uv_timer_t *timer);

static void on_wake(uv_async_t *handle)
{
    struct baton_engine *engine = handle->data;
    int64_t now_ms = clock_now_ms();
    pthread_mutex_lock(&mutex);
    int64_t next_ms = expire(engine->space, now_ms);
    read_watches(engine);
    struct answer *answers = engine->answers;
    engine->answers = NULL;
    engine->last = &engine->answers;
    pthread_mutex_unlock(&mutex);
    if (next_ms != NEVER_MS)
        uv_timer_start(&engine->expiry, on_expiry, (uint64_t)(next_ms - now_ms), 0);
    for (struct answer *answer = answers, *next; answer != NULL; answer = next) {
        next = answer->next;
        if (!engine->closing)
            tell(engine, answer);
        answer_free(answer);
    }
}

static void on_expiry(uv_timer_t *timer)
{
    struct baton_engine *engine = timer->data;
    on_wake(&engine->wake);
}

/* ---- the contract ---- */

static const char *name_of(const char *url, struct baton_error *err)
{
    const char *name = url + strlen("memory:");
    if (*name != '\0' && strlen(name) <= NAME_BYTES)
        return name;
    error_set(err, BATON_INVALID, "URL '%.200s' is not legal: after memory: comes a name of 1 to %d bytes", url,
              NAME_BYTES);
    return NULL;
}

static int memory_open(const char *url, bool create, uv_loop_t *loop, const struct baton_engine_callbacks *callbacks,
                       void *ctx, struct baton_engine **ret, struct baton_error *err)
{
    const char *name = name_of(url, err);
    if (name == NULL)
        return -1;
    struct baton_engine *engine = mem_new(sizeof(*engine));
    engine->ops = &engine_memory;
    engine->callbacks = *callbacks;
    engine->ctx = ctx;
    engine->last = &engine->answers;
    int error = uv_async_init(loop, &engine->wake, on_wake);
    if (error < 0) {
        free(engine);
        return error_errno(err, -error, "memory: no handle to wake the loop");
    }
    uv_timer_init(loop, &engine->expiry);
    engine->wake.data = engine->expiry.data = engine;
    engine->handles = 2;
    pthread_mutex_lock(&mutex);
    engine->space = space_get(name);
    engine->next = engine->space->engines;
    engine->space->engines = engine;
    uv_async_send(&engine->wake);
    pthread_mutex_unlock(&mutex);
    *ret = engine;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct baton_engine *engine = handle->data;
    assert(engine->closing && engine->handles > 0);
    if (--engine->handles > 0)
        return;
    for (struct answer *answer = engine->answers, *next; answer != NULL; answer = next) {
        next = answer->next;
        answer_free(answer);
    }
    for (struct watch *watch = engine->watches, *next; watch != NULL; watch = next) {
        next = watch->next;
        rest_end(&watch->rest);
        free(watch->prefix);
        free(watch);
    }
    void (*closed)(void *ctx) = engine->callbacks.closed;
    void *ctx = engine->ctx;
    free(engine);
    closed(ctx);
}

static void memory_close(struct baton_engine *engine)
{
    assert(!engine->closing);
    pthread_mutex_lock(&mutex);
    struct baton_engine **at = &engine->space->engines;
    while (*at != engine)
        at = &(*at)->next;
    *at = engine->next;
    pthread_mutex_unlock(&mutex);
    engine->closing = true;
    uv_close((uv_handle_t *)&engine->wake, on_closed);
    uv_close((uv_handle_t *)&engine->expiry, on_closed);
}

static void memory_session_open(struct baton_engine *engine, uint64_t ticket, uint32_t ttl_ms)
{
    struct answer *answer = answer_new(ANSWER_OPENED, ticket);
    answer->ttl_ms = ttl_ms < TTL_MIN_MS ? TTL_MIN_MS : ttl_ms;
    pthread_mutex_lock(&mutex);
    struct namespace *space = engine->space;
    answer->session = store_session_open(space->store);
    space->sessions = mem_grow(space->sessions, (space->session_count + 1) * sizeof(*space->sessions));
    space->sessions[space->session_count++] =
        (struct session){.id = answer->session, .ttl_ms = answer->ttl_ms, .renewed_ms = clock_now_ms()};
    answer_add(engine, answer);
    wake_all(space);
    pthread_mutex_unlock(&mutex);
}

/* Under the mutex: a session of this client was renewed. */
static void look_at_slow(struct baton_engine *engine)
{
    for (struct watch *watch = engine->watches; watch != NULL; watch = watch->next) {
        if (watch->rest.slow == NULL)
            continue;
        const struct baton_record *record = store_get(engine->space->store, watch->rest.slow);
        if (record == NULL || record->revision > watch->seen)
            rest_end(&watch->rest);
    }
}

static void memory_session_renew(struct baton_engine *engine, uint64_t ticket, uint64_t id)
{
    struct answer *answer = answer_new(ANSWER_RENEWED, ticket);
    pthread_mutex_lock(&mutex);
    struct session *session = session_find(engine->space, id);
    answer->reply.answer = session != NULL ? BATON_ANSWER_DONE : BATON_ANSWER_REFUSED;
    if (session != NULL)
        session->renewed_ms = clock_now_ms();
    else
        error_set(&answer->reply.error, BATON_LOST, "memory: session %llu is over", (unsigned long long)id);
    look_at_slow(engine);
    answer_add(engine, answer);
    pthread_mutex_unlock(&mutex);
}

static void memory_session_end(struct baton_engine *engine, uint64_t id)
{
    pthread_mutex_lock(&mutex);
    if (session_drop(engine->space, id)) {
        struct answer *answer = answer_new(ANSWER_ENDED, 0);
        answer->session = id;
        answer_add(engine, answer);
    }
    pthread_mutex_unlock(&mutex);
}

static int memory_session_export(struct baton_engine *engine, uint64_t id, char text[BATON_EXPORT_MAX], int *ret_fd,
                                 struct baton_error *err)
{
    pthread_mutex_lock(&mutex);
    bool alive = session_find(engine->space, id) != NULL;
    pthread_mutex_unlock(&mutex);
    if (!alive)
        return error_set(err, BATON_LOST, "memory: session %llu is over", (unsigned long long)id);
    snprintf(text, BATON_EXPORT_MAX, "memory %llu %s", (unsigned long long)id, engine->space->name);
    *ret_fd = -1;
    return 0;
}

static void memory_write(struct baton_engine *engine, uint64_t ticket, const struct baton_write *write)
{
    struct answer *answer = answer_new(ANSWER_WRITTEN, ticket);
    pthread_mutex_lock(&mutex);
    uint64_t before = store_revision(engine->space->store);
    store_write(engine->space->store, write, &answer->reply);
    answer_add(engine, answer);
    if (store_revision(engine->space->store) != before)
        wake_all(engine->space);
    pthread_mutex_unlock(&mutex);
}

static void memory_watch(struct baton_engine *engine, uint64_t id, const char *prefix)
{
    struct watch *watch = mem_new(sizeof(*watch));
    assert(prefix[0] == '\0' || prefix[strlen(prefix) - 1] == '/');
    watch->id = id;
    watch->serial = ++engine->last_serial;
    watch->prefix = mem_text(prefix);
    watch->next = engine->watches;
    engine->watches = watch;
    uv_async_send(&engine->wake);
}

static void memory_rest(struct baton_engine *engine, uint64_t id, const struct baton_rest *rest)
{
    for (struct watch *watch = engine->watches; watch != NULL; watch = watch->next)
        if (watch->id == id)
            rest_begin(&watch->rest, rest);
    uv_async_send(&engine->wake);
}

static struct baton_latch *memory_latch(struct baton_engine *engine, const char *key, uint64_t created)
{
    pthread_mutex_lock(&mutex);
    struct baton_latch *latch = store_latch(engine->space->store, key, created);
    pthread_mutex_unlock(&mutex);
    return latch;
}

static void memory_unwatch(struct baton_engine *engine, uint64_t id)
{
    for (struct watch **at = &engine->watches; *at != NULL; at = &(*at)->next) {
        if ((*at)->id != id)
            continue;
        struct watch *watch = *at;
        *at = watch->next;
        rest_end(&watch->rest);
        free(watch->prefix);
        free(watch);
        return;
    }
}

static int memory_guard_open(const char *text, int fd, struct baton_engine_guard **ret, struct baton_error *err)
{
    unsigned long long session;
    int name_at = 0;
    if (sscanf(text, "memory %llu %n", &session, &name_at) != 1 || name_at == 0 || text[name_at] == '\0')
        return error_set(err, BATON_INVALID, "memory: '%.100s' does not describe a session", text);
    pthread_mutex_lock(&mutex);
    struct namespace *space = space_find(text + name_at);
    pthread_mutex_unlock(&mutex);
    if (space == NULL)
        return error_set(
            err, BATON_UNSUPPORTED,
            "memory: the namespace %.100s is in another process, where a guard cannot reach it; use local:",
            text + name_at);
    *ret = mem_new(sizeof(**ret));
    **ret = (struct baton_engine_guard){.space = space, .session = session};
    return 0;
}

static int memory_guard_end(struct baton_engine_guard *guard, uint32_t timeout_ms, struct baton_error *err)
{
    struct baton_reply reply;
    pthread_mutex_lock(&mutex);
    if (guard->testament.key != NULL)
        store_write(guard->space->store, &guard->testament, &reply);
    (void)session_drop(guard->space, guard->session);
    wake_all(guard->space);
    pthread_mutex_unlock(&mutex);
    return 0;
}

static int memory_guard_renew(struct baton_engine_guard *guard, uint32_t timeout_ms, uint32_t *ret_ttl_ms,
                              struct baton_error *err)
{
    pthread_mutex_lock(&mutex);
    struct session *session = session_find(guard->space, guard->session);
    if (session != NULL) {
        session->renewed_ms = clock_now_ms();
        *ret_ttl_ms = session->ttl_ms;
    }
    pthread_mutex_unlock(&mutex);
    if (session == NULL)
        return error_set(err, BATON_LOST, "memory: session %llu is over", (unsigned long long)guard->session);
    return 0;
}

static void memory_guard_testament(struct baton_engine_guard *guard, const struct baton_write *write)
{
    write_replace(&guard->testament, write);
}

static void memory_guard_close(struct baton_engine_guard *guard)
{
    if (guard != NULL)
        write_release(&guard->testament);
    free(guard);
}

const struct baton_engine_ops engine_memory = {
    .abi = BATON_ENGINE_ABI,
    .scheme = "memory",
    .ttl_min_ms = TTL_MIN_MS,
    .ttl_max_ms = TTL_MAX_MS,
    .step_ms = STEP_MS,
    .sees_deaths = true,
    .open = memory_open,
    .close = memory_close,
    .session_open = memory_session_open,
    .session_renew = memory_session_renew,
    .session_end = memory_session_end,
    .session_export = memory_session_export,
    .write = memory_write,
    .watch = memory_watch,
    .unwatch = memory_unwatch,
    .rest = memory_rest,
    .latch = memory_latch,
    .guard_open = memory_guard_open,
    .guard_end = memory_guard_end,
    .guard_close = memory_guard_close,
    .guard_testament = memory_guard_testament,
    .guard_renew = memory_guard_renew,
};
