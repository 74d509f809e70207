/* writes.c: what is being written, whose it is, and when it may be tried again.
 *
 * A ticket says whose a write is: the session's, a request's, or of which contest, and which of its writes. So an
 * answer finds its way whatever else a contest has under way; one to a write that was given up meanwhile finds none.
 */
#include "core/state.h"

uint64_t ticket_new(struct core *core, uint32_t owner)
{
    return (uint64_t)++core->next_sequence << 32 | owner;
}

struct contest *contest_of_ticket(const struct core *core, uint64_t ticket)
{
    size_t index = ticket & (CONTESTS_MAX - 1);
    return index < core->contest_count ? core->contests[index] : NULL;
}

struct action *todo_write(struct core *core, struct attempt *attempt, uint32_t owner, enum baton_write_kind kind,
                          char *key, char *value, uint64_t session, uint64_t if_revision)
{
    assert(attempt->ticket == 0 && key != NULL && (kind == BATON_WRITE_REMOVE) == (value == NULL));
    struct action *action = todo_add(core, ACTION_WRITE);
    action->ticket = attempt->ticket = ticket_new(core, owner);
    attempt->session = session;
    action->write =
        (struct baton_write){.kind = kind, .key = key, .value = value, .session = session, .if_revision = if_revision};
    return action;
}

bool attempt_may(const struct core *core, const struct attempt *attempt)
{
    return attempt->ticket == 0 && core->now_ms >= attempt->retry_ms;
}

/* How long an answered write may take to show in the view before it is tried again. The compare-and-set makes a second
 * try harmless; the wait only keeps it rare. */
#define SHOW_STEPS 5
#define REFUSED_RETRY_MS 1000

bool attempt_answered(struct core *core, struct attempt *attempt, const struct baton_reply *reply)
{
    assert(attempt->ticket != 0);
    attempt->ticket = 0;
    attempt->revision = 0;
    switch (reply->answer) {
    case BATON_ANSWER_DONE:
    case BATON_ANSWER_CONFLICT:
        attempt->revision = reply->revision;
        attempt->retry_ms = core->now_ms + (int64_t)SHOW_STEPS * core->options.step_ms;
        return false;
    case BATON_ANSWER_UNKNOWN:
        attempt->unknown = true;
        attempt->retry_ms = core->now_ms + core->options.step_ms;
        return false;
    case BATON_ANSWER_REFUSED:
        attempt->retry_ms = core->now_ms + REFUSED_RETRY_MS;
        if (reply->error.code != BATON_LOST)
            todo_tell(core, TELL_TROUBLE, NULL, "%s", reply->error.text)->code = reply->error.code;
        else if (attempt->session == core->session.id) /* else it was an earlier session's */
            return true;
        return false;
    }
    IMPOSSIBLE("answer %d", (int)reply->answer);
}

void attempt_wait(struct core *core, struct contest *contest, const struct attempt *attempt)
{
    if (attempt->ticket == 0)
        contest_wake(core, contest, attempt->retry_ms);
}

/* The contest's write number `which`; NULL: it has none of this number. */
static struct attempt *write_of(struct contest *contest, unsigned which)
{
    return contest->protocol->write != NULL ? contest->protocol->write(contest, which) : NULL;
}

/* A presence that is given up leaves its write to the removal: so these two are told apart by the ticket. */
struct attempt *write_of_ticket(struct contest *contest, uint64_t ticket)
{
    unsigned which = (unsigned)ticket_owner(ticket) / CONTESTS_MAX;
    struct attempt *attempt = which != WRITE_PRESENCE              ? write_of(contest, which)
                              : contest->presence.ticket == ticket ? &contest->presence
                                                                   : &contest->removal;
    return attempt != NULL && attempt->ticket == ticket ? attempt : NULL;
}

/* A view that shows what was answered is no reason to wait any more. */
static void seen(struct attempt *attempt, const struct view *view)
{
    if (attempt->revision > 0 && view->revision >= attempt->revision)
        attempt->retry_ms = 0;
}

void writes_seen(struct contest *contest)
{
    struct attempt *attempt;
    seen(&contest->presence, &contest->view);
    seen(&contest->removal, &contest->view);
    for (unsigned which = WRITE_FIRST; (attempt = write_of(contest, which)) != NULL; which++)
        seen(attempt, &contest->view);
}

void contest_answered(struct core *core, struct contest *contest, const struct baton_reply *reply)
{
    if (contest->protocol->answered != NULL)
        contest->protocol->answered(contest, reply);
    writes_seen(contest); /* the view may have moved before the answer came */
    contest_mark(core, contest);
}

/* Nothing of it is under way, and the view shows what was. */
static bool is_settled(const struct attempt *attempt, const struct view *view)
{
    return attempt->ticket == 0 && !attempt->unknown && attempt->revision <= view->revision;
}

bool writes_settled(struct contest *contest)
{
    const struct attempt *attempt;
    if (!is_settled(&contest->presence, &contest->view))
        return false;
    for (unsigned which = WRITE_FIRST; (attempt = write_of(contest, which)) != NULL; which++)
        if (!is_settled(attempt, &contest->view))
            return false;
    return true;
}
