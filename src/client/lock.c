/* lock.c: libbaton's locks. A lock's handle is an election's inside: both stand, hold for a time, and stop. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
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
    if (options->stop_ms > b->options.ttl_ms / 2)
        return error_set(err, BATON_INVALID,
                         "a stop that may take %u ms does not fit a ttl of %u ms: at most half of it is left when "
                         "renewals fail",
                         options->stop_ms, b->options.ttl_ms);
    return 0;
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
    struct queue_options queue = {
        .slots = options->slots, .try_only = options->try_only, .until_ms = NEVER_MS, .stop_ms = options->stop_ms};
    if (options->wait_ms > 0 || options->try_only)
        queue.until_ms = clock_now_ms() + (options->wait_ms > 0 ? options->wait_ms : TRY_LIMIT_MS);
    struct baton_election *handle = NULL;
    pthread_mutex_lock(&b->mutex);
    if (election_check_standing(b, CONTEST_LOCK, name, err) == 0 &&
        (handle = election_handle(b, CONTEST_LOCK, name, err)) != NULL) {
        core_queue(b->core, handle->core, &queue, NULL);
        election_stands(handle, options->stop_ms);
    }
    pthread_mutex_unlock(&b->mutex);
    if (handle == NULL)
        return -1;
    client_wake(b);
    *ret = (struct baton_lock *)handle;
    return 0;
}

int baton_observe_lock(struct baton *b, const char *name, struct baton_lock **ret, struct baton_error *err)
{
    struct baton_election *handle = election_observe(b, CONTEST_LOCK, name, err);
    if (handle != NULL)
        *ret = (struct baton_lock *)handle;
    return handle != NULL ? 0 : -1;
}

bool baton_holds(const struct baton_lock *lock, uint64_t *ret_token)
{
    return baton_leads(&lock->handle, ret_token);
}

void baton_unlock(struct baton_lock *lock)
{
    struct baton *b = lock->handle.client;
    if (!client_is_ours(b))
        return;
    pthread_mutex_lock(&b->mutex);
    lock->handle.unlocked = true;
    pthread_mutex_unlock(&b->mutex);
    baton_resign(&lock->handle);
    baton_stopped(&lock->handle);
}

void baton_lock_free(struct baton_lock *lock)
{
    if (lock == NULL || !client_is_ours(lock->handle.client))
        return;
    baton_unlock(lock);
    baton_election_free(&lock->handle);
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
        const struct lock_entry *from = record->entry;
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
        char *prefix = key_lock_prefix(names[i].text);
        entries_read(&entries, view, prefix, false);
        free(prefix);
        fill(&(*ret)[i], names[i].text, view, &entries);
    }
    entries_release(&entries);
    free(names);
}

bool baton_lock_known(const struct baton_lock *lock)
{
    struct baton *b = lock->handle.client;
    if (!client_is_ours(b))
        return false;
    pthread_mutex_lock(&b->mutex);
    bool known = contest_view(lock->handle.core)->ready;
    pthread_mutex_unlock(&b->mutex);
    return known;
}

int baton_lock_status(const struct baton_lock *lock, struct baton_lock_status **ret, size_t *ret_count,
                      struct baton_error *err)
{
    struct baton *b = lock->handle.client;
    if (client_check(b, err) < 0)
        return -1;
    pthread_mutex_lock(&b->mutex);
    const struct view *view = contest_view(lock->handle.core);
    if (lock->handle.all) {
        fill_all(view, ret, ret_count);
    } else {
        *ret = mem_new(sizeof(**ret));
        *ret_count = 1;
        fill(*ret, lock->handle.name, view, contest_entries(lock->handle.core));
    }
    pthread_mutex_unlock(&b->mutex);
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
