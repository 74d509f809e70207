/* contest.c: a candidacy in an election, or an entry in the queue of a lock, comes and goes: its presence, its session,
 * its end. What it does while it is there is its protocol's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/state.h"

/* ---- the candidacy begins, and ends ---- */

int core_stand(struct core *core, struct contest *contest, const struct stand_options *options, struct baton_error *err)
{
    if (contest->name == NULL)
        return error_set(err, BATON_INVALID, "cannot stand in every contest at once");
    if (contest->standing)
        return error_set(err, BATON_CONFLICT, "this client already stands in the contest '%s'", contest->name);
    assert(contest->cid[0] == '\0' && !contest->released);
    contest->standing = true;
    contest->resigning = false;
    contest->options = *options;
    for (uint32_t part = 0; part < contest->tenure_count; part++)
        contest->tenure[part].stop_ms = options->stop_ms;
    core->standing_count++;
    if (options->stop_ms > core->stop_max_ms)
        core->stop_max_ms = options->stop_ms;
    contest_mark(core, contest);
    return 0;
}

void contest_forget_candidacy(struct contest *contest)
{
    contest->cid[0] = '\0';
    contest->presence_seen = false;
    contest->presence = (struct attempt){0};
    if (contest->protocol->forget_candidacy != NULL)
        contest->protocol->forget_candidacy(contest);
    for (uint32_t part = 0; part < contest->tenure_count; part++)
        contest->tenure[part].spent = 0;
    contest->unreadable_told = false;
}

void contest_end(struct core *core, struct contest *contest, enum baton_code code, const char *format, ...)
{
    va_list args;
    assert(contest->standing);
    if (contest->resigning && (!contest->protocol->ends_late || contest->end_text != NULL))
        return;
    contest->resigning = true;
    contest->end_code = code;
    free(contest->end_text);
    char text[BATON_ERROR_TEXT];
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    contest->end_text = mem_text(text);
    if (contest->protocol->tells_outcome != NULL && contest->protocol->tells_outcome(code))
        todo_tell(core, TELL_OUTCOME, contest, "%s", text)->code = code;
    contest_mark(core, contest);
}

static void finish_resigning(struct core *core, struct contest *contest)
{
    assert(contest->standing && contest->resigning && (contest->looking || core->standing_count > 0));
    contest->standing = contest->resigning = false;
    if (!contest->looking)
        core->standing_count--;
    contest->looking = false;
    if (contest->protocol->over != NULL)
        contest->protocol->over(core, contest);
    bool unsettled = contest->presence.unknown || contest->presence.ticket != 0;
    contest_forget_candidacy(contest);
    contest->presence.unknown = unsettled;
    if (!contest->released && contest->parked_ms == 0) /* else it knows, or there is nobody */
        todo_tell(core, TELL_RESIGNED, contest, "%s", contest->end_text != NULL ? contest->end_text : "")->code =
            contest->end_code;
    contest->released = false;
    contest->end_code = BATON_OK;
    free(contest->end_text);
    contest->end_text = NULL;
}

void contest_resign(struct core *core, struct contest *contest)
{
    if (!contest->standing || contest->resigning)
        return;
    if (contest->protocol->resign != NULL)
        contest->protocol->resign(core, contest);
    contest->resigning = true;
    contest_mark(core, contest);
}

static bool is_busy(const struct contest *contest)
{
    return contest->protocol->is_busy != NULL && contest->protocol->is_busy(contest);
}

/* The place, or the session, is gone: nothing of it is had any more. A stop that was not answered stays one: the
 * program is not told to lead again before it answers. */
static void lose_tenures(struct core *core, struct contest *contest, const char *why)
{
    for (uint32_t part = 0; part < contest->tenure_count; part++) {
        struct tenure *tenure = contest_tenure(contest, part);
        tenure_lost(core, contest, tenure, why);
        if (tenure->state == TENURE_STOPPED && !is_busy(contest))
            tenure_move(tenure, TENURE_NONE);
    }
}

/* Are all of them in this state? */
static bool tenures_are(const struct contest *contest, enum tenure_state state)
{
    for (uint32_t part = 0; part < contest->tenure_count; part++)
        if (contest->tenure[part].state != state)
            return false;
    return true;
}

static bool tenure_is_any(const struct contest *contest, enum tenure_state state)
{
    for (uint32_t part = 0; part < contest->tenure_count; part++)
        if (contest->tenure[part].state == state)
            return true;
    return false;
}

static void wait_for_fading(struct core *core, struct contest *contest)
{
    for (uint32_t part = 0; part < contest->tenure_count; part++)
        tenure_wait_for_fading(core, contest, &contest->tenure[part]);
}

/* (Its presence may still be there, as long as the view shows it.) */
static void lose(struct core *core, struct contest *contest, enum loss loss)
{
    if (contest->protocol->lost != NULL)
        contest->protocol->lost(core, contest, loss);
    lose_tenures(core, contest,
                 loss == LOSS_OF_SESSION ? "the session is over" : "somebody removed the presence of this instance");
    contest_forget_candidacy(contest);
}

void contest_session_over(struct core *core, struct contest *contest)
{
    contest_mark(core, contest);
    lose(core, contest, LOSS_OF_SESSION);
}

/* ---- presence ---- */

static void remove_key(struct core *core, struct contest *contest, struct attempt *attempt,
                       const struct view_record *record)
{
    assert(record->cid != NULL);
    if (attempt_may(core, attempt))
        todo_write(core, attempt, write_owner(contest, WRITE_PRESENCE), BATON_WRITE_REMOVE, mem_text(record->key), NULL,
                   0, record->revision)
            ->write.latched = contest->protocol->latched;
    attempt_wait(core, contest, attempt);
}

/* Is it the presence of a candidacy of this client? It may observe a contest that it also stands in. */
static bool is_candidacy(const struct core *core, const char *cid)
{
    for (size_t i = 0; i < core->contest_count; i++)
        if (core->contests[i] != NULL && strcmp(core->contests[i]->cid, cid) == 0)
            return true;
    return false;
}

/* A presence of this session that is no candidacy's: its creation was answered late, or never, and the candidacy had
 * been given up; or it was given up for another one. Nobody would act for it, so it must not stay. */
static const struct view_record *find_ghost(const struct core *core, const struct contest *contest)
{
    for (size_t i = 0; rule(core, RULE_GHOST_IS_REMOVED) && i < contest->view.count; i++) {
        const struct view_record *record = contest->view.records[i];
        if (record->cid != NULL && record->session == core->session.id && strcmp(record->cid, contest->cid) != 0 &&
            !is_candidacy(core, record->cid))
            return record;
    }
    return NULL;
}

static void remove_ghost(struct core *core, struct contest *contest)
{
    const struct view_record *ghost = find_ghost(core, contest);
    if (ghost != NULL)
        remove_key(core, contest, &contest->removal, ghost);
}

bool contest_is_haunted(const struct core *core, const struct contest *contest)
{
    return contest->presence.ticket != 0 || contest->presence.unknown || contest->removal.ticket != 0 ||
           (contest->name != NULL && find_ghost(core, contest) != NULL);
}

const struct view_record *contest_presence(const struct contest *contest)
{
    if (contest->cid[0] == '\0')
        return NULL;
    char *key = contest->protocol->presence_key(contest);
    const struct view_record *record = view_find(&contest->view, key);
    free(key);
    return record;
}

static void write_presence(struct core *core, struct contest *contest)
{
    assert(session_valid(core) && contest->standing && !contest->resigning);
    if (contest->cid[0] == '\0') {
        if (rule(core, RULE_CID_IS_FRESH))
            snprintf(contest->cid, sizeof(contest->cid), "%llx-%u", (unsigned long long)core->session.id,
                     ++core->cid_count);
        else
            snprintf(contest->cid, sizeof(contest->cid), "%s", core->options.id);
    }
    uint64_t session = rule(core, RULE_PRESENCE_IS_BOUND) ? core->session.id : 0;
    if (attempt_may(core, &contest->presence))
        todo_write(core, &contest->presence, write_owner(contest, WRITE_PRESENCE), BATON_WRITE_PUT,
                   contest->protocol->presence_key(contest), contest->protocol->presence_value(core, contest), session,
                   0)
            ->write.latched = contest->protocol->latched;
    attempt_wait(core, contest, &contest->presence);
}

void contest_remove_presence(struct core *core, struct contest *contest)
{
    const struct view_record *own = contest_presence(contest);
    if (own != NULL)
        remove_key(core, contest, &contest->presence, own);
}

/* Withdraw: no presence of ours in the view, and none on its way. */
static void withdraw(struct core *core, struct contest *contest)
{
    if (contest->protocol->may_leave != NULL && !contest->protocol->may_leave(core, contest))
        return;
    const struct view_record *own = contest_presence(contest);
    if (own != NULL)
        remove_key(core, contest, &contest->presence, own);
    else if (contest->presence.ticket == 0)
        finish_resigning(core, contest);
}

/* The presence need not wait for the view, which is asked for at the same time: it says "I am here", whatever else
 * there is, and no claim is made before the view shows it. Once only; more depends on what the view says. */
static void before_view(struct core *core, struct contest *contest)
{
    if (contest->cid[0] != '\0')
        return;
    if (contest->resigning)
        finish_resigning(core, contest);
    else if (tenures_are(contest, TENURE_NONE) && contest->protocol->stands_early)
        write_presence(core, contest);
}

/* A record that cannot be read may be why nobody goes ahead: who stands is told, as status tells whoever asks. */
static void tell_unreadable(struct core *core, struct contest *contest)
{
    const struct baton_error *trouble = contest->protocol->trouble(contest);
    if (trouble != NULL && !contest->unreadable_told)
        todo_tell(core, TELL_TROUBLE, contest, "%s", trouble->text)->code = trouble->code;
    contest->unreadable_told = trouble != NULL;
}

/* There are more records than a view can show: nothing is judged by them, so who leads leads on. But time goes on, and
 * who wants to go can; its presence goes with the session. */
static void blind_step(struct core *core, struct contest *contest)
{
    bool resigns = contest->resigning;
    static const char *const late = "the session could not be renewed in time";
    wait_for_fading(core, contest);
    for (uint32_t part = 0; part < contest->tenure_count; part++) {
        struct tenure *tenure = contest_tenure(contest, part);
        if (tenure->state == TENURE_HAD && (resigns || tenure_fading(core, tenure))) {
            if (!resigns && contest->protocol->lost != NULL)
                contest->protocol->lost(core, contest, LOSS_BY_TIME);
            tenure_stop(core, contest, tenure, core->now_ms + tenure->stop_ms, resigns ? "it resigns" : late);
        }
        if (tenure->state == TENURE_STOPPING)
            tenure_wait(core, contest, tenure);
    }
    if (contest->resigning && !tenure_is_any(contest, TENURE_STOPPING) && contest->presence.ticket == 0 &&
        !is_busy(contest)) {
        for (uint32_t part = 0; part < contest->tenure_count; part++)
            if (contest->tenure[part].state != TENURE_NONE)
                tenure_move(&contest->tenure[part], TENURE_NONE);
        finish_resigning(core, contest);
    }
}

void contest_step(struct core *core, struct contest *contest)
{
    assert(core->todo != NULL && (contest->standing || !contest->resigning));
    if (!contest->standing) {
        if (contest->view.ready && contest->name != NULL && session_valid(core))
            remove_ghost(core, contest);
        return;
    }
    const struct protocol *protocol = contest->protocol;
    if (protocol->look != NULL && !protocol->look(core, contest))
        return;
    if (!session_valid(core)) {
        if (contest->resigning && !tenure_is_any(contest, TENURE_STOPPING) && !is_busy(contest))
            finish_resigning(core, contest);
        return;
    }
    if (!contest->view.ready) {
        if (contest->view.overflown && contest->cid[0] != '\0')
            blind_step(core, contest);
        else
            before_view(core, contest);
        return;
    }
    remove_ghost(core, contest);
    wait_for_fading(core, contest);
    bool present = contest_presence(contest) != NULL;
    if (contest->presence_seen && !present && !contest->resigning)
        lose(core, contest, LOSS_OF_PRESENCE); /* while the session is valid: others may already claim; stand anew */
    contest->presence_seen = contest->presence_seen || present;
    if (!present && !contest->resigning && tenures_are(contest, TENURE_NONE)) {
        write_presence(core, contest);
        if (rule(core, protocol->seen_first))
            return;
    }
    tell_unreadable(core, contest);
    protocol->act(core, contest, present);
    if (contest->resigning && tenures_are(contest, TENURE_NONE))
        withdraw(core, contest);
}
