/* parking.c: the view of a contest that nobody has any more stays for a while, for the next who wants it. */
#include <string.h>

#include "core/state.h"

bool contest_park(struct core *core, struct contest *contest, int64_t until_ms)
{
    assert(contest->parked_ms == 0 && until_ms > 0);
    if (core->parked_count == PARKED_MAX)
        return false;
    core->parked[core->parked_count++] = contest;
    contest->parked_ms = until_ms;
    return true;
}

void contest_unpark(struct core *core, struct contest *contest, void *user)
{
    size_t at = 0;
    while (at < core->parked_count && core->parked[at] != contest)
        at++;
    assert(at < core->parked_count && contest->parked_ms != 0);
    core->parked[at] = core->parked[--core->parked_count];
    contest->parked_ms = 0;
    contest->forgotten = false;
    contest->user = user;
}

/* A contest that nobody has any more stays, with its view, for whoever wants it next. */
bool contest_stays_parked(struct core *core, struct contest *contest)
{
    if (contest->parked_ms == 0 && (!contest->protocol->parks || contest->name == NULL || !contest->view.ready ||
                                    !contest_park(core, contest, core->now_ms + PARKED_MS)))
        return false;
    if (core->now_ms >= contest->parked_ms)
        return false;
    contest_wake(core, contest, contest->parked_ms);
    return true;
}

/* A program that takes a lock, or stands, again and again need not ask for the view each time. */
struct contest *contest_take_parked(struct core *core, enum contest_kind kind, const char *name, void *user)
{
    for (size_t i = 0; name != NULL && i < core->parked_count; i++) {
        struct contest *contest = core->parked[i];
        if (contest->protocol->kind != kind || contest->standing || strcmp(contest->name, name) != 0)
            continue;
        contest_unpark(core, contest, user);
        contest->retell = true;
        contest_mark(core, contest);
        return contest;
    }
    return NULL;
}
