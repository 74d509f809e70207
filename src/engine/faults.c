/* faults.c: everything that the engine behind it tells goes through one queue, with the time when its owner is to hear
 * of it; so the order stays. */
#include "engine/faults.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/environment.h"
#include "engine/wrap.h"

#define TIME_MAX_MS 600000

struct faults {
    double delay_ms, jitter_ms, lose, drop, renew, after_ms, seed;
};

enum news_kind { NEWS_OPENED, NEWS_RENEWED, NEWS_ENDED, NEWS_WRITTEN, NEWS_CHANGED, NEWS_TROUBLE };

/* One call of a callback, which the owner will get later. */
struct news {
    struct news *next;
    enum news_kind kind;
    int64_t at_ms;
    uint64_t ticket, session, watch, serial;
    uint32_t ttl_ms;
    bool has_error;
    struct baton_error error;
    struct baton_reply reply;
    struct baton_batch batch;
};

/* A write that was passed on, and whose answer is to be lost. */
struct lost {
    struct lost *next;
    uint64_t ticket;
};

struct watched {
    struct watched *next;
    uint64_t watch, serial; /* the owner may use a number again: news of the watch before are not for this one */
};

struct baton_engine {
    const struct baton_engine_ops *ops;
    const struct baton_engine_ops *inner_ops;
    struct baton_engine *inner;
    struct baton_engine_callbacks callbacks;
    void *ctx;
    struct faults faults;
    unsigned short random[3];
    int64_t begins_ms, last_ms;
    uv_timer_t timer;
    struct news *first, **last;
    struct lost *lost;
    struct watched *watches;
    uint64_t last_serial;
};

static struct wraps wraps = WRAPS_INIT;

/* ---- what is asked for ---- */

static int parse_one(struct faults *faults, const char *fault, struct baton_error *err)
{
    const struct {
        const char *name;
        double *value, max;
    } known[] = {{"delay", &faults->delay_ms, TIME_MAX_MS},
                 {"jitter", &faults->jitter_ms, TIME_MAX_MS},
                 {"lose", &faults->lose, 1},
                 {"drop", &faults->drop, 1},
                 {"renew", &faults->renew, 1},
                 {"after", &faults->after_ms, TIME_MAX_MS},
                 {"seed", &faults->seed, UINT32_MAX}};
    const char *equals = strchr(fault, '=');
    size_t length = equals != NULL ? (size_t)(equals - fault) : strlen(fault);
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        char *end;
        if (strlen(known[i].name) != length || strncmp(known[i].name, fault, length) != 0 || equals == NULL)
            continue;
        double value = strtod(equals + 1, &end);
        if (end == equals + 1 || *end != '\0' || !(value >= 0 && value <= known[i].max))
            return error_set(err, BATON_INVALID, "BATON_FAULTS: '%.60s': %s is a number from 0 to %.0f", fault,
                             known[i].name, known[i].max);
        *known[i].value = value;
        return 0;
    }
    return error_set(err, BATON_INVALID,
                     "BATON_FAULTS: '%.60s' is no fault; known are delay=, jitter=, after= (ms), lose=, drop=, renew= "
                     "(0 to 1) and seed=",
                     fault);
}

static int parse(const char *text, struct faults *ret, struct baton_error *err)
{
    char *copy = mem_text(text), *rest = copy, *fault;
    int result = 0;
    *ret = (struct faults){.seed = (double)getpid()};
    while (result == 0 && (fault = strsep(&rest, ",")) != NULL)
        result = parse_one(ret, fault, err);
    free(copy);
    return result;
}

static bool is_time(const struct baton_engine *engine)
{
    return clock_now_ms() >= engine->begins_ms;
}

static bool happens(struct baton_engine *engine, double chance)
{
    assert(chance >= 0 && chance <= 1);
    return chance > 0 && is_time(engine) && erand48(engine->random) < chance;
}

/* ---- the queue ---- */

static void news_free(struct news *news)
{
    for (size_t i = 0; i < news->batch.count; i++) {
        free((char *)news->batch.changes[i].record.key);
        free((char *)news->batch.changes[i].record.value);
    }
    free((struct baton_change *)news->batch.changes);
    free(news);
}

static void on_time(uv_timer_t *timer);

static void set_timer(struct baton_engine *engine)
{
    if (engine->first == NULL)
        return;
    uv_update_time(engine->timer.loop);
    int64_t left_ms = engine->first->at_ms - clock_now_ms();
    uv_timer_start(&engine->timer, on_time, left_ms > 0 ? (uint64_t)left_ms : 0, 0);
}

static struct news *add(struct baton_engine *engine, enum news_kind kind, uint64_t ticket)
{
    struct news *news = mem_new(sizeof(*news));
    assert(*engine->last == NULL && !uv_is_closing((uv_handle_t *)&engine->timer));
    news->kind = kind;
    news->ticket = ticket;
    news->at_ms = clock_now_ms();
    if (is_time(engine)) {
        double delay_ms = engine->faults.delay_ms + engine->faults.jitter_ms * erand48(engine->random);
        news->at_ms += (int64_t)delay_ms + (delay_ms > 0); /* whole ones, of which the present one has passed in part */
    }
    if (news->at_ms < engine->last_ms)
        news->at_ms = engine->last_ms;
    assert(news->at_ms >= engine->last_ms); /* the order stays */
    engine->last_ms = news->at_ms;
    bool idle = engine->first == NULL;
    *engine->last = news;
    engine->last = &news->next;
    if (idle)
        set_timer(engine);
    return news;
}

static void add_unknown(struct baton_engine *engine, enum news_kind kind, uint64_t ticket, const char *why)
{
    struct news *news = add(engine, kind, ticket);
    news->reply.answer = BATON_ANSWER_UNKNOWN;
    error_set(&news->reply.error, BATON_UNAVAILABLE, "BATON_FAULTS: %s", why);
}

static struct watched **find_watch(struct baton_engine *engine, uint64_t watch)
{
    struct watched **at = &engine->watches;
    while (*at != NULL && (*at)->watch != watch)
        at = &(*at)->next;
    return at;
}

static void tell(struct baton_engine *engine, const struct news *news)
{
    const struct baton_engine_callbacks *callbacks = &engine->callbacks;
    const struct baton_error *error = news->has_error ? &news->error : NULL;
    switch (news->kind) {
    case NEWS_OPENED:
        callbacks->session_opened(engine->ctx, news->ticket, news->session, news->ttl_ms, error);
        return;
    case NEWS_RENEWED:
        callbacks->session_renewed(engine->ctx, news->ticket, &news->reply);
        return;
    case NEWS_ENDED:
        callbacks->session_ended(engine->ctx, news->session);
        return;
    case NEWS_WRITTEN:
        callbacks->written(engine->ctx, news->ticket, &news->reply);
        return;
    case NEWS_CHANGED: {
        const struct watched *watched = *find_watch(engine, news->watch);
        if (watched != NULL && watched->serial == news->serial)
            callbacks->changed(engine->ctx, news->watch, &news->batch);
        return;
    }
    case NEWS_TROUBLE:
        callbacks->trouble(engine->ctx, error);
        return;
    }
    IMPOSSIBLE("news %d", (int)news->kind);
}

static void on_time(uv_timer_t *timer)
{
    struct baton_engine *engine = timer->data;
    int64_t now_ms = clock_now_ms();
    while (engine->first != NULL && engine->first->at_ms <= now_ms) {
        struct news *news = engine->first;
        engine->first = news->next;
        if (engine->first == NULL)
            engine->last = &engine->first;
        assert(engine->first == NULL || engine->first->at_ms >= news->at_ms);
        tell(engine, news);
        news_free(news);
        if (uv_is_closing((uv_handle_t *)timer))
            return;
    }
    set_timer(engine);
}

/* ---- from the engine ---- */

static void on_session_opened(void *ctx, uint64_t ticket, uint64_t session, uint32_t ttl_ms,
                              const struct baton_error *err)
{
    struct news *news = add(ctx, NEWS_OPENED, ticket);
    news->session = session;
    news->ttl_ms = ttl_ms;
    news->has_error = err != NULL;
    if (err != NULL)
        news->error = *err;
}

static void on_session_renewed(void *ctx, uint64_t ticket, const struct baton_reply *reply)
{
    add(ctx, NEWS_RENEWED, ticket)->reply = *reply;
}

static void on_session_ended(void *ctx, uint64_t session)
{
    add(ctx, NEWS_ENDED, 0)->session = session;
}

static void on_written(void *ctx, uint64_t ticket, const struct baton_reply *reply)
{
    struct baton_engine *engine = ctx;
    struct lost **at = &engine->lost;
    while (*at != NULL && (*at)->ticket != ticket)
        at = &(*at)->next;
    if (*at == NULL) {
        add(engine, NEWS_WRITTEN, ticket)->reply = *reply;
        return;
    }
    struct lost *lost = *at;
    *at = lost->next;
    free(lost);
    add_unknown(engine, NEWS_WRITTEN, ticket, "the answer was lost");
}

static void on_changed(void *ctx, uint64_t watch, const struct baton_batch *batch)
{
    struct baton_engine *engine = ctx;
    const struct watched *watched = *find_watch(engine, watch);
    if (watched == NULL)
        return;
    struct news *news = add(engine, NEWS_CHANGED, 0);
    news->watch = watch;
    news->serial = watched->serial;
    news->batch = *batch;
    struct baton_change *changes = mem_new((batch->count > 0 ? batch->count : 1) * sizeof(*changes));
    for (size_t i = 0; i < batch->count; i++) {
        changes[i] = batch->changes[i];
        changes[i].record.key = mem_text(changes[i].record.key);
        changes[i].record.value = changes[i].kind == BATON_CHANGE_PUT ? mem_text(changes[i].record.value) : NULL;
    }
    news->batch.changes = changes;
}

static void on_trouble(void *ctx, const struct baton_error *err)
{
    struct news *news = add(ctx, NEWS_TROUBLE, 0);
    news->has_error = err != NULL;
    if (err != NULL)
        news->error = *err;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct baton_engine *engine = handle->data;
    void (*closed)(void *ctx) = engine->callbacks.closed;
    void *owner = engine->ctx;
    free(engine);
    closed(owner);
}

static void on_closed(void *ctx)
{
    struct baton_engine *engine = ctx;
    uv_close((uv_handle_t *)&engine->timer, on_timer_closed);
}

static const struct baton_engine_callbacks heard = {.session_opened = on_session_opened,
                                                    .session_renewed = on_session_renewed,
                                                    .session_ended = on_session_ended,
                                                    .written = on_written,
                                                    .changed = on_changed,
                                                    .trouble = on_trouble,
                                                    .closed = on_closed};

/* ---- to the engine ---- */

static int faults_open(const char *url, bool create, uv_loop_t *loop, const struct baton_engine_callbacks *callbacks,
                       void *ctx, struct baton_engine **ret, struct baton_error *err)
{
    struct baton_engine *engine = mem_new(sizeof(*engine));
    engine->inner_ops = wraps_inner(&wraps, url);
    engine->callbacks = *callbacks;
    engine->ctx = ctx;
    engine->last = &engine->first;
    const char *asked = environment_get("BATON_FAULTS");
    if (parse(asked != NULL ? asked : "delay=0", &engine->faults, err) < 0 ||
        engine->inner_ops->open(url, create, loop, &heard, engine, &engine->inner, err) < 0) {
        free(engine);
        return -1;
    }
    engine->begins_ms = clock_now_ms() + (int64_t)engine->faults.after_ms;
    engine->random[0] = (unsigned short)engine->faults.seed;
    engine->random[1] = (unsigned short)((uint32_t)engine->faults.seed >> 16);
    uv_timer_init(loop, &engine->timer);
    engine->timer.data = engine;
    *ret = engine;
    return 0;
}

static void faults_close(struct baton_engine *engine)
{
    while (engine->first != NULL) {
        struct news *news = engine->first;
        engine->first = news->next;
        news_free(news);
    }
    engine->last = &engine->first;
    while (engine->watches != NULL) {
        struct watched *watched = engine->watches;
        engine->watches = watched->next;
        free(watched);
    }
    while (engine->lost != NULL) {
        struct lost *lost = engine->lost;
        engine->lost = lost->next;
        free(lost);
    }
    uv_timer_stop(&engine->timer);
    engine->inner_ops->close(engine->inner);
}

static void faults_session_open(struct baton_engine *engine, uint64_t ticket, uint32_t ttl_ms)
{
    engine->inner_ops->session_open(engine->inner, ticket, ttl_ms);
}

static void faults_session_renew(struct baton_engine *engine, uint64_t ticket, uint64_t session)
{
    if (happens(engine, engine->faults.renew))
        add_unknown(engine, NEWS_RENEWED, ticket, "the renewal was lost");
    else
        engine->inner_ops->session_renew(engine->inner, ticket, session);
}

static void faults_session_end(struct baton_engine *engine, uint64_t session)
{
    engine->inner_ops->session_end(engine->inner, session);
}

static int faults_session_export(struct baton_engine *engine, uint64_t session, char text[BATON_EXPORT_MAX],
                                 int *ret_fd, struct baton_error *err)
{
    return engine->inner_ops->session_export(engine->inner, session, text, ret_fd, err);
}

static void faults_write(struct baton_engine *engine, uint64_t ticket, const struct baton_write *write)
{
    if (happens(engine, engine->faults.drop)) {
        add_unknown(engine, NEWS_WRITTEN, ticket, "the write was lost");
        return;
    }
    if (happens(engine, engine->faults.lose)) {
        struct lost *lost = mem_new(sizeof(*lost));
        *lost = (struct lost){.next = engine->lost, .ticket = ticket};
        engine->lost = lost;
    }
    engine->inner_ops->write(engine->inner, ticket, write);
}

static void faults_watch(struct baton_engine *engine, uint64_t watch, const char *prefix)
{
    struct watched *watched = mem_new(sizeof(*watched));
    assert(*find_watch(engine, watch) == NULL); /* a number is one watch's at a time */
    *watched = (struct watched){.next = engine->watches, .watch = watch, .serial = ++engine->last_serial};
    engine->watches = watched;
    engine->inner_ops->watch(engine->inner, watch, prefix);
}

static void faults_unwatch(struct baton_engine *engine, uint64_t watch)
{
    struct watched **at = find_watch(engine, watch), *watched = *at;
    if (watched != NULL) {
        *at = watched->next;
        free(watched);
    }
    engine->inner_ops->unwatch(engine->inner, watch);
}

static void faults_rest(struct baton_engine *engine, uint64_t watch, const struct baton_rest *rest)
{
    engine->inner_ops->rest(engine->inner, watch, rest);
}

static struct baton_latch *faults_latch(struct baton_engine *engine, const char *key, uint64_t created)
{
    return engine->inner_ops->latch(engine->inner, key, created);
}

/* ---- wrapping ---- */

static void fill(struct baton_engine_ops *ops)
{
    ops->open = faults_open;
    ops->close = faults_close;
    ops->session_open = faults_session_open;
    ops->session_renew = faults_session_renew;
    ops->session_end = faults_session_end;
    ops->session_export = faults_session_export;
    ops->write = faults_write;
    ops->watch = faults_watch;
    ops->unwatch = faults_unwatch;
    if (ops->rest != NULL)
        ops->rest = faults_rest;
    if (ops->latch != NULL)
        ops->latch = faults_latch;
}

int faults_maybe(const struct baton_engine_ops **ops, struct baton_error *err)
{
    struct faults faults;
    const char *asked = environment_get("BATON_FAULTS");
    if (asked == NULL || asked[0] == '\0')
        return 0;
    if (parse(asked, &faults, err) < 0)
        return -1;
    *ops = wraps_add(&wraps, *ops, fill);
    return 0;
}
