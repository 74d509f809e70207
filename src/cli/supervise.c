/* supervise.c: see supervise.h. */
#include "cli/supervise.h"

#include "base/base.h"

/* ---- states ---- */

static const char *const names[] = {"waiting", "starting", "running", "stopping", "sweeping", "stuck", "over"};

#define TO(state) (1u << SUPERVISE_##state)

/* From each state, where it may go. */
static const unsigned moves[] = {
    [SUPERVISE_WAITING] = TO(STARTING) | TO(SWEEPING) | TO(OVER),
    [SUPERVISE_STARTING] = TO(WAITING) | TO(RUNNING) | TO(SWEEPING) | TO(OVER),
    [SUPERVISE_RUNNING] = TO(STOPPING) | TO(SWEEPING) | TO(STUCK) | TO(WAITING) | TO(OVER),
    [SUPERVISE_STOPPING] = TO(SWEEPING) | TO(STUCK) | TO(WAITING) | TO(OVER),
    [SUPERVISE_SWEEPING] = TO(STUCK) | TO(OVER),
    [SUPERVISE_STUCK] = TO(SWEEPING) | TO(WAITING) | TO(OVER),
    [SUPERVISE_OVER] = 0,
};

static void move(struct supervised *it, enum supervise_state to)
{
    if ((moves[it->state] & 1u << to) == 0)
        IMPOSSIBLE("a supervised command goes from %s to %s", names[it->state], names[to]);
    it->state = to;
}

bool supervise_runs(const struct supervised *it)
{
    return it->state >= SUPERVISE_RUNNING && it->state < SUPERVISE_OVER;
}

bool supervise_lasts(const struct supervised *it)
{
    return it->state == SUPERVISE_SWEEPING || it->state == SUPERVISE_STUCK;
}

/* ---- begin and end ---- */

void supervise_init(struct supervised *it, const struct supervise_user *user, void *ctx)
{
    *it = (struct supervised){
        .user = user, .ctx = ctx, .guard = {.fd = -1, .pidfd = -1, .limit_ms = NEVER_MS}, .start_ms = NEVER_MS};
}

int supervise_begin(struct supervised *it, const struct guard_options *options, struct baton_error *err)
{
    return guard_start(&it->guard, options, err);
}

void supervise_end(struct supervised *it)
{
    guard_bye(&it->guard);
}

/* ---- what is wanted ---- */

void supervise_want(struct supervised *it, int64_t at_ms)
{
    if (it->state != SUPERVISE_STARTING)
        move(it, SUPERVISE_STARTING);
    it->start_ms = at_ms;
}

void supervise_unwant(struct supervised *it)
{
    if (it->state == SUPERVISE_STARTING)
        move(it, SUPERVISE_WAITING);
    it->start_ms = NEVER_MS;
}

void supervise_stop(struct supervised *it, int number, int64_t kill_at_ms, int64_t limit_ms)
{
    assert(kill_at_ms <= limit_ms);
    supervise_unwant(it);
    if (!supervise_runs(it))
        return;
    guard_stop(&it->guard, it->state == SUPERVISE_RUNNING ? number : 0, kill_at_ms, limit_ms);
    if (it->state == SUPERVISE_RUNNING)
        move(it, SUPERVISE_STOPPING);
    it->outcome.told = it->outcome.told || !it->outcome.exited;
}

void supervise_finish(struct supervised *it)
{
    it->last = true;
    supervise_unwant(it);
    if (it->state == SUPERVISE_WAITING)
        move(it, SUPERVISE_OVER);
}

void supervise_signal(struct supervised *it, int number)
{
    if (supervise_runs(it))
        guard_signal(&it->guard, number);
}

/* ---- what the guard says ---- */

static void gone(struct supervised *it)
{
    struct supervise_outcome outcome = it->outcome;
    it->outcome = (struct supervise_outcome){0};
    if (it->state == SUPERVISE_OVER)
        return; /* the guard died later, and nothing ran any more */
    move(it, it->last ? SUPERVISE_OVER : SUPERVISE_WAITING);
    it->user->gone(it->ctx, &outcome);
}

static void exited(struct supervised *it, const struct guard_message *message)
{
    assert(!it->outcome.exited);
    it->outcome.exited = true;
    it->outcome.wait_status = message->status;
    if (it->state == SUPERVISE_RUNNING && !message->and_gone)
        move(it, SUPERVISE_STOPPING);
    if (message->left > 0)
        it->user->left(it->ctx, message->left);
}

static void guard_died(struct supervised *it)
{
    if (it->state == SUPERVISE_OVER)
        return;
    it->last = true;
    it->start_ms = NEVER_MS;
    move(it, SUPERVISE_SWEEPING);
    it->user->guard_died(it->ctx, it->guard.hung);
}

static void stuck(struct supervised *it, const struct guard_message *message)
{
    if (it->state == SUPERVISE_OVER)
        return;
    if (it->state != SUPERVISE_STUCK)
        move(it, SUPERVISE_STUCK);
    it->user->stuck(it->ctx, message->text);
}

static void on_guard(struct supervised *it)
{
    struct guard_message message;
    while (guard_next(&it->guard, &message) != GUARD_NOTHING) {
        switch (message.news) {
        case GUARD_EXITED:
            exited(it, &message);
            break;
        case GUARD_REFUSED:
        case GUARD_GONE:
            it->outcome.refused = message.news == GUARD_REFUSED;
            it->outcome.by_guard = message.by_guard || it->outcome.refused;
            gone(it);
            break;
        case GUARD_FAILED:
            it->outcome.error = message.error;
            gone(it);
            break;
        case GUARD_STUCK:
            stuck(it, &message);
            break;
        case GUARD_TROUBLE:
            it->user->trouble(it->ctx, message.text);
            break;
        case GUARD_DEAD:
            guard_died(it);
            break;
        case GUARD_NOTHING:
            return;
        }
    }
}

/* ---- time ---- */

static void start(struct supervised *it)
{
    struct guard_environment environment = {0};
    int64_t deadline_ms = NEVER_MS;
    assert(it->state == SUPERVISE_STARTING && !it->last);
    it->start_ms = NEVER_MS;
    switch (it->user->may_start(it->ctx, &environment, &deadline_ms)) {
    case SUPERVISE_YES:
        move(it, SUPERVISE_RUNNING);
        guard_spawn(&it->guard, &environment, deadline_ms);
        return;
    case SUPERVISE_LATER:
        return;
    case SUPERVISE_MUST_NOT:
        supervise_unwant(it);
        return;
    }
}

int64_t supervise_wake_ms(const struct supervised *it)
{
    int64_t wake_ms = guard_wake_ms(&it->guard);
    return it->state == SUPERVISE_STARTING && it->start_ms < wake_ms ? it->start_ms : wake_ms;
}

void supervise_step(struct supervised *it, int64_t now_ms, bool children)
{
    guard_on_time(&it->guard, now_ms);
    if (!it->guard.sweeping || children || now_ms >= guard_wake_ms(&it->guard))
        on_guard(it);
    if (it->state == SUPERVISE_STARTING && now_ms >= it->start_ms)
        start(it);
}
