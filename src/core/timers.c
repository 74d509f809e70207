/* timers.c: which contests are stepped, and when: those that are marked in this step, the others at their time, by a
 * binary heap, so that ten thousand idle ones cost nothing. */
#include "core/state.h"

static void place(struct core *core, size_t at, struct contest *contest)
{
    assert(at < core->timer_count);
    core->timers[at] = contest;
    contest->timer = at + 1;
}

static size_t sift_up(struct core *core, size_t at)
{
    struct contest *contest = core->timers[at];
    while (at > 0 && core->timers[(at - 1) / 2]->wake_ms > contest->wake_ms) {
        place(core, at, core->timers[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    place(core, at, contest);
    return at;
}

static void sift_down(struct core *core, size_t at)
{
    struct contest *contest = core->timers[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= core->timer_count)
            break;
        if (child + 1 < core->timer_count && core->timers[child + 1]->wake_ms < core->timers[child]->wake_ms)
            child++;
        if (core->timers[child]->wake_ms >= contest->wake_ms)
            break;
        place(core, at, core->timers[child]);
        at = child;
    }
    place(core, at, contest);
}

void timer_remove(struct core *core, struct contest *contest)
{
    if (contest->timer == 0)
        return;
    size_t at = contest->timer - 1;
    assert(at < core->timer_count && core->timers[at] == contest);
    contest->timer = 0;
    struct contest *last = core->timers[--core->timer_count];
    if (last == contest)
        return;
    place(core, at, last);
    sift_down(core, sift_up(core, at));
}

void timer_set(struct core *core, struct contest *contest, int64_t wake_ms)
{
    timer_remove(core, contest);
    contest->wake_ms = wake_ms;
    if (wake_ms == NEVER_MS)
        return;
    if (core->timer_count == core->timer_room) {
        core->timer_room = core->timer_room > 0 ? 2 * core->timer_room : 16;
        core->timers = mem_grow(core->timers, core->timer_room * sizeof(*core->timers));
    }
    place(core, core->timer_count++, contest);
    sift_up(core, core->timer_count - 1);
}

void contest_wake(struct core *core, struct contest *contest, int64_t at_ms)
{
    if (at_ms < contest->wake_ms || contest->timer == 0)
        timer_set(core, contest, at_ms);
}

void contest_mark(struct core *core, struct contest *contest)
{
    if (contest->dirty)
        return;
    contest->dirty = true;
    if (core->dirty_count == core->dirty_room) {
        core->dirty_room = core->dirty_room > 0 ? 2 * core->dirty_room : 16;
        core->dirty = mem_grow(core->dirty, core->dirty_room * sizeof(*core->dirty));
    }
    assert(core->contests[contest->index] == contest);
    core->dirty[core->dirty_count++] = contest;
}

void contests_mark_all(struct core *core)
{
    for (size_t i = 0; i < core->contest_count; i++)
        if (core->contests[i] != NULL)
            contest_mark(core, core->contests[i]);
}
