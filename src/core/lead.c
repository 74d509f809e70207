/* lead.c: a candidate with a valid session and its presence in the view: it claims, leads, stops, and hands over.
 *
 * What carries the safety is named in rules.h. In short: the one the decision names leads, while its session is valid;
 * a place is claimed only when the same view shows that the one named is gone; every decision is a compare-and-set on
 * the one before; a leader stops first and writes afterwards, and never uses a term again once it was told to stop.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/state.h"

enum { ELECTION_DECISION = WRITE_FIRST };

static bool names_us(const struct contest *election)
{
    const struct decision *decision = election->roster.decision;
    return decision != NULL && election->cid[0] != '\0' && strcmp(decision->cid, election->cid) == 0;
}

/* ---- stop ---- */

/* Has the one that asks for the place just resigned from it? Its presence is still there, since it goes last; what it
 * stands with anew is younger than this term. */
static bool is_leaving(const struct roster *roster, const struct view_record *candidate)
{
    const struct decision *decision = roster->decision;
    return decision->term_count > 1 && strcmp(decision->terms[0].reason, "resign") == 0 &&
           strcmp(decision->terms[1].id, candidate_of(candidate)->id) == 0 &&
           candidate->created < roster->leader_record->revision;
}

/* Why a leader should stop now: a word for the history, and words for people. NULL: go on. */
static const char *reason_to_stop(const struct core *core, struct contest *election, const char **ret_words)
{
    const struct roster *roster = &election->roster;
    election->transfer_to[0] = '\0';
    if (!names_us(election)) {
        *ret_words = "the decision no longer names this candidate";
        return "lost";
    }
    if (roster->decision->term != election->tenure->number) {
        *ret_words = "the decision has another term";
        return "lost";
    }
    if (election->resigning) {
        *ret_words = "it resigns";
        return "resign";
    }
    if (roster->hold_record != NULL) {
        *ret_words = "the election is on hold";
        return "hold";
    }
    const struct view_record *asked = roster->transfer_record;
    if (asked != NULL && transfer_of(asked) != NULL && transfer_of(asked)->term == election->tenure->number &&
        roster_next(roster, election->cid, transfer_of(asked)->to) != NULL) {
        text_copy(election->transfer_to, sizeof(election->transfer_to), transfer_of(asked)->to);
        *ret_words = "a transfer was asked for";
        return "transfer";
    }
    const struct view_record *above = roster_preempting(roster, election->cid, election->options.priority);
    if (above != NULL && !is_leaving(roster, above)) {
        text_copy(election->transfer_to, sizeof(election->transfer_to), candidate_of(above)->id);
        *ret_words = "a candidate of higher priority preempts";
        return "preempt";
    }
    if (tenure_fading(core, election->tenure)) {
        *ret_words = "the session could not be renewed in time";
        return "handover";
    }
    return NULL;
}

static void lead(struct core *core, struct contest *election)
{
    const char *words;
    const char *reason = reason_to_stop(core, election, &words);
    if (reason == NULL)
        return;
    election->stop_reason = reason;
    int64_t until_ms = core->now_ms + election->tenure->stop_ms;
    if (strcmp(reason, "lost") == 0)
        until_ms = core->now_ms;
    tenure_stop(core, election, election->tenure, until_ms, words);
}

/* ---- handover ---- */

/* Simulation, with RULE_HANDOVER_TO_PRESENT broken: the candidacy that will follow the one in the view. */
static void predict_cid(char *cid, size_t size)
{
    char *dash = strrchr(cid, '-');
    unsigned number = dash != NULL ? (unsigned)strtoul(dash + 1, NULL, 10) + 1 : 1;
    char base[CID_MAX_BYTES];
    text_copy(base, sizeof(base), cid);
    if (dash != NULL)
        base[dash - cid] = '\0';
    snprintf(cid, size, "%.100s-%u", base, number);
}

/* Decisions may be lost with the power (baton_write.may_be_lost), and each has cost a revision. If so, this view is far
 * ahead of the decision that is left, by more than were lost; and so is the next term ahead of the one that is left.
 * (It is, too, when so much else was written since that decision, which does no harm.) */
static uint64_t term_step(const struct core *core, const struct contest *election)
{
    uint64_t ahead = election->view.revision - election->roster.leader_record->revision;
    return ahead >= BATON_REVISION_LEAP && rule(core, RULE_TERM_LEAPS) ? ahead : 1;
}

static uint64_t term_after(const struct core *core, const struct contest *election)
{
    const struct decision *decision = election->roster.decision;
    uint64_t step = term_step(core, election);
    if (decision->term > 0)
        return rule(core, RULE_TERM_GROWS) ? decision->term + step : decision->term;
    if (!rule(core, RULE_FIRST_TERM_FROM_REVISION))
        return 1;
    /* Each term costs a revision, so every term of a decision that was deleted is below this one. */
    return election->roster.leader_record->revision + step;
}

/* Where there is no decision, the first one names nobody and has no term: "must not exist" is true again after a
 * deletion, so a claim made from a view that old would bring an old term back. A claim on top of a record that exists
 * cannot: its revision is never seen twice. */
static void begin_decision(struct core *core, struct contest *election)
{
    todo_write(core, &election->decision, write_owner(election, ELECTION_DECISION), BATON_WRITE_PUT,
               key_leader(election->name), decision_next(NULL, "", "", 0, "", core->wall_ms), 0,
               rule(core, RULE_FIRST_CLAIM_COMPARES) ? 0 : BATON_REVISION_ANY)
        ->write.may_be_lost = true;
}

/* One decision, on top of the one that the view shows. */
static void decide(struct core *core, struct contest *election, const char *cid, const char *id, const char *reason,
                   bool compare)
{
    const struct view_record *before = election->roster.leader_record;
    uint64_t term = term_after(core, election);
    if (term > TERM_MAX) {
        todo_tell(core, TELL_TROUBLE, election, "%s has the last possible term: no decision can follow it", before->key)
            ->code = BATON_FULL;
        election->decision.retry_ms = NEVER_MS;
        return;
    }
    todo_write(core, &election->decision, write_owner(election, ELECTION_DECISION), BATON_WRITE_PUT,
               key_leader(election->name), decision_next(before->value, cid, id, term, reason, core->wall_ms), 0,
               compare ? before->revision : BATON_REVISION_ANY)
        ->write.may_be_lost = true;
}

bool election_testament(const struct core *core, const struct contest *election, struct baton_write *ret)
{
    const struct roster *roster = &election->roster;
    if (election->tenure->state == TENURE_NONE || !names_us(election) || roster->hold_record != NULL)
        return false;
    bool stops = election->tenure->state != TENURE_HAD && election->stop_reason != NULL;
    const char *reason = stops ? election->stop_reason : "death";
    const struct view_record *before = roster->leader_record;
    const struct view_record *next = roster_next(roster, election->cid, stops ? election->transfer_to : "");
    uint64_t term = term_after(core, election);
    if (next == NULL || term > TERM_MAX)
        return false;
    char cid[CID_MAX_BYTES];
    text_copy(cid, sizeof(cid), next->cid);
    if (!rule(core, RULE_HANDOVER_TO_PRESENT))
        predict_cid(cid, sizeof(cid));
    *ret = (struct baton_write){
        .kind = BATON_WRITE_PUT,
        .key = key_leader(election->name),
        .value = decision_next(before->value, cid, candidate_of(next)->id, term, reason, core->wall_ms),
        .if_revision = rule(core, RULE_HANDOVER_COMPARES) ? before->revision : BATON_REVISION_ANY,
        .may_be_lost = true,
    };
    return true;
}

static void hand_over(struct core *core, struct contest *election)
{
    if (!rule(core, RULE_STOP_IS_FINAL) && election->decision.unknown) {
        election->decision.unknown = false;
        tenure_begin(core, election, election->tenure, election->tenure->number);
        return;
    }
    if (!attempt_may(core, &election->decision)) {
        attempt_wait(core, election, &election->decision);
        return;
    }
    bool held = election->roster.hold_record != NULL;
    const struct view_record *next = held ? NULL : roster_next(&election->roster, election->cid, election->transfer_to);
    const char *reason = election->stop_reason != NULL ? election->stop_reason : "handover";
    bool compare = rule(core, RULE_HANDOVER_COMPARES);
    if (next == NULL) {
        decide(core, election, "", "", reason, compare);
        return;
    }
    char cid[CID_MAX_BYTES];
    text_copy(cid, sizeof(cid), next->cid);
    if (!rule(core, RULE_HANDOVER_TO_PRESENT))
        predict_cid(cid, sizeof(cid));
    decide(core, election, cid, candidate_of(next)->id, reason, compare);
}

/* ---- follow: begin to lead, or claim ---- */

static bool may_lead(const struct core *core, const struct contest *election)
{
    return !election->resigning && election->roster.hold_record == NULL && !tenure_fading(core, election->tenure) &&
           roster_elder(&election->roster, election->cid) == NULL;
}

static void named(struct core *core, struct contest *election)
{
    uint64_t term = election->roster.decision->term;
    if (!may_lead(core, election) || term <= election->tenure->spent) {
        if (election->roster.hold_record != NULL || election->resigning || term <= election->tenure->spent ||
            roster_elder(&election->roster, election->cid) != NULL) {
            /* Named, but it must not lead: pass on without having led. */
            election->tenure->spent = term;
            election->stop_reason = election->resigning ? "resign" : "handover";
            election->transfer_to[0] = '\0';
            tenure_move(election->tenure, TENURE_STOPPED);
            hand_over(core, election);
        } /* else the session fades: wait for its renewal, or its end */
        return;
    }
    tenure_begin(core, election, election->tenure, term);
    lead(core, election);
}

static void claim(struct core *core, struct contest *election)
{
    const struct roster *roster = &election->roster;
    bool vacant = roster_vacant(roster);
    if (!rule(core, RULE_CLAIM_ON_ABSENCE))
        vacant = vacant || (roster->decision != NULL && !names_us(election));
    if (!vacant || !may_lead(core, election)) {
        election->vacant = false;
        return;
    }
    uint64_t revision = roster->leader_record != NULL ? roster->leader_record->revision : 0;
    if (!election->vacant || election->vacant_revision != revision) {
        election->vacant = true;
        election->vacant_revision = revision;
        election->vacant_since_ms = core->now_ms;
    }
    /* Everybody sees the same order: the first claims at once, the others only if nothing comes of it. */
    size_t place = roster_place(roster, election->cid);
    int64_t claim_ms = election->vacant_since_ms + (int64_t)place * core->options.step_ms;
    if (core->now_ms < claim_ms) {
        contest_wake(core, election, claim_ms);
        return;
    }
    if (!attempt_may(core, &election->decision)) {
        attempt_wait(core, election, &election->decision);
        return;
    }
    if (roster->leader_record == NULL)
        begin_decision(core, election);
    else
        decide(core, election, election->cid, core->options.id, "claim", rule(core, RULE_CLAIM_COMPARES));
}

static void tell_duplicate(struct core *core, struct contest *election)
{
    const struct view_record *elder = roster_elder(&election->roster, election->cid);
    if (elder != NULL && !election->duplicate_told)
        todo_tell(core, TELL_DUPLICATE, election,
                  "another live candidate of '%s' has the id '%s' (host %s): this one waits until it is gone",
                  election->name, core->options.id, candidate_of(elder)->host);
    election->duplicate_told = elder != NULL;
}

static void lead_step(struct core *core, struct contest *election)
{
    tell_duplicate(core, election);
    if (election->tenure->state == TENURE_HAD)
        lead(core, election);
    if (election->tenure->state == TENURE_STOPPING) {
        if (!rule(core, RULE_STOP_BEFORE_HANDOVER) && names_us(election)) {
            hand_over(core, election);
            return;
        }
        tenure_wait(core, election, election->tenure);
        return;
    }
    if (election->tenure->state == TENURE_STOPPED) {
        if (names_us(election) && election->roster.decision->term <= election->tenure->spent) {
            hand_over(core, election);
            return;
        }
        tenure_move(election->tenure, TENURE_NONE);
        election->decision.unknown = false;
        election->leave_ms = election->roster.leader != NULL ? core->now_ms + GIVE_WAY_MS : 0;
    }
    if (election->tenure->state == TENURE_NONE) {
        if (names_us(election))
            named(core, election);
        else
            claim(core, election);
    }
}

/* ---- the protocol ---- */

static char *presence_key(const struct contest *election)
{
    return key_candidate(election->name, election->cid);
}

static char *presence_value(const struct core *core, const struct contest *election)
{
    return candidate_write(&(struct candidate){
        .id = (char *)core->options.id,
        .address = (char *)core->options.address,
        .host = (char *)core->options.host,
        .priority = election->options.priority,
        .preempt = election->options.preempt,
        .since_wall_ms = core->wall_ms,
    });
}

static void election_read(struct core *core, struct contest *election)
{
    (void)core;
    roster_read(&election->roster, &election->view, election->name);
}

static const struct baton_error *election_trouble(const struct contest *election)
{
    return election->roster.order.trouble;
}

static void election_act(struct core *core, struct contest *election, bool present)
{
    lead_step(core, election);
    /* It has stopped, and nobody is there to be named: it may go. */
    if (election->resigning && present && election->tenure->state == TENURE_STOPPED &&
        roster_next(&election->roster, election->cid, "") == NULL)
        contest_remove_presence(core, election);
}

static bool election_may_leave(struct core *core, struct contest *election)
{
    if (core->now_ms >= election->leave_ms || contest_presence(election) == NULL)
        return true;
    contest_wake(core, election, election->leave_ms);
    return false;
}

static void election_forget_candidacy(struct contest *election)
{
    election->decision = (struct attempt){0};
    election->vacant = false;
    election->duplicate_told = false;
    election->stop_reason = NULL;
}

static struct attempt *election_write(struct contest *election, unsigned which)
{
    return which == ELECTION_DECISION ? &election->decision : NULL;
}

static void election_release(struct contest *election)
{
    roster_release(&election->roster);
}

/* ---- rest: see rest.c ---- */

/* The one that is far enough ahead; NULL: there are not so many. */
static const struct view_record *ahead_of(const struct core *core, const struct roster *roster, size_t place)
{
    size_t left = rest_attentive(core);
    while (place > 0) {
        const struct view_record *record = roster->order.records[--place];
        if (record == roster->leader || roster_elder(roster, record->cid) != NULL)
            continue; /* its turn does not come before ours */
        if (--left == 0)
            return record;
    }
    return NULL;
}

static bool rest_election(const struct core *core, const struct contest *election, struct rest_keys *keys)
{
    const struct roster *roster = &election->roster;
    size_t place = roster_place(roster, election->cid);
    if (roster->leader == NULL || roster->leader_record == NULL || place == roster->order.count ||
        roster_elder(roster, election->cid) != NULL)
        return false;
    const struct view_record *ahead = ahead_of(core, roster, place);
    if (ahead == NULL)
        return false;
    if (rule(core, RULE_REST_BEHIND))
        rest_until(keys, ahead->key);
    if (rule(core, RULE_REST_LOOKS))
        keys->slow = mem_text(roster->leader_record->key);
    char *transfer = key_transfer(election->name);
    rest_until(keys, transfer);
    free(transfer);
    return true;
}

static const struct record_kind kinds[] = {
    {.path = "candidates/*", .read = candidate_read, .free = candidate_free},
    {.path = "leader", .read = decision_read, .free = decision_free},
    {.path = "hold", .read = hold_read, .free = hold_free},
    {.path = "transfer", .read = transfer_read, .free = transfer_free},
};
const struct record_kinds election_records = {ELECTIONS_PREFIX, kinds, COUNT_OF(kinds), name_of_path};

const struct protocol election_protocol = {
    .word = "election",
    .records = &election_records,
    .kind = CONTEST_ELECTION,
    .parks = true,
    .stands_early = true,
    .seen_first = RULE_CLAIM_AFTER_PRESENCE,
    .prefix = key_prefix,
    .presence_key = presence_key,
    .presence_value = presence_value,
    .read = election_read,
    .trouble = election_trouble,
    .act = election_act,
    .may_leave = election_may_leave,
    .forget_candidacy = election_forget_candidacy,
    .write = election_write,
    .rests = rest_election,
    .release = election_release,
};
