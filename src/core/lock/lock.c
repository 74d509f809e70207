/* lock.c: an entry in the queue of a lock: it waits, holds, and goes.
 *
 * What carries the safety is named in rules.h. In short: an entry holds by its place in a view that shows it, in the
 * order in which the entries were made; its program has stopped before it is removed; the session's validity is checked
 * at every use. A lock that was held is never held again by the same entry.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/lock/state.h"

/* "web1-4711 (host web1)", of a record that may be unreadable. */
static const char *name_of(const struct view_record *record, char text[BATON_ERROR_TEXT])
{
    if (entry_of(record) == NULL)
        snprintf(text, BATON_ERROR_TEXT, "an entry that cannot be read");
    else
        snprintf(text, BATON_ERROR_TEXT, "%.128s on %.64s", entry_of(record)->id, entry_of(record)->host);
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

static void check_wait(struct core *core, struct contest *lock)
{
    const struct order *order = &queue_of(lock)->entries.order;
    bool others = lock->view.ready && order->count > 0 && strcmp(order->records[0]->cid, lock->cid) != 0;
    char who[BATON_ERROR_TEXT];
    if (lock->tenure->state == TENURE_NONE && !lock->resigning && wait_is_over(core, lock, others))
        contest_end(core, lock, BATON_TIMEOUT, "the lock '%s' is still held by %s", lock->name,
                    name_of(order->records[0], who));
}

/* Where in the queue; false: the view does not show it. */
static bool find_place(const struct core *core, const struct contest *lock, size_t *ret_place)
{
    const struct entries *entries = &queue_of(lock)->entries;
    *ret_place = entries_place(entries, lock->cid);
    return *ret_place < entries->order.count || !rule(core, RULE_HOLD_BY_VIEW);
}

static void hold(struct core *core, struct contest *lock, size_t place)
{
    const struct entries *entries = &queue_of(lock)->entries;
    uint64_t token = place < entries->order.count ? entries->order.records[place]->created : lock->presence.revision;
    tenure_begin(core, lock, lock->tenure, token);
}

static bool holds(const struct core *core, const struct contest *lock, size_t place)
{
    const struct entries *entries = &queue_of(lock)->entries;
    if (place == entries->order.count) /* simulation: it trusts an answer */
        return lock->presence.revision > 0 && place < queue_of(lock)->slots;
    if (!rule(core, RULE_HOLD_BY_ALL_SLOTS))
        return place < queue_of(lock)->slots;
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
    const struct entries *entries = &queue_of(lock)->entries;
    const struct view_record *other = entries_disagree(entries, place);
    char who[BATON_ERROR_TEXT], theirs[64], ours[64];
    if (other == NULL || is_leaving(core, other))
        return false;
    slots_text(entry_of(other), theirs);
    slots_text(entry_of(entries->order.records[place]), ours);
    contest_end(core, lock, BATON_INVALID, "the lock '%s' is %s for %s, and %s here; all must say the same", lock->name,
                theirs, name_of(other, who), ours);
    return true;
}

static void wait_in_line(struct core *core, struct contest *lock)
{
    const struct entries *entries = &queue_of(lock)->entries;
    char who[BATON_ERROR_TEXT];
    size_t place;
    if (!find_place(core, lock, &place) || (place < entries->order.count && refused(core, lock, place)))
        return;
    if (holds(core, lock, place)) {
        if (!tenure_fading(core, lock->tenure))
            hold(core, lock, place);
    } else if (queue_of(lock)->try_only && place < entries->order.count &&
               !is_leaving(core, entries->order.records[0])) {
        contest_end(core, lock, BATON_CONFLICT, "the lock '%s' is held by %s", lock->name,
                    name_of(entries->order.records[0], who));
    }
}

/* A lock that was held is lost for good: whoever wants it again stands in the queue again. */
static void lock_lost(struct core *core, struct contest *lock, enum loss loss)
{
    static const char *const words[] = {[LOSS_OF_SESSION] = "the session is over",
                                        [LOSS_OF_PRESENCE] = "somebody removed this entry",
                                        [LOSS_BY_TIME] = "the session could not be renewed in time"};
    if (lock->released)
        keep_end(core, lock);
    if (lock->tenure->state != TENURE_NONE)
        contest_end(core, lock, BATON_LOST, "%s", words[loss]);
}

static void lock_act(struct core *core, struct contest *lock, bool present)
{
    if (lock->tenure->state == TENURE_HAD) {
        if (lock->resigning)
            tenure_stop(core, lock, lock->tenure, core->now_ms + lock->tenure->stop_ms, "it is released");
        else if (tenure_fading(core, lock->tenure)) {
            lock_lost(core, lock, LOSS_BY_TIME);
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

int core_queue(struct core *core, struct contest *lock, const struct queue_options *options, struct baton_error *err)
{
    return queue_stand(core, lock, options, err);
}

/* ---- the protocol ---- */

char *lock_prefix(const char *name)
{
    return mem_format(LOCKS_PREFIX "%s/", name);
}

static char *presence_key(const struct contest *lock)
{
    return mem_format(LOCKS_PREFIX "%s/%s", lock->name, lock->cid);
}

static void lock_read(struct core *core, struct contest *lock)
{
    char *prefix = lock_prefix(lock->name);
    queue_read(core, lock, prefix);
    free(prefix);
}

static bool lock_look(struct core *core, struct contest *lock)
{
    if (lock->released) {
        keep_step(core, lock);
        if (!lock->resigning)
            return false;
    }
    check_wait(core, lock);
    return true;
}

static void lock_resign(struct core *core, struct contest *lock)
{
    if (lock->released)
        keep_end(core, lock);
}

/* That it will not be had is told at once: what is left of the entry, which may need an engine that is away, is
 * nobody's concern. */
static bool lock_tells_outcome(enum baton_code code)
{
    return code != BATON_OK && code != BATON_LOST;
}

static void lock_forget_candidacy(struct contest *lock)
{
    lock_of(lock)->latch = NULL;
}

/* ---- rest: see rest.c ---- */

static uint32_t slots_of(const struct view_record *record)
{
    return entry_of(record) != NULL ? entry_of(record)->slots : 1; /* as entries.c */
}

/* An exclusive or a shared entry: of those ahead that it waits for, the one that is far enough. */
static bool rest_behind(const struct core *core, const struct entries *entries, size_t place, struct rest_keys *keys)
{
    bool shared = slots_of(entries->order.records[place]) == SLOTS_SHARED;
    size_t left = rest_attentive(core);
    while (place > 0) {
        const struct view_record *record = entries->order.records[--place];
        if ((shared && slots_of(record) != 1) || --left > 0)
            continue;
        if (rule(core, RULE_REST_BEHIND))
            rest_until(keys, record->key);
        return true;
    }
    return false;
}

/* One of N slots: N of those ahead. */
static bool rest_counted(const struct core *core, const struct entries *entries, size_t place, uint32_t slots,
                         struct rest_keys *keys)
{
    if (slots + 2 > BATON_REST_KEYS_MAX || place < slots + rest_attentive(core) - 1)
        return false;
    for (size_t i = 0; i < place; i++)
        if (slots_of(entries->order.records[i]) != slots)
            return false;
    size_t last = place - rest_attentive(core);
    for (size_t i = 0; i < slots && rule(core, RULE_REST_BEHIND); i++)
        rest_until(keys, entries->order.records[last - i]->key);
    return true;
}

static bool rest_lock(const struct core *core, const struct contest *lock, struct rest_keys *keys)
{
    const struct entries *entries = &queue_of(lock)->entries;
    size_t place = entries_place(entries, lock->cid);
    if (place == entries->order.count)
        return false;
    uint32_t slots = slots_of(entries->order.records[place]);
    if (slots == 1 || slots == SLOTS_SHARED)
        return rest_behind(core, entries, place, keys);
    return rest_counted(core, entries, place, slots, keys);
}

static const struct record_kind kinds[] = {
    {.path = "*", .stands_unread = true, .read = entry_read, .free = entry_free},
};
static const struct record_kinds records = {LOCKS_PREFIX, kinds, COUNT_OF(kinds), name_of_path};

const struct protocol lock_protocol = {
    .word = "lock",
    .records = &records,
    .kind = CONTEST_LOCK,
    .part_size = sizeof(struct lock),
    .parks = true,
    .stands_early = true,
    .latched = true,
    .seen_first = RULE_HOLD_BY_VIEW,
    .prefix = lock_prefix,
    .presence_key = presence_key,
    .presence_value = queue_presence_value,
    .read = lock_read,
    .trouble = queue_trouble,
    .look = lock_look,
    .act = lock_act,
    .lost = lock_lost,
    .resign = lock_resign,
    .tells_outcome = lock_tells_outcome,
    .forget_candidacy = lock_forget_candidacy,
    .answered = queue_answered,
    .rests = rest_lock,
    .release = queue_clear,
};
