/* views.c: a view is a Range of its prefix at one revision, and from there on a watcher in the connection's one stream.
 *
 * All pages of a Range are read at the revision of the first. The watcher begins at the next revision, so nothing is
 * missed and nothing comes twice; etcd tells the events of one revision in one message, in order. A view begins again
 * with everything after its connection is gone, and when the revision that it needs was compacted.
 *
 * Numbers of watchers are ours (watch_id) and never used again in a stream, so what is told late of a view that is not
 * wanted any more is not taken for another's.
 */
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/etcd/etcd.h"

#define PAGE_RECORDS 1000
#define READING_MAX 64  /* Ranges under way at once */
#define REFUSED_MS 1000 /* until another try after a refusal; a person has to do something */
#define RETRY_MS 100    /* ... after what is over by itself: a new leader was elected meanwhile */

enum view_state { VIEW_IDLE, VIEW_WANTED, VIEW_READING, VIEW_WATCHED, VIEW_REFUSED };

struct view {
    struct view *next, *wanted_next;
    struct baton_engine *engine;
    uint64_t watch; /* the caller's number */
    int64_t number; /* of its watcher; 0: none */
    enum view_state state;
    char *prefix;      /* in etcd */
    uint64_t revision; /* that was told last */
    uint64_t reading;  /* revision of the Range; 0: its first page is not there */
    char *from;        /* key of the next page */
    struct baton_change *changes;
    size_t count, room;
};

static void read_more(struct baton_engine *engine);

static void want(struct view *view)
{
    struct views *views = &view->engine->views;
    view->state = VIEW_WANTED;
    view->wanted_next = NULL;
    *views->last_wanted = view;
    views->last_wanted = &view->wanted_next;
}

static struct view *next_wanted(struct views *views)
{
    struct view *view = views->wanted;
    if (view != NULL && (views->wanted = view->wanted_next) == NULL)
        views->last_wanted = &views->wanted;
    return view;
}

static void want_no_more(struct view *view)
{
    struct views *views = &view->engine->views;
    struct view **at = &views->wanted;
    while (*at != view)
        at = &(*at)->wanted_next;
    *at = view->wanted_next;
    if (*at == NULL)
        views->last_wanted = at;
}

/* ---- records ---- */

/* A C string of at most `most` bytes of it; what is beyond, and what is behind a NUL, cannot be baton's. */
static char *text_of(const ProtobufCBinaryData *data, size_t most)
{
    size_t length = data->len < most ? data->len : most;
    if (length == 0)
        return mem_text("");
    return mem_text_n((const char *)data->data, strnlen((const char *)data->data, length));
}

/* Is it a record of this namespace that baton can have written? */
static bool is_record(const struct baton_engine *engine, const Etcdserverpb__KeyValue *kv)
{
    size_t skip = strlen(engine->url.prefix);
    if (kv->key.len <= skip || kv->key.len - skip > BATON_KEY_MAX || memchr(kv->key.data, '\0', kv->key.len) != NULL)
        return false;
    return kv->key.len - skip != strlen(SESSION_KEY) ||
           memcmp(kv->key.data + skip, SESSION_KEY, strlen(SESSION_KEY)) != 0;
}

static void add_change(struct view *view, enum baton_change_kind kind, const Etcdserverpb__KeyValue *kv)
{
    const struct baton_engine *engine = view->engine;
    if (!is_record(engine, kv))
        return;
    if (view->count == view->room) {
        view->room = view->room > 0 ? 2 * view->room : 16;
        view->changes = mem_grow(view->changes, view->room * sizeof(*view->changes));
    }
    ProtobufCBinaryData key = {.len = kv->key.len - strlen(engine->url.prefix),
                               .data = kv->key.data + strlen(engine->url.prefix)};
    view->changes[view->count++] = (struct baton_change){
        .kind = kind,
        .record = {.key = text_of(&key, BATON_KEY_MAX),
                   .value = kind == BATON_CHANGE_PUT ? text_of(&kv->value, BATON_VALUE_MAX) : NULL,
                   .revision = (uint64_t)kv->mod_revision,
                   .created = (uint64_t)kv->create_revision,
                   .session = (uint64_t)kv->lease}};
}

static void clear_changes(struct view *view)
{
    for (size_t i = 0; i < view->count; i++) {
        free((char *)view->changes[i].record.key);
        free((char *)view->changes[i].record.value);
    }
    free(view->changes);
    view->changes = NULL;
    view->count = view->room = 0;
}

/* Tell what was gathered. The view may be gone after it: the caller may take it back from inside `changed`. */
static void tell(struct view *view, bool reset, uint64_t revision)
{
    struct baton_engine *engine = view->engine;
    struct baton_batch batch = {.reset = reset, .revision = revision, .changes = view->changes, .count = view->count};
    struct view told = {.changes = view->changes, .count = view->count};
    view->changes = NULL;
    view->count = view->room = 0;
    view->revision = revision;
    if (reset || batch.count > 0)
        engine->callbacks.changed(engine->ctx, view->watch, &batch);
    clear_changes(&told);
}

/* ---- watchers by number ---- */

static int compare_numbers(const void *a, const void *b)
{
    const struct view *one = a, *two = b;
    return (one->number > two->number) - (one->number < two->number);
}

static struct view *find_number(struct baton_engine *engine, int64_t number)
{
    struct view key = {.number = number};
    void *found = tfind(&key, &engine->views.by_number, compare_numbers);
    return found != NULL ? *(struct view **)found : NULL;
}

static void number_drop(struct view *view)
{
    if (view->number != 0)
        tdelete(view, &view->engine->views.by_number, compare_numbers);
    view->number = 0;
}

/* The first key behind all that begin with the prefix. */
static char *range_end(const char *prefix)
{
    char *end = mem_text(prefix);
    end[strlen(end) - 1]++; /* a prefix ends with a slash */
    return end;
}

static void watcher_begin(struct view *view)
{
    struct baton_engine *engine = view->engine;
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    char *end = range_end(view->prefix);
    view->number = ++engine->views.last_number;
    view->state = VIEW_WATCHED;
    (void)tsearch(view, &engine->views.by_number, compare_numbers);
    create.key = etcd_bytes(view->prefix);
    create.range_end = etcd_bytes(end);
    create.start_revision = (int64_t)view->reading + 1;
    create.watch_id = view->number;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    link_stream(engine->link, "Watch/Watch", &request.base);
    free(end);
}

static void watcher_end(struct view *view)
{
    struct baton_engine *engine = view->engine;
    if (view->number == 0)
        return;
    Etcdserverpb__WatchCancelRequest cancel = ETCDSERVERPB__WATCH_CANCEL_REQUEST__INIT;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    cancel.watch_id = view->number;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST;
    request.cancel_request = &cancel;
    link_stream(engine->link, "Watch/Watch", &request.base);
    number_drop(view);
}

/* ---- reading ---- */

static void read_end(struct view *view, enum view_state state)
{
    if (view->state == VIEW_READING)
        view->engine->views.reading--;
    view->state = state;
    free(view->from);
    view->from = NULL;
    if (state != VIEW_WATCHED)
        clear_changes(view);
}

static void on_retry(uv_timer_t *timer)
{
    struct baton_engine *engine = timer->data;
    for (struct view *view = engine->views.first; view != NULL; view = view->next)
        if (view->state == VIEW_REFUSED)
            want(view);
    read_more(engine);
}

static void read_later(struct view *view, uint64_t wait_ms)
{
    read_end(view, VIEW_REFUSED);
    uv_timer_start(&view->engine->views.retry, on_retry, wait_ms, 0);
}

static void refused(struct view *view, const struct baton_error *err)
{
    struct baton_engine *engine = view->engine;
    read_later(view, REFUSED_MS);
    engine->views.troubled = true;
    engine->callbacks.trouble(engine->ctx, err);
}

static void read_failed(struct view *view, const struct grpc_result *result)
{
    struct baton_engine *engine = view->engine;
    struct baton_error err;
    if (result->status == GRPC_BROKEN) { /* the link begins again, and so does this */
        read_end(view, VIEW_IDLE);
    } else if (result->status == GRPC_OUT_OF_RANGE) { /* compacted between two pages */
        read_end(view, VIEW_IDLE);
        want(view);
    } else if (status_is_refusal(result)) {
        status_error(result, link_endpoint(engine->link), "records cannot be read", &err);
        refused(view, &err);
    } else {
        read_later(view, RETRY_MS);
    }
}

/* A revision that goes back means another history: a restored backup. What was promised on the old one is void. */
static bool went_back(struct view *view, uint64_t revision)
{
    struct baton_error err;
    if (revision >= view->revision)
        return false;
    error_set(&err, BATON_CORRUPT,
              "etcd at %s: its revision went back from %llu to %llu (was it restored from a backup?); terms and tokens "
              "of before may be given again: stop all instances, then start them again",
              link_endpoint(view->engine->link), (unsigned long long)view->revision, (unsigned long long)revision);
    refused(view, &err);
    return true;
}

static void ask_page(struct view *view);

static void on_page(void *ctx, const struct grpc_result *result)
{
    struct view *view = ctx;
    struct baton_engine *engine = view->engine;
    Etcdserverpb__RangeResponse *answer = NULL;
    if (result->status == GRPC_OK && result->message != NULL)
        answer = etcdserverpb__range_response__unpack(NULL, result->length, result->message);
    if (answer == NULL || answer->header == NULL) {
        read_failed(view, result);
        goto out;
    }
    if (view->reading == 0)
        view->reading = (uint64_t)answer->header->revision;
    for (size_t i = 0; i < answer->n_kvs; i++)
        add_change(view, BATON_CHANGE_PUT, answer->kvs[i]);
    if (answer->more && answer->n_kvs > 0) {
        const ProtobufCBinaryData *last = &answer->kvs[answer->n_kvs - 1]->key;
        free(view->from);
        view->from = mem_new(last->len + 2); /* the next key: the last one and a NUL */
        memcpy(view->from, last->data, last->len);
        ask_page(view);
        goto out;
    }
    if (went_back(view, view->reading))
        goto out;
    read_end(view, VIEW_WATCHED);
    watcher_begin(view);
    if (engine->views.troubled)
        engine->callbacks.trouble(engine->ctx, NULL);
    engine->views.troubled = false;
    tell(view, true, view->reading);
out:
    if (answer != NULL)
        etcdserverpb__range_response__free_unpacked(answer, NULL);
    read_more(engine);
}

static void ask_page(struct view *view)
{
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    char *end = range_end(view->prefix);
    range.key = etcd_bytes(view->from != NULL ? view->from : view->prefix);
    if (view->from != NULL)
        range.key.len++;
    range.range_end = etcd_bytes(end);
    range.limit = PAGE_RECORDS;
    range.revision = (int64_t)view->reading;
    link_call(view->engine->link, "KV/Range", &range.base, LINK_LIMIT_MS, on_page, view);
    free(end);
}

static void read_more(struct baton_engine *engine)
{
    struct views *views = &engine->views;
    struct view *view;
    while (views->reading < READING_MAX && (view = next_wanted(views)) != NULL) {
        view->state = VIEW_READING;
        view->reading = 0;
        views->reading++;
        ask_page(view);
    }
}

/* ---- the stream ---- */

static void watcher_ended(struct view *view, const Etcdserverpb__WatchResponse *told)
{
    struct baton_engine *engine = view->engine;
    number_drop(view);
    if (told->compact_revision > 0) {
        want(view);
    } else {
        struct baton_error err;
        error_set(
            &err, BATON_DENIED, "etcd at %s: it does not let records be watched: %.200s; check the roles of user=",
            link_endpoint(engine->link), told->cancel_reason[0] != '\0' ? told->cancel_reason : "no reason given");
        refused(view, &err);
    }
    read_more(engine);
}

static void watcher_told(struct view *view, const Etcdserverpb__WatchResponse *told)
{
    uint64_t revision = 0;
    for (size_t i = 0; i < told->n_events; i++) {
        const Etcdserverpb__Event *event = told->events[i];
        if (event->kv == NULL || (uint64_t)event->kv->mod_revision <= view->revision)
            continue;
        revision = (uint64_t)event->kv->mod_revision;
        add_change(view, event->type == ETCDSERVERPB__EVENT__KIND__PUT ? BATON_CHANGE_PUT : BATON_CHANGE_REMOVE,
                   event->kv);
    }
    if (revision > 0)
        tell(view, false, revision);
}

void views_message(struct baton_engine *engine, const uint8_t *message, size_t length)
{
    Etcdserverpb__WatchResponse *told = etcdserverpb__watch_response__unpack(NULL, length, message);
    if (told == NULL) {
        link_drop(engine->link, "it sent what is not a watch's answer");
        return;
    }
    struct view *view = find_number(engine, told->watch_id);
    if (view != NULL && told->canceled)
        watcher_ended(view, told);
    else if (view != NULL && told->n_events > 0)
        watcher_told(view, told);
    etcdserverpb__watch_response__free_unpacked(told, NULL);
}

/* ---- life ---- */

void views_init(struct baton_engine *engine, uv_loop_t *loop)
{
    uv_timer_init(loop, &engine->views.retry);
    engine->views.retry.data = engine;
    engine->views.last_wanted = &engine->views.wanted;
}

void views_add(struct baton_engine *engine, uint64_t watch, const char *prefix)
{
    struct view *view = mem_new(sizeof(*view));
    view->engine = engine;
    view->watch = watch;
    view->prefix = etcd_key(engine, prefix);
    view->next = engine->views.first;
    engine->views.first = view;
    want(view); /* the link keeps the question until it is up */
    read_more(engine);
}

static void view_free(struct view *view)
{
    clear_changes(view);
    free(view->from);
    free(view->prefix);
    free(view);
}

void views_remove(struct baton_engine *engine, uint64_t watch)
{
    for (struct view **at = &engine->views.first; *at != NULL; at = &(*at)->next) {
        struct view *view = *at;
        if (view->watch != watch)
            continue;
        *at = view->next;
        if (view->state == VIEW_WANTED)
            want_no_more(view);
        link_forget(engine->link, view);
        watcher_end(view);
        read_end(view, VIEW_IDLE);
        view_free(view);
        read_more(engine);
        return;
    }
}

void views_up(struct baton_engine *engine)
{
    for (struct view *view = engine->views.first; view != NULL; view = view->next)
        if (view->state == VIEW_IDLE)
            want(view);
    read_more(engine);
}

void views_down(struct baton_engine *engine)
{
    for (struct view *view = engine->views.first; view != NULL; view = view->next) {
        number_drop(view);
        if (view->state == VIEW_WATCHED)
            view->state = VIEW_IDLE;
    }
}

void views_release(struct baton_engine *engine)
{
    while (engine->views.first != NULL) {
        struct view *view = engine->views.first;
        engine->views.first = view->next;
        number_drop(view);
        view_free(view);
    }
}
