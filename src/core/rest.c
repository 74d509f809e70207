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
#include <string.h>

#include "core/state.h"

size_t rest_attentive(const struct core *core)
{
    return core->options.attentive != 0 ? core->options.attentive : ATTENTIVE;
}

static bool may_rest(const struct core *core, struct contest *contest)
{
    return contest->standing && !contest->resigning && !contest->forgotten && !contest->options.attentive &&
           contest->tenure->state == TENURE_NONE && contest->presence_seen && contest->view.ready &&
           session_valid(core) && writes_settled(contest) && !requests_about(core, contest) &&
           !contest_is_haunted(core, contest);
}

void rest_until(struct rest_keys *keys, const char *key)
{
    assert(keys->count < BATON_REST_KEYS_MAX);
    keys->list[keys->count++] = mem_text(key);
}

static void ask(struct core *core, const struct contest *contest, const struct rest_keys *keys)
{
    assert((keys->count > 0) == contest->resting);
    struct action *action = todo_add(core, ACTION_REST);
    action->watch = contest->watch;
    action->key_count = keys->count;
    memcpy(action->keys, keys->list, sizeof(keys->list));
    action->write.key = keys->slow;
}

static void drop(struct rest_keys *keys)
{
    for (size_t i = 0; i < keys->count; i++)
        free(keys->list[i]);
    free(keys->slow);
    *keys = (struct rest_keys){0};
}

void contest_rest(struct core *core, struct contest *contest)
{
    struct rest_keys keys = {0};
    bool may = contest->protocol->rests != NULL && contest->name != NULL && may_rest(core, contest);
    const struct view_record *own = may ? contest_presence(contest) : NULL;
    bool rests = own != NULL && contest->protocol->rests(core, contest, &keys);
    if (rests)
        rest_until(&keys, own->key);
    else
        drop(&keys);
    /* (The keys follow from the view, and when it moves it does not rest any more.) */
    if (rests == contest->resting) {
        drop(&keys);
        return;
    }
    contest->resting = rests;
    ask(core, contest, &keys);
}
