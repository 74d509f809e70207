/* forget.c: an operator lets what is known of a task be forgotten: it may be done once more. */
#include "core/request.h"
#include "core/task/state.h"

static void forget_step(struct core *core, struct request *request)
{
    const struct contest *contest = request->contest;
    const struct view_record *record = task_of(contest)->claim_record;
    const struct claim *claim = task_of(contest)->claim;
    const struct entries *entries = &queue_of(contest)->entries;
    if (request->written && (record == NULL || record->created != request->about)) {
        request_answer(core, request, BATON_OK, "%s", "");
        return;
    }
    if (record == NULL) {
        request_answer(core, request, BATON_NOT_FOUND, "nothing is known of a task '%s'", contest->name);
        return;
    }
    if (request->how == FORGET_EXPIRED && (claim == NULL || !claim_expired(claim, core->wall_ms)) &&
        rule(core, RULE_TASK_FORGET_EXPIRED)) {
        request_answer(core, request, BATON_CONFLICT, "the task '%s' has not expired", contest->name);
        return;
    }
    if (request->how != FORGET_ALWAYS && claim != NULL && claim->state == CLAIM_RUNNING &&
        entries_place(entries, claim->cid) < entries->order.count) {
        request_answer(core, request, BATON_CONFLICT, "the task '%s' is being done by %.128s on %.64s", contest->name,
                       claim->id, claim->host);
        return;
    }
    if (!attempt_may(core, &request->attempt))
        return;
    todo_write(core, &request->attempt, request_owner(core, request), BATON_WRITE_REMOVE, mem_text(record->key), NULL,
               0, record->revision);
    request->about = record->created;
    request->written = true;
}

static const struct request_kind forget_kind = {.step = forget_step};

void core_forget_task(struct core *core, struct contest *task, uint64_t request, enum forget what, int64_t until_ms)
{
    request_add(core, task, &forget_kind, request, "", until_ms)->how = what;
}
