/* request.c: what an operator asks: of an election a transfer, a hold, the release of a hold; of a task to forget it.
 * Each has a time limit and exactly one answer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/election.h"
#include "core/task.h"

static void answer(struct core *core, struct request *request, enum baton_code code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void answer(struct core *core, struct request *request, enum baton_code code, const char *format, ...)
{
    char text[BATON_ERROR_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    struct action *tell = todo_tell(core, TELL_REPLY, request->election, "%s", text);
    tell->request = request->number;
    tell->code = code;
    /* Take an asked transfer back, or clean up after it: nobody waits for the answer. */
    if (request->kind == REQUEST_TRANSFER && request->written && session_valid(core)) {
        struct attempt unwatched = {0};
        const struct view_record *record = leadership_of(request->election)->roster.transfer_record;
        if (record != NULL && transfer_of(record) != NULL && strcmp(transfer_of(record)->nonce, request->nonce) == 0)
            todo_write(core, &unwatched, TICKET_REQUEST, BATON_WRITE_REMOVE, mem_text(record->key), NULL, 0,
                       record->revision);
    }
    free(request->text);
    free(request->leader_id);
    *request = (struct request){0};
}

static struct request *request_add(struct core *core, struct contest *election, enum request_kind kind, uint64_t number,
                                   const char *text, int64_t until_ms)
{
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
        .kind = kind, .number = number, .election = election, .text = mem_text(text), .until_ms = until_ms};
    snprintf(core->requests[i].nonce, sizeof(core->requests[i].nonce), "%.128s-%u", core->options.id,
             ++core->next_sequence);
    return &core->requests[i];
}

void core_transfer(struct core *core, struct contest *election, uint64_t request, const char *to_id, int64_t until_ms)
{
    request_add(core, election, REQUEST_TRANSFER, request, to_id != NULL ? to_id : "", until_ms);
}

void core_hold(struct core *core, struct contest *election, uint64_t request, const char *why, int64_t until_ms)
{
    request_add(core, election, REQUEST_HOLD, request, why != NULL ? why : "", until_ms);
}

void core_release(struct core *core, struct contest *election, uint64_t request, int64_t until_ms)
{
    request_add(core, election, REQUEST_RELEASE, request, "", until_ms);
}

void core_forget_task(struct core *core, struct contest *task, uint64_t request, enum forget what, int64_t until_ms)
{
    request_add(core, task, REQUEST_FORGET, request, "", until_ms)->forget = what;
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
        if (core->requests[i].number != 0 && core->requests[i].election == contest)
            return true;
    return false;
}

void requests_forget(struct core *core, const struct contest *election)
{
    for (size_t i = 0; i < core->request_count; i++) {
        struct request *request = &core->requests[i];
        if (request->number == 0 || request->election != election)
            continue;
        free(request->text);
        free(request->leader_id);
        *request = (struct request){0};
    }
}

static uint32_t owner_of(const struct core *core, const struct request *request)
{
    return TICKET_REQUEST | (uint32_t)(request - core->requests);
}

/* ---- hold and release ---- */

static void hold_step(struct core *core, struct request *request)
{
    const struct contest *election = request->election;
    const struct view_record *record = leadership_of(election)->roster.hold_record;
    if (record != NULL && hold_of(record) != NULL && strcmp(hold_of(record)->nonce, request->nonce) == 0) {
        answer(core, request, BATON_OK, "%s", "");
        return;
    }
    if (record != NULL && request->attempt.ticket == 0) {
        answer(core, request, BATON_CONFLICT, "the election '%s' is on hold already%s%s", election->name,
               hold_of(record) != NULL ? ", by " : "", hold_of(record) != NULL ? hold_of(record)->by : "");
        return;
    }
    if (!attempt_may(core, &request->attempt))
        return;
    struct hold hold = {
        .by = (char *)core->options.id, .why = request->text, .nonce = request->nonce, .since_wall_ms = core->wall_ms};
    todo_write(core, &request->attempt, owner_of(core, request), BATON_WRITE_PUT,
               hold_key(leadership_of(election)->prefix), hold_write(&hold), 0, 0);
    request->written = true;
}

static void release_step(struct core *core, struct request *request)
{
    const struct contest *election = request->election;
    const struct view_record *record = leadership_of(election)->roster.hold_record;
    if (record == NULL) {
        if (request->written)
            answer(core, request, BATON_OK, "%s", "");
        else
            answer(core, request, BATON_CONFLICT, "the election '%s' is not on hold", election->name);
        return;
    }
    if (!attempt_may(core, &request->attempt))
        return;
    todo_write(core, &request->attempt, owner_of(core, request), BATON_WRITE_REMOVE, mem_text(record->key), NULL, 0,
               record->revision);
    request->written = true;
}

/* ---- forget a task ---- */

static void forget_step(struct core *core, struct request *request)
{
    const struct contest *contest = request->election;
    const struct view_record *record = task_of(contest)->claim_record;
    const struct claim *claim = task_of(contest)->claim;
    const struct entries *entries = &queue_of(contest)->entries;
    if (request->written && (record == NULL || record->created != request->term)) {
        answer(core, request, BATON_OK, "%s", "");
        return;
    }
    if (record == NULL) {
        answer(core, request, BATON_NOT_FOUND, "nothing is known of a task '%s'", contest->name);
        return;
    }
    if (request->forget == FORGET_EXPIRED && (claim == NULL || !claim_expired(claim, core->wall_ms)) &&
        rule(core, RULE_TASK_FORGET_EXPIRED)) {
        answer(core, request, BATON_CONFLICT, "the task '%s' has not expired", contest->name);
        return;
    }
    if (request->forget != FORGET_ALWAYS && claim != NULL && claim->state == CLAIM_RUNNING &&
        entries_place(entries, claim->cid) < entries->order.count) {
        answer(core, request, BATON_CONFLICT, "the task '%s' is being done by %.128s on %.64s", contest->name,
               claim->id, claim->host);
        return;
    }
    if (!attempt_may(core, &request->attempt))
        return;
    todo_write(core, &request->attempt, owner_of(core, request), BATON_WRITE_REMOVE, mem_text(record->key), NULL, 0,
               record->revision);
    request->term = record->created;
    request->written = true;
}

/* ---- transfer ---- */

static const char *leader_id(const struct roster *roster)
{
    return roster->leader != NULL && candidate_of(roster->leader) != NULL ? candidate_of(roster->leader)->id : NULL;
}

/* The ids that stand, for the message that says who does not. */
static void list_ids(const struct roster *roster, char *text, size_t size)
{
    text[0] = '\0';
    for (size_t i = 0; i < roster->order.count; i++) {
        size_t used = strlen(text);
        if (used + NAME_MAX_BYTES + 8 > size) {
            snprintf(text + used, size - used, ", …");
            return;
        }
        snprintf(text + used, size - used, "%s%s", used > 0 ? ", " : "", candidate_of(roster->order.records[i])->id);
    }
}

static bool stands(const struct roster *roster, const char *id)
{
    for (size_t i = 0; i < roster->order.count; i++)
        if (strcmp(candidate_of(roster->order.records[i])->id, id) == 0)
            return true;
    return false;
}

/* Can it be asked at all? false: it was answered. */
static bool transfer_check(struct core *core, struct request *request)
{
    const struct contest *election = request->election;
    const struct roster *roster = &leadership_of(election)->roster;
    const char *leader = leader_id(roster);
    const char *name = election->name;
    if (roster->hold_record != NULL) {
        answer(core, request, BATON_CONFLICT, "the election '%s' is on hold: nobody can lead before its release", name);
        return false;
    }
    if (leader == NULL) {
        answer(core, request, BATON_NOT_FOUND, "nobody leads the election '%s': there is nothing to transfer", name);
        return false;
    }
    if (request->text[0] != '\0' && strcmp(request->text, leader) == 0) {
        answer(core, request, BATON_CONFLICT, "'%s' already leads the election '%s'", leader, name);
        return false;
    }
    if (request->text[0] != '\0' && !stands(roster, request->text)) {
        char ids[BATON_ERROR_TEXT / 2];
        list_ids(roster, ids, sizeof(ids));
        answer(core, request, BATON_NOT_FOUND, "'%s' does not stand in the election '%s'; these do: %s", request->text,
               name, ids);
        return false;
    }
    if (roster_next(roster, roster->decision->cid, NULL) == NULL) {
        answer(core, request, BATON_NOT_FOUND, "nobody but the leader '%s' stands in the election '%s'", leader, name);
        return false;
    }
    return true;
}

/* Did the leader of `term` write the decision that followed (or its guard for it, when all was over)? If another one
 * has claimed the place, its session has ended, which says nothing about what it did in it. */
static bool handed_over(const struct decision *decision, uint64_t term)
{
    const char *reason = "";
    for (size_t i = 0; i < decision->term_count && decision->terms[i].term > term; i++)
        reason = decision->terms[i].reason;
    return strcmp(reason, "claim") != 0;
}

/* Has the term moved on since it was asked? Then it is over, one way or the other. */
static bool transfer_done(struct core *core, struct request *request)
{
    const struct roster *roster = &leadership_of(request->election)->roster;
    const char *leader = leader_id(roster);
    if (request->term == 0 || roster->decision == NULL || roster->decision->term <= request->term)
        return false;
    if (leader == NULL)
        return false; /* a vacancy in between: somebody will claim it */
    if (!handed_over(roster->decision, request->term))
        answer(
            core, request, BATON_LOST,
            "'%s' leads the election '%s' now, but '%s' has not handed over: its session is over, and whether it has "
            "stopped is not known",
            leader, request->election->name, request->leader_id);
    else if (request->text[0] != '\0' && strcmp(leader, request->text) != 0)
        answer(core, request, BATON_CONFLICT, "'%s' leads the election '%s' now, not '%s'", leader,
               request->election->name, request->text);
    else
        answer(core, request, BATON_OK, "%s", leader);
    return true;
}

static void transfer_step(struct core *core, struct request *request)
{
    const struct contest *election = request->election;
    const struct roster *roster = &leadership_of(election)->roster;
    if (transfer_done(core, request))
        return;
    const struct view_record *record = roster->transfer_record;
    bool ours =
        record != NULL && transfer_of(record) != NULL && strcmp(transfer_of(record)->nonce, request->nonce) == 0;
    if (record != NULL && record->trouble != NULL) { /* it is a person's to remove, as a decision is */
        answer(core, request, record->trouble->code, "%s", record->trouble->text);
        return;
    }
    if (ours || !session_valid(core))
        return;
    if (request->term == 0 && !transfer_check(core, request))
        return;
    if (record != NULL && transfer_of(record) != NULL && roster->decision != NULL &&
        transfer_of(record)->term == roster->decision->term && request->attempt.ticket == 0) {
        answer(core, request, BATON_CONFLICT, "another transfer of the election '%s' is under way, asked by '%s'",
               election->name, transfer_of(record)->by);
        return;
    }
    if (!attempt_may(core, &request->attempt))
        return;
    if (request->term == 0) {
        assert(roster->decision != NULL); /* transfer_check found a leader */
        request->term = roster->decision->term;
        request->leader_id = mem_text(leader_id(roster));
    }
    struct transfer transfer = {
        .to = request->text, .by = (char *)core->options.id, .nonce = request->nonce, .term = request->term};
    todo_write(core, &request->attempt, owner_of(core, request), BATON_WRITE_PUT,
               transfer_key(leadership_of(election)->prefix), transfer_write(&transfer), core->session.id,
               record != NULL ? record->revision : 0);
    request->written = true;
}

/* ---- all ---- */

void request_answered(struct core *core, struct request *request, const struct baton_reply *reply)
{
    if (reply->answer == BATON_ANSWER_REFUSED && reply->error.code != BATON_LOST) {
        request->attempt.ticket = 0;
        answer(core, request, reply->error.code, "%s", reply->error.text);
        return;
    }
    attempt_answered(core, &request->attempt, reply);
}

/* What the engine has said of why it cannot be done; NULL: nothing. Only a transfer needs a session. */
static const struct baton_error *refusal(const struct core *core, const struct request *request)
{
    if (core->away.code != BATON_OK)
        return &core->away;
    bool needs_session = request->kind == REQUEST_TRANSFER && request->term == 0;
    return needs_session && core->session.failures > 0 ? &core->session.failure : NULL;
}

/* Its time is over. That the engine cannot tell is not that somebody would not. */
static void in_vain(struct core *core, struct request *request)
{
    const char *what = !request->election->view.ready      ? "the engine has not answered"
                       : request->kind != REQUEST_TRANSFER ? "the engine has not confirmed it"
                       : request->term == 0                ? "no session could be opened"
                                                           : NULL;
    const struct baton_error *why = refusal(core, request);
    if (why != NULL)
        answer(core, request, why->code == BATON_TIMEOUT ? BATON_UNAVAILABLE : why->code, "%s", why->text);
    else if (what != NULL)
        answer(core, request, BATON_UNAVAILABLE, "in the time given, %s", what);
    else
        answer(core, request, BATON_TIMEOUT, "in the time given, the leader has not handed over");
}

static void request_step(struct core *core, struct request *request)
{
    if (core->now_ms >= request->until_ms) {
        in_vain(core, request);
        return;
    }
    if (!request->election->view.ready)
        return;
    switch (request->kind) {
    case REQUEST_HOLD:
        hold_step(core, request);
        return;
    case REQUEST_RELEASE:
        release_step(core, request);
        return;
    case REQUEST_TRANSFER:
        transfer_step(core, request);
        return;
    case REQUEST_FORGET:
        forget_step(core, request);
        return;
    }
    IMPOSSIBLE("request %d", (int)request->kind);
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
        if (core->requests[i].number != 0 && core->requests[i].kind == REQUEST_TRANSFER)
            return true;
    return false;
}
