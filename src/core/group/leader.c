/* leader.c: the leader among the members writes the plan: who should work on which shard.
 *
 * It asks plan.h whenever something may have changed, and writes those parts of the plan that must change, each by
 * compare-and-set. Nothing that carries the safety depends on it: a plan by two leaders, or from an old view, is
 * a bad plan for a moment, no more.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/group/state.h"

/* ---- who is not there ---- */

void leader_forget(struct group *group)
{
    for (size_t i = 0; i < group->absence_count; i++)
        free(group->absences[i].id);
    free(group->absences);
    group->absences = NULL;
    group->absence_count = 0;
}

static struct absence *absence_of(const struct core *core, struct group *group, const char *id)
{
    for (size_t i = 0; i < group->absence_count; i++)
        if (strcmp(group->absences[i].id, id) == 0)
            return &group->absences[i];
    group->absences = mem_grow(group->absences, (group->absence_count + 1) * sizeof(group->absences[0]));
    struct absence *absence = &group->absences[group->absence_count++];
    *absence = (struct absence){.id = mem_text(id), .since_ms = core->now_ms};
    return absence;
}

static void forget_who_is_back(struct group *group)
{
    size_t kept = 0;
    for (size_t i = 0; i < group->absence_count; i++) {
        if (group->absences[i].seen)
            group->absences[kept++] = group->absences[i];
        else
            free(group->absences[i].id);
    }
    group->absence_count = kept;
}

/* ---- what the plan is made from ---- */

struct draft {
    struct plan_member *members; /* those that are there, as in group->members; then the others that the plan names */
    uint32_t member_count, present;
    struct plan_shard *shards;
    uint32_t shard_count;
    bool exists; /* there is some part of a plan */
};

static void draft_release(struct draft *draft)
{
    free(draft->members);
    free(draft->shards);
}

static struct plan_member member_of_record(const struct view_record *record)
{
    const struct member *member = member_of(record);
    return (struct plan_member){.id = member->candidate.id,
                                .state = member->drain     ? PLAN_DRAINING
                                         : member->standby ? PLAN_STANDBY
                                                           : PLAN_PRESENT,
                                .weight = member->weight,
                                .max = member->max};
}

/* Its shards are kept for a while: it may be back soon. */
static enum plan_state state_of_absent(struct core *core, struct contest *contest, const char *id)
{
    struct group *group = group_of(contest);
    struct absence *absence = absence_of(core, group, id);
    int64_t until_ms = absence->since_ms + group->options.settle_ms;
    absence->seen = true;
    if (!rule(core, RULE_GROUP_PLAN_REPLACES))
        return PLAN_AWAY;
    if (core->now_ms >= until_ms)
        return PLAN_FAILED;
    contest_wake(core, contest, until_ms);
    return PLAN_AWAY;
}

static uint32_t index_of(struct core *core, struct contest *contest, struct draft *draft, const char *id)
{
    const struct group *group = group_of(contest);
    const struct view_record *record = group_member(group, id);
    for (uint32_t i = 0; record != NULL; i++)
        if (group->members[i] == record)
            return i;
    for (uint32_t i = draft->present; i < draft->member_count; i++)
        if (strcmp(draft->members[i].id, id) == 0)
            return i;
    draft->members = mem_grow(draft->members, (draft->member_count + 1) * sizeof(draft->members[0]));
    draft->members[draft->member_count] =
        (struct plan_member){.id = id, .state = state_of_absent(core, contest, id), .weight = 1};
    return draft->member_count++;
}

static const struct plan_part *part_of(const struct contest *contest, uint32_t k, const struct view_record **ret_record)
{
    char *key = mem_format("%splan/%u", group_of(contest)->leadership.prefix, (unsigned)k);
    *ret_record = view_find(&contest->view, key);
    free(key);
    return *ret_record != NULL ? plan_part_of(*ret_record) : NULL;
}

static uint32_t first_of(const struct group *group, uint32_t k)
{
    return k * group->chunk < group->count ? k * group->chunk : group->count;
}

static void draft_owners(struct core *core, struct contest *contest, struct draft *draft, uint32_t k)
{
    const struct group *group = group_of(contest);
    const struct view_record *record;
    const struct plan_part *part = part_of(contest, k, &record);
    draft->exists = draft->exists || record != NULL;
    for (size_t i = 0; part != NULL && i < part->owner_count; i++) {
        const struct plan_owner *owner = &part->owners[i];
        uint32_t shard = shards_next(&owner->shards, first_of(group, k)), end = first_of(group, k + 1);
        uint32_t index = shard < end ? index_of(core, contest, draft, owner->id) : PLAN_NOBODY;
        for (; shard < end; shard = shards_next(&owner->shards, shard + 1))
            draft->shards[shard].owner = index;
    }
}

static void draft_make(struct core *core, struct contest *contest, struct draft *draft)
{
    struct group *group = group_of(contest);
    *draft = (struct draft){.member_count = (uint32_t)group->member_count,
                            .present = (uint32_t)group->member_count,
                            .shard_count = group->count};
    draft->members = mem_new((group->member_count + 1) * sizeof(draft->members[0]));
    for (size_t i = 0; i < group->member_count; i++)
        draft->members[i] = member_of_record(group->members[i]);
    draft->shards = mem_new(group->count * sizeof(draft->shards[0]));
    for (uint32_t shard = 0; shard < group->count; shard++)
        draft->shards[shard] = (struct plan_shard){.weight = 1, .owner = PLAN_NOBODY, .pin = PLAN_NOBODY};
    for (size_t i = 0; i < group->absence_count; i++)
        group->absences[i].seen = false;
    for (uint32_t k = 0; k < group->chunk_count; k++)
        draft_owners(core, contest, draft, k);
    forget_who_is_back(group);
}

/* ---- some moves at a time ---- */

static bool is_present(const struct draft *draft, uint32_t index)
{
    return index < draft->present;
}

/* A shard that somebody still declares for whom it is not meant is under way. */
static uint32_t moves_under_way(const struct group *group, const struct draft *draft)
{
    struct shards moving = {0};
    uint32_t count = 0;
    for (uint32_t i = 0; i < draft->present; i++) {
        const struct shards *declares = &member_of(group->members[i])->declares;
        for (uint32_t shard = shards_next(declares, 0); shard < draft->shard_count;
             shard = shards_next(declares, shard + 1))
            if (draft->shards[shard].owner != i && is_present(draft, draft->shards[shard].owner))
                shards_add(&moving, shard);
    }
    for (uint32_t shard = shards_next(&moving, 0); shard != NO_SHARD; shard = shards_next(&moving, shard + 1))
        count++;
    shards_release(&moving);
    return count;
}

/* What moves from one that is there to another waits until less is under way; what has nobody does not. */
static void limit_moves(const struct group *group, const struct draft *draft, struct plan *plan)
{
    uint32_t most = group->options.max_moves, count = most > 0 ? moves_under_way(group, draft) : 0;
    for (uint32_t shard = 0; most > 0 && shard < draft->shard_count; shard++) {
        uint32_t owner = draft->shards[shard].owner;
        if (plan->owners[shard] == owner || !is_present(draft, owner))
            continue;
        if (count >= most)
            plan->owners[shard] = owner;
        else
            count++;
    }
}

/* ---- the plan is written ---- */

static bool must_change(const struct core *core, const struct draft *draft, const struct plan *plan, uint32_t first,
                        uint32_t end)
{
    if (!rule(core, RULE_GROUP_PLAN_WHEN_NEEDED))
        return true;
    for (uint32_t shard = first; shard < end; shard++)
        if (plan->owners[shard] != draft->shards[shard].owner)
            return true;
    return false;
}

static void write_part(struct core *core, struct contest *contest, const struct draft *draft, const struct plan *plan,
                       uint32_t k)
{
    struct group *group = group_of(contest);
    const struct view_record *record;
    const struct plan_part *part = part_of(contest, k, &record);
    uint32_t first = first_of(group, k), end = first_of(group, k + 1);
    if (record != NULL && (part == NULL || !must_change(core, draft, plan, first, end)))
        return; /* (One that cannot be read waits for a person.) */
    struct plan_part next = {.term = contest->tenure[0].number,
                             .owners = mem_new((draft->member_count + 1) * sizeof(next.owners[0])),
                             .owner_count = draft->member_count};
    for (uint32_t i = 0; i < draft->member_count; i++)
        next.owners[i].id = (char *)draft->members[i].id;
    for (uint32_t shard = first; shard < end; shard++)
        if (plan->owners[shard] != PLAN_NOBODY)
            shards_add(&next.owners[plan->owners[shard]].shards, shard);
    todo_write(core, &group->planning[k], write_owner(contest, GROUP_PLAN + k), BATON_WRITE_PUT,
               mem_format("%splan/%u", group->leadership.prefix, (unsigned)k),
               plan_part_write(record != NULL ? record->value : NULL, &next), 0, record != NULL ? record->revision : 0);
    for (uint32_t i = 0; i < draft->member_count; i++)
        shards_release(&next.owners[i].shards);
    free(next.owners);
}

/* ---- when ---- */

/* No plan is made before the view shows the one that was written. */
static bool is_written(struct core *core, struct contest *contest)
{
    struct group *group = group_of(contest);
    for (uint32_t k = 0; k < group->chunk_count; k++) {
        if (attempt_may(core, &group->planning[k]))
            continue;
        attempt_wait(core, contest, &group->planning[k]);
        return false;
    }
    return true;
}

static bool is_paused(const struct contest *contest)
{
    char *key = mem_format("%spause", group_of(contest)->leadership.prefix);
    bool paused = view_find(&contest->view, key) != NULL;
    free(key);
    return paused;
}

/* The first plan of all waits for others: else the first to come takes all, and gives most of it away. */
static bool has_settled(struct core *core, struct contest *contest)
{
    const struct group *group = group_of(contest);
    int64_t settled_ms = group->plans_since_ms + group->options.settle_start_ms;
    if (group->member_count < group->options.min_members)
        return false;
    if (core->now_ms < settled_ms)
        contest_wake(core, contest, settled_ms);
    return core->now_ms >= settled_ms;
}

void leader_step(struct core *core, struct contest *contest)
{
    struct group *group = group_of(contest);
    uint64_t term = contest_leads(core, contest, 0, core->now_ms);
    if (term == 0 || !group_agrees(group) || is_paused(contest))
        return;
    if (term != group->plan_term) {
        leader_forget(group);
        group->plan_term = term;
        group->plans_since_ms = core->now_ms;
    }
    if (!is_written(core, contest))
        return;
    struct draft draft;
    struct plan plan;
    struct baton_error err;
    draft_make(core, contest, &draft);
    if (draft.exists || has_settled(core, contest)) {
        if (plan_make(&plan, draft.members, draft.member_count, draft.shards, draft.shard_count, &err) == 0) {
            limit_moves(group, &draft, &plan);
            for (uint32_t k = 0; k < group->chunk_count; k++)
                write_part(core, contest, &draft, &plan, k);
            plan_release(&plan);
        } else {
            todo_tell(core, TELL_TROUBLE, contest, "%s", err.text)->code = err.code;
        }
    }
    draft_release(&draft);
}
