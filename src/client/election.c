/* election.c: libbaton's elections: standing, observing, resigning, and what is asked of one. */
#include <string.h>

#include "base/clock.h"
#include "client/client.h"

#define WHY_MAX 200
#define PRIORITY_MAX 1000

void baton_stand_options_init(struct baton_stand_options *options)
{
    *options = (struct baton_stand_options){0};
}

static int check_stand(const struct baton *b, const struct baton_stand_options *options, struct baton_error *err)
{
    if (options->priority < -PRIORITY_MAX || options->priority > PRIORITY_MAX)
        return error_set(err, BATON_INVALID, "a priority of %d is not within -%d..%d", (int)options->priority,
                         PRIORITY_MAX, PRIORITY_MAX);
    return handle_check_stop(b, options->stop_ms, err);
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
    struct handle *handle = NULL;
    client_lock(b);
    if (handle_check_standing(b, CONTEST_ELECTION, name, err) == 0 &&
        (handle = handle_open(b, CONTEST_ELECTION, name, err)) != NULL) {
        struct stand_options stand = {.priority = options->priority,
                                      .preempt = options->preempt,
                                      .attentive = options->attentive,
                                      .stop_ms = options->stop_ms};
        core_stand(b->core, handle->core, &stand, NULL);
        handle_stands(handle, options->stop_ms);
    }
    client_unlock(b);
    if (handle == NULL)
        return -1;
    client_wake(b);
    *ret = (struct baton_election *)handle;
    return 0;
}

int baton_observe(struct baton *b, const char *name, struct baton_election **ret, struct baton_error *err)
{
    struct handle *handle = handle_observe(b, CONTEST_ELECTION, name, err);
    if (handle != NULL)
        *ret = (struct baton_election *)handle;
    return handle != NULL ? 0 : -1;
}

const char *baton_election_name(const struct baton_election *e)
{
    return e->handle.name;
}

bool baton_leads(const struct baton_election *e, uint64_t *ret_term)
{
    return handle_leads(&e->handle, ret_term);
}

void baton_stopped(struct baton_election *e)
{
    handle_stopped(&e->handle);
}

bool baton_stop_takes(struct baton_election *e, uint32_t ms)
{
    return handle_stop_takes(&e->handle, ms);
}

void baton_resign(struct baton_election *e)
{
    handle_resign(&e->handle);
}

void baton_election_free(struct baton_election *e)
{
    if (e != NULL && client_is_ours(e->handle.client))
        handle_release(&e->handle);
}

/* ---- requests ---- */

uint64_t baton_transfer(struct baton_election *e, const char *to_id, uint32_t timeout_ms)
{
    struct baton *b = e->handle.client;
    uint64_t number;
    if (!client_is_ours(b))
        return 0;
    client_lock(b);
    if (handle_request(&e->handle, "transfer", &number))
        core_transfer(b->core, e->handle.core, number, to_id, clock_now_ms() + timeout_ms);
    client_unlock(b);
    client_wake(b);
    return number;
}

uint64_t baton_hold(struct baton_election *e, const char *why, uint32_t timeout_ms)
{
    struct baton *b = e->handle.client;
    uint64_t number;
    if (!client_is_ours(b))
        return 0;
    client_lock(b);
    if (why != NULL && strlen(why) > WHY_MAX) {
        struct baton_error err;
        error_set(&err, BATON_INVALID, "the reason is too long: %zu bytes, at most %d are kept", strlen(why), WHY_MAX);
        handle_refuse_request(&e->handle, number = ++b->last_request, &err);
    } else if (handle_request(&e->handle, "hold", &number)) {
        core_hold(b->core, e->handle.core, number, why, clock_now_ms() + timeout_ms);
    }
    client_unlock(b);
    client_wake(b);
    return number;
}

uint64_t baton_release(struct baton_election *e, uint32_t timeout_ms)
{
    struct baton *b = e->handle.client;
    uint64_t number;
    if (!client_is_ours(b))
        return 0;
    client_lock(b);
    if (handle_request(&e->handle, "release", &number))
        core_release(b->core, e->handle.core, number, clock_now_ms() + timeout_ms);
    client_unlock(b);
    client_wake(b);
    return number;
}
