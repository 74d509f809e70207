/* transfer.c: an operator asks the leader of an election to hand over. */
#include <stdio.h>
#include <string.h>

#include "core/election/state.h"
#include "core/request.h"

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
    const struct contest *election = request->contest;
    const struct roster *roster = &leadership_of(election)->roster;
    const char *leader = leader_id(roster);
    const char *name = election->name;
    if (roster->hold_record != NULL) {
        request_answer(core, request, BATON_CONFLICT,
                       "the election '%s' is on hold: nobody can lead before its release", name);
        return false;
    }
    if (leader == NULL) {
        request_answer(core, request, BATON_NOT_FOUND, "nobody leads the election '%s': there is nothing to transfer",
                       name);
        return false;
    }
    if (request->text[0] != '\0' && strcmp(request->text, leader) == 0) {
        request_answer(core, request, BATON_CONFLICT, "'%s' already leads the election '%s'", leader, name);
        return false;
    }
    if (request->text[0] != '\0' && !stands(roster, request->text)) {
        char ids[BATON_ERROR_TEXT / 2];
        list_ids(roster, ids, sizeof(ids));
        request_answer(core, request, BATON_NOT_FOUND, "'%s' does not stand in the election '%s'; these do: %s",
                       request->text, name, ids);
        return false;
    }
    if (roster_next(roster, roster->decision->cid, NULL) == NULL) {
        request_answer(core, request, BATON_NOT_FOUND, "nobody but the leader '%s' stands in the election '%s'", leader,
                       name);
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
    const struct roster *roster = &leadership_of(request->contest)->roster;
    const char *leader = leader_id(roster);
    if (request->about == 0 || roster->decision == NULL || roster->decision->term <= request->about)
        return false;
    if (leader == NULL)
        return false; /* a vacancy in between: somebody will claim it */
    if (!handed_over(roster->decision, request->about))
        request_answer(
            core, request, BATON_LOST,
            "'%s' leads the election '%s' now, but '%s' has not handed over: its session is over, and whether it has "
            "stopped is not known",
            leader, request->contest->name, request->about_id);
    else if (request->text[0] != '\0' && strcmp(leader, request->text) != 0)
        request_answer(core, request, BATON_CONFLICT, "'%s' leads the election '%s' now, not '%s'", leader,
                       request->contest->name, request->text);
    else
        request_answer(core, request, BATON_OK, "%s", leader);
    return true;
}

static void transfer_step(struct core *core, struct request *request)
{
    const struct contest *election = request->contest;
    const struct roster *roster = &leadership_of(election)->roster;
    if (transfer_done(core, request))
        return;
    const struct view_record *record = roster->transfer_record;
    bool ours =
        record != NULL && transfer_of(record) != NULL && strcmp(transfer_of(record)->nonce, request->nonce) == 0;
    if (record != NULL && record->trouble != NULL) { /* it is a person's to remove, as a decision is */
        request_answer(core, request, record->trouble->code, "%s", record->trouble->text);
        return;
    }
    if (ours || !session_valid(core))
        return;
    if (request->about == 0 && !transfer_check(core, request))
        return;
    if (record != NULL && transfer_of(record) != NULL && roster->decision != NULL &&
        transfer_of(record)->term == roster->decision->term && request->attempt.ticket == 0) {
        request_answer(core, request, BATON_CONFLICT,
                       "another transfer of the election '%s' is under way, asked by '%s'", election->name,
                       transfer_of(record)->by);
        return;
    }
    if (!attempt_may(core, &request->attempt))
        return;
    if (request->about == 0) {
        assert(roster->decision != NULL); /* transfer_check found a leader */
        request->about = roster->decision->term;
        request->about_id = mem_text(leader_id(roster));
    }
    struct transfer transfer = {
        .to = request->text, .by = (char *)core->options.id, .nonce = request->nonce, .term = request->about};
    todo_write(core, &request->attempt, request_owner(core, request), BATON_WRITE_PUT,
               transfer_key(leadership_of(election)->prefix), transfer_write(&transfer), core->session.id,
               record != NULL ? record->revision : 0);
    request->written = true;
}

/* Take it back, or clean up after it: nobody waits for the answer. */
static void transfer_over(struct core *core, struct request *request)
{
    struct attempt unwatched = {0};
    const struct view_record *record = leadership_of(request->contest)->roster.transfer_record;
    if (request->written && session_valid(core) && record != NULL && transfer_of(record) != NULL &&
        strcmp(transfer_of(record)->nonce, request->nonce) == 0)
        todo_write(core, &unwatched, TICKET_REQUEST, BATON_WRITE_REMOVE, mem_text(record->key), NULL, 0,
                   record->revision);
}

static enum baton_code transfer_in_vain(const struct request *request, const char **ret_words)
{
    bool asked = request->about != 0;
    *ret_words = asked ? "the leader has not handed over" : "no session could be opened";
    return asked ? BATON_TIMEOUT : BATON_UNAVAILABLE;
}

static const struct request_kind transfer_kind = {
    .needs_session = true, .step = transfer_step, .over = transfer_over, .in_vain = transfer_in_vain};

void core_transfer(struct core *core, struct contest *election, uint64_t request, const char *to_id, int64_t until_ms)
{
    request_add(core, election, &transfer_kind, request, to_id != NULL ? to_id : "", until_ms);
}
