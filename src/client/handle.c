/* handle.c: see handle.h. */
#include "client/handle.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "client/client.h"

/* ---- kinds ---- */

static void name_election(struct baton_event *event, struct handle *handle)
{
    event->election = (struct baton_election *)handle;
}

static void name_lock(struct baton_event *event, struct handle *handle)
{
    event->lock = (struct baton_lock *)handle;
}

static void name_task(struct baton_event *event, struct handle *handle)
{
    event->task = (struct baton_task *)handle;
}

/* The end of a lock's stop is not told: RELEASED follows. The end of a task's neither: OUTCOME follows, and is the
 * last. */
static const struct handle_kind kinds[] = {
    [CONTEST_ELECTION] = {.stands = {"already stands in the election", ""},
                          .leaves = "its resignation is under way",
                          .lead = BATON_LEAD,
                          .follow = BATON_FOLLOW,
                          .resigned = BATON_RESIGNED,
                          .name_in = name_election},
    [CONTEST_LOCK] = {.stands = {"holds or wants the lock", " already"},
                      .leaves = "it is being released",
                      .lead = BATON_ACQUIRED,
                      .resigned = BATON_RELEASED,
                      .outcome = BATON_RELEASED,
                      .ends_by_outcome = true,
                      .name_in = name_lock},
    [CONTEST_TASK] = {.stands = {"wants the task", " done already"},
                      .leaves = "it is being given up",
                      .lead = BATON_BEGIN,
                      .outcome = BATON_OUTCOME,
                      .name_in = name_task},
};

const struct handle_kind *handle_kind(const struct handle *handle)
{
    assert((size_t)handle->kind < COUNT_OF(kinds) && kinds[handle->kind].name_in != NULL);
    return &kinds[handle->kind];
}

/* ---- life ---- */

struct handle *handle_new(struct baton *b, enum contest_kind kind, const char *name)
{
    struct handle *handle = mem_new(sizeof(*handle));
    handle->client = b;
    handle->page = b->page;
    handle->kind = kind;
    handle->name = mem_text(name != NULL ? name : "");
    handle->all = name == NULL;
    return handle;
}

void handle_add(struct handle *handle, struct contest *core)
{
    struct baton *b = handle->client;
    assert(client_is_locked(b) && handle->core == NULL && core != NULL);
    handle->core = core;
    handle->next = b->handles;
    handle->place = &b->handles;
    if (handle->next != NULL)
        handle->next->place = &handle->next;
    b->handles = handle;
}

void handle_free(struct handle *handle)
{
    assert(!handle->standing);
    free(handle->name);
    free(handle);
}

struct handle *handle_open(struct baton *b, enum contest_kind kind, const char *name, struct baton_error *err)
{
    if (client_check_open(b, err) < 0)
        return NULL;
    struct handle *handle = handle_new(b, kind, name);
    struct contest *core = core_observe(b->core, kind, name, handle, err);
    if (core == NULL) {
        handle_free(handle);
        return NULL;
    }
    handle_add(handle, core);
    return handle;
}

struct handle *handle_observe(struct baton *b, enum contest_kind kind, const char *name, struct baton_error *err)
{
    if (client_check(b, err) < 0)
        return NULL;
    if (name != NULL && (kind == CONTEST_TASK ? task_key_check(name, err) : name_check("name", name, err)) < 0)
        return NULL;
    client_lock(b);
    struct handle *handle = handle_open(b, kind, name, err);
    client_unlock(b);
    if (handle != NULL)
        client_wake(b);
    return handle;
}

void handle_gone(struct handle *handle)
{
    handle_withdrawn(handle);
    for (struct handle **at = &handle->client->asking; handle->asking && *at != NULL; at = &(*at)->asking_next) {
        if (*at == handle) {
            *at = handle->asking_next;
            break;
        }
    }
    assert(*handle->place == handle);
    *handle->place = handle->next;
    if (handle->next != NULL)
        handle->next->place = handle->place;
    handle_free(handle);
}

void handle_release(struct handle *handle)
{
    struct baton *b = handle->client;
    client_lock(b);
    assert(!handle->freed);
    handle->freed = true;
    if (handle->stopping)
        b->orphan_ms = 0;
    queue_forget(b, handle);
    assert(b->requests >= handle->requests);
    b->requests -= handle->requests; /* the core drops them */
    handle->requests = 0;
    core_forget(b->core, handle->core);
    client_unlock(b);
    client_wake(b);
}

/* ---- standing ---- */

static int compare_names(const void *left, const void *right)
{
    const struct handle *a = left, *b = right;
    return a->kind != b->kind ? (int)a->kind - (int)b->kind : strcmp(a->name, b->name);
}

int handle_check_standing(struct baton *b, enum contest_kind kind, const char *name, struct baton_error *err)
{
    assert(client_is_locked(b));
    struct handle wanted = {.kind = kind, .name = (char *)name};
    struct handle **standing = tfind(&wanted, &b->standing_names, compare_names);
    if (standing == NULL)
        return 0;
    assert((*standing)->standing && (*standing)->client == b);
    const struct handle_kind *row = handle_kind(*standing);
    return error_set(err, BATON_CONFLICT, "this client %s '%s'%s%s%s", row->stands[0], name, row->stands[1],
                     (*standing)->freed ? ": " : "", (*standing)->freed ? row->leaves : "");
}

int handle_check_stop(const struct baton *b, uint32_t stop_ms, struct baton_error *err)
{
    if (stop_ms > b->options.ttl_ms / 2)
        return error_set(err, BATON_INVALID,
                         "a stop that may take %u ms does not fit a ttl of %u ms: at most half of it is left when "
                         "renewals fail",
                         stop_ms, b->options.ttl_ms);
    return 0;
}

void handle_stands(struct handle *handle, uint32_t stop_ms)
{
    assert(client_is_locked(handle->client) && !handle->standing && !handle->all);
    if (tsearch(handle, &handle->client->standing_names, compare_names) == NULL)
        IMPOSSIBLE("out of memory for a tree of names");
    handle->standing = true;
    handle->stop_ms = stop_ms;
}

void handle_withdrawn(struct handle *handle)
{
    if (!handle->standing)
        return;
    handle->standing = false;
    if (tdelete(handle, &handle->client->standing_names, compare_names) == NULL)
        IMPOSSIBLE("'%s' stands, and is not among those that stand", handle->name);
}

/* ---- having ---- */

bool handle_leads(const struct handle *handle, uint64_t *ret_term)
{
    /* The term twice, the deadline between: see publish() in driver.c. The clock last: what is true is true now. */
    uint64_t term = atomic_load_explicit(&handle->term, memory_order_acquire);
    int64_t deadline_ms = atomic_load_explicit(&handle->page->deadline_ms, memory_order_acquire);
    if (term == 0 || atomic_load_explicit(&handle->term, memory_order_acquire) != term || clock_now_ms() >= deadline_ms)
        return false;
    if (ret_term != NULL)
        *ret_term = term;
    return true;
}

bool handle_known(const struct handle *handle)
{
    struct baton *b = handle->client;
    if (!client_is_ours(b))
        return false;
    client_lock(b);
    bool known = contest_view(handle->core)->ready;
    client_unlock(b);
    return known;
}

/* ---- wishes ---- */

void handle_ask(struct handle *handle, bool *want)
{
    struct baton *b = handle->client;
    assert(client_is_locked(b));
    assert(want == &handle->want_resign || want == &handle->want_stopped);
    *want = true;
    if (handle->asking)
        return;
    handle->asking = true;
    handle->asking_next = b->asking;
    b->asking = handle;
}

static void ask(struct handle *handle, bool *want)
{
    struct baton *b = handle->client;
    if (!client_is_ours(b))
        return;
    client_lock(b);
    handle_ask(handle, want);
    client_unlock(b);
    client_wake(b);
}

void handle_stopped(struct handle *handle)
{
    ask(handle, &handle->want_stopped);
}

void handle_resign(struct handle *handle)
{
    ask(handle, &handle->want_resign);
}

bool handle_stop_takes(struct handle *handle, uint32_t ms)
{
    struct baton *b = handle->client;
    if (!client_is_ours(b))
        return false;
    int64_t until_ms = clock_now_ms() + ms;
    client_lock(b);
    bool kept = core_stop_takes(b->core, handle->core, 0, until_ms);
    if (kept && until_ms > handle->stop_until_ms)
        handle->stop_until_ms = until_ms;
    client_unlock(b);
    client_wake(b);
    return kept;
}

/* ---- requests ---- */

void handle_refuse_request(struct handle *handle, uint64_t number, const struct baton_error *err)
{
    struct queued *reply = queue_add(handle->client, BATON_REPLY, handle, err->text);
    reply->request = number;
    reply->code = err->code;
}

bool handle_request(struct handle *handle, const char *what, uint64_t *ret_number)
{
    struct baton *b = handle->client;
    assert(client_is_locked(b));
    struct baton_error err = {0};
    *ret_number = ++b->last_request;
    if (handle->all)
        error_set(&err, BATON_INVALID, "a %s needs one name, not all of them", what);
    else if (b->requests >= REQUESTS_MAX)
        error_set(&err, BATON_FULL, "%d requests are under way already, which is the most that one client can have",
                  REQUESTS_MAX);
    if (err.code != BATON_OK) {
        handle_refuse_request(handle, *ret_number, &err);
        return false;
    }
    handle->requests++;
    b->requests++;
    return true;
}
