/* session.c: the lease on being alive: opened, renewed every third of its ttl, valid until its own deadline.
 *
 * deadline = t_sent + granted ttl - margin, t_sent being read before the renewal is handed to the engine. The engine
 * counts the ttl from when it received it, which is later; the margin covers clocks that run at different rates. So no
 * session ends at the engine while its holder thinks it valid. Once the deadline has passed the session is dead for
 * good, and a new one is opened.
 */
#include "core/state.h"

static void move(struct session *session, enum session_state to)
{
    static const unsigned may_follow[] = {
        [SESSION_NONE] = 1U << SESSION_OPENING,
        [SESSION_OPENING] = 1U << SESSION_VALID | 1U << SESSION_NONE, /* none: refused, or given up */
        [SESSION_VALID] = 1U << SESSION_NONE,
    };
    if ((may_follow[session->state] >> to & 1) == 0)
        IMPOSSIBLE("a session in state %d cannot go to %d", (int)session->state, (int)to);
    session->state = to;
}

/* Clock rates differ by less than 1/1000 (NTP slews by at most 500 ppm, adjtimex(2); crystals by 100 ppm): over a ttl
 * that is ttl/1000, and 1 ms because times are whole milliseconds. */
static int64_t margin_ms(uint32_t ttl_ms)
{
    return ttl_ms / 1000 + 2;
}

int64_t session_deadline_ms(int64_t sent_ms, uint32_t ttl_ms)
{
    return sent_ms + ttl_ms - margin_ms(ttl_ms);
}

/* How soon to try again after a failure: often enough for several tries before the deadline, never a storm. */
static int64_t retry_ms(const struct core *core, uint32_t ttl_ms)
{
    int64_t wait = ttl_ms / 20;
    return wait > core->options.step_ms ? wait : core->options.step_ms;
}

static bool wanted(const struct core *core)
{
    return core->standing_count > 0 || requests_need_session(core);
}

void session_over(struct core *core, const char *why)
{
    struct session *session = &core->session;
    if (session->state != SESSION_VALID)
        return;
    uint64_t id = session->id;
    assert(id != 0);
    move(session, SESSION_NONE);
    session->id = 0;
    session->next_ms = core->now_ms;
    session->condemned = false;
    for (size_t i = 0; i < core->contest_count; i++) {
        struct contest *contest = core->contests[i];
        if (contest == NULL)
            continue;
        contest_session_over(core, contest);
        for (uint32_t part = 0; part < contest->tenure_count && rule(core, RULE_SESSION_OUTLASTS_STOP); part++)
            if (contest->tenure[part].state == TENURE_STOPPING && contest->tenure[part].left_session == 0)
                contest->tenure[part].left_session = id;
    }
    session_leave(core, id);
    todo_tell(core, TELL_SESSION_LOST, NULL, "%s", why)->session = id;
}

void session_check(struct core *core)
{
    if (!rule(core, RULE_DEADLINE_IS_FINAL))
        return;
    if (core->session.state == SESSION_VALID && core->now_ms >= core->session.deadline_ms)
        session_over(core, core->session.condemned ? "a stop was not answered in time, so it was not renewed"
                                                   : "it could not be renewed before its deadline");
}

static void opened(struct core *core, const struct event *happened)
{
    struct session *session = &core->session;
    if (session->state != SESSION_OPENING || happened->ticket != session->open_ticket) {
        /* An opening that was given up: nobody uses this one. */
        if (happened->session != 0 && happened->session != session->id)
            session_leave(core, happened->session);
        return;
    }
    if (happened->session == 0) {
        move(session, SESSION_NONE);
        unsigned doubled = session->failures < 5 ? session->failures : 5;
        session->failures++;
        session->next_ms = core->now_ms + (retry_ms(core, core->options.ttl_ms) << doubled);
        if (happened->reply != NULL)
            session->failure = happened->reply->error;
        else
            error_set(&session->failure, BATON_UNAVAILABLE, "no session");
        todo_tell(core, TELL_TROUBLE, NULL, "%s", session->failure.text)->code = session->failure.code;
        contests_mark_all(core);
        return;
    }
    move(session, SESSION_VALID);
    assert(session->id == 0);
    session->id = happened->session;
    session->ttl_ms = happened->ttl_ms;
    session->failures = 0;
    session->condemned = false;
    int64_t sent_ms = rule(core, RULE_DEADLINE_FROM_SEND) ? session->open_sent_ms : core->now_ms;
    session->deadline_ms = session_deadline_ms(sent_ms, session->ttl_ms);
    session->next_ms = sent_ms + session->ttl_ms / 3;
    for (size_t i = 0; i < RENEWALS_KEPT; i++)
        session->renewals[i].ticket = 0;
    struct action *tell = todo_tell(core, TELL_SESSION, NULL, "%s", "");
    tell->session = session->id;
    tell->until_ms = session->deadline_ms;
    if (core->now_ms >= session->deadline_ms)
        session_over(core, "it was opened too late");
    contests_mark_all(core);
}

static void renewed(struct core *core, const struct event *happened)
{
    struct session *session = &core->session;
    unsigned i = 0;
    while (i < RENEWALS_KEPT && session->renewals[i].ticket != happened->ticket)
        i++;
    if (i == RENEWALS_KEPT || happened->ticket == 0)
        return; /* of an earlier session, or too old to matter */
    int64_t sent_ms = session->renewals[i].sent_ms;
    session->renewals[i].ticket = 0;
    if (session->state != SESSION_VALID)
        return;
    switch (happened->reply->answer) {
    case BATON_ANSWER_DONE:
        break;
    case BATON_ANSWER_REFUSED:
    case BATON_ANSWER_CONFLICT:
        session_over(core, happened->reply->error.text);
        return;
    case BATON_ANSWER_UNKNOWN: {
        int64_t again = core->now_ms + retry_ms(core, session->ttl_ms);
        if (again < session->next_ms)
            session->next_ms = again;
        return;
    }
    }
    if (!rule(core, RULE_DEADLINE_FROM_SEND) || core->now_ms >= session->deadline_ms)
        sent_ms = core->now_ms; /* never in production: session_check has ended a session that late */
    int64_t deadline = session_deadline_ms(sent_ms, session->ttl_ms);
    if (deadline <= session->deadline_ms)
        return;
    session->deadline_ms = deadline;
    session->next_ms = sent_ms + session->ttl_ms / 3;
    struct action *tell = todo_tell(core, TELL_RENEWED, NULL, "%s", "");
    tell->session = session->id;
    tell->until_ms = deadline;
}

void session_event(struct core *core, const struct event *happened)
{
    switch (happened->kind) {
    case EVENT_SESSION_OPENED:
        opened(core, happened);
        break;
    case EVENT_SESSION_RENEWED:
        renewed(core, happened);
        break;
    case EVENT_SESSION_ENDED:
        if (core->session.state == SESSION_VALID && core->session.id == happened->session)
            session_over(core, "the engine says that it is over");
        break;
    default:
        IMPOSSIBLE("event %d is not of a session", (int)happened->kind);
    }
}

static void open_session(struct core *core)
{
    struct session *session = &core->session;
    move(session, SESSION_OPENING);
    session->open_ticket = ticket_new(core, TICKET_SESSION);
    session->open_sent_ms = core->now_ms;
    session->next_ms = core->now_ms + core->options.ttl_ms; /* then that opening is given up */
    struct action *action = todo_add(core, ACTION_SESSION_OPEN);
    action->ticket = session->open_ticket;
    action->ttl_ms = core->options.ttl_ms;
}

static bool hung(const struct core *core)
{
    uint32_t watchdog_ms = core->options.watchdog_ms;
    return watchdog_ms > 0 && core->now_ms - core->session.alive_ms >= watchdog_ms;
}

static void renew(struct core *core)
{
    struct session *session = &core->session;
    uint64_t ticket = ticket_new(core, TICKET_SESSION);
    session->renewals[session->renewal_at].ticket = ticket;
    session->renewals[session->renewal_at].sent_ms = core->now_ms;
    session->renewal_at = (session->renewal_at + 1) % RENEWALS_KEPT;
    struct action *action = todo_add(core, ACTION_SESSION_RENEW);
    action->ticket = ticket;
    action->session = session->id;
    /* If no answer comes, again after a third; there is time for two more. */
    session->next_ms = core->now_ms + session->ttl_ms / 3;
    if (!rule(core, RULE_DEADLINE_NEEDS_ANSWER))
        session->deadline_ms = session_deadline_ms(core->now_ms, session->ttl_ms);
}

void session_step(struct core *core)
{
    struct session *session = &core->session;
    if (session->state == SESSION_VALID) {
        if (!wanted(core)) {
            uint64_t id = session->id;
            move(session, SESSION_NONE);
            session->id = 0;
            session->next_ms = core->now_ms; /* who stands again need not wait */
            todo_add(core, ACTION_SESSION_END)->session = id;
            return;
        }
        if (core->now_ms >= session->next_ms && !session->condemned && !hung(core))
            renew(core);
        return;
    }
    if (session->state == SESSION_OPENING && core->now_ms >= session->next_ms)
        move(session, SESSION_NONE);
    if (session->state == SESSION_NONE && wanted(core) && core->now_ms >= session->next_ms && !hung(core))
        open_session(core);
}

int64_t session_wake(const struct core *core)
{
    const struct session *session = &core->session;
    if (session->state != SESSION_VALID)
        return wanted(core) && !hung(core) ? session->next_ms : NEVER_MS;
    int64_t wake = core->now_ms < session->deadline_ms ? session->deadline_ms : NEVER_MS;
    if (!session->condemned && !hung(core) && session->next_ms < wake)
        wake = session->next_ms;
    /* Elections stop this long before the deadline; each looks for itself. */
    int64_t fade = session->deadline_ms - core->stop_max_ms;
    if (core->now_ms < fade && fade < wake)
        wake = fade;
    return wake;
}
