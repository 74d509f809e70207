/* request.c: what an operator asks, and is answered once: see request.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/request.h"

void request_answer(struct core *core, struct request *request, enum baton_code code, const char *format, ...)
{
    char text[BATON_ERROR_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    assert(request->number != 0);
    struct action *tell = todo_tell(core, TELL_REPLY, request->contest, "%s", text);
    tell->request = request->number;
    tell->code = code;
    if (request->kind->over != NULL)
        request->kind->over(core, request);
    free(request->text);
    free(request->about_id);
    *request = (struct request){0};
}

struct request *request_add(struct core *core, struct contest *contest, const struct request_kind *kind,
                            uint64_t number, const char *text, int64_t until_ms)
{
    assert(number != 0 && kind->step != NULL && contest->name != NULL);
    size_t i = 0;
    while (i < core->request_count && core->requests[i].number != 0)
        i++;
    if (i == core->request_count) {
        if (core->request_count == core->request_room) {
            core->request_room = core->request_room > 0 ? 2 * core->request_room : 4;
            core->requests = mem_grow(core->requests, core->request_room * sizeof(*core->requests));
        }
        core->request_count++;
    }
    core->requests[i] = (struct request){
        .kind = kind, .number = number, .contest = contest, .text = mem_text(text), .until_ms = until_ms};
    snprintf(core->requests[i].nonce, sizeof(core->requests[i].nonce), "%.128s-%u", core->options.id,
             ++core->next_sequence);
    return &core->requests[i];
}

struct request *request_of_ticket(struct core *core, uint64_t ticket)
{
    for (size_t i = 0; i < core->request_count; i++)
        if (core->requests[i].number != 0 && core->requests[i].attempt.ticket == ticket)
            return &core->requests[i];
    return NULL;
}

bool requests_about(const struct core *core, const struct contest *contest)
{
    for (size_t i = 0; i < core->request_count; i++)
        if (core->requests[i].number != 0 && core->requests[i].contest == contest)
            return true;
    return false;
}

void requests_forget(struct core *core, const struct contest *contest)
{
    for (size_t i = 0; i < core->request_count; i++) {
        struct request *request = &core->requests[i];
        if (request->number == 0 || request->contest != contest)
            continue;
        free(request->text);
        free(request->about_id);
        *request = (struct request){0};
    }
}

uint32_t request_owner(const struct core *core, const struct request *request)
{
    assert(request >= core->requests && request < core->requests + core->request_count);
    return TICKET_REQUEST | (uint32_t)(request - core->requests);
}

bool request_answered(struct core *core, struct request *request, const struct baton_reply *reply)
{
    if (reply->answer == BATON_ANSWER_REFUSED && reply->error.code != BATON_LOST) {
        request->attempt.ticket = 0;
        request_answer(core, request, reply->error.code, "%s", reply->error.text);
        return false;
    }
    return attempt_answered(core, &request->attempt, reply);
}

/* What the engine has said of why it cannot be done; NULL: nothing. */
static const struct baton_error *refusal(const struct core *core, const struct request *request)
{
    if (core->away.code != BATON_OK)
        return &core->away;
    bool needs_session = request->kind->needs_session && request->about == 0;
    return needs_session && core->session.failures > 0 ? &core->session.failure : NULL;
}

/* Its time is over. That the engine cannot tell is not that somebody would not. */
static void in_vain(struct core *core, struct request *request)
{
    const char *words = "the engine has not confirmed it";
    enum baton_code code = BATON_UNAVAILABLE;
    if (!request->contest->view.ready)
        words = "the engine has not answered";
    else if (request->kind->in_vain != NULL)
        code = request->kind->in_vain(request, &words);
    const struct baton_error *why = refusal(core, request);
    if (why != NULL)
        request_answer(core, request, why->code == BATON_TIMEOUT ? BATON_UNAVAILABLE : why->code, "%s", why->text);
    else
        request_answer(core, request, code, "in the time given, %s", words);
}

static void request_step(struct core *core, struct request *request)
{
    if (core->now_ms >= request->until_ms) {
        in_vain(core, request);
        return;
    }
    if (request->contest->view.ready)
        request->kind->step(core, request);
}

void requests_step(struct core *core)
{
    for (size_t i = 0; i < core->request_count; i++)
        if (core->requests[i].number != 0)
            request_step(core, &core->requests[i]);
}

int64_t requests_wake(const struct core *core)
{
    int64_t wake = NEVER_MS;
    for (size_t i = 0; i < core->request_count; i++) {
        const struct request *request = &core->requests[i];
        if (request->number == 0)
            continue;
        if (request->until_ms < wake)
            wake = request->until_ms;
        if (request->attempt.ticket == 0 && request->attempt.retry_ms > core->now_ms &&
            request->attempt.retry_ms < wake)
            wake = request->attempt.retry_ms;
    }
    return wake;
}

bool requests_need_session(const struct core *core)
{
    for (size_t i = 0; i < core->request_count; i++)
        if (core->requests[i].number != 0 && core->requests[i].kind->needs_session)
            return true;
    return false;
}

void requests_free(struct core *core)
{
    for (size_t i = 0; i < core->request_count; i++) {
        free(core->requests[i].text);
        free(core->requests[i].about_id);
    }
    free(core->requests);
}
