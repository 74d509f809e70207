/* hold.c: an operator holds an election: nobody may lead; and releases it. */
#include <string.h>

#include "core/election/state.h"
#include "core/request.h"

static void hold_step(struct core *core, struct request *request)
{
    const struct contest *election = request->contest;
    const struct view_record *record = leadership_of(election)->roster.hold_record;
    if (record != NULL && hold_of(record) != NULL && strcmp(hold_of(record)->nonce, request->nonce) == 0) {
        request_answer(core, request, BATON_OK, "%s", "");
        return;
    }
    if (record != NULL && request->attempt.ticket == 0) {
        request_answer(core, request, BATON_CONFLICT, "the election '%s' is on hold already%s%s", election->name,
                       hold_of(record) != NULL ? ", by " : "", hold_of(record) != NULL ? hold_of(record)->by : "");
        return;
    }
    if (!attempt_may(core, &request->attempt))
        return;
    struct hold hold = {
        .by = (char *)core->options.id, .why = request->text, .nonce = request->nonce, .since_wall_ms = core->wall_ms};
    todo_write(core, &request->attempt, request_owner(core, request), BATON_WRITE_PUT,
               hold_key(leadership_of(election)->prefix), hold_write(&hold), 0, 0);
    request->written = true;
}

static void release_step(struct core *core, struct request *request)
{
    const struct contest *election = request->contest;
    const struct view_record *record = leadership_of(election)->roster.hold_record;
    if (record == NULL) {
        if (request->written)
            request_answer(core, request, BATON_OK, "%s", "");
        else
            request_answer(core, request, BATON_CONFLICT, "the election '%s' is not on hold", election->name);
        return;
    }
    if (!attempt_may(core, &request->attempt))
        return;
    todo_write(core, &request->attempt, request_owner(core, request), BATON_WRITE_REMOVE, mem_text(record->key), NULL,
               0, record->revision);
    request->written = true;
}

static const struct request_kind hold_kind = {.step = hold_step};
static const struct request_kind release_kind = {.step = release_step};

void core_hold(struct core *core, struct contest *election, uint64_t request, const char *why, int64_t until_ms)
{
    request_add(core, election, &hold_kind, request, why != NULL ? why : "", until_ms);
}

void core_release(struct core *core, struct contest *election, uint64_t request, int64_t until_ms)
{
    request_add(core, election, &release_kind, request, "", until_ms);
}
