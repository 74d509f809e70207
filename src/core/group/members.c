/* members.c: what a view shows of a group: who is there, what each declares, and what the plan says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/group/state.h"

const struct split *group_split(const struct group *group)
{
    return group->split_record != NULL ? split_of(group->split_record) : NULL;
}

bool group_agrees(const struct group *group)
{
    const struct split *split = group_split(group);
    return split != NULL && split->count == group->count && split->chunk == group->chunk;
}

/* ---- members by id ---- */

static int compare_members(const void *left, const void *right)
{
    const struct view_record *a = *(const struct view_record *const *)left;
    const struct view_record *b = *(const struct view_record *const *)right;
    int order = strcmp(candidate_of(a)->id, candidate_of(b)->id);
    return order != 0 ? order : a->created < b->created ? -1 : a->created > b->created;
}

static int compare_id(const void *id, const void *record)
{
    return strcmp(id, candidate_of(*(const struct view_record *const *)record)->id);
}

static void read_members(struct group *group)
{
    const struct order *order = &group->leadership.roster.order;
    group->members = mem_grow(group->members, (order->count + 1) * sizeof(group->members[0]));
    if (order->count > 0)
        memcpy(group->members, order->records, order->count * sizeof(group->members[0]));
    qsort(group->members, order->count, sizeof(group->members[0]), compare_members);
    group->member_count = 0;
    for (size_t i = 0; i < order->count; i++) {
        const struct view_record *last = group->member_count > 0 ? group->members[group->member_count - 1] : NULL;
        if (last == NULL || strcmp(candidate_of(last)->id, candidate_of(group->members[i])->id) != 0)
            group->members[group->member_count++] = group->members[i];
    }
}

const struct view_record *group_member(const struct group *group, const char *id)
{
    const struct view_record *const *found =
        bsearch(id, group->members, group->member_count, sizeof(group->members[0]), compare_id);
    return found != NULL ? *found : NULL;
}

/* ---- what the others declare ---- */

/* (Also one that cannot be read, and a second one with some member's id: each declares for itself.) */
static void read_others(const struct core *core, struct contest *contest)
{
    struct group *group = group_of(contest);
    for (size_t i = 0; i < contest->view.count; i++) {
        const struct view_record *record = contest->view.records[i];
        if (record->cid == NULL || strcmp(record->cid, contest->cid) == 0)
            continue;
        const struct member *member = member_of(record);
        bool same_split =
            member != NULL && (strcmp(member->split, group->split) == 0 || !rule(core, RULE_GROUP_SPLITS_CONFLICT));
        if (same_split)
            shards_add_all(&group->others, &member->declares);
        else if (member == NULL || !shards_empty(&member->declares))
            group->others_all = true;
    }
}

/* ---- the plan ---- */

static void read_owner(const struct core *core, struct group *group, const struct plan_owner *owner,
                       const struct shards *range)
{
    shards_add_common(&group->planned, &owner->shards, range);
    if (strcmp(owner->id, core->options.id) == 0) {
        shards_add_common(&group->named, &owner->shards, range);
        return;
    }
    const struct view_record *record = group_member(group, owner->id);
    if (record == NULL || strcmp(member_of(record)->split, group->split) != 0)
        return;
    struct shards theirs = {0};
    shards_add_common(&theirs, &owner->shards, range);
    shards_add_common(&group->heirs, &theirs, &member_of(record)->declares);
    shards_release(&theirs);
}

static void read_plan(const struct core *core, struct contest *contest)
{
    struct group *group = group_of(contest);
    for (uint32_t k = 0; k < group->chunk_count; k++) {
        char *key = mem_format("%splan/%u", group->leadership.prefix, (unsigned)k);
        const struct view_record *record = view_find(&contest->view, key);
        const struct plan_part *part = record != NULL ? plan_part_of(record) : NULL;
        free(key);
        uint32_t first = k * group->chunk,
                 end = first + group->chunk < group->count ? first + group->chunk : group->count;
        struct shards range = {0};
        shards_add_range(&range, first, end - 1);
        if (part == NULL)
            shards_add_all(&group->unknown, &range);
        for (size_t i = 0; part != NULL && i < part->owner_count; i++)
            read_owner(core, group, &part->owners[i], &range);
        shards_release(&range);
    }
}

void group_read_shards(const struct core *core, struct contest *contest)
{
    struct group *group = group_of(contest);
    struct shards *sets[] = {&group->named, &group->planned, &group->unknown, &group->others, &group->heirs};
    for (size_t i = 0; i < COUNT_OF(sets); i++)
        shards_clear(sets[i]);
    group->others_all = false;
    read_others(core, contest);
    read_plan(core, contest);
}

void group_read(struct core *core, struct contest *contest)
{
    struct group *group = group_of(contest);
    leadership_read(&group->leadership);
    char *key = mem_format("%ssplit", group->leadership.prefix);
    group->split_record = view_find(&contest->view, key);
    free(key);
    read_members(group);
    group_read_shards(core, contest);
}
