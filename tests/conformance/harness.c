/* harness.c: see harness.h. */
#include "harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/clock.h"
#include "engine/engine.h"

const struct baton_engine_ops *harness_ops(const char *url)
{
    struct baton_error err = {0};
    const struct baton_engine_ops *ops = engine_find(url, &err);
    if (ops == NULL)
        fail_msg("%s", err.text);
    return ops;
}

/* ---- views ---- */

static size_t place_of(const struct view *view, const char *key, bool *ret_found)
{
    size_t low = 0, high = view->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(view->records[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_found = low < view->count && strcmp(view->records[low].key, key) == 0;
    return low;
}

static void drop(struct view *view, size_t place)
{
    free((char *)view->records[place].key);
    free((char *)view->records[place].value);
    view->count--;
    memmove(&view->records[place], &view->records[place + 1], (view->count - place) * sizeof(*view->records));
}

static void view_clear(struct view *view)
{
    while (view->count > 0)
        drop(view, view->count - 1);
}

static void apply(struct view *view, const struct baton_change *change)
{
    bool found;
    size_t place = place_of(view, change->record.key, &found);
    if (change->kind == BATON_CHANGE_REMOVE) {
        assert_true(found); /* only what the view shows can be removed from it */
        drop(view, place);
        return;
    }
    assert_true(change->record.created > 0 && change->record.created <= change->record.revision);
    if (found) {
        assert_int_equal(view->records[place].created, change->record.created);
        drop(view, place);
    }
    if (view->count == view->room) {
        view->room = view->room > 0 ? 2 * view->room : 16;
        view->records = mem_grow(view->records, view->room * sizeof(*view->records));
    }
    memmove(&view->records[place + 1], &view->records[place], (view->count - place) * sizeof(*view->records));
    view->count++;
    view->records[place] = change->record;
    view->records[place].key = mem_text(change->record.key);
    view->records[place].value = mem_text(change->record.value);
}

static void on_changed(void *ctx, uint64_t watch, const struct baton_batch *batch)
{
    struct client *client = ctx;
    assert_false(client->inside || client->closed);
    assert_true(watch < WATCHES_MAX);
    struct view *view = &client->views[watch];
    assert_true(view->watched);
    assert_true(view->begun || batch->reset); /* everything first */
    assert_true(batch->revision >= view->revision);
    uint64_t before = view->revision, at = 0;
    if (batch->reset) {
        view_clear(view);
        view->resets++;
        view->began = batch->revision;
    }
    size_t removed = 0;
    for (size_t i = 0; i < batch->count; i++) {
        const struct baton_change *change = &batch->changes[i];
        assert_true(change->record.revision > 0 && change->record.revision <= batch->revision);
        if (batch->reset) {
            assert_int_equal(change->kind, BATON_CHANGE_PUT);
        } else {
            /* A revision that was begun in the last batch was whole there. */
            assert_true(change->record.revision > before && change->record.revision >= at);
            at = change->record.revision;
        }
        if (change->kind == BATON_CHANGE_REMOVE) {
            if (removed++ == 0)
                view->removed_first = at;
            view->removed_last = at;
        }
        apply(view, change);
        if (watch == 0 && client->on_change != NULL)
            client->on_change(client, change);
    }
    if (watch == 0 && client->on_batch != NULL)
        client->on_batch(client);
    if (removed > 0)
        view->last_removed = removed;
    view->begun = true;
    view->revision = batch->revision;
    view->batches++;
    view->changed_ms = clock_now_ms();
}

const struct baton_record *view_get(const struct client *client, unsigned watch, const char *key)
{
    bool found;
    size_t place = place_of(&client->views[watch], key, &found);
    return found ? &client->views[watch].records[place] : NULL;
}

/* ---- answers ---- */

static void answered(struct client *client, uint64_t ticket)
{
    assert_false(client->inside || client->closed);
    assert_true(ticket > 0 && ticket <= client->last_ticket);
    assert_int_equal(++client->answered[ticket], 1);
    client->answers++;
}

static void on_session_opened(void *ctx, uint64_t ticket, uint64_t session, uint32_t ttl_ms,
                              const struct baton_error *err)
{
    struct client *client = ctx;
    answered(client, ticket);
    assert_true((session == 0) == (err != NULL));
    client->session = session;
    client->ttl_ms = ttl_ms;
    if (err != NULL)
        client->error = *err;
}

static void on_reply(struct client *client, uint64_t ticket, const struct baton_reply *reply)
{
    answered(client, ticket);
    client->reply = *reply;
    client->answers_by[ticket] = (unsigned char)reply->answer;
    if (reply->answer == BATON_ANSWER_DONE) {
        client->revisions[ticket] = reply->revision;
        client->done++;
        if (reply->revision > client->done_revision)
            client->done_revision = reply->revision;
    }
    if (reply->answer == BATON_ANSWER_REFUSED || reply->answer == BATON_ANSWER_UNKNOWN)
        assert_true(reply->error.code != BATON_OK && reply->error.text[0] != '\0');
}

static void on_session_renewed(void *ctx, uint64_t ticket, const struct baton_reply *reply)
{
    on_reply(ctx, ticket, reply);
}

static void on_written(void *ctx, uint64_t ticket, const struct baton_reply *reply)
{
    on_reply(ctx, ticket, reply);
}

static void on_session_ended(void *ctx, uint64_t session)
{
    struct client *client = ctx;
    assert_false(client->inside || client->closed);
    assert_true(client->ended != session);
    client->ended = session;
    client->ended_count++;
}

static void on_trouble(void *ctx, const struct baton_error *err)
{
    struct client *client = ctx;
    assert_false(client->inside || client->closed);
    client->trouble = err != NULL ? *err : (struct baton_error){0};
}

static void on_closed(void *ctx)
{
    struct client *client = ctx;
    assert_false(client->inside || client->closed);
    client->closed = true;
}

static const struct baton_engine_callbacks callbacks = {.session_opened = on_session_opened,
                                                        .session_renewed = on_session_renewed,
                                                        .session_ended = on_session_ended,
                                                        .written = on_written,
                                                        .changed = on_changed,
                                                        .trouble = on_trouble,
                                                        .closed = on_closed};

/* ---- life ---- */

struct client *client_try(const char *url, uv_loop_t *loop, struct baton_error *err)
{
    struct client *client = mem_new(sizeof(*client));
    client->ops = harness_ops(url);
    client->loop = loop;
    client->inside = true;
    if (client->ops->open(url, true, loop, &callbacks, client, &client->engine, err) < 0) {
        free(client);
        return NULL;
    }
    client->inside = false;
    return client;
}

struct client *client_new(const char *url, uv_loop_t *loop)
{
    struct baton_error err = {0};
    struct client *client = client_try(url, loop, &err);
    if (client == NULL)
        fail_msg("%s: %s", url, err.text);
    return client;
}

static bool is_closed(void *ctx)
{
    return ((struct client *)ctx)->closed;
}

void client_free(struct client *client)
{
    client->inside = true;
    client->ops->close(client->engine);
    client->inside = false;
    wait_until(client->loop, is_closed, client);
    for (size_t i = 0; i < WATCHES_MAX; i++) {
        view_clear(&client->views[i]);
        free(client->views[i].records);
    }
    free(client);
}

struct waiting {
    uv_timer_t limit;
    uv_prepare_t before_sleep;
    bool (*done)(void *ctx);
    void *ctx;
    bool over;
    unsigned open; /* handles */
};

static void on_limit(uv_timer_t *timer)
{
    ((struct waiting *)timer->data)->over = true;
}

/* uv_run(3) calls the timers first and then sleeps, also when one of them has brought what is waited for. */
static void before_sleep(uv_prepare_t *prepare)
{
    struct waiting *waiting = prepare->data;
    if (waiting->done(waiting->ctx))
        uv_stop(prepare->loop);
}

static void on_handle_closed(uv_handle_t *handle)
{
    ((struct waiting *)handle->data)->open--;
}

bool wait_for(uv_loop_t *loop, bool (*done)(void *ctx), void *ctx, int64_t ms)
{
    struct waiting waiting = {.done = done, .ctx = ctx, .open = 2};
    bool came;
    uv_update_time(loop); /* what was done since the loop last ran does not count */
    uv_timer_init(loop, &waiting.limit);
    uv_prepare_init(loop, &waiting.before_sleep);
    waiting.limit.data = waiting.before_sleep.data = &waiting;
    uv_timer_start(&waiting.limit, on_limit, (uint64_t)ms, 0);
    uv_prepare_start(&waiting.before_sleep, before_sleep);
    while (!(came = done(ctx)) && !waiting.over)
        uv_run(loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&waiting.limit, on_handle_closed);
    uv_close((uv_handle_t *)&waiting.before_sleep, on_handle_closed);
    while (waiting.open > 0)
        uv_run(loop, UV_RUN_NOWAIT);
    return came;
}

void wait_until(uv_loop_t *loop, bool (*done)(void *ctx), void *ctx)
{
    if (!wait_for(loop, done, ctx, WAIT_MS))
        fail_msg("what was waited for did not come within %d ms", WAIT_MS);
}

/* ---- requests ---- */

static uint64_t ticket_new(struct client *client)
{
    assert_true(client->last_ticket + 1 < TICKETS_MAX);
    return ++client->last_ticket;
}

static uint64_t client_write(struct client *client, const struct baton_write *write)
{
    uint64_t ticket = ticket_new(client);
    client->inside = true;
    client->ops->write(client->engine, ticket, write);
    client->inside = false;
    return ticket;
}

uint64_t client_put(struct client *client, const char *key, const char *value, uint64_t session, uint64_t if_revision)
{
    /* Copies that are freed at once: the engine may keep nothing of what it is given. */
    struct baton_write write = {.kind = BATON_WRITE_PUT, .session = session, .if_revision = if_revision};
    char *key_copy = mem_text(key), *value_copy = mem_text(value);
    write.key = key_copy;
    write.value = value_copy;
    uint64_t ticket = client_write(client, &write);
    free(key_copy);
    free(value_copy);
    return ticket;
}

uint64_t client_remove(struct client *client, const char *key, uint64_t if_revision)
{
    struct baton_write write = {.kind = BATON_WRITE_REMOVE, .key = key, .if_revision = if_revision};
    return client_write(client, &write);
}

uint64_t client_session_open(struct client *client, uint32_t ttl_ms)
{
    uint64_t ticket = ticket_new(client);
    client->inside = true;
    client->ops->session_open(client->engine, ticket, ttl_ms);
    client->inside = false;
    return ticket;
}

uint64_t client_renew(struct client *client, uint64_t session)
{
    uint64_t ticket = ticket_new(client);
    client->inside = true;
    client->ops->session_renew(client->engine, ticket, session);
    client->inside = false;
    return ticket;
}

void client_session_end(struct client *client, uint64_t session)
{
    client->inside = true;
    client->ops->session_end(client->engine, session);
    client->inside = false;
}

void client_watch(struct client *client, unsigned watch, const char *prefix)
{
    char *copy = mem_text(prefix);
    view_clear(&client->views[watch]);
    client->views[watch].begun = false;
    client->views[watch].watched = true;
    client->inside = true;
    client->ops->watch(client->engine, watch, copy);
    client->inside = false;
    free(copy);
}

void client_unwatch(struct client *client, unsigned watch)
{
    client->views[watch].watched = false;
    client->inside = true;
    client->ops->unwatch(client->engine, watch);
    client->inside = false;
}

void client_rest(struct client *client, unsigned watch, const char *key, const char *slow)
{
    if (client->ops->rest == NULL)
        return;
    bool inside = client->inside; /* also from inside a callback */
    char *copies[] = {mem_text(key), mem_text(slow)};
    client->inside = true;
    client->ops->rest(
        client->engine, watch,
        &(struct baton_rest){.keys = (const char *const *)copies, .count = key != NULL, .slow = copies[1]});
    client->inside = inside;
    free(copies[0]);
    free(copies[1]);
}

struct awaited {
    struct client *client;
    uint64_t number;
    unsigned watch;
    const char *key;
    bool there;
};

static bool is_answered(void *ctx)
{
    const struct awaited *awaited = ctx;
    return awaited->client->answered[awaited->number] > 0;
}

void wait_answer(struct client *client, uint64_t ticket)
{
    struct awaited awaited = {.client = client, .number = ticket};
    wait_until(client->loop, is_answered, &awaited);
}

static bool is_at(void *ctx)
{
    const struct awaited *awaited = ctx;
    const struct view *view = &awaited->client->views[awaited->watch];
    return view->begun && view->revision >= awaited->number;
}

void wait_view(struct client *client, unsigned watch, uint64_t revision)
{
    struct awaited awaited = {.client = client, .number = revision, .watch = watch};
    wait_until(client->loop, is_at, &awaited);
}

static bool key_is(void *ctx)
{
    const struct awaited *awaited = ctx;
    return awaited->client->views[awaited->watch].begun &&
           (view_get(awaited->client, awaited->watch, awaited->key) != NULL) == awaited->there;
}

void wait_key(struct client *client, unsigned watch, const char *key, bool there)
{
    struct awaited awaited = {.client = client, .watch = watch, .key = key, .there = there};
    wait_until(client->loop, key_is, &awaited);
}

const struct baton_reply *put(struct client *client, const char *key, const char *value, uint64_t session,
                              uint64_t if_revision)
{
    wait_answer(client, client_put(client, key, value, session, if_revision));
    return &client->reply;
}

const struct baton_reply *latched_put(struct client *client, const char *key, uint64_t session)
{
    struct baton_write write = {
        .kind = BATON_WRITE_PUT, .key = key, .value = "{}", .session = session, .latched = true};
    wait_answer(client, client_write(client, &write));
    return &client->reply;
}

const struct baton_reply *latched_removal(struct client *client, const char *key)
{
    struct baton_write write = {
        .kind = BATON_WRITE_REMOVE, .key = key, .if_revision = BATON_REVISION_ANY, .latched = true};
    wait_answer(client, client_write(client, &write));
    return &client->reply;
}

const struct baton_reply *removal(struct client *client, const char *key, uint64_t if_revision)
{
    wait_answer(client, client_remove(client, key, if_revision));
    return &client->reply;
}

const struct baton_reply *renewal(struct client *client, uint64_t session)
{
    wait_answer(client, client_renew(client, session));
    return &client->reply;
}

uint64_t session_new(struct client *client, uint32_t ttl_ms)
{
    wait_answer(client, client_session_open(client, ttl_ms));
    if (client->session == 0)
        fail_msg("no session: %s", client->error.text);
    assert_true(client->ttl_ms >= ttl_ms);
    return client->session;
}
