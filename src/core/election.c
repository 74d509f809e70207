/* election.c: a candidacy comes and goes: its presence, its session, its resignation. What it does while it stands, to
 * lead and to stop leading, is in lead.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/state.h"

bool attempt_may(const struct core *core, const struct attempt *attempt)
{
    return attempt->ticket == 0 && core->now_ms >= attempt->retry_ms;
}

/* How long an answered write may take to show in the view before it is tried again. The compare-and-set makes a second
 * try harmless; the wait only keeps it rare. */
#define SHOW_STEPS 5
#define REFUSED_RETRY_MS 1000

void attempt_answered(struct core *core, struct attempt *attempt, const struct baton_reply *reply)
{
    attempt->ticket = 0;
    attempt->revision = 0;
    switch (reply->answer) {
    case BATON_ANSWER_DONE:
    case BATON_ANSWER_CONFLICT:
        attempt->revision = reply->revision;
        attempt->retry_ms = core->now_ms + (int64_t)SHOW_STEPS * core->options.step_ms;
        return;
    case BATON_ANSWER_UNKNOWN:
        attempt->unknown = true;
        attempt->retry_ms = core->now_ms + core->options.step_ms;
        return;
    case BATON_ANSWER_REFUSED:
        attempt->retry_ms = core->now_ms + REFUSED_RETRY_MS;
        if (reply->error.code == BATON_LOST)
            session_over(core, reply->error.text);
        else
            todo_tell(core, TELL_TROUBLE, NULL, "%s", reply->error.text)->code = reply->error.code;
        return;
    }
    IMPOSSIBLE("answer %d", (int)reply->answer);
}

void election_wake(struct core *core, struct election *election, int64_t at_ms)
{
    if (at_ms < election->wake_ms || election->timer == 0)
        timer_set(core, election, at_ms);
}

void attempt_wait(struct core *core, struct election *election, const struct attempt *attempt)
{
    if (attempt->ticket == 0)
        election_wake(core, election, attempt->retry_ms);
}

/* ---- the candidacy ends ---- */

static void forget_candidacy(struct election *election)
{
    election->cid[0] = '\0';
    election->presence_seen = false;
    election->presence = election->decision = (struct attempt){0};
    election->spent_term = 0;
    election->vacant = false;
    election->duplicate_told = false;
    election->stop_reason = NULL;
}

static void finish_resigning(struct core *core, struct election *election)
{
    election->standing = election->resigning = false;
    core->standing_count--;
    bool unsettled = election->presence.unknown || election->presence.ticket != 0;
    forget_candidacy(election);
    election->presence.unknown = unsettled;
    todo_tell(core, TELL_RESIGNED, election, "%s", "");
}

void election_resign(struct core *core, struct election *election)
{
    if (!election->standing || election->resigning)
        return;
    election->resigning = true;
    election_mark(core, election);
}

void election_session_over(struct core *core, struct election *election)
{
    election_mark(core, election);
    if (election->role == ROLE_LEADING)
        election_tell_stop(core, election, core->session.deadline_ms, "the session is over");
    /* A stop that was not answered stays one: the program is not told to lead again before it answers. */
    if (election->role == ROLE_STOPPED)
        election->role = ROLE_FOLLOWING;
    forget_candidacy(election);
}

void election_stopped(struct core *core, struct election *election)
{
    if (election->role != ROLE_STOPPING)
        return;
    todo_tell(core, TELL_FOLLOW, election, "%s", "")->term = election->term;
    bool same_candidacy = election->cid[0] != '\0' && session_valid(core);
    election->role = same_candidacy ? ROLE_STOPPED : ROLE_FOLLOWING;
    if (same_candidacy && election->term > election->spent_term)
        election->spent_term = election->term;
    /* It was late, but it came: the session may live, unless another stop is overdue. */
    if (core->session.condemned) {
        core->session.condemned = false;
        elections_mark_all(core);
    }
    election_mark(core, election);
}

/* ---- presence ---- */

static void remove_key(struct core *core, struct election *election, const struct view_record *record)
{
    if (attempt_may(core, &election->presence))
        todo_write(core, &election->presence, election->index, BATON_WRITE_REMOVE, mem_text(record->key), NULL, 0,
                   record->revision);
    attempt_wait(core, election, &election->presence);
}

/* Is it the presence of a candidacy of this client? It may observe an election that it also stands in. */
static bool is_candidacy(const struct core *core, const char *cid)
{
    for (size_t i = 0; i < core->election_count; i++)
        if (core->elections[i] != NULL && strcmp(core->elections[i]->cid, cid) == 0)
            return true;
    return false;
}

/* A presence of this session that is no candidacy's: its creation was answered late, or never, and the candidacy had
 * been given up. Nobody would act for it, so it must not stay. */
static void remove_ghost(struct core *core, struct election *election)
{
    for (size_t i = 0; i < election->view.count; i++) {
        const struct view_record *record = election->view.records[i];
        if (record->kind == KEY_CANDIDATE && record->session == core->session.id &&
            strcmp(record->cid, election->cid) != 0 && !is_candidacy(core, record->cid)) {
            remove_key(core, election, record);
            return;
        }
    }
}

static const struct view_record *own_presence(const struct election *election)
{
    if (election->cid[0] == '\0')
        return NULL;
    char *key = key_candidate(election->name, election->cid);
    const struct view_record *record = view_find(&election->view, key);
    free(key);
    return record;
}

static void write_presence(struct core *core, struct election *election)
{
    if (election->cid[0] == '\0') {
        if (rule(core, RULE_CID_IS_FRESH))
            snprintf(election->cid, sizeof(election->cid), "%llx-%u", (unsigned long long)core->session.id,
                     ++core->cid_count);
        else
            snprintf(election->cid, sizeof(election->cid), "%s", core->options.id);
    }
    struct candidate candidate = {
        .id = (char *)core->options.id,
        .address = (char *)core->options.address,
        .host = (char *)core->options.host,
        .priority = election->options.priority,
        .preempt = election->options.preempt,
        .since_wall_ms = core->wall_ms,
    };
    uint64_t session = rule(core, RULE_PRESENCE_IS_BOUND) ? core->session.id : 0;
    if (attempt_may(core, &election->presence))
        todo_write(core, &election->presence, election->index, BATON_WRITE_PUT,
                   key_candidate(election->name, election->cid), candidate_write(&candidate), session, 0);
    attempt_wait(core, election, &election->presence);
}

/* Withdraw: no presence of ours in the view, and none on its way. */
static void withdraw(struct core *core, struct election *election)
{
    const struct view_record *own = own_presence(election);
    if (own != NULL)
        remove_key(core, election, own);
    else if (election->presence.ticket == 0)
        finish_resigning(core, election);
}

/* Somebody removed our presence while the session is valid: others may already claim. Stop, and stand anew. */
static void presence_taken(struct core *core, struct election *election)
{
    if (election->role == ROLE_LEADING)
        election_tell_stop(core, election, core->now_ms, "the presence of this candidate was removed");
    if (election->role == ROLE_STOPPED)
        election->role = ROLE_FOLLOWING;
    forget_candidacy(election);
}

static void tell_duplicate(struct core *core, struct election *election)
{
    const struct view_record *elder = roster_elder(&election->roster, election->cid);
    if (elder != NULL && !election->duplicate_told)
        todo_tell(core, TELL_DUPLICATE, election,
                  "another live candidate of '%s' has the id '%s' (host %s): this one waits until it is gone",
                  election->name, core->options.id, elder->candidate->host);
    election->duplicate_told = elder != NULL;
}

/* The presence need not wait for the view, which is asked for at the same time: it says "I am here", whatever else
 * there is, and no claim is made before the view shows it. Once only; more depends on what the view says. */
static void before_view(struct core *core, struct election *election)
{
    if (election->cid[0] != '\0')
        return;
    if (election->resigning)
        finish_resigning(core, election);
    else if (election->role == ROLE_FOLLOWING)
        write_presence(core, election);
}

void election_step(struct core *core, struct election *election)
{
    if (!election->standing) {
        if (election->view.ready && election->name != NULL && session_valid(core))
            remove_ghost(core, election);
        return;
    }
    if (!session_valid(core)) {
        if (election->resigning && election->role != ROLE_STOPPING)
            finish_resigning(core, election);
        return;
    }
    if (!election->view.ready) {
        before_view(core, election);
        return;
    }
    remove_ghost(core, election);
    bool present = own_presence(election) != NULL;
    if (election->presence_seen && !present && !election->resigning)
        presence_taken(core, election);
    election->presence_seen = election->presence_seen || present;
    if (!present && !election->resigning && election->role == ROLE_FOLLOWING) {
        write_presence(core, election);
        if (rule(core, RULE_CLAIM_AFTER_PRESENCE))
            return;
    }
    tell_duplicate(core, election);
    election_lead(core, election);
    if (election->resigning && election->role == ROLE_FOLLOWING)
        withdraw(core, election);
    /* It has stopped, and there is nobody to be named: that it is gone may be known before the decision that says so.
     */
    if (election->resigning && election->role == ROLE_STOPPED &&
        roster_next(&election->roster, election->cid, "") == NULL && present)
        remove_key(core, election, own_presence(election));
}
