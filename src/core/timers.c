/* timers.c: which election wants to be woken next; a binary heap, so that ten thousand idle ones cost nothing. */
#include "core/state.h"

static void place(struct core *core, size_t at, struct election *election)
{
    core->timers[at] = election;
    election->timer = at + 1;
}

static size_t sift_up(struct core *core, size_t at)
{
    struct election *election = core->timers[at];
    while (at > 0 && core->timers[(at - 1) / 2]->wake_ms > election->wake_ms) {
        place(core, at, core->timers[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    place(core, at, election);
    return at;
}

static void sift_down(struct core *core, size_t at)
{
    struct election *election = core->timers[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= core->timer_count)
            break;
        if (child + 1 < core->timer_count && core->timers[child + 1]->wake_ms < core->timers[child]->wake_ms)
            child++;
        if (core->timers[child]->wake_ms >= election->wake_ms)
            break;
        place(core, at, core->timers[child]);
        at = child;
    }
    place(core, at, election);
}

void timer_remove(struct core *core, struct election *election)
{
    if (election->timer == 0)
        return;
    size_t at = election->timer - 1;
    election->timer = 0;
    struct election *last = core->timers[--core->timer_count];
    if (last == election)
        return;
    place(core, at, last);
    sift_down(core, sift_up(core, at));
}

void timer_set(struct core *core, struct election *election, int64_t wake_ms)
{
    timer_remove(core, election);
    election->wake_ms = wake_ms;
    if (wake_ms == NEVER_MS)
        return;
    if (core->timer_count == core->timer_room) {
        core->timer_room = core->timer_room > 0 ? 2 * core->timer_room : 16;
        core->timers = mem_grow(core->timers, core->timer_room * sizeof(*core->timers));
    }
    place(core, core->timer_count++, election);
    sift_up(core, core->timer_count - 1);
}
