/* lock.c: an entry in the queue of a lock: it waits, holds, and goes.
 *
 * What carries the safety is named in rules.h. In short: an entry holds by its place in a view that shows it, in the
 * order in which the entries were made; its program has stopped before it is removed; the session's validity is checked
 * at every use. A lock that was held is never held again by the same entry.
 */
#include <stdio.h>
#include <string.h>

#include "core/state.h"

/* "web1-4711 (host web1)", of a record that may be unreadable. */
static const char *name_of(const struct view_record *record, char text[BATON_ERROR_TEXT])
{
    if (record->entry == NULL)
        snprintf(text, BATON_ERROR_TEXT, "an entry that cannot be read");
    else
        snprintf(text, BATON_ERROR_TEXT, "%.128s on %.64s", record->entry->id, record->entry->host);
    return text;
}

static void slots_text(const struct lock_entry *entry, char text[64])
{
    if (entry == NULL || entry->slots == 1)
        snprintf(text, 64, "exclusive");
    else if (entry->slots == SLOTS_SHARED)
        snprintf(text, 64, "shared");
    else
        snprintf(text, 64, "of %u slots", (unsigned)entry->slots);
}

void lock_check_wait(struct core *core, struct contest *lock)
{
    const struct order *order = &lock->queue.entries.order;
    bool others = lock->view.ready && order->count > 0 && strcmp(order->records[0]->cid, lock->cid) != 0;
    char who[BATON_ERROR_TEXT];
    if (lock->tenure->state == TENURE_NONE && !lock->resigning && wait_is_over(core, lock, others))
        contest_end(core, lock, BATON_TIMEOUT, "the lock '%s' is still held by %s", lock->name,
                    name_of(order->records[0], who));
}

/* Where in the queue; false: the view does not show it. */
static bool find_place(const struct core *core, const struct contest *lock, size_t *ret_place)
{
    const struct entries *entries = &lock->queue.entries;
    *ret_place = entries_place(entries, lock->cid);
    return *ret_place < entries->order.count || !rule(core, RULE_HOLD_BY_VIEW);
}

static void hold(struct core *core, struct contest *lock, size_t place)
{
    const struct entries *entries = &lock->queue.entries;
    uint64_t token = place < entries->order.count ? entries->order.records[place]->created : lock->presence.revision;
    tenure_begin(core, lock, lock->tenure, token);
}

static bool holds(const struct core *core, const struct contest *lock, size_t place)
{
    const struct entries *entries = &lock->queue.entries;
    if (place == entries->order.count) /* simulation: it trusts an answer */
        return lock->presence.revision > 0 && place < lock->queue.slots;
    if (!rule(core, RULE_HOLD_BY_ALL_SLOTS))
        return place < lock->queue.slots;
    return entries_holds(entries, place);
}

/* An entry of this client that it has released: it is in the way for a moment only. (One client has one attempt.) */
static bool is_leaving(const struct core *core, const struct view_record *record)
{
    return record->session == core->session.id;
}

/* All who want it must say the same, also when there would be room: it is a mistake, and better told at once. */
static bool refused(struct core *core, struct contest *lock, size_t place)
{
    const struct entries *entries = &lock->queue.entries;
    const struct view_record *other = entries_disagree(entries, place);
    char who[BATON_ERROR_TEXT], theirs[64], ours[64];
    if (other == NULL || is_leaving(core, other))
        return false;
    slots_text(other->entry, theirs);
    slots_text(entries->order.records[place]->entry, ours);
    contest_end(core, lock, BATON_INVALID, "the lock '%s' is %s for %s, and %s here; all must say the same", lock->name,
                theirs, name_of(other, who), ours);
    return true;
}

static void wait_in_line(struct core *core, struct contest *lock)
{
    const struct entries *entries = &lock->queue.entries;
    char who[BATON_ERROR_TEXT];
    size_t place;
    if (!find_place(core, lock, &place) || (place < entries->order.count && refused(core, lock, place)))
        return;
    if (holds(core, lock, place)) {
        if (!tenure_fading(core, lock->tenure))
            hold(core, lock, place);
    } else if (lock->queue.try_only && place < entries->order.count && !is_leaving(core, entries->order.records[0])) {
        contest_end(core, lock, BATON_CONFLICT, "the lock '%s' is held by %s", lock->name,
                    name_of(entries->order.records[0], who));
    }
}

void lock_step(struct core *core, struct contest *lock)
{
    if (lock->tenure->state == TENURE_HAD) {
        if (lock->resigning)
            tenure_stop(core, lock, lock->tenure, core->now_ms + lock->tenure->stop_ms, "it is released");
        else if (tenure_fading(core, lock->tenure)) {
            contest_end(core, lock, BATON_LOST, "the session could not be renewed in time");
            tenure_stop(core, lock, lock->tenure, core->now_ms + lock->tenure->stop_ms,
                        "the session could not be renewed in time");
        }
    }
    if (lock->tenure->state == TENURE_STOPPING) {
        if (!rule(core, RULE_STOP_BEFORE_REMOVAL))
            contest_remove_presence(core, lock);
        tenure_wait(core, lock, lock->tenure);
        return;
    }
    if (lock->tenure->state == TENURE_STOPPED) {
        tenure_move(lock->tenure, TENURE_NONE);
        contest_end(core, lock, BATON_OK, "%s", "");
    }
    if (lock->tenure->state == TENURE_NONE && !lock->resigning)
        wait_in_line(core, lock);
}
