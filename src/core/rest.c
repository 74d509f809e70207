/* rest.c: who stands far down the line need not see everything at once.
 *
 * Of five hundred candidates, or a thousand entries in the queue of a lock, only the first few can have anything to do
 * when something changes; yet each change would wake all of them, and whoever is to act would wait for its turn. So one
 * that has enough others ahead lets its view rest (engine.h) until one of those goes without which it cannot be its
 * turn. A view that rests is an old view, no more: what carries the safety does not depend on it. What must be shown
 * here is that nobody rests whose turn it is:
 *
 *  - an exclusive entry holds when nobody is ahead of it, so any one ahead will do. A shared one needs all exclusive
 *    ones ahead to go. One of N slots, like all ahead of it, needs all but N - 1 of those to go: of any N one has gone;
 *  - a candidate claims, and is named by a leader that ends, when it is the first that may lead; so any one ahead that
 *    may lead will do. By a transfer it is named wherever it stands: whoever asks for one writes that first, and wakes
 *    it. A leader whose own view is old may name it out of its turn, and so may one that acts on a transfer that is
 *    taken back: so the decision is looked at now and then, too;
 *  - one's own presence may be removed by somebody.
 */
#include <stdlib.h>

#include "core/state.h"

struct keys {
    const char *list[BATON_REST_KEYS_MAX];
    size_t count;
    const char *slow;
};

static size_t attentive(const struct core *core)
{
    return core->options.attentive != 0 ? core->options.attentive : ATTENTIVE;
}

/* Nothing of it is under way, and the view shows what was. (What this client has left in the queue is removed one by
 * one, and each removal is to be seen.) */
static bool is_settled(const struct attempt *attempt, const struct view *view)
{
    return attempt->ticket == 0 && !attempt->unknown && attempt->revision <= view->revision;
}

static bool may_rest(const struct core *core, const struct contest *contest)
{
    return contest->standing && !contest->resigning && !contest->forgotten && !contest->options.attentive &&
           contest->tenure->state == TENURE_NONE && contest->presence_seen && contest->view.ready &&
           session_valid(core) && is_settled(&contest->presence, &contest->view) &&
           is_settled(&contest->decision, &contest->view) && !requests_about(core, contest) &&
           !contest_is_haunted(core, contest);
}

static void add(struct keys *keys, const char *key)
{
    keys->list[keys->count++] = key;
}

/* ---- elections ---- */

/* The one that is far enough ahead; NULL: there are not so many. */
static const struct view_record *ahead_of(const struct core *core, const struct roster *roster, size_t place)
{
    size_t left = attentive(core);
    while (place > 0) {
        const struct view_record *record = roster->order.records[--place];
        if (record == roster->leader || roster_elder(roster, record->cid) != NULL)
            continue; /* its turn does not come before ours */
        if (--left == 0)
            return record;
    }
    return NULL;
}

static bool rest_election(const struct core *core, const struct contest *election, struct keys *keys)
{
    const struct roster *roster = &election->roster;
    size_t place = roster_place(roster, election->cid);
    if (roster->leader == NULL || roster->leader_record == NULL || place == roster->order.count ||
        roster_elder(roster, election->cid) != NULL)
        return false;
    const struct view_record *ahead = ahead_of(core, roster, place);
    if (ahead == NULL)
        return false;
    if (rule(core, RULE_REST_BEHIND))
        add(keys, ahead->key);
    if (rule(core, RULE_REST_LOOKS))
        keys->slow = roster->leader_record->key;
    return true;
}

/* ---- locks ---- */

static uint32_t slots_of(const struct view_record *record)
{
    return record->entry != NULL ? record->entry->slots : 1; /* as entries.c */
}

/* An exclusive or a shared entry: of those ahead that it waits for, the one that is far enough. */
static bool rest_behind(const struct core *core, const struct entries *entries, size_t place, struct keys *keys)
{
    bool shared = slots_of(entries->order.records[place]) == SLOTS_SHARED;
    size_t left = attentive(core);
    while (place > 0) {
        const struct view_record *record = entries->order.records[--place];
        if ((shared && slots_of(record) != 1) || --left > 0)
            continue;
        if (rule(core, RULE_REST_BEHIND))
            add(keys, record->key);
        return true;
    }
    return false;
}

/* One of N slots: N of those ahead. */
static bool rest_counted(const struct core *core, const struct entries *entries, size_t place, uint32_t slots,
                         struct keys *keys)
{
    if (slots + 2 > BATON_REST_KEYS_MAX || place < slots + attentive(core) - 1)
        return false;
    for (size_t i = 0; i < place; i++)
        if (slots_of(entries->order.records[i]) != slots)
            return false;
    size_t last = place - attentive(core);
    for (size_t i = 0; i < slots && rule(core, RULE_REST_BEHIND); i++)
        add(keys, entries->order.records[last - i]->key);
    return true;
}

static bool rest_lock(const struct core *core, const struct contest *lock, struct keys *keys)
{
    const struct entries *entries = &lock->queue.entries;
    size_t place = entries_place(entries, lock->cid);
    if (place == entries->order.count)
        return false;
    uint32_t slots = slots_of(entries->order.records[place]);
    if (slots == 1 || slots == SLOTS_SHARED)
        return rest_behind(core, entries, place, keys);
    return rest_counted(core, entries, place, slots, keys);
}

/* ---- both ---- */

static void ask(struct core *core, const struct contest *contest, const struct keys *keys)
{
    struct action *action = todo_add(core, ACTION_REST);
    action->watch = contest->watch;
    action->key_count = keys->count;
    for (size_t i = 0; i < keys->count; i++)
        action->keys[i] = mem_text(keys->list[i]);
    action->write.key = mem_text(keys->slow);
}

void contest_rest(struct core *core, struct contest *contest)
{
    struct keys keys = {0};
    bool rests = contest->kind != CONTEST_TASK && contest->name != NULL && may_rest(core, contest);
    const struct view_record *own = rests ? contest_presence(contest) : NULL;
    rests = own != NULL &&
            (contest->kind == CONTEST_ELECTION ? rest_election(core, contest, &keys) : rest_lock(core, contest, &keys));
    if (rests == contest->resting)
        return; /* (the keys follow from the view, and when it moves it does not rest any more) */
    contest->resting = rests;
    char *transfer = rests && contest->kind == CONTEST_ELECTION ? key_transfer(contest->name) : NULL;
    if (rests)
        add(&keys, own->key);
    if (transfer != NULL)
        add(&keys, transfer);
    ask(core, contest, &keys);
    free(transfer);
}
