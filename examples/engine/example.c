/* example.c: the smallest engine that keeps the contract of <baton/engine.h>: `example:NAME`.
 *
 * Its records are in the memory of one process, so it is of no use but to be read. A real engine talks to a store
 * instead, and has a connection to lose; what it must promise is the same, and the same suite says whether it does:
 *
 *     cc -shared -fPIC -o libbaton-example.so example.c $(pkg-config --cflags --libs libbaton libuv)
 *     BATON_ENGINE_DIR=. conformance example:
 *
 * How it works: a request is done at once, under a mutex, and its answer is queued, because no callback may be called
 * from inside a request. A change is queued for every watch that it concerns. A wake-up of each engine's loop then
 * tells what is in its queues.
 */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <baton/engine.h>

#define TTL_MIN_MS 100

/* ---- what there is: one list of each, for all namespaces, under one mutex ---- */

struct record {
    struct record *next;
    char *space, *key, *value;
    uint64_t revision, created, session;
};

struct session {
    struct session *next;
    uint64_t id;
    char *space;
    uint32_t ttl_ms;
    int64_t renewed_ms;
};

/* What one engine has to tell: the answer to a request, or changes of one watch. */
struct news {
    struct news *next;
    enum { OPENED, RENEWED, ENDED, WRITTEN, CHANGED } kind;
    uint64_t ticket, session, watch, serial;
    uint32_t ttl_ms;
    struct baton_reply reply;
    struct baton_batch batch;
};

struct watch {
    struct watch *next;
    uint64_t id, serial; /* a number may be used again: what is queued for the one before is not for this one */
    char *prefix;
};

struct baton_engine {
    const struct baton_engine_ops *ops; /* every engine begins with it */
    struct baton_engine_callbacks callbacks;
    void *ctx;
    struct baton_engine *next;
    char *space;
    uv_async_t wake;
    uv_timer_t expiry;
    int handles;
    struct watch *watches;
    struct news *first, **last;
};

struct baton_engine_guard {
    uint64_t session;
    struct baton_write testament;
};

extern const struct baton_engine_ops baton_engine_example;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct record *records;
static struct session *sessions;
static struct baton_engine *engines;
static uint64_t last_revision, last_serial; /* of all namespaces: so it grows in each */

static void *allocate(size_t size)
{
    void *memory = calloc(1, size);
    if (memory == NULL)
        abort();
    return memory;
}

static char *copy(const char *text)
{
    char *made = text != NULL ? strdup(text) : NULL;
    if (text != NULL && made == NULL)
        abort();
    return made;
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t); /* it counts while the machine sleeps */
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int __attribute__((format(printf, 3, 4)))
fail(struct baton_error *err, enum baton_code code, const char *format, ...)
{
    va_list args;
    if (err == NULL) /* the caller need not want to know */
        return -1;
    va_start(args, format);
    err->code = code;
    vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
    return -1;
}

/* ---- news ---- */

static struct news *tell(struct baton_engine *engine, int kind, uint64_t ticket)
{
    struct news *news = allocate(sizeof(*news));
    news->kind = kind;
    news->ticket = ticket;
    *engine->last = news;
    engine->last = &news->next;
    uv_async_send(&engine->wake);
    return news;
}

static void add_change(struct baton_batch *batch, int kind, const struct record *record)
{
    struct baton_change *changes = realloc((void *)batch->changes, (batch->count + 1) * sizeof(*changes));
    if (changes == NULL)
        abort();
    changes[batch->count++] = (struct baton_change){.kind = kind,
                                                    .record = {.key = copy(record->key),
                                                               .value = copy(record->value),
                                                               .revision = record->revision,
                                                               .created = record->created,
                                                               .session = record->session}};
    batch->changes = changes;
}

static void news_free(struct news *news)
{
    for (size_t i = 0; i < news->batch.count; i++) {
        free((char *)news->batch.changes[i].record.key);
        free((char *)news->batch.changes[i].record.value);
    }
    free((void *)news->batch.changes);
    free(news);
}

/* The batch of the present revision for this watch: all changes of one revision are told in one. */
static struct baton_batch *batch_of(struct baton_engine *engine, const struct watch *watch)
{
    for (struct news *news = engine->first; news != NULL; news = news->next)
        if (news->kind == CHANGED && news->serial == watch->serial && news->batch.revision == last_revision &&
            !news->batch.reset)
            return &news->batch;
    struct news *news = tell(engine, CHANGED, 0);
    news->watch = watch->id;
    news->serial = watch->serial;
    news->batch.revision = last_revision;
    return &news->batch;
}

static bool under(const char *key, const char *prefix)
{
    return strncmp(key, prefix, strlen(prefix)) == 0;
}

static void changed(int kind, const struct record *record)
{
    for (struct baton_engine *engine = engines; engine != NULL; engine = engine->next)
        for (struct watch *watch = engine->watches; watch != NULL; watch = watch->next)
            if (strcmp(engine->space, record->space) == 0 && under(record->key, watch->prefix))
                add_change(batch_of(engine, watch), kind, record);
}

/* ---- records ---- */

static struct record **find(const char *space, const char *key)
{
    struct record **at = &records;
    while (*at != NULL && (strcmp((*at)->space, space) != 0 || strcmp((*at)->key, key) != 0))
        at = &(*at)->next;
    return at;
}

/* At the present revision. */
static void drop(struct record **at)
{
    struct record *record = *at;
    *at = record->next;
    record->revision = last_revision;
    free(record->value);
    record->value = NULL;
    changed(BATON_CHANGE_REMOVE, record);
    free(record->key);
    free(record->space);
    free(record);
}

static struct session **session_find(const char *space, uint64_t id)
{
    struct session **at = &sessions;
    while (*at != NULL && ((*at)->id != id || (space != NULL && strcmp((*at)->space, space) != 0)))
        at = &(*at)->next;
    return at;
}

/* All its records vanish at one revision. */
static bool session_drop(uint64_t id)
{
    struct session **at = session_find(NULL, id), *session = *at;
    if (session == NULL)
        return false;
    *at = session->next;
    last_revision++;
    for (struct record **record = &records; *record != NULL;)
        if ((*record)->session == id)
            drop(record);
        else
            record = &(*record)->next;
    free(session->space);
    free(session);
    return true;
}

static void do_write(const char *space, const struct baton_write *write, struct baton_reply *reply)
{
    struct record **at = find(space, write->key), *record = *at;
    uint64_t present = record != NULL ? record->revision : 0;
    size_t value_length = write->value != NULL ? strlen(write->value) : 0;
    *reply = (struct baton_reply){.answer = BATON_ANSWER_CONFLICT};
    if (write->key[0] == '\0' || strlen(write->key) > BATON_KEY_MAX || value_length > BATON_VALUE_MAX) {
        reply->answer = BATON_ANSWER_REFUSED;
        fail(&reply->error, BATON_INVALID, "example: a key has 1 to %d bytes, and a value up to %d", BATON_KEY_MAX,
             BATON_VALUE_MAX);
        return;
    }
    if (write->session != 0 && *session_find(space, write->session) == NULL) {
        reply->answer = BATON_ANSWER_REFUSED;
        fail(&reply->error, BATON_LOST, "example: session %llu is over", (unsigned long long)write->session);
        return;
    }
    if (write->if_revision != BATON_REVISION_ANY && write->if_revision != present)
        return;
    reply->answer = BATON_ANSWER_DONE;
    reply->revision = last_revision;
    if (write->kind == BATON_WRITE_REMOVE && record == NULL)
        return;
    reply->revision = ++last_revision;
    if (write->kind == BATON_WRITE_REMOVE) {
        drop(at);
        return;
    }
    if (record == NULL) {
        record = *at = allocate(sizeof(*record));
        record->space = copy(space);
        record->key = copy(write->key);
        record->created = last_revision;
    }
    free(record->value);
    record->value = copy(write->value);
    record->revision = last_revision;
    record->session = write->session;
    changed(BATON_CHANGE_PUT, record);
}

/* ---- time ---- */

static void on_time(uv_timer_t *timer);

/* With the mutex. Both times are rounded down, so 1 ms more: never earlier than the ttl. */
static void expire(struct baton_engine *engine)
{
    int64_t now = now_ms(), next = INT64_MAX;
    for (struct session *session = sessions, *after; session != NULL; session = after) {
        int64_t at = session->renewed_ms + session->ttl_ms + 1;
        after = session->next;
        if (at <= now)
            session_drop(session->id);
        else if (at < next)
            next = at;
    }
    if (next != INT64_MAX)
        uv_timer_start(&engine->expiry, on_time, (uint64_t)(next - now), 0);
}

static void perform(struct baton_engine *engine, const struct news *news)
{
    const struct baton_engine_callbacks *callbacks = &engine->callbacks;
    const struct watch *watch = engine->watches;
    while (watch != NULL && watch->serial != news->serial)
        watch = watch->next;
    if (news->kind == OPENED)
        callbacks->session_opened(engine->ctx, news->ticket, news->session, news->ttl_ms, NULL);
    else if (news->kind == RENEWED)
        callbacks->session_renewed(engine->ctx, news->ticket, &news->reply);
    else if (news->kind == ENDED)
        callbacks->session_ended(engine->ctx, news->session);
    else if (news->kind == WRITTEN)
        callbacks->written(engine->ctx, news->ticket, &news->reply);
    else if (watch != NULL)
        callbacks->changed(engine->ctx, news->watch, &news->batch);
}

static void on_wake(uv_async_t *handle)
{
    struct baton_engine *engine = handle->data;
    pthread_mutex_lock(&mutex);
    expire(engine);
    struct news *news = engine->first;
    engine->first = NULL;
    engine->last = &engine->first;
    pthread_mutex_unlock(&mutex);
    for (struct news *next; news != NULL; news = next) {
        next = news->next;
        if (!uv_is_closing((uv_handle_t *)handle)) /* nothing is told after close */
            perform(engine, news);
        news_free(news);
    }
}

static void on_time(uv_timer_t *timer)
{
    struct baton_engine *engine = timer->data;
    on_wake(&engine->wake);
}

/* ---- the table ---- */

static int example_open(const char *url, bool create, uv_loop_t *loop, const struct baton_engine_callbacks *callbacks,
                        void *ctx, struct baton_engine **ret, struct baton_error *err)
{
    const char *name = url + strlen("example:");
    if (*name == '\0' || strlen(name) > 200)
        return fail(err, BATON_INVALID, "URL '%.250s' is not legal: after example: comes a name", url);
    struct baton_engine *engine = allocate(sizeof(*engine));
    engine->ops = &baton_engine_example;
    engine->callbacks = *callbacks;
    engine->ctx = ctx;
    engine->space = copy(name);
    engine->last = &engine->first;
    if (uv_async_init(loop, &engine->wake, on_wake) != 0)
        abort();
    uv_timer_init(loop, &engine->expiry);
    engine->wake.data = engine->expiry.data = engine;
    engine->handles = 2;
    pthread_mutex_lock(&mutex);
    engine->next = engines;
    engines = engine;
    pthread_mutex_unlock(&mutex);
    *ret = engine;
    return 0;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct baton_engine *engine = handle->data;
    if (--engine->handles > 0)
        return;
    for (struct news *news = engine->first, *next; news != NULL; news = next) {
        next = news->next;
        news_free(news);
    }
    for (struct watch *watch = engine->watches, *next; watch != NULL; watch = next) {
        next = watch->next;
        free(watch->prefix);
        free(watch);
    }
    void (*closed)(void *ctx) = engine->callbacks.closed;
    void *ctx = engine->ctx;
    free(engine->space);
    free(engine);
    closed(ctx);
}

static void example_close(struct baton_engine *engine)
{
    struct baton_engine **at = &engines;
    pthread_mutex_lock(&mutex);
    while (*at != engine)
        at = &(*at)->next;
    *at = engine->next;
    pthread_mutex_unlock(&mutex);
    uv_close((uv_handle_t *)&engine->wake, on_handle_closed);
    uv_close((uv_handle_t *)&engine->expiry, on_handle_closed);
}

static void example_session_open(struct baton_engine *engine, uint64_t ticket, uint32_t ttl_ms)
{
    struct session *session = allocate(sizeof(*session));
    pthread_mutex_lock(&mutex);
    *session = (struct session){.next = sessions,
                                .id = ++last_revision, /* never used again */
                                .space = copy(engine->space),
                                .ttl_ms = ttl_ms > TTL_MIN_MS ? ttl_ms : TTL_MIN_MS,
                                .renewed_ms = now_ms()};
    sessions = session;
    struct news *news = tell(engine, OPENED, ticket);
    news->session = session->id;
    news->ttl_ms = session->ttl_ms;
    pthread_mutex_unlock(&mutex);
}

static void example_session_renew(struct baton_engine *engine, uint64_t ticket, uint64_t id)
{
    pthread_mutex_lock(&mutex);
    struct session *session = *session_find(engine->space, id);
    struct news *news = tell(engine, RENEWED, ticket);
    news->reply.answer = session != NULL ? BATON_ANSWER_DONE : BATON_ANSWER_REFUSED;
    if (session != NULL)
        session->renewed_ms = now_ms();
    else
        fail(&news->reply.error, BATON_LOST, "example: session %llu is over", (unsigned long long)id);
    pthread_mutex_unlock(&mutex);
}

static void example_session_end(struct baton_engine *engine, uint64_t id)
{
    pthread_mutex_lock(&mutex);
    if (session_drop(id))
        tell(engine, ENDED, 0)->session = id;
    pthread_mutex_unlock(&mutex);
}

static int example_session_export(struct baton_engine *engine, uint64_t id, char text[BATON_EXPORT_MAX], int *ret_fd,
                                  struct baton_error *err)
{
    pthread_mutex_lock(&mutex);
    bool alive = *session_find(engine->space, id) != NULL;
    pthread_mutex_unlock(&mutex);
    if (!alive)
        return fail(err, BATON_LOST, "example: session %llu is over", (unsigned long long)id);
    snprintf(text, BATON_EXPORT_MAX, "%llu %s", (unsigned long long)id, engine->space);
    *ret_fd = -1;
    return 0;
}

static void example_write(struct baton_engine *engine, uint64_t ticket, const struct baton_write *write)
{
    pthread_mutex_lock(&mutex);
    do_write(engine->space, write, &tell(engine, WRITTEN, ticket)->reply);
    pthread_mutex_unlock(&mutex);
}

static void example_watch(struct baton_engine *engine, uint64_t id, const char *prefix)
{
    struct watch *watch = allocate(sizeof(*watch));
    pthread_mutex_lock(&mutex);
    *watch = (struct watch){.next = engine->watches, .id = id, .serial = ++last_serial, .prefix = copy(prefix)};
    engine->watches = watch;
    struct news *news = tell(engine, CHANGED, 0); /* everything, as of the present revision */
    news->watch = id;
    news->serial = watch->serial;
    news->batch.reset = true;
    news->batch.revision = last_revision;
    for (const struct record *record = records; record != NULL; record = record->next)
        if (strcmp(record->space, engine->space) == 0 && under(record->key, prefix))
            add_change(&news->batch, BATON_CHANGE_PUT, record);
    pthread_mutex_unlock(&mutex);
}

static void example_unwatch(struct baton_engine *engine, uint64_t id)
{
    struct watch **at = &engine->watches;
    pthread_mutex_lock(&mutex);
    while (*at != NULL && (*at)->id != id)
        at = &(*at)->next;
    struct watch *watch = *at;
    if (watch != NULL) {
        *at = watch->next;
        free(watch->prefix);
        free(watch);
    }
    pthread_mutex_unlock(&mutex);
}

/* The guard's part. A real engine does this from another process, so its text says where the store is. */
static int example_guard_open(const char *text, int fd, struct baton_engine_guard **ret, struct baton_error *err)
{
    char *end;
    unsigned long long session = strtoull(text, &end, 10);
    if (end == text)
        return fail(err, BATON_INVALID, "example: '%.100s' does not describe a session", text);
    pthread_mutex_lock(&mutex);
    bool here = *session_find(NULL, session) != NULL;
    pthread_mutex_unlock(&mutex);
    if (!here)
        return fail(err, BATON_UNSUPPORTED, "example: session %llu is not of this process", session);
    *ret = allocate(sizeof(**ret));
    (*ret)->session = session;
    return 0;
}

static void example_guard_testament(struct baton_engine_guard *guard, const struct baton_write *write)
{
    free((char *)guard->testament.key);
    free((char *)guard->testament.value);
    guard->testament = write != NULL ? *write : (struct baton_write){0};
    guard->testament.key = copy(guard->testament.key);
    guard->testament.value = copy(guard->testament.value);
}

static int example_guard_end(struct baton_engine_guard *guard, uint32_t timeout_ms, struct baton_error *err)
{
    struct baton_reply reply;
    pthread_mutex_lock(&mutex);
    const struct session *session = *session_find(NULL, guard->session);
    if (session != NULL && guard->testament.key != NULL)
        do_write(session->space, &guard->testament, &reply);
    session_drop(guard->session);
    for (struct baton_engine *engine = engines; engine != NULL; engine = engine->next)
        uv_async_send(&engine->wake);
    pthread_mutex_unlock(&mutex);
    return 0;
}

/* For a process that is dead or hangs, of which something is left that cannot be ended. */
static int example_guard_renew(struct baton_engine_guard *guard, uint32_t timeout_ms, uint32_t *ret_ttl_ms,
                               struct baton_error *err)
{
    pthread_mutex_lock(&mutex);
    struct session *session = *session_find(NULL, guard->session);
    if (session != NULL) {
        session->renewed_ms = now_ms();
        *ret_ttl_ms = session->ttl_ms;
    }
    pthread_mutex_unlock(&mutex);
    if (session == NULL)
        return fail(err, BATON_LOST, "example: session %llu is over", (unsigned long long)guard->session);
    return 0;
}

static void example_guard_close(struct baton_engine_guard *guard)
{
    if (guard != NULL)
        example_guard_testament(guard, NULL);
    free(guard);
}

__attribute__((visibility("default"))) const struct baton_engine_ops baton_engine_example = {
    .abi = BATON_ENGINE_ABI,
    .scheme = "example",
    .ttl_min_ms = TTL_MIN_MS,
    .ttl_max_ms = 86400000,
    .step_ms = 20,
    .sees_deaths = true,
    .open = example_open,
    .close = example_close,
    .session_open = example_session_open,
    .session_renew = example_session_renew,
    .session_end = example_session_end,
    .session_export = example_session_export,
    .write = example_write,
    .watch = example_watch,
    .unwatch = example_unwatch,
    .guard_open = example_guard_open,
    .guard_end = example_guard_end,
    .guard_close = example_guard_close,
    .guard_testament = example_guard_testament,
    .guard_renew = example_guard_renew,
};
