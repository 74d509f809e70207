/* views.c: a view is a Range of its prefix at one revision, and from there on a watcher in the connection's one stream.
 *
 * Both are asked for at the same time. The watcher tells everything after the revision of its creation; the Range is
 * read again if it is older than that; what the watcher tells meanwhile is kept, and what the Range shows already is
 * left out of it. So nothing is missed, nothing comes twice, and the watcher never has to catch up: etcd does that for
 * those that begin in the past, but only every 100 ms. All pages of a Range are read at the revision of the first. etcd
 * tells the events of one revision in one message, in order. A view begins again with everything when its connection is
 * gone.
 *
 * Numbers of watchers are ours (watch_id) and never used again in a stream, so what is told late of a view that is not
 * wanted any more is not taken for another's.
 *
 * A view that rests has a watcher for each key that wakes it instead of the one for its prefix. All of them begin after
 * the revision that was told last, and so does the one for the prefix when the view goes on, if that is not far behind.
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

#define RESTING_MAX 8 /* of a client with more views, none begins to rest */
#define BEHIND_MIN 16 /* revisions behind which it is not worth a Range to begin again */

enum view_state { VIEW_IDLE, VIEW_WANTED, VIEW_READING, VIEW_WATCHED, VIEW_RESTING, VIEW_REFUSED };

struct changes {
    struct baton_change *list;
    size_t count, room;
};

struct watcher {
    int64_t number; /* 0: it is not wanted */
    struct view *view;
    bool created; /* etcd has said so */
};

struct view {
    struct view *next, *wanted_next;
    struct baton_engine *engine;
    uint64_t watch;         /* the caller's number */
    struct watcher watcher; /* of its prefix */
    struct rest rest;
    struct watcher alarms[BATON_REST_KEYS_MAX]; /* of the keys that wake it */
    bool looking;                               /* at rest.slow */
    enum view_state state;
    char *prefix;              /* in etcd */
    uint64_t revision;         /* that was told last */
    size_t records;            /* that its last Range has shown */
    uint64_t reading;          /* revision of the Range; 0: its first page is not there */
    char *from;                /* key of the next page */
    bool denied;               /* its watcher was, since the last that was there */
    bool read;                 /* the Range is complete */
    uint64_t after;            /* its watcher tells what came after this revision */
    struct changes all, since; /* read; told by the watcher meanwhile */
};

static void read_more(struct baton_engine *engine);

/* The only steps there are. Each state may become idle: with its connection, or when nobody wants the view any more. */
static void set_state(struct view *view, enum view_state state)
{
#define FROM(state) (1U << (state))
    static const unsigned from[] = {
        [VIEW_IDLE] = ~0U,
        [VIEW_WANTED] = FROM(VIEW_IDLE) | FROM(VIEW_REFUSED),
        [VIEW_READING] = FROM(VIEW_WANTED),
        [VIEW_WATCHED] = FROM(VIEW_READING) | FROM(VIEW_RESTING),
        [VIEW_RESTING] = FROM(VIEW_WATCHED),
        [VIEW_REFUSED] = FROM(VIEW_IDLE) | FROM(VIEW_READING) | FROM(VIEW_WATCHED) | FROM(VIEW_RESTING),
    };
    struct views *views = &view->engine->views;
    assert((from[state] & FROM(view->state)) != 0);
    assert(view->state != VIEW_READING || views->reading > 0);
    assert(view->state != VIEW_RESTING || views->resting > 0);
    views->reading += (unsigned)(state == VIEW_READING) - (unsigned)(view->state == VIEW_READING);
    views->resting += (size_t)(state == VIEW_RESTING) - (size_t)(view->state == VIEW_RESTING);
    view->state = state;
#undef FROM
}

static void want(struct view *view)
{
    struct views *views = &view->engine->views;
    assert(*views->last_wanted == NULL);
    set_state(view, VIEW_WANTED);
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
    assert(view->state == VIEW_WANTED);
    while (*at != view)
        at = &(*at)->wanted_next;
    *at = view->wanted_next;
    if (*at == NULL)
        views->last_wanted = at;
}

/* ---- records ---- */

/* A C string of at most `most` bytes of it. Bytes beyond that, or behind a NUL, cannot be baton's. */
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

static void add_change(const struct baton_engine *engine, struct changes *to, enum baton_change_kind kind,
                       const Etcdserverpb__KeyValue *kv)
{
    if (!is_record(engine, kv))
        return;
    if (to->count == to->room) {
        to->room = to->room > 0 ? 2 * to->room : 16;
        to->list = mem_grow(to->list, to->room * sizeof(*to->list));
    }
    size_t skip = strlen(engine->url.prefix);
    ProtobufCBinaryData key = {.len = kv->key.len - skip, .data = kv->key.data + skip};
    to->list[to->count++] = (struct baton_change){
        .kind = kind,
        .record = {.key = text_of(&key, BATON_KEY_MAX),
                   .value = kind == BATON_CHANGE_PUT ? text_of(&kv->value, BATON_VALUE_MAX) : NULL,
                   .revision = (uint64_t)kv->mod_revision,
                   .created = (uint64_t)kv->create_revision,
                   .session = (uint64_t)kv->lease}};
}

static void clear_changes(struct changes *changes)
{
    for (size_t i = 0; i < changes->count; i++) {
        free((char *)changes->list[i].record.key);
        free((char *)changes->list[i].record.value);
    }
    free(changes->list);
    *changes = (struct changes){0};
}

/* Tell what was gathered, but for the first `skip`. The view may be gone after it: the caller may take it back from
 * inside `changed`. */
static void tell(struct view *view, bool reset, uint64_t revision, struct changes *gathered, size_t skip)
{
    struct baton_engine *engine = view->engine;
    struct changes told = *gathered;
    assert(skip <= told.count);
    struct baton_batch batch = {
        .reset = reset, .revision = revision, .changes = told.list + skip, .count = told.count - skip};
    *gathered = (struct changes){0};
    view->revision = revision;
    if (reset || batch.count > 0)
        engine->callbacks.changed(engine->ctx, view->watch, &batch);
    clear_changes(&told);
}

/* ---- watchers by number ---- */

static int compare_numbers(const void *a, const void *b)
{
    const struct watcher *one = a, *two = b;
    return (one->number > two->number) - (one->number < two->number);
}

static struct watcher *find_number(struct baton_engine *engine, int64_t number)
{
    struct watcher key = {.number = number};
    void *found = tfind(&key, &engine->views.by_number, compare_numbers);
    return found != NULL ? *(struct watcher **)found : NULL;
}

static void number_drop(struct view *view, struct watcher *watcher)
{
    if (watcher->number != 0)
        tdelete(watcher, &view->engine->views.by_number, compare_numbers);
    watcher->number = 0;
}

static void numbers_drop(struct view *view)
{
    number_drop(view, &view->watcher);
    for (size_t i = 0; i < COUNT_OF(view->alarms); i++)
        number_drop(view, &view->alarms[i]);
}

/* etcd (3.4.23) names no number (-1) when it does not let a watcher begin. It answers in the order of asking: it means
 * the first that has no answer. (Or one that was taken back meanwhile; then another view begins again, for nothing.) */
static struct watcher *first_not_created(struct baton_engine *engine)
{
    struct watcher *first = NULL;
    for (struct view *view = engine->views.first; view != NULL; view = view->next) {
        for (size_t i = 0; i <= COUNT_OF(view->alarms); i++) {
            struct watcher *watcher = i == 0 ? &view->watcher : &view->alarms[i - 1];
            if (watcher->number != 0 && !watcher->created && (first == NULL || watcher->number < first->number))
                first = watcher;
        }
    }
    return first;
}

/* The first key behind all that begin with the prefix. */
static char *range_end(const char *prefix)
{
    char *end = mem_text(prefix);
    end[strlen(end) - 1]++; /* a prefix ends with a slash */
    return end;
}

/* Of one key (end NULL), or of all from it up to `end`; of what comes now (after 0), or of all after a revision. */
static void watcher_ask(struct view *view, struct watcher *watcher, const char *key, const char *end, uint64_t after)
{
    struct baton_engine *engine = view->engine;
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    assert(watcher->number == 0); /* it has none yet */
    watcher->number = ++engine->views.last_number;
    watcher->view = view;
    watcher->created = false;
    (void)tsearch(watcher, &engine->views.by_number, compare_numbers);
    create.key = etcd_bytes(key);
    if (end != NULL)
        create.range_end = etcd_bytes(end);
    create.watch_id = watcher->number;
    create.start_revision = after > 0 ? (int64_t)after + 1 : 0;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    link_stream(engine->link, "Watch/Watch", &request.base);
}

static void watcher_begin(struct view *view, uint64_t after)
{
    char *end = range_end(view->prefix);
    watcher_ask(view, &view->watcher, view->prefix, end, after);
    free(end);
}

static void watcher_cancel(struct view *view, struct watcher *watcher)
{
    if (watcher->number == 0)
        return;
    Etcdserverpb__WatchCancelRequest cancel = ETCDSERVERPB__WATCH_CANCEL_REQUEST__INIT;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    cancel.watch_id = watcher->number;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST;
    request.cancel_request = &cancel;
    link_stream(view->engine->link, "Watch/Watch", &request.base);
    number_drop(view, watcher);
}

static void watchers_end(struct view *view)
{
    watcher_cancel(view, &view->watcher);
    for (size_t i = 0; i < COUNT_OF(view->alarms); i++)
        watcher_cancel(view, &view->alarms[i]);
}

/* ---- reading ---- */

static void read_end(struct view *view, enum view_state state)
{
    set_state(view, state);
    view->looking = false;
    rest_end(&view->rest);
    free(view->from);
    view->from = NULL;
    clear_changes(&view->all);
    clear_changes(&view->since);
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
    watchers_end(view);
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

static void ask_page(struct view *view);

/* From the first page on; the watcher stays. */
static void read_again(struct view *view)
{
    assert(view->state == VIEW_READING);
    clear_changes(&view->all);
    free(view->from);
    view->from = NULL;
    view->reading = 0;
    view->read = false;
    ask_page(view);
}

static void read_failed(struct view *view, const struct grpc_result *result)
{
    struct baton_engine *engine = view->engine;
    struct baton_error err;
    if (result->status == GRPC_BROKEN) { /* the link begins again, and so does this */
        read_end(view, VIEW_IDLE);
    } else if (result->status == GRPC_OUT_OF_RANGE) { /* compacted between two pages */
        read_again(view);
    } else if (status_is_refusal(result)) {
        status_error(result, link_endpoint(engine->link), "records cannot be read", &err);
        refused(view, &err);
    } else {
        read_later(view, RETRY_MS);
    }
}

/* A revision that goes back means another history: a restored backup. The promises of the old one are void. */
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

/* Is everything there? Then it is told, and what has come since. */
static void maybe_begin(struct view *view)
{
    struct baton_engine *engine = view->engine;
    if (!view->read || !view->watcher.created)
        return;
    if (view->reading < view->after) {
        read_again(view);
        return;
    }
    if (went_back(view, view->reading))
        return;
    assert(view->state == VIEW_READING);
    struct changes all = view->all, since = view->since;
    int64_t number = view->watcher.number;
    view->all = view->since = (struct changes){0};
    read_end(view, VIEW_WATCHED);
    if (engine->views.troubled)
        engine->callbacks.trouble(engine->ctx, NULL);
    engine->views.troubled = false;
    size_t seen = 0;
    while (seen < since.count && since.list[seen].record.revision <= view->reading)
        seen++;
    view->records = all.count;
    tell(view, true, view->reading, &all, 0);
    /* (It may be gone now, or rest: then what comes after it is told by other watchers.) */
    if (seen < since.count && find_number(engine, number) != NULL)
        tell(view, false, since.list[since.count - 1].record.revision, &since, seen);
    clear_changes(&since);
}

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
        add_change(engine, &view->all, BATON_CHANGE_PUT, answer->kvs[i]);
    if (answer->more && answer->n_kvs > 0) {
        const ProtobufCBinaryData *last = &answer->kvs[answer->n_kvs - 1]->key;
        free(view->from);
        view->from = mem_new(last->len + 2); /* the next key: the last one and a NUL */
        memcpy(view->from, last->data, last->len);
        ask_page(view);
        goto out;
    }
    view->read = true;
    maybe_begin(view);
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
    while (link_is_up(engine->link) && views->reading < READING_MAX && (view = next_wanted(views)) != NULL) {
        set_state(view, VIEW_READING);
        watcher_begin(view, 0);
        read_again(view);
    }
}

/* ---- rest ---- */

static void rest(struct view *view, const struct baton_rest *asked)
{
    struct baton_engine *engine = view->engine;
    assert(asked->count > 0);
    set_state(view, VIEW_RESTING);
    rest_begin(&view->rest, asked);
    for (size_t i = 0; i < view->rest.count; i++) {
        char *key = etcd_key(engine, view->rest.keys[i]);
        watcher_ask(view, &view->alarms[i], key, NULL, view->revision);
        free(key);
    }
    watcher_cancel(view, &view->watcher);
}

/* For a watcher that begins in the past, etcd reads all that was written since, by anybody, and tells nobody anything
 * meanwhile; for a Range, what is there now. */
static bool is_far_behind(const struct view *view, const Etcdserverpb__ResponseHeader *now)
{
    size_t behind = BEHIND_MIN + view->records / 8;
    return now == NULL || (uint64_t)now->revision > view->revision + behind;
}

static void begin_again(struct view *view)
{
    link_forget(view->engine->link, view);
    watchers_end(view);
    read_end(view, VIEW_IDLE);
    want(view);
    read_more(view->engine);
}

/* From where it was (etcd may take 100 ms to tell what is past; nobody is in a hurry), or with everything. */
static void go_on(struct view *view, const Etcdserverpb__ResponseHeader *now)
{
    if (is_far_behind(view, now)) {
        begin_again(view);
        return;
    }
    link_forget(view->engine->link, view);
    watchers_end(view);
    read_end(view, VIEW_WATCHED);
    watcher_begin(view, view->revision);
}

void views_rest(struct baton_engine *engine, uint64_t watch, const struct baton_rest *asked)
{
    struct views *views = &engine->views;
    if (asked->count > 0 ? views->count > RESTING_MAX : views->resting == 0)
        return;
    struct view *view = views->first;
    while (view != NULL && view->watch != watch)
        view = view->next;
    if (view == NULL)
        return;
    if (asked->count > 0 && view->state == VIEW_WATCHED) {
        rest(view, asked);
    } else if (asked->count == 0 && view->state == VIEW_RESTING) {
        begin_again(view); /* quicker than what is past */
    }
}

static void on_looked(void *ctx, const struct grpc_result *result)
{
    struct view *view = ctx;
    Etcdserverpb__RangeResponse *answer = NULL;
    view->looking = false;
    if (result->status == GRPC_OK && result->message != NULL)
        answer = etcdserverpb__range_response__unpack(NULL, result->length, result->message);
    if (answer == NULL)
        return; /* the next renewal looks again */
    if (answer->n_kvs == 0 || (uint64_t)answer->kvs[0]->mod_revision > view->revision)
        go_on(view, answer->header);
    etcdserverpb__range_response__free_unpacked(answer, NULL);
}

void views_look(struct baton_engine *engine)
{
    if (engine->views.resting == 0)
        return;
    for (struct view *view = engine->views.first; view != NULL; view = view->next) {
        if (view->state != VIEW_RESTING || view->rest.slow == NULL || view->looking || !link_is_up(engine->link))
            continue;
        Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
        char *key = etcd_key(engine, view->rest.slow);
        range.key = etcd_bytes(key);
        range.keys_only = true;
        view->looking = true;
        link_call(engine->link, "KV/Range", &range.base, LINK_LIMIT_MS, on_looked, view);
        free(key);
    }
}

/* ---- the stream ---- */

static void watcher_ended(struct view *view, const Etcdserverpb__WatchResponse *told)
{
    struct baton_engine *engine = view->engine;
    if (told->compact_revision > 0) {
        begin_again(view);
        return;
    }
    link_forget(engine->link, view);
    watchers_end(view);
    /* The stream's token is that of its beginning, and may be forgotten: only with a new one is a denial meant. */
    if (engine->url.user != NULL && !view->denied) {
        view->denied = true;
        read_end(view, VIEW_IDLE);
        link_renew(engine->link);
        return;
    }
    struct grpc_result result = {.status = GRPC_PERMISSION_DENIED};
    const char *reason = strstr(told->cancel_reason, "desc = ");
    text_copy(result.words, sizeof(result.words), reason != NULL ? reason + strlen("desc = ") : told->cancel_reason);
    struct baton_error err;
    status_error(&result, link_endpoint(engine->link), "records cannot be watched", &err);
    refused(view, &err);
    read_more(engine);
}

static void watcher_told(struct view *view, const Etcdserverpb__WatchResponse *told)
{
    struct changes *to = &view->since;
    for (size_t i = 0; i < told->n_events; i++) {
        const Etcdserverpb__Event *event = told->events[i];
        if (event->kv == NULL)
            continue;
        /* It may be told after the Range that shows it already. */
        bool known = view->state == VIEW_WATCHED && (uint64_t)event->kv->mod_revision <= view->revision;
        if (!known)
            add_change(view->engine, to,
                       event->type == ETCDSERVERPB__EVENT__KIND__PUT ? BATON_CHANGE_PUT : BATON_CHANGE_REMOVE,
                       event->kv);
    }
    if (view->state == VIEW_WATCHED && to->count > 0)
        tell(view, false, to->list[to->count - 1].record.revision, to, 0);
}

static void watcher_there(struct watcher *watcher, const Etcdserverpb__WatchResponse *told)
{
    struct view *view = watcher->view;
    watcher->created = true;
    view->denied = false;
    if (watcher != &view->watcher || view->state != VIEW_READING || told->header == NULL)
        return;
    view->after = (uint64_t)told->header->revision;
    maybe_begin(view);
}

void views_message(struct baton_engine *engine, const uint8_t *message, size_t length)
{
    Etcdserverpb__WatchResponse *told = etcdserverpb__watch_response__unpack(NULL, length, message);
    if (told == NULL) {
        link_drop(engine->link, "it sent what is not a watch's answer");
        return;
    }
    struct watcher *watcher = find_number(engine, told->watch_id);
    if (watcher == NULL && told->created && told->canceled)
        watcher = first_not_created(engine);
    struct view *view = watcher != NULL ? watcher->view : NULL;
    if (view == NULL) {
        ; /* of one that is not wanted any more */
    } else if (told->canceled) {
        number_drop(view, watcher);
        watcher_ended(view, told);
    } else if (told->created) {
        watcher_there(watcher, told);
        read_more(engine);
    } else if (watcher != &view->watcher) {
        if (told->n_events > 0)
            go_on(view, told->header);
    } else {
        watcher_told(view, told);
    }
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
    assert(prefix[0] == '\0' || prefix[strlen(prefix) - 1] == '/');
    view->engine = engine;
    view->watch = watch;
    view->prefix = etcd_key(engine, prefix);
    view->next = engine->views.first;
    engine->views.first = view;
    engine->views.count++;
    want(view);
    read_more(engine);
}

static void view_free(struct view *view)
{
    assert(view->watcher.number == 0); /* else it would be found by its number */
    clear_changes(&view->all);
    clear_changes(&view->since);
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
        watchers_end(view);
        read_end(view, VIEW_IDLE);
        view_free(view);
        assert(engine->views.count > 0);
        engine->views.count--;
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
        numbers_drop(view);
        link_forget(engine->link, view);
        if (view->state == VIEW_WATCHED || view->state == VIEW_READING || view->state == VIEW_RESTING)
            read_end(view, VIEW_IDLE);
    }
}

void views_release(struct baton_engine *engine)
{
    while (engine->views.first != NULL) {
        struct view *view = engine->views.first;
        engine->views.first = view->next;
        numbers_drop(view);
        rest_end(&view->rest);
        view_free(view);
    }
}
