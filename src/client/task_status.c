/* task_status.c: a copy, for the program, of a task's records as the client sees them. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "client/client.h"

const char *baton_task_state_name(enum baton_task_state state)
{
    static const char *const names[] = {"none", "running", "done", "failed", "lost"};
    return (size_t)state < COUNT_OF(names) ? names[state] : "unknown";
}

static struct baton_task_output copy(const struct claim_output *from)
{
    struct baton_task_output output = {.size = from->size, .left_out = from->left_out};
    if (from->bytes != NULL)
        output.bytes = mem_text_n(from->bytes, from->size);
    return output;
}

static enum baton_task_state state_of(const struct claim *claim, bool present)
{
    switch (claim->state) {
    case CLAIM_FREE:
        return BATON_TASK_NONE;
    case CLAIM_RUNNING:
        return present ? BATON_TASK_RUNNING : BATON_TASK_LOST;
    case CLAIM_DONE:
        return BATON_TASK_DONE;
    case CLAIM_FAILED:
        return BATON_TASK_FAILED;
    case CLAIM_LOST:
        return BATON_TASK_LOST;
    }
    IMPOSSIBLE("claim %d", (int)claim->state);
}

static void fill_claim(struct baton_task_status *status, const struct claim *claim, const struct entries *entries)
{
    bool present = entries_place(entries, claim->cid) < entries->order.count;
    status->state = state_of(claim, present);
    status->waiting -= present;
    status->expired = claim_expired(claim, clock_wall_ms());
    status->id = mem_text(claim->id);
    status->host = mem_text(claim->host);
    status->what = mem_text(claim->what);
    status->attempt = claim->attempt;
    status->status = claim->status;
    status->at_least_once = claim->again;
    status->since_wall_ms = claim->since_wall_ms;
    status->ended_wall_ms = claim->ended_wall_ms;
    if (claim->keep_ms > 0 && claim->ended_wall_ms > 0)
        status->expires_wall_ms = claim->ended_wall_ms + claim->keep_ms;
    status->out = copy(&claim->out);
    status->err = copy(&claim->err);
}

static void fill(struct baton_task_status *status, const char *key, const struct view *view,
                 const struct entries *entries)
{
    char *claim_key = key_claim(key);
    const struct view_record *record = view_find(view, claim_key);
    free(claim_key);
    *status = (struct baton_task_status){
        .key = mem_text(key), .known = view->ready, .revision = view->revision, .waiting = entries->order.count};
    if (record != NULL && claim_of(record) != NULL)
        fill_claim(status, claim_of(record), entries);
    if (record != NULL && record->trouble != NULL)
        status->trouble = mem_text(record->trouble->text);
    else if (entries->order.trouble != NULL)
        status->trouble = mem_text(entries->order.trouble->text);
    if (status->id == NULL) {
        status->id = mem_text("");
        status->host = mem_text("");
        status->what = mem_text("");
    }
}

static void fill_all(const struct view *view, struct baton_task_status **ret, size_t *ret_count)
{
    struct view_name *names = view_names(view, ret_count);
    struct entries entries = {0};
    *ret = mem_new((*ret_count + 1) * sizeof(**ret));
    for (size_t i = 0; i < *ret_count; i++) {
        char *prefix = key_queue_prefix(names[i].text);
        entries_read(&entries, view, prefix, false);
        free(prefix);
        fill(&(*ret)[i], names[i].text, view, &entries);
    }
    entries_release(&entries);
    free(names);
}

bool baton_task_known(const struct baton_task *task)
{
    return handle_known(&task->handle);
}

int baton_task_status(const struct baton_task *task, struct baton_task_status **ret, size_t *ret_count,
                      struct baton_error *err)
{
    struct baton *b = task->handle.client;
    if (client_check(b, err) < 0)
        return -1;
    client_lock(b);
    const struct view *view = contest_view(task->handle.core);
    if (task->handle.all) {
        fill_all(view, ret, ret_count);
    } else {
        *ret = mem_new(sizeof(**ret));
        *ret_count = 1;
        fill(*ret, task->handle.name, view, contest_entries(task->handle.core));
    }
    client_unlock(b);
    return 0;
}

void baton_task_status_free(struct baton_task_status *status, size_t count)
{
    if (status == NULL)
        return;
    for (size_t i = 0; i < count; i++) {
        free((char *)status[i].key);
        free((char *)status[i].id);
        free((char *)status[i].host);
        free((char *)status[i].what);
        free((char *)status[i].out.bytes);
        free((char *)status[i].err.bytes);
        free((char *)status[i].trouble);
    }
    free(status);
}
