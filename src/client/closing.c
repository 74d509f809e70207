/* closing.c: see closing.h. */
#include "client/closing.h"

#include <errno.h>

#include "base/clock.h"
#include "client/client.h"

/* What closing may take beyond the longest stop: to hand over, and then to end the session. */
#define CLOSE_RESIGN_MS 1500
#define CLOSE_END_MS 500

/* ---- the table ---- */

#define NEVER CLIENT_STATES

/* clang-format off */
static const enum client_state after[CLIENT_STATES][CLOSING_EVENTS] = {
    /*                     ASKED             RESIGNED       LATE            END_ASKED          ENDED           OVER */
    [CLIENT_OPEN]       = {CLIENT_RESIGNING, NEVER,         NEVER,          NEVER,             NEVER,          NEVER},
    [CLIENT_RESIGNING]  = {NEVER,            CLIENT_ENDING, CLIENT_ENDING,  NEVER,             NEVER,          NEVER},
    [CLIENT_ENDING]     = {NEVER,            NEVER,         CLIENT_CLOSING, CLIENT_UNANSWERED, CLIENT_CLOSING, NEVER},
    [CLIENT_UNANSWERED] = {NEVER,            NEVER,         CLIENT_CLOSING, NEVER,             CLIENT_CLOSING, NEVER},
    [CLIENT_CLOSING]    = {NEVER, NEVER,                    CLIENT_CLOSING, NEVER, NEVER,              CLIENT_CLOSED},
    [CLIENT_CLOSED]     = {NEVER,            NEVER,         CLIENT_CLOSED,  NEVER,             NEVER,          NEVER},
};
/* clang-format on */

enum client_state closing_after(enum client_state state, enum closing_event event)
{
    assert(state < CLIENT_STATES && event < CLOSING_EVENTS);
    return after[state][event];
}

void closing_move(struct baton *b, enum closing_event event)
{
    assert(client_is_locked(b));
    enum client_state state = closing_after(b->state, event);
    if (state == NEVER)
        IMPOSSIBLE("a client in state %d cannot see the event %d", (int)b->state, (int)event);
    b->state = state;
}

/* ---- on the loop ---- */

/* Does this handle keep the session? A program that needs no time to stop has stopped when the deadline is gone; one
 * that needs time, and has some left, must keep its session. */
static bool keeps_session(const struct handle *handle, int64_t now_ms)
{
    if (handle->unlocked)
        return false; /* the program has said that it is over */
    if (handle->stopping)
        return now_ms < handle->stop_until_ms;
    return handle->stop_ms > 0 && atomic_load(&handle->term) != 0;
}

/* May the session be ended although not everything is resigned? If not, it ends by itself. */
static bool may_end(struct baton *b, int64_t now_ms)
{
    for (const struct handle *handle = b->handles; handle != NULL; handle = handle->next)
        if (keeps_session(handle, now_ms))
            return false;
    atomic_store(&b->page->deadline_ms, 0);
    return true;
}

/* Does nothing stand but locks that are unlocked and tasks that are settled? They go with the session, at one stroke.
 */
static bool only_unlocked(const struct baton *b)
{
    for (const struct handle *handle = b->handles; handle != NULL; handle = handle->next)
        if (handle->standing && (!handle->unlocked || handle->recording))
            return false;
    return true;
}

/* With the mutex held: the session to end now, or 0. (`ending`: the core may have asked for the end of one before.) */
static uint64_t next_step(struct baton *b)
{
    assert(b->engine != NULL && b->state < CLIENT_CLOSED);
    int64_t deadline_ms;
    uint32_t ttl_ms;
    if (b->state == CLIENT_RESIGNING && only_unlocked(b))
        closing_move(b, CLOSING_RESIGNED);
    if ((b->state != CLIENT_ENDING && b->state != CLIENT_UNANSWERED) || b->ending != 0)
        return 0;
    uint64_t session = b->state == CLIENT_ENDING ? core_session(b->core, &deadline_ms, &ttl_ms) : 0;
    if (session == 0 || !may_end(b, clock_now_ms())) {
        closing_move(b, CLOSING_ENDED);
        return 0;
    }
    closing_move(b, CLOSING_END_ASKED);
    return b->ending = session;
}

void closing_follow(struct baton *b)
{
    assert(driver_is_here(b));
    if (b->engine == NULL)
        return;
    client_lock(b);
    uint64_t session = next_step(b);
    bool now = b->state == CLIENT_CLOSING;
    client_unlock(b);
    if (session != 0)
        b->ops->session_end(b->engine, session);
    if (!now)
        return;
    struct baton_engine *engine = b->engine;
    b->engine = NULL;
    b->ops->close(engine);
}

/* ---- in the program's thread ---- */

static int64_t longest_stop_ms(const struct baton *b)
{
    int64_t longest_ms = 0, now_ms = clock_now_ms();
    for (const struct handle *handle = b->handles; handle != NULL; handle = handle->next) {
        int64_t left_ms = handle->stopping ? handle->stop_until_ms - now_ms : handle->stop_ms;
        if (handle->standing && left_ms > longest_ms)
            longest_ms = left_ms;
    }
    return longest_ms;
}

/* Wait for that long; until when is counted by CLOCK_MONOTONIC: pthread_cond_timedwait(3) with CLOCK_REALTIME would
 * follow a clock that people set. */
static bool wait_closed(struct baton *b, int64_t limit_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += limit_ms / 1000;
    until.tv_nsec += limit_ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    while (b->state != CLIENT_CLOSED)
        if (client_wait_moved(b, &until) == ETIMEDOUT)
            return b->state == CLIENT_CLOSED;
    return true;
}

static void late(struct baton *b)
{
    closing_move(b, CLOSING_LATE);
    client_wake(b);
}

void closing_run(struct baton *b)
{
    assert(!driver_is_here(b)); /* the loop would wait for itself */
    client_lock(b);
    closing_move(b, CLOSING_ASKED);
    for (struct handle *handle = b->handles; handle != NULL; handle = handle->next)
        if (handle->standing)
            handle_ask(handle, &handle->want_resign);
    b->orphan_ms = 0; /* look which stops there are */
    client_wake(b);
    if (!wait_closed(b, longest_stop_ms(b) + CLOSE_RESIGN_MS) && b->state == CLIENT_RESIGNING)
        late(b);
    if (!wait_closed(b, CLOSE_END_MS))
        late(b);
    client_unlock(b);
    pthread_join(b->thread, NULL);
    assert(b->state == CLIENT_CLOSED && b->engine == NULL && b->calls == NULL);
}
