/* election.c: libbaton's handles: standing, observing, resigning, and what is asked of an election. */
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "client/client.h"

#define WHY_MAX 200
#define PRIORITY_MAX 1000

/* ---- elections ---- */

static int compare_names(const void *left, const void *right)
{
    const struct baton_election *a = left, *b = right;
    return a->kind != b->kind ? (int)a->kind - (int)b->kind : strcmp(a->name, b->name);
}

struct baton_election *election_handle_new(struct baton *b, enum contest_kind kind, const char *name)
{
    struct baton_election *handle = mem_new(sizeof(*handle));
    handle->client = b;
    handle->page = b->page;
    handle->kind = kind;
    handle->name = mem_text(name != NULL ? name : "");
    handle->all = name == NULL;
    return handle;
}

void election_handle_add(struct baton_election *handle, struct contest *core)
{
    struct baton *b = handle->client;
    handle->core = core;
    handle->next = b->elections;
    handle->place = &b->elections;
    if (handle->next != NULL)
        handle->next->place = &handle->next;
    b->elections = handle;
}

void election_handle_free(struct baton_election *handle)
{
    free(handle->name);
    free(handle);
}

struct baton_election *election_handle(struct baton *b, enum contest_kind kind, const char *name,
                                       struct baton_error *err)
{
    if (client_check_open(b, err) < 0)
        return NULL;
    struct baton_election *handle = election_handle_new(b, kind, name);
    struct contest *core = core_observe(b->core, kind, name, handle, err);
    if (core == NULL) {
        election_handle_free(handle);
        return NULL;
    }
    election_handle_add(handle, core);
    return handle;
}

void election_withdrawn(struct baton_election *e)
{
    if (!e->standing)
        return;
    e->standing = false;
    tdelete(e, &e->client->standing_names, compare_names);
}

void election_gone(struct baton_election *e)
{
    election_withdrawn(e);
    for (struct baton_election **at = &e->client->asking; e->asking && *at != NULL; at = &(*at)->asking_next) {
        if (*at == e) {
            *at = e->asking_next;
            break;
        }
    }
    *e->place = e->next;
    if (e->next != NULL)
        e->next->place = e->place;
    election_handle_free(e);
}

static int check_stand(const struct baton *b, const struct baton_stand_options *options, struct baton_error *err)
{
    if (options->priority < -PRIORITY_MAX || options->priority > PRIORITY_MAX)
        return error_set(err, BATON_INVALID, "a priority of %d is not within -%d..%d", (int)options->priority,
                         PRIORITY_MAX, PRIORITY_MAX);
    if (options->stop_ms > b->options.ttl_ms / 2)
        return error_set(err, BATON_INVALID,
                         "a stop that may take %u ms does not fit a ttl of %u ms: at most half of it is left when "
                         "renewals fail",
                         options->stop_ms, b->options.ttl_ms);
    return 0;
}

int election_check_standing(struct baton *b, enum contest_kind kind, const char *name, struct baton_error *err)
{
    struct baton_election wanted = {.kind = kind, .name = (char *)name};
    struct baton_election **standing = tfind(&wanted, &b->standing_names, compare_names);
    if (standing == NULL)
        return 0;
    if (kind == CONTEST_LOCK)
        return error_set(err, BATON_CONFLICT, "this client holds or wants the lock '%s' already", name);
    if (kind == CONTEST_TASK)
        return error_set(err, BATON_CONFLICT, "this client wants the task '%s' done already%s", name,
                         (*standing)->freed ? ": it is being given up" : "");
    return error_set(err, BATON_CONFLICT, "this client already stands in the election '%s'%s", name,
                     (*standing)->freed ? ": its resignation is under way" : "");
}

void election_stands(struct baton_election *e, uint32_t stop_ms)
{
    if (tsearch(e, &e->client->standing_names, compare_names) == NULL)
        IMPOSSIBLE("out of memory for a tree of names");
    e->standing = true;
    e->stop_ms = stop_ms;
}

int baton_stand(struct baton *b, const char *name, const struct baton_stand_options *options,
                struct baton_election **ret, struct baton_error *err)
{
    struct baton_stand_options defaults;
    baton_stand_options_init(&defaults);
    if (options == NULL)
        options = &defaults;
    if (client_check(b, err) < 0 || name_check("name", name, err) < 0 || check_stand(b, options, err) < 0)
        return -1;
    int result = -1;
    pthread_mutex_lock(&b->mutex);
    if (election_check_standing(b, CONTEST_ELECTION, name, err) < 0)
        goto out;
    struct baton_election *handle = election_handle(b, CONTEST_ELECTION, name, err);
    if (handle == NULL)
        goto out;
    struct stand_options stand = {.priority = options->priority,
                                  .preempt = options->preempt,
                                  .attentive = options->attentive,
                                  .stop_ms = options->stop_ms};
    core_stand(b->core, handle->core, &stand, NULL);
    election_stands(handle, options->stop_ms);
    *ret = handle;
    result = 0;
out:
    pthread_mutex_unlock(&b->mutex);
    if (result == 0)
        client_wake(b);
    return result;
}

struct baton_election *election_observe(struct baton *b, enum contest_kind kind, const char *name,
                                        struct baton_error *err)
{
    if (client_check(b, err) < 0)
        return NULL;
    if (name != NULL && (kind == CONTEST_TASK ? task_key_check(name, err) : name_check("name", name, err)) < 0)
        return NULL;
    pthread_mutex_lock(&b->mutex);
    struct baton_election *handle = election_handle(b, kind, name, err);
    pthread_mutex_unlock(&b->mutex);
    if (handle != NULL)
        client_wake(b);
    return handle;
}

int baton_observe(struct baton *b, const char *name, struct baton_election **ret, struct baton_error *err)
{
    struct baton_election *handle = election_observe(b, CONTEST_ELECTION, name, err);
    if (handle != NULL)
        *ret = handle;
    return handle != NULL ? 0 : -1;
}

const char *baton_election_name(const struct baton_election *e)
{
    return e->name;
}

bool baton_leads(const struct baton_election *e, uint64_t *ret_term)
{
    /* The term twice, the deadline between: see publish() in driver.c. The clock last: what is true is true now. */
    uint64_t term = atomic_load_explicit(&e->term, memory_order_acquire);
    int64_t deadline_ms = atomic_load_explicit(&e->page->deadline_ms, memory_order_acquire);
    if (term == 0 || atomic_load_explicit(&e->term, memory_order_acquire) != term || clock_now_ms() >= deadline_ms)
        return false;
    if (ret_term != NULL)
        *ret_term = term;
    return true;
}

void election_ask(struct baton_election *e, bool *want)
{
    struct baton *b = e->client;
    *want = true;
    if (e->asking)
        return;
    e->asking = true;
    e->asking_next = b->asking;
    b->asking = e;
}

static void ask(struct baton_election *e, bool *want)
{
    struct baton *b = e->client;
    if (!client_is_ours(b))
        return;
    pthread_mutex_lock(&b->mutex);
    election_ask(e, want);
    pthread_mutex_unlock(&b->mutex);
    client_wake(b);
}

void baton_stopped(struct baton_election *e)
{
    ask(e, &e->want_stopped);
}

bool baton_stop_takes(struct baton_election *e, uint32_t ms)
{
    struct baton *b = e->client;
    if (!client_is_ours(b))
        return false;
    int64_t until_ms = clock_now_ms() + ms;
    pthread_mutex_lock(&b->mutex);
    bool kept = core_stop_takes(b->core, e->core, 0, until_ms);
    if (kept && until_ms > e->stop_until_ms)
        e->stop_until_ms = until_ms;
    pthread_mutex_unlock(&b->mutex);
    client_wake(b);
    return kept;
}

void baton_resign(struct baton_election *e)
{
    ask(e, &e->want_resign);
}

void baton_election_free(struct baton_election *e)
{
    if (e == NULL || !client_is_ours(e->client))
        return;
    struct baton *b = e->client;
    pthread_mutex_lock(&b->mutex);
    e->freed = true;
    if (e->stopping)
        b->orphan_ms = 0;
    queue_forget(b, e);
    b->requests -= e->requests; /* the core drops them */
    e->requests = 0;
    core_forget(b->core, e->core);
    pthread_mutex_unlock(&b->mutex);
    client_wake(b);
}

/* ---- requests ---- */

static void request_refused(struct baton_election *e, uint64_t number, const struct baton_error *err)
{
    struct queued *reply = queue_add(e->client, BATON_REPLY, e, err->text);
    reply->request = number;
    reply->code = err->code;
}

bool election_request(struct baton_election *e, const char *what, uint64_t *ret_number)
{
    struct baton *b = e->client;
    struct baton_error err = {0};
    *ret_number = ++b->last_request;
    if (e->all)
        error_set(&err, BATON_INVALID, "a %s needs one name, not all of them", what);
    else if (b->requests >= REQUESTS_MAX)
        error_set(&err, BATON_FULL, "%d requests are under way already, which is the most that one client can have",
                  REQUESTS_MAX);
    if (err.code != BATON_OK) {
        request_refused(e, *ret_number, &err);
        return false;
    }
    e->requests++;
    b->requests++;
    return true;
}

uint64_t baton_transfer(struct baton_election *e, const char *to_id, uint32_t timeout_ms)
{
    struct baton *b = e->client;
    uint64_t number;
    if (!client_is_ours(b))
        return 0;
    pthread_mutex_lock(&b->mutex);
    if (election_request(e, "transfer", &number))
        core_transfer(b->core, e->core, number, to_id, clock_now_ms() + timeout_ms);
    pthread_mutex_unlock(&b->mutex);
    client_wake(b);
    return number;
}

uint64_t baton_hold(struct baton_election *e, const char *why, uint32_t timeout_ms)
{
    struct baton *b = e->client;
    uint64_t number;
    if (!client_is_ours(b))
        return 0;
    pthread_mutex_lock(&b->mutex);
    if (why != NULL && strlen(why) > WHY_MAX) {
        struct baton_error err;
        error_set(&err, BATON_INVALID, "the reason is too long: %zu bytes, at most %d are kept", strlen(why), WHY_MAX);
        request_refused(e, number = ++b->last_request, &err);
    } else if (election_request(e, "hold", &number)) {
        core_hold(b->core, e->core, number, why, clock_now_ms() + timeout_ms);
    }
    pthread_mutex_unlock(&b->mutex);
    client_wake(b);
    return number;
}

uint64_t baton_release(struct baton_election *e, uint32_t timeout_ms)
{
    struct baton *b = e->client;
    uint64_t number;
    if (!client_is_ours(b))
        return 0;
    pthread_mutex_lock(&b->mutex);
    if (election_request(e, "release", &number))
        core_release(b->core, e->core, number, clock_now_ms() + timeout_ms);
    pthread_mutex_unlock(&b->mutex);
    client_wake(b);
    return number;
}
