/* tenure.c: see tenure.h. */
#include "core/state.h"

void tenure_move(struct tenure *tenure, enum tenure_state to)
{
    static const unsigned may_follow[] = {
        [TENURE_NONE] = 1U << TENURE_HAD | 1U << TENURE_STOPPED, /* stopped: named, or claimed, in vain */
        [TENURE_HAD] = 1U << TENURE_STOPPING | 1U << TENURE_STOPPED | 1U << TENURE_NONE, /* both: it ended by itself */
        [TENURE_STOPPING] = 1U << TENURE_STOPPING | 1U << TENURE_STOPPED | 1U << TENURE_NONE,
        [TENURE_STOPPED] = 1U << TENURE_NONE,
    };
    if ((may_follow[tenure->state] >> to & 1) == 0)
        IMPOSSIBLE("a tenure in state %d cannot go to %d", (int)tenure->state, (int)to);
    tenure->state = to;
}

void tenure_begin(struct core *core, struct contest *contest, struct tenure *tenure, uint64_t number)
{
    if (!rule(core, RULE_STOP_IS_FINAL) && tenure->state == TENURE_STOPPED)
        tenure->state = TENURE_NONE; /* simulation only */
    assert(number != 0 || !rule(core, RULE_STOP_IS_FINAL));
    tenure_move(tenure, TENURE_HAD);
    tenure->number = number;
    struct action *tell = todo_tell(core, TELL_LEAD, contest, "%s", "");
    tell->term = number;
    tell->part = tenure->part;
}

bool tenure_fading(const struct core *core, const struct tenure *tenure)
{
    return core->now_ms + tenure->stop_ms >= core->session.deadline_ms;
}

/* A session that is over for this client may still be there: its guard may renew it for what cannot be stopped. So it
 * is ended only when every program that was told to stop has done so; until then it is left to its ttl. */
void session_leave(struct core *core, uint64_t id)
{
    for (size_t i = 0; i < core->contest_count; i++)
        for (uint32_t part = 0; core->contests[i] != NULL && part < core->contests[i]->tenure_count; part++)
            if (core->contests[i]->tenure[part].left_session == id)
                return;
    todo_add(core, ACTION_SESSION_END)->session = id;
}

/* A stop in the present session that was not answered in its time. */
static bool is_overdue(const struct core *core, const struct contest *contest, const struct tenure *tenure)
{
    return tenure->state == TENURE_STOPPING && contest->cid[0] != '\0' && core->now_ms >= tenure->stop_until_ms;
}

static bool any_is_overdue(const struct core *core)
{
    for (size_t i = 0; i < core->contest_count; i++)
        for (uint32_t part = 0; core->contests[i] != NULL && part < core->contests[i]->tenure_count; part++)
            if (is_overdue(core, core->contests[i], &core->contests[i]->tenure[part]))
                return true;
    return false;
}

/* The session may live, unless another stop is overdue: not even one renewal may be sent then. */
static void pardon(struct core *core)
{
    if (!core->session.condemned || any_is_overdue(core))
        return;
    core->session.condemned = false;
    contests_mark_all(core);
}

void tenure_stop(struct core *core, struct contest *contest, struct tenure *tenure, int64_t until_ms, const char *why)
{
    assert(tenure->state == TENURE_HAD || tenure->state == TENURE_STOPPING);
    if (until_ms > core->session.deadline_ms)
        until_ms = core->session.deadline_ms;
    struct action *tell = todo_tell(core, TELL_STOP, contest, "%s", why);
    tell->term = tenure->number;
    tell->part = tenure->part;
    tell->until_ms = until_ms;
    tenure_move(tenure, TENURE_STOPPING);
    tenure->stop_until_ms = until_ms;
    tenure->spent = tenure->number;
    if (tenure->stop_ms == 0)
        contest_stopped(core, contest, tenure->part); /* it asks before each use: it has stopped already */
}

void tenure_lost(struct core *core, struct contest *contest, struct tenure *tenure, const char *why)
{
    /* The rest of a stop under way is not granted any more, either. */
    if (tenure->state == TENURE_HAD || (tenure->state == TENURE_STOPPING && core->now_ms < tenure->stop_until_ms))
        tenure_stop(core, contest, tenure, core->now_ms, why);
}

void tenure_stopped(struct core *core, struct contest *contest, struct tenure *tenure)
{
    assert(tenure->state == TENURE_HAD || tenure->state == TENURE_STOPPING);
    struct action *tell = todo_tell(core, TELL_FOLLOW, contest, "%s", "");
    tell->term = tenure->number;
    tell->part = tenure->part;
    bool same_candidacy = contest->cid[0] != '\0' && session_valid(core);
    tenure_move(tenure, same_candidacy ? TENURE_STOPPED : TENURE_NONE);
    if (same_candidacy && tenure->number > tenure->spent)
        tenure->spent = tenure->number;
    /* It may have been late, but it came. */
    uint64_t left = tenure->left_session;
    tenure->left_session = 0;
    if (left != 0)
        session_leave(core, left);
    pardon(core);
    contest_mark(core, contest);
}

void contest_stopped(struct core *core, struct contest *contest, uint32_t part)
{
    struct tenure *tenure = contest_tenure(contest, part);
    if (contest->protocol->stopped != NULL)
        contest->protocol->stopped(core, contest, tenure);
    if (tenure->state == TENURE_STOPPING)
        tenure_stopped(core, contest, tenure);
}

bool core_stop_takes(struct core *core, struct contest *contest, uint32_t part, int64_t until_ms)
{
    struct tenure *tenure = contest_tenure(contest, part);
    bool place_is_gone = contest->cid[0] == '\0';
    if (tenure->state != TENURE_STOPPING || place_is_gone || !rule(core, RULE_STOP_MAY_TAKE_LONGER))
        return false;
    if (until_ms <= tenure->stop_until_ms)
        return true;
    tenure->stop_until_ms = until_ms;
    pardon(core);
    contest_mark(core, contest);
    return true;
}

void tenure_wait(struct core *core, struct contest *contest, struct tenure *tenure)
{
    assert(tenure->state == TENURE_STOPPING);
    if (contest->cid[0] == '\0')
        return; /* it stops what it did in a session that is over: nothing of this session waits for that */
    /* A program that has asked for more time than the session may last has to know by when it must be over. */
    int64_t deadline_ms = core->session.deadline_ms;
    if (tenure->stop_until_ms > deadline_ms && tenure_fading(core, tenure) && tenure->faded_ms != deadline_ms) {
        tenure->faded_ms = deadline_ms; /* once: it may answer that it takes longer nevertheless */
        tenure_stop(core, contest, tenure, deadline_ms, "the session could not be renewed in time");
    }
    if (core->now_ms < tenure->stop_until_ms) {
        contest_wake(core, contest, tenure->stop_until_ms);
        return;
    }
    /* If the program does not answer in time, the session is not renewed any more. The engine then ends it, no earlier
     * than the deadline that the program was told, and the place passes on. */
    if (rule(core, RULE_STOP_HAS_AN_END))
        core->session.condemned = true;
}

void tenure_wait_for_fading(struct core *core, struct contest *contest, const struct tenure *tenure)
{
    int64_t fade_ms = core->session.deadline_ms - tenure->stop_ms;
    if ((tenure->state == TENURE_HAD || tenure->state == TENURE_STOPPING) && core->now_ms < fade_ms &&
        core->now_ms + core->stop_max_ms >= core->session.deadline_ms)
        contest_wake(core, contest, fade_ms);
}

uint64_t contest_leads(const struct core *core, const struct contest *contest, uint32_t part, int64_t now_ms)
{
    const struct tenure *tenure = contest_tenure(contest, part);
    if (tenure->state != TENURE_HAD || contest->released)
        return 0;
    if (rule(core, RULE_VALID_AT_EACH_USE) &&
        (core->session.state != SESSION_VALID || now_ms >= core->session.deadline_ms))
        return 0;
    return tenure->number;
}
