/* keep.c: a lock that its program has released, and perhaps wants again at once.
 *
 * An entry that was held, and is alone in its queue, is not removed when its program has stopped: its latch is freed
 * (baton/latch.h). Whoever wants the lock then finds the latch free and removes the entry, or finds it in use and waits
 * as ever; so a kept entry is in nobody's way. What carries the safety: the client holds again only if it was itself
 * who moved the latch from free to used, and removes the entry as any other one when it has lost it, or when nobody
 * has taken it back for a while.
 *
 * The latch is shared memory, which the core never touches: it says which latch is to be moved, and its client moves it
 * and says how that went. These functions are called between two steps, by whoever may call core_step. They write
 * nothing and tell nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "core/lock/state.h"

char *core_latch_key(const struct contest *lock, uint64_t *ret_created)
{
    const struct view_record *own = contest_presence(lock);
    if (own == NULL || queue_of(lock)->slots != 1)
        return NULL;
    *ret_created = own->created;
    return mem_text(own->key);
}

void core_latch(struct core *core, struct contest *lock, struct baton_latch *latch)
{
    const struct view_record *own = contest_presence(lock);
    if (lock->tenure->state != TENURE_HAD || own == NULL)
        return;
    lock_of(lock)->latch = latch;
    lock_of(lock)->latch_created = own->created;
}

static bool is_alone(const struct contest *lock)
{
    const struct order *order = &queue_of(lock)->entries.order;
    return order->count == 1 && strcmp(order->records[0]->cid, lock->cid) == 0;
}

static bool may_be_kept(const struct core *core, const struct contest *lock, int64_t now_ms)
{
    return lock_of(lock)->latch != NULL && lock->tenure->state == TENURE_HAD && !lock->released && !lock->resigning &&
           !lock->forgotten && queue_of(lock)->slots == 1 && is_alone(lock) && session_valid(core) &&
           !core->session.condemned && now_ms < core->session.deadline_ms;
}

struct baton_latch *core_may_keep(const struct core *core, const struct contest *lock, int64_t now_ms,
                                  uint64_t *ret_created)
{
    if (!may_be_kept(core, lock, now_ms))
        return NULL;
    *ret_created = lock_of(lock)->latch_created;
    return lock_of(lock)->latch;
}

int64_t core_keep(struct core *core, struct contest *lock, int64_t now_ms)
{
    assert(may_be_kept(core, lock, now_ms));
    lock->released = true;
    lock_of(lock)->kept_until_ms = now_ms + PARKED_MS;
    contest_wake(core, lock, lock_of(lock)->kept_until_ms);
    return lock->wake_ms;
}

bool core_is_kept(const struct contest *lock)
{
    return lock->released;
}

bool core_unlock(struct core *core, struct contest *lock)
{
    if (!lock->standing || lock->released || (lock->tenure->state != TENURE_HAD && lock->tenure->state != TENURE_NONE))
        return false;
    if (!lock->resigning)
        keep_end(core, lock);
    return true;
}

bool core_leave(struct core *core, struct contest *lock, int64_t now_ms)
{
    int64_t until_ms = lock->released ? lock_of(lock)->kept_until_ms : now_ms + PARKED_MS;
    if (lock->protocol->kind != CONTEST_LOCK || !lock->standing || (!lock->released && !lock->resigning) ||
        lock->tenure->state == TENURE_STOPPING || core->todo != NULL || !contest_park(core, lock, until_ms))
        return false;
    lock->forgotten = true;
    lock->user = NULL;
    contest_mark(core, lock);
    return true;
}

/* Of what was left. `kept`: and may be taken back; else: and is on its way out of the queue. */
static struct contest *find(const struct core *core, const char *name, bool kept)
{
    for (size_t i = 0; i < core->parked_count; i++) {
        struct contest *lock = core->parked[i];
        if (lock->protocol->kind == CONTEST_LOCK && lock->standing && lock->resigning != kept &&
            strcmp(lock->name, name) == 0)
            return lock;
    }
    return NULL;
}

struct contest *core_queue_again(struct core *core, const char *name, const struct queue_options *options, void *user)
{
    struct contest *lock = find(core, name, false);
    if (lock == NULL || lock->tenure->state != TENURE_NONE || !lock->view.ready || !session_valid(core))
        return NULL;
    /* If the last entry may yet appear, it is waited for. */
    if (!lock->presence_seen && (lock->presence.ticket != 0 || lock->presence.unknown))
        return NULL;
    contest_unpark(core, lock, user);
    lock->removal = lock->presence; /* which may be under way */
    contest_forget_candidacy(lock); /* so its entry is removed: see remove_ghost */
    lock->released = lock->standing = lock->resigning = false;
    lock->end_code = BATON_OK;
    free(lock->end_text);
    lock->end_text = NULL;
    core->standing_count--;
    (void)queue_stand(core, lock, options, NULL);
    return lock;
}

struct contest *core_find_kept(struct core *core, const char *name, const struct queue_options *options, int64_t now_ms,
                               struct baton_latch **ret_latch, uint64_t *ret_created)
{
    struct contest *lock = find(core, name, true);
    if (lock == NULL)
        return NULL;
    if (options->slots != 1 || !session_valid(core) || now_ms + options->stop_ms >= core->session.deadline_ms) {
        keep_end(core, lock);
        return NULL;
    }
    *ret_latch = lock_of(lock)->latch;
    *ret_created = lock_of(lock)->latch_created;
    return lock;
}

bool core_take_back(struct core *core, struct contest *lock, const struct queue_options *options, void *user,
                    uint64_t token)
{
    assert(lock->released && !lock->resigning);
    if (token == 0) {
        keep_end(core, lock);
        return false;
    }
    assert(token > lock->tenure->number);
    contest_unpark(core, lock, user);
    lock->released = false;
    lock->tenure->stop_ms = options->stop_ms;
    if (options->stop_ms > core->stop_max_ms)
        core->stop_max_ms = options->stop_ms;
    lock->tenure->number = token;
    return true;
}

void keep_end(struct core *core, struct contest *lock)
{
    assert(lock->standing && !lock->resigning);
    lock_of(lock)->latch = NULL;
    if (lock->tenure->state != TENURE_NONE)
        tenure_move(lock->tenure, TENURE_NONE); /* its program has stopped, and was told so */
    lock->resigning = true;
    contest_mark(core, lock);
}

/* An entry that somebody else wants, or has removed, is seen in the view: until then it is in nobody's way. */
void keep_step(struct core *core, struct contest *lock)
{
    if (lock->resigning)
        return;
    if (contest_presence(lock) == NULL || !is_alone(lock) || !session_valid(core) ||
        tenure_fading(core, lock->tenure) || core->now_ms >= lock_of(lock)->kept_until_ms)
        keep_end(core, lock);
    else
        contest_wake(core, lock, lock_of(lock)->kept_until_ms);
}
