/* lock.c: libbaton's locks. See handle.h for what they share with the other kinds. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "baton/latch.h"
#include "client/client.h"

static_assert(BATON_SHARED == SLOTS_SHARED && BATON_SLOTS_MAX == SLOTS_MAX, "the core's numbers are the public ones");

void baton_lock_options_init(struct baton_lock_options *options)
{
    *options = (struct baton_lock_options){.slots = 1};
}

static int check(const struct baton *b, const struct baton_lock_options *options, struct baton_error *err)
{
    if (options->slots < 1 || (options->slots > BATON_SLOTS_MAX && options->slots != BATON_SHARED))
        return error_set(err, BATON_INVALID, "a lock of %u slots cannot be: it has 1 to %d, or is shared",
                         (unsigned)options->slots, BATON_SLOTS_MAX);
    return handle_check_stop(b, options->stop_ms, err);
}

/* A lock that this client has released a moment ago, and nobody else has wanted since: it is held at once, without a
 * write, and the client's thread need not know. */
static bool take_back(struct handle *handle, const struct queue_options *queue)
{
    struct baton *b = handle->client;
    struct baton_latch *latch;
    uint64_t created;
    assert(client_is_locked(b) && handle->kind == CONTEST_LOCK && handle->core == NULL);
    struct contest *core = core_find_kept(b->core, handle->name, queue, clock_now_ms(), &latch, &created);
    uint64_t token = core != NULL ? baton_latch_take(latch, created) : 0;
    if (core == NULL || !core_take_back(b->core, core, queue, handle, token))
        return false;
    handle_add(handle, core);
    driver_publish_term(handle, token);
    queue_add(b, BATON_ACQUIRED, handle, "")->term = token;
    return true;
}

static int stand_in_line(struct handle *handle, const struct queue_options *queue, struct baton_error *err)
{
    struct baton *b = handle->client;
    struct contest *core = core_queue_again(b->core, handle->name, queue, handle);
    if (core == NULL && (core = core_observe(b->core, CONTEST_LOCK, handle->name, handle, err)) != NULL)
        core_queue(b->core, core, queue, NULL);
    if (core == NULL)
        return -1;
    handle_add(handle, core);
    return 0;
}

/* NULL, or *ret_held: it holds already, and the client's thread need not know. */
static struct handle *want(struct baton *b, const char *name, const struct queue_options *queue, bool *ret_held,
                           struct baton_error *err)
{
    if (client_check_open(b, err) < 0 || handle_check_standing(b, CONTEST_LOCK, name, err) < 0)
        return NULL;
    struct handle *handle = handle_new(b, CONTEST_LOCK, name);
    *ret_held = take_back(handle, queue);
    if (!*ret_held && stand_in_line(handle, queue, err) < 0) {
        handle_free(handle);
        return NULL;
    }
    handle_stands(handle, queue->stop_ms);
    return handle;
}

int baton_lock(struct baton *b, const char *name, const struct baton_lock_options *options, struct baton_lock **ret,
               struct baton_error *err)
{
    struct baton_lock_options defaults;
    baton_lock_options_init(&defaults);
    if (options == NULL)
        options = &defaults;
    if (client_check(b, err) < 0 || name_check("name", name, err) < 0 || check(b, options, err) < 0)
        return -1;
    struct queue_options queue = {.slots = options->slots, .try_only = options->try_only, .stop_ms = options->stop_ms};
    client_wait(&queue, options->wait_ms);
    bool held = false;
    client_lock(b);
    struct handle *handle = want(b, name, &queue, &held, err);
    client_unlock(b);
    if (handle == NULL)
        return -1;
    if (held)
        queue_ring(b);
    else
        client_wake(b);
    *ret = (struct baton_lock *)handle;
    return 0;
}

int baton_observe_lock(struct baton *b, const char *name, struct baton_lock **ret, struct baton_error *err)
{
    struct handle *handle = handle_observe(b, CONTEST_LOCK, name, err);
    if (handle != NULL)
        *ret = (struct baton_lock *)handle;
    return handle != NULL ? 0 : -1;
}

bool baton_holds(const struct baton_lock *lock, uint64_t *ret_token)
{
    return handle_leads(&lock->handle, ret_token);
}

/* Its entry stays for a moment, if that is in nobody's way: see src/core/lock/keep.c. */
static bool keep(struct baton *b, struct handle *handle)
{
    int64_t now_ms = clock_now_ms();
    uint64_t created;
    assert(client_is_locked(b) && handle->kind == CONTEST_LOCK && handle->standing && !handle->stopping);
    struct baton_latch *latch = core_may_keep(b->core, handle->core, now_ms, &created);
    if (latch == NULL || !baton_latch_free(latch, created))
        return false;
    int64_t wake_ms = core_keep(b->core, handle->core, now_ms);
    driver_publish_term(handle, 0);
    queue_add(b, BATON_RELEASED, handle, "");
    driver_step_by(b, wake_ms);
    return true;
}

static bool unlock(struct baton *b, struct handle *handle)
{
    if (!core_unlock(b->core, handle->core))
        return false;
    driver_publish_term(handle, 0);
    return true;
}

void baton_unlock(struct baton_lock *lock)
{
    struct baton *b = lock->handle.client;
    if (!client_is_ours(b))
        return;
    client_lock(b);
    lock->handle.unlocked = true;
    bool before = core_is_kept(lock->handle.core);
    bool simple = b->state == CLIENT_OPEN && lock->handle.standing && !lock->handle.asking && !lock->handle.stopping;
    bool kept = before || (simple && keep(b, &lock->handle)), unlocked = !kept && simple && unlock(b, &lock->handle);
    handle_withdrawn(&lock->handle); /* the attempt is over: the next one need not wait for the end of this one */
    client_unlock(b);
    if (unlocked)
        client_wake(b);
    else if (!kept) {
        handle_resign(&lock->handle);
        handle_stopped(&lock->handle);
    } else if (!before) {
        queue_ring(b);
    }
}

bool baton_lock_stop_takes(struct baton_lock *lock, uint32_t ms)
{
    return handle_stop_takes(&lock->handle, ms);
}

/* Of a lock that was released: nothing is told of it any more. */
static bool leave(struct baton *b, struct handle *handle)
{
    client_lock(b);
    bool left = !handle->asking && handle->requests == 0 && core_leave(b->core, handle->core, clock_now_ms());
    if (left) {
        queue_forget(b, handle);
        handle_gone(handle);
    }
    client_unlock(b);
    return left;
}

void baton_lock_free(struct baton_lock *lock)
{
    if (lock == NULL || !client_is_ours(lock->handle.client))
        return;
    struct baton *b = lock->handle.client;
    baton_unlock(lock);
    if (!leave(b, &lock->handle))
        handle_release(&lock->handle);
}

const char *baton_lock_name(const struct baton_lock *lock)
{
    return lock->handle.name;
}

/* ---- what is known ---- */

static void fill(struct baton_lock_status *status, const char *name, const struct view *view,
                 const struct entries *entries)
{
    status->name = mem_text(name);
    status->known = view->ready;
    status->revision = view->revision;
    struct baton_lock_entry *all = mem_new((entries->order.count + 1) * sizeof(*all));
    for (size_t i = 0; i < entries->order.count; i++) {
        const struct view_record *record = entries->order.records[i];
        const struct lock_entry *from = entry_of(record);
        all[i] = (struct baton_lock_entry){.id = mem_text(from != NULL ? from->id : "?"),
                                           .host = mem_text(from != NULL ? from->host : "?"),
                                           .slots = from != NULL ? from->slots : 1,
                                           .holds = entries_holds(entries, i),
                                           .token = record->created,
                                           .since_wall_ms = from != NULL ? from->since_wall_ms : 0};
        status->holders += all[i].holds;
    }
    status->entries = all;
    status->entry_count = entries->order.count;
    if (entries->order.trouble != NULL)
        status->trouble = mem_text(entries->order.trouble->text);
}

static void fill_all(const struct view *view, struct baton_lock_status **ret, size_t *ret_count)
{
    struct view_name *names = view_names(view, ret_count);
    struct entries entries = {0};
    *ret = mem_new((*ret_count + 1) * sizeof(**ret));
    for (size_t i = 0; i < *ret_count; i++) {
        char *prefix = lock_prefix(names[i].text);
        entries_read(&entries, view, prefix, false);
        free(prefix);
        fill(&(*ret)[i], names[i].text, view, &entries);
    }
    entries_release(&entries);
    free(names);
}

bool baton_lock_known(const struct baton_lock *lock)
{
    return handle_known(&lock->handle);
}

int baton_lock_status(const struct baton_lock *lock, struct baton_lock_status **ret, size_t *ret_count,
                      struct baton_error *err)
{
    struct baton *b = lock->handle.client;
    if (client_check(b, err) < 0)
        return -1;
    client_lock(b);
    const struct view *view = contest_view(lock->handle.core);
    if (lock->handle.all) {
        fill_all(view, ret, ret_count);
    } else {
        *ret = mem_new(sizeof(**ret));
        *ret_count = 1;
        fill(*ret, lock->handle.name, view, contest_entries(lock->handle.core));
    }
    client_unlock(b);
    return 0;
}

void baton_lock_status_free(struct baton_lock_status *status, size_t count)
{
    if (status == NULL)
        return;
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < status[i].entry_count; k++) {
            free((char *)status[i].entries[k].id);
            free((char *)status[i].entries[k].host);
        }
        free((struct baton_lock_entry *)status[i].entries);
        free((char *)status[i].name);
        free((char *)status[i].trouble);
    }
    free(status);
}
