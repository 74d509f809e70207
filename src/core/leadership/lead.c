/* lead.c: a candidate with a valid session and its presence in the view: it claims, leads, stops, and hands over.
 *
 * What carries the safety is named in rules.h. In short: the one the decision names leads, while its session is valid;
 * a place is claimed only when the same view shows that the one named is gone; every decision is a compare-and-set on
 * the one before; a leader stops first and writes afterwards, and never uses a term again once it was told to stop.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/leadership/leadership.h"

static struct tenure *tenure_of(const struct leadership *leadership)
{
    return contest_tenure(leadership->contest, leadership->part);
}

static bool names_us(const struct leadership *leadership)
{
    const struct decision *decision = leadership->roster.decision;
    return decision != NULL && leadership->contest->cid[0] != '\0' &&
           strcmp(decision->cid, leadership->contest->cid) == 0;
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
static const char *reason_to_stop(const struct core *core, struct leadership *leadership, const char **ret_words)
{
    const struct roster *roster = &leadership->roster;
    leadership->transfer_to[0] = '\0';
    if (!names_us(leadership)) {
        *ret_words = "the decision no longer names this candidate";
        return "lost";
    }
    if (roster->decision->term != tenure_of(leadership)->number) {
        *ret_words = "the decision has another term";
        return "lost";
    }
    if (leadership->contest->resigning) {
        *ret_words = "it resigns";
        return "resign";
    }
    if (roster->hold_record != NULL) {
        *ret_words = "the election is on hold";
        return "hold";
    }
    const struct view_record *asked = roster->transfer_record;
    if (asked != NULL && transfer_of(asked) != NULL && transfer_of(asked)->term == tenure_of(leadership)->number &&
        roster_next(roster, leadership->contest->cid, transfer_of(asked)->to) != NULL) {
        text_copy(leadership->transfer_to, sizeof(leadership->transfer_to), transfer_of(asked)->to);
        *ret_words = "a transfer was asked for";
        return "transfer";
    }
    const struct view_record *above =
        roster_preempting(roster, leadership->contest->cid, leadership->contest->options.priority);
    if (above != NULL && !is_leaving(roster, above)) {
        text_copy(leadership->transfer_to, sizeof(leadership->transfer_to), candidate_of(above)->id);
        *ret_words = "a candidate of higher priority preempts";
        return "preempt";
    }
    if (tenure_fading(core, tenure_of(leadership))) {
        *ret_words = "the session could not be renewed in time";
        return "handover";
    }
    return NULL;
}

static void lead(struct core *core, struct leadership *leadership)
{
    const char *words;
    assert(tenure_of(leadership)->state == TENURE_HAD);
    const char *reason = reason_to_stop(core, leadership, &words);
    if (reason == NULL)
        return;
    leadership->stop_reason = reason;
    int64_t until_ms = core->now_ms + tenure_of(leadership)->stop_ms;
    if (strcmp(reason, "lost") == 0)
        until_ms = core->now_ms;
    tenure_stop(core, leadership->contest, tenure_of(leadership), until_ms, words);
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
static uint64_t term_step(const struct core *core, const struct leadership *leadership)
{
    uint64_t ahead = leadership->contest->view.revision - leadership->roster.leader_record->revision;
    return ahead >= BATON_REVISION_LEAP && rule(core, RULE_TERM_LEAPS) ? ahead : 1;
}

static uint64_t term_after(const struct core *core, const struct leadership *leadership)
{
    const struct decision *decision = leadership->roster.decision;
    uint64_t step = term_step(core, leadership);
    if (decision->term > 0)
        return rule(core, RULE_TERM_GROWS) ? decision->term + step : decision->term;
    if (!rule(core, RULE_FIRST_TERM_FROM_REVISION))
        return 1;
    /* Each term costs a revision, so every term of a decision that was deleted is below this one. */
    return leadership->roster.leader_record->revision + step;
}

/* Where there is no decision, the first one names nobody and has no term: "must not exist" is true again after a
 * deletion, so a claim made from a view that old would bring an old term back. A claim on top of a record that exists
 * cannot: its revision is never seen twice. */
static void begin_decision(struct core *core, struct leadership *leadership)
{
    assert(leadership->roster.leader_record == NULL);
    todo_write(core, &leadership->decision, write_owner(leadership->contest, leadership->which), BATON_WRITE_PUT,
               decision_key(leadership->prefix), decision_next(NULL, "", "", 0, "", core->wall_ms), 0,
               rule(core, RULE_FIRST_CLAIM_COMPARES) ? 0 : BATON_REVISION_ANY)
        ->write.may_be_lost = true;
}

/* One decision, on top of the one that the view shows. */
static void decide(struct core *core, struct leadership *leadership, const char *cid, const char *id,
                   const char *reason, bool compare)
{
    const struct view_record *before = leadership->roster.leader_record;
    assert(before != NULL && leadership->roster.decision != NULL);
    uint64_t term = term_after(core, leadership);
    if (term > TERM_MAX) {
        todo_tell(core, TELL_TROUBLE, leadership->contest, "%s has the last possible term: no decision can follow it",
                  before->key)
            ->code = BATON_FULL;
        leadership->decision.retry_ms = NEVER_MS;
        return;
    }
    todo_write(core, &leadership->decision, write_owner(leadership->contest, leadership->which), BATON_WRITE_PUT,
               decision_key(leadership->prefix), decision_next(before->value, cid, id, term, reason, core->wall_ms), 0,
               compare ? before->revision : BATON_REVISION_ANY)
        ->write.may_be_lost = true;
}

bool leadership_testament(const struct core *core, const struct leadership *leadership, struct baton_write *ret)
{
    const struct roster *roster = &leadership->roster;
    if (tenure_of(leadership)->state == TENURE_NONE || !names_us(leadership) || roster->hold_record != NULL)
        return false;
    bool stops = tenure_of(leadership)->state != TENURE_HAD && leadership->stop_reason != NULL;
    const char *reason = stops ? leadership->stop_reason : "death";
    const struct view_record *before = roster->leader_record;
    const struct view_record *next =
        roster_next(roster, leadership->contest->cid, stops ? leadership->transfer_to : "");
    uint64_t term = term_after(core, leadership);
    if (next == NULL || term > TERM_MAX)
        return false;
    char cid[CID_MAX_BYTES];
    text_copy(cid, sizeof(cid), next->cid);
    if (!rule(core, RULE_HANDOVER_TO_PRESENT))
        predict_cid(cid, sizeof(cid));
    *ret = (struct baton_write){
        .kind = BATON_WRITE_PUT,
        .key = decision_key(leadership->prefix),
        .value = decision_next(before->value, cid, candidate_of(next)->id, term, reason, core->wall_ms),
        .if_revision = rule(core, RULE_HANDOVER_COMPARES) ? before->revision : BATON_REVISION_ANY,
        .may_be_lost = true,
    };
    return true;
}

static void hand_over(struct core *core, struct leadership *leadership)
{
    assert(names_us(leadership));
    assert(tenure_of(leadership)->state == TENURE_STOPPED || !rule(core, RULE_STOP_BEFORE_HANDOVER));
    if (!rule(core, RULE_STOP_IS_FINAL) && leadership->decision.unknown) {
        leadership->decision.unknown = false;
        tenure_begin(core, leadership->contest, tenure_of(leadership), tenure_of(leadership)->number);
        return;
    }
    if (!attempt_may(core, &leadership->decision)) {
        attempt_wait(core, leadership->contest, &leadership->decision);
        return;
    }
    bool held = leadership->roster.hold_record != NULL;
    const struct view_record *next =
        held ? NULL : roster_next(&leadership->roster, leadership->contest->cid, leadership->transfer_to);
    const char *reason = leadership->stop_reason != NULL ? leadership->stop_reason : "handover";
    bool compare = rule(core, RULE_HANDOVER_COMPARES);
    if (next == NULL) {
        decide(core, leadership, "", "", reason, compare);
        return;
    }
    char cid[CID_MAX_BYTES];
    text_copy(cid, sizeof(cid), next->cid);
    if (!rule(core, RULE_HANDOVER_TO_PRESENT))
        predict_cid(cid, sizeof(cid));
    decide(core, leadership, cid, candidate_of(next)->id, reason, compare);
}

/* ---- follow: begin to lead, or claim ---- */

static bool may_lead(const struct core *core, const struct leadership *leadership)
{
    return !leadership->contest->resigning && leadership->roster.hold_record == NULL &&
           !tenure_fading(core, tenure_of(leadership)) &&
           roster_elder(&leadership->roster, leadership->contest->cid) == NULL;
}

static void named(struct core *core, struct leadership *leadership)
{
    assert(names_us(leadership) && tenure_of(leadership)->state == TENURE_NONE);
    uint64_t term = leadership->roster.decision->term;
    if (!may_lead(core, leadership) || term <= tenure_of(leadership)->spent) {
        if (leadership->roster.hold_record != NULL || leadership->contest->resigning ||
            term <= tenure_of(leadership)->spent ||
            roster_elder(&leadership->roster, leadership->contest->cid) != NULL) {
            /* Named, but it must not lead: pass on without having led. */
            tenure_of(leadership)->spent = term;
            leadership->stop_reason = leadership->contest->resigning ? "resign" : "handover";
            leadership->transfer_to[0] = '\0';
            tenure_move(tenure_of(leadership), TENURE_STOPPED);
            hand_over(core, leadership);
        } /* else the session fades: wait for its renewal, or its end */
        return;
    }
    tenure_begin(core, leadership->contest, tenure_of(leadership), term);
    lead(core, leadership);
}

static void claim(struct core *core, struct leadership *leadership)
{
    const struct roster *roster = &leadership->roster;
    bool vacant = roster_vacant(roster);
    if (!rule(core, RULE_CLAIM_ON_ABSENCE))
        vacant = vacant || (roster->decision != NULL && !names_us(leadership));
    if (!vacant || !may_lead(core, leadership)) {
        leadership->vacant = false;
        return;
    }
    uint64_t revision = roster->leader_record != NULL ? roster->leader_record->revision : 0;
    if (!leadership->vacant || leadership->vacant_revision != revision) {
        leadership->vacant = true;
        leadership->vacant_revision = revision;
        leadership->vacant_since_ms = core->now_ms;
    }
    /* Everybody sees the same order: the first claims at once, the others only if nothing comes of it. */
    size_t place = roster_place(roster, leadership->contest->cid);
    int64_t claim_ms = leadership->vacant_since_ms + (int64_t)place * core->options.step_ms;
    if (core->now_ms < claim_ms) {
        contest_wake(core, leadership->contest, claim_ms);
        return;
    }
    if (!attempt_may(core, &leadership->decision)) {
        attempt_wait(core, leadership->contest, &leadership->decision);
        return;
    }
    if (roster->leader_record == NULL)
        begin_decision(core, leadership);
    else
        decide(core, leadership, leadership->contest->cid, core->options.id, "claim", rule(core, RULE_CLAIM_COMPARES));
}

static void tell_duplicate(struct core *core, struct leadership *leadership)
{
    const struct view_record *elder = roster_elder(&leadership->roster, leadership->contest->cid);
    if (elder != NULL && !leadership->duplicate_told)
        todo_tell(core, TELL_DUPLICATE, leadership->contest,
                  "another live candidate of '%s' has the id '%s' (host %s): this one waits until it is gone",
                  leadership->contest->name, core->options.id, candidate_of(elder)->host);
    leadership->duplicate_told = elder != NULL;
}

void leadership_act(struct core *core, struct leadership *leadership)
{
    tell_duplicate(core, leadership);
    if (tenure_of(leadership)->state == TENURE_HAD)
        lead(core, leadership);
    if (tenure_of(leadership)->state == TENURE_STOPPING) {
        if (!rule(core, RULE_STOP_BEFORE_HANDOVER) && names_us(leadership)) {
            hand_over(core, leadership);
            return;
        }
        tenure_wait(core, leadership->contest, tenure_of(leadership));
        return;
    }
    if (tenure_of(leadership)->state == TENURE_STOPPED) {
        if (names_us(leadership) && leadership->roster.decision->term <= tenure_of(leadership)->spent) {
            hand_over(core, leadership);
            return;
        }
        tenure_move(tenure_of(leadership), TENURE_NONE);
        leadership->decision.unknown = false;
        leadership->leave_ms = leadership->roster.leader != NULL ? core->now_ms + GIVE_WAY_MS : 0;
    }
    if (tenure_of(leadership)->state == TENURE_NONE) {
        if (names_us(leadership))
            named(core, leadership);
        else
            claim(core, leadership);
    }
}

/* ---- as its protocol calls it ---- */

void leadership_init(struct leadership *leadership, struct contest *contest, char *prefix, const char *folder,
                     uint32_t part, unsigned which)
{
    assert(prefix[0] != '\0' && prefix[strlen(prefix) - 1] == '/');
    *leadership =
        (struct leadership){.contest = contest, .prefix = prefix, .folder = folder, .part = part, .which = which};
}

void leadership_release(struct leadership *leadership)
{
    roster_release(&leadership->roster);
    free(leadership->prefix);
}

char *leadership_presence_key(const struct leadership *leadership)
{
    return candidate_key(leadership->prefix, leadership->folder, leadership->contest->cid);
}

char *leadership_presence_value(const struct core *core, const struct leadership *leadership)
{
    const struct stand_options *options = &leadership->contest->options;
    return candidate_write(&(struct candidate){
        .id = (char *)core->options.id,
        .address = (char *)core->options.address,
        .host = (char *)core->options.host,
        .priority = options->priority,
        .preempt = options->preempt,
        .since_wall_ms = core->wall_ms,
    });
}

void leadership_read(struct leadership *leadership)
{
    roster_read(&leadership->roster, &leadership->contest->view, leadership->prefix, leadership->folder);
}

bool leadership_leaves_nobody(const struct leadership *leadership)
{
    const struct contest *contest = leadership->contest;
    return contest->resigning && tenure_of(leadership)->state == TENURE_STOPPED &&
           roster_next(&leadership->roster, contest->cid, "") == NULL;
}

bool leadership_may_leave(struct core *core, const struct leadership *leadership)
{
    if (core->now_ms >= leadership->leave_ms || contest_presence(leadership->contest) == NULL)
        return true;
    contest_wake(core, leadership->contest, leadership->leave_ms);
    return false;
}

void leadership_forget_candidacy(struct leadership *leadership)
{
    leadership->decision = (struct attempt){0};
    leadership->vacant = false;
    leadership->duplicate_told = false;
    leadership->stop_reason = NULL;
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

bool leadership_rests(const struct core *core, const struct leadership *leadership, struct rest_keys *keys)
{
    const struct roster *roster = &leadership->roster;
    size_t place = roster_place(roster, leadership->contest->cid);
    if (roster->leader == NULL || roster->leader_record == NULL || place == roster->order.count ||
        roster_elder(roster, leadership->contest->cid) != NULL)
        return false;
    const struct view_record *ahead = ahead_of(core, roster, place);
    if (ahead == NULL)
        return false;
    if (rule(core, RULE_REST_BEHIND))
        rest_until(keys, ahead->key);
    if (rule(core, RULE_REST_LOOKS))
        keys->slow = mem_text(roster->leader_record->key);
    char *transfer = transfer_key(leadership->prefix);
    rest_until(keys, transfer);
    free(transfer);
    return true;
}
