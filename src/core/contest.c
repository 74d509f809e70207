/* contest.c: a candidacy in an election, or an entry in the queue of a lock, comes and goes: its presence, its session,
 * its end. What it does while it is there is in lead.c for elections, in lock.c for locks.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/state.h"

void contest_wake(struct core *core, struct contest *contest, int64_t at_ms)
{
    if (at_ms < contest->wake_ms || contest->timer == 0)
        timer_set(core, contest, at_ms);
}

/* ---- the candidacy ends ---- */

void contest_forget_candidacy(struct contest *contest)
{
    contest->cid[0] = '\0';
    contest->presence_seen = false;
    contest->presence = (struct attempt){0};
    if (contest->kind == CONTEST_ELECTION)
        contest->decision = (struct attempt){0};
    contest->spent_term = 0;
    contest->vacant = false;
    contest->duplicate_told = false;
    contest->unreadable_told = false;
    contest->stop_reason = NULL;
    contest->latch = NULL;
}

void contest_end(struct core *core, struct contest *contest, enum baton_code code, const char *format, ...)
{
    va_list args;
    /* (Who gives up a task that it works at is told what becomes of it.) */
    if (contest->resigning && (contest->kind != CONTEST_TASK || contest->end_text != NULL))
        return;
    contest->resigning = true;
    contest->end_code = code;
    free(contest->end_text);
    char text[BATON_ERROR_TEXT];
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    contest->end_text = mem_text(text);
    /* A lock that will not be had is told at once, as a task's outcome is: what is left of the entry, which may need an
     * engine that is away, is nobody's concern. */
    if (contest->kind == CONTEST_TASK || (contest->kind == CONTEST_LOCK && code != BATON_OK && code != BATON_LOST))
        todo_tell(core, TELL_OUTCOME, contest, "%s", text)->code = code;
    contest_mark(core, contest);
}

static void finish_resigning(struct core *core, struct contest *contest)
{
    contest->standing = contest->resigning = false;
    if (!contest->task.looking)
        core->standing_count--;
    contest->task.looking = false;
    if (contest->kind == CONTEST_TASK && contest->end_text == NULL)
        todo_tell(core, TELL_OUTCOME, contest, "the task '%s' was given up", contest->name)->code = BATON_CLOSED;
    bool unsettled = contest->presence.unknown || contest->presence.ticket != 0;
    contest_forget_candidacy(contest);
    contest->presence.unknown = unsettled;
    if (!contest->kept && contest->parked_ms == 0) /* else it knows, or there is nobody */
        todo_tell(core, TELL_RESIGNED, contest, "%s", contest->end_text != NULL ? contest->end_text : "")->code =
            contest->end_code;
    contest->kept = false;
    contest->end_code = BATON_OK;
    free(contest->end_text);
    contest->end_text = NULL;
}

void contest_resign(struct core *core, struct contest *contest)
{
    if (!contest->standing || contest->resigning)
        return;
    if (contest->kept)
        keep_end(core, contest);
    contest->resigning = true;
    contest_mark(core, contest);
}

/* Others may lead already: the rest of a stop under way is not granted any more, either. */
static void stop_at_once(struct core *core, struct contest *contest, const char *why)
{
    if (contest->role == ROLE_LEADING || (contest->role == ROLE_STOPPING && core->now_ms < contest->stop_until_ms))
        contest_tell_stop(core, contest, core->now_ms, why);
}

void contest_session_over(struct core *core, struct contest *contest)
{
    contest_mark(core, contest);
    if (contest->kept)
        keep_end(core, contest);
    /* A lock that was held is lost for good: whoever wants it again stands in the queue again. */
    if (contest->kind == CONTEST_LOCK && contest->role != ROLE_FOLLOWING)
        contest_end(core, contest, BATON_LOST, "the session is over");
    if (contest->kind == CONTEST_TASK)
        task_abandon(contest);
    stop_at_once(core, contest, "the session is over");
    /* A stop that was not answered stays one: the program is not told to lead again before it answers. */
    if (contest->role == ROLE_STOPPED && !contest->task.ended)
        contest->role = ROLE_FOLLOWING;
    contest_forget_candidacy(contest);
}

/* The session may live, unless another stop is overdue. */
static void pardon(struct core *core)
{
    if (!core->session.condemned)
        return;
    core->session.condemned = false;
    contests_mark_all(core);
}

/* It may have been late, but it came. */
void contest_answered_stop(struct core *core, struct contest *contest)
{
    uint64_t left = contest->left_session;
    contest->left_session = 0;
    if (left != 0)
        session_leave(core, left);
    pardon(core);
}

void contest_stopped(struct core *core, struct contest *contest)
{
    if (contest->kind == CONTEST_TASK)
        task_stopped(core, contest);
    if (contest->role != ROLE_STOPPING)
        return;
    todo_tell(core, TELL_FOLLOW, contest, "%s", "")->term = contest->term;
    bool same_candidacy = contest->cid[0] != '\0' && session_valid(core);
    contest->role = same_candidacy ? ROLE_STOPPED : ROLE_FOLLOWING;
    if (same_candidacy && contest->term > contest->spent_term)
        contest->spent_term = contest->term;
    contest_answered_stop(core, contest);
    contest_mark(core, contest);
}

/* ---- stop ---- */

bool contest_fading(const struct core *core, const struct contest *contest)
{
    return core->now_ms + contest->options.stop_ms >= core->session.deadline_ms;
}

void contest_tell_stop(struct core *core, struct contest *contest, int64_t until_ms, const char *why)
{
    if (until_ms > core->session.deadline_ms)
        until_ms = core->session.deadline_ms;
    struct action *tell = todo_tell(core, TELL_STOP, contest, "%s", why);
    tell->term = contest->term;
    tell->until_ms = until_ms;
    contest->role = ROLE_STOPPING;
    contest->stop_until_ms = until_ms;
    contest->spent_term = contest->term;
    if (contest->options.stop_ms == 0)
        contest_stopped(core, contest); /* it asks before each use: it has stopped already */
}

bool core_stop_takes(struct core *core, struct contest *contest, int64_t until_ms)
{
    bool place_is_gone = contest->cid[0] == '\0';
    if (contest->role != ROLE_STOPPING || place_is_gone || !rule(core, RULE_STOP_MAY_TAKE_LONGER))
        return false;
    if (until_ms <= contest->stop_until_ms)
        return true;
    contest->stop_until_ms = until_ms;
    pardon(core);
    contest_mark(core, contest);
    return true;
}

void contest_wait_for_stopped(struct core *core, struct contest *contest)
{
    if (contest->cid[0] == '\0')
        return; /* it stops what it did in a session that is over: nothing of this session waits for that */
    /* A program that has asked for more time than the session may last has to know by when it must be over. */
    int64_t deadline_ms = core->session.deadline_ms;
    if (contest->stop_until_ms > deadline_ms && contest_fading(core, contest) && contest->faded_ms != deadline_ms) {
        contest->faded_ms = deadline_ms; /* once: it may answer that it takes longer nevertheless */
        contest_tell_stop(core, contest, deadline_ms, "the session could not be renewed in time");
    }
    if (core->now_ms < contest->stop_until_ms) {
        contest_wake(core, contest, contest->stop_until_ms);
        return;
    }
    /* Who does not answer in time loses the session, not the promise: it is not renewed, so the place passes on when
     * the engine ends it, which is after the deadline that the program was given at the latest. */
    if (rule(core, RULE_STOP_HAS_AN_END))
        session_condemn(core);
}

/* ---- presence ---- */

static void remove_key(struct core *core, struct contest *contest, struct attempt *attempt,
                       const struct view_record *record)
{
    if (attempt_may(core, attempt))
        todo_write(core, attempt, write_owner(contest, WRITE_PRESENCE), BATON_WRITE_REMOVE, mem_text(record->key), NULL,
                   0, record->revision)
            ->write.latched = contest->kind == CONTEST_LOCK;
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

static char *key_presence(const struct contest *contest)
{
    switch (contest->kind) {
    case CONTEST_ELECTION:
        return key_candidate(contest->name, contest->cid);
    case CONTEST_LOCK:
        return key_entry(contest->name, contest->cid);
    case CONTEST_TASK:
        return key_worker(contest->name, contest->cid);
    }
    IMPOSSIBLE("contest %d", (int)contest->kind);
}

const struct view_record *contest_presence(const struct contest *contest)
{
    if (contest->cid[0] == '\0')
        return NULL;
    char *key = key_presence(contest);
    const struct view_record *record = view_find(&contest->view, key);
    free(key);
    return record;
}

static char *presence_value(const struct core *core, const struct contest *contest)
{
    if (contest->kind != CONTEST_ELECTION)
        return entry_write(&(struct lock_entry){.id = (char *)core->options.id,
                                                .host = (char *)core->options.host,
                                                .slots = contest->queue.slots,
                                                .since_wall_ms = core->wall_ms});
    return candidate_write(&(struct candidate){
        .id = (char *)core->options.id,
        .address = (char *)core->options.address,
        .host = (char *)core->options.host,
        .priority = contest->options.priority,
        .preempt = contest->options.preempt,
        .since_wall_ms = core->wall_ms,
    });
}

static void write_presence(struct core *core, struct contest *contest)
{
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
                   key_presence(contest), presence_value(core, contest), session, 0)
            ->write.latched = contest->kind == CONTEST_LOCK;
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
    if (contest->kind == CONTEST_TASK) {
        task_abandon(contest);
        if (contest->task.ended)
            return; /* task_look goes on */
    }
    const struct view_record *own = contest_presence(contest);
    if (own != NULL && contest->kind == CONTEST_ELECTION && core->now_ms < contest->leave_ms)
        contest_wake(core, contest, contest->leave_ms);
    else if (own != NULL)
        remove_key(core, contest, &contest->presence, own);
    else if (contest->presence.ticket == 0)
        finish_resigning(core, contest);
}

/* Somebody removed our presence while the session is valid: others may already claim. Stop, and stand anew. */
static void presence_taken(struct core *core, struct contest *contest)
{
    if (contest->kind == CONTEST_LOCK && contest->role != ROLE_FOLLOWING)
        contest_end(core, contest, BATON_LOST, "somebody removed this entry");
    if (contest->kind == CONTEST_TASK)
        task_abandon(contest);
    stop_at_once(core, contest, "somebody removed the presence of this instance");
    if (contest->role == ROLE_STOPPED && !contest->task.ended)
        contest->role = ROLE_FOLLOWING;
    contest_forget_candidacy(contest);
}

/* The presence need not wait for the view, which is asked for at the same time: it says "I am here", whatever else
 * there is, and no claim is made before the view shows it. Once only; more depends on what the view says. */
static void before_view(struct core *core, struct contest *contest)
{
    if (contest->cid[0] != '\0')
        return;
    if (contest->resigning)
        finish_resigning(core, contest);
    else if (contest->role == ROLE_FOLLOWING && contest->kind != CONTEST_TASK)
        write_presence(core, contest);
}

/* The session wakes everybody when the one that needs the longest to stop must be told; whoever needs less waits on. */
static void wait_for_fading(struct core *core, struct contest *contest)
{
    int64_t fade_ms = core->session.deadline_ms - contest->options.stop_ms;
    if ((contest->role == ROLE_LEADING || contest->role == ROLE_STOPPING) && core->now_ms < fade_ms &&
        core->now_ms + core->stop_max_ms >= core->session.deadline_ms)
        contest_wake(core, contest, fade_ms);
}

/* A record that cannot be read may be why nobody goes ahead: who stands is told, as status tells whoever asks. */
static void tell_unreadable(struct core *core, struct contest *contest)
{
    const struct order *order =
        contest->kind == CONTEST_ELECTION ? &contest->roster.order : &contest->queue.entries.order;
    if (order->trouble != NULL && !contest->unreadable_told)
        todo_tell(core, TELL_TROUBLE, contest, "%s", order->trouble->text)->code = order->trouble->code;
    contest->unreadable_told = order->trouble != NULL;
}

/* What its kind does while it is there. `present`: its presence is in the view. */
static void act(struct core *core, struct contest *contest, bool present)
{
    switch (contest->kind) {
    case CONTEST_ELECTION:
        election_lead(core, contest);
        break;
    case CONTEST_LOCK:
        lock_step(core, contest);
        break;
    case CONTEST_TASK:
        task_step(core, contest);
        break;
    }
    if (contest->resigning && contest->role == ROLE_FOLLOWING)
        withdraw(core, contest);
    else if (contest->resigning && present && contest->kind == CONTEST_ELECTION && election_leaves_early(contest))
        contest_remove_presence(core, contest);
}

/* There are more records than a view can show: nothing is judged by them, so who leads leads on. But time goes on, and
 * who wants to go can; its presence goes with the session. */
static void blind_step(struct core *core, struct contest *contest)
{
    bool resigns = contest->resigning;
    static const char *const late = "the session could not be renewed in time";
    wait_for_fading(core, contest);
    if (contest->role == ROLE_LEADING && (resigns || contest_fading(core, contest))) {
        if (!resigns && contest->kind == CONTEST_LOCK)
            contest_end(core, contest, BATON_LOST, "%s", late);
        contest_tell_stop(core, contest, core->now_ms + contest->options.stop_ms, resigns ? "it resigns" : late);
    }
    if (contest->role == ROLE_STOPPING) {
        contest_wait_for_stopped(core, contest);
    } else if (contest->resigning && contest->presence.ticket == 0 && !contest->task.ended) {
        contest->role = ROLE_FOLLOWING;
        finish_resigning(core, contest);
    }
}

void contest_step(struct core *core, struct contest *contest)
{
    if (!contest->standing) {
        if (contest->view.ready && contest->name != NULL && session_valid(core))
            remove_ghost(core, contest);
        return;
    }
    if (contest->kept) {
        keep_step(core, contest);
        if (!contest->resigning)
            return;
    }
    if (contest->kind == CONTEST_LOCK)
        lock_check_wait(core, contest);
    if (contest->kind == CONTEST_TASK)
        task_look(core, contest);
    if (!session_valid(core)) {
        if (contest->resigning && contest->role != ROLE_STOPPING && !contest->task.ended)
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
        presence_taken(core, contest);
    contest->presence_seen = contest->presence_seen || present;
    if (!present && !contest->resigning && contest->role == ROLE_FOLLOWING) {
        write_presence(core, contest);
        if (contest->kind == CONTEST_TASK ||
            rule(core, contest->kind == CONTEST_LOCK ? RULE_HOLD_BY_VIEW : RULE_CLAIM_AFTER_PRESENCE))
            return;
    }
    tell_unreadable(core, contest);
    act(core, contest, present);
}
