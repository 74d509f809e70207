/* group.c: the protocol of groups: a leadership among the members, and a tenure for each shard. */
#include "core/group/group.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/group/state.h"

#define MEMBERS "members/"

static char *prefix(const char *name)
{
    return mem_format(GROUPS_PREFIX "%s/", name);
}

/* ---- a member comes ---- */

static int check_options(const struct group_options *options, struct baton_error *err)
{
    if (options->count > SHARDS_MAX)
        return error_set(err, BATON_INVALID, "%u shards: a group has 1 to %u", (unsigned)options->count,
                         (unsigned)SHARDS_MAX);
    if (options->chunk > CHUNK_SHARDS)
        return error_set(err, BATON_INVALID, "a part of a plan has at most %d shards", CHUNK_SHARDS);
    if (options->weight < 1 || options->weight > PLAN_MEMBER_WEIGHT_MAX)
        return error_set(err, BATON_INVALID, "the weight of a member is 1 to %d, not %u", PLAN_MEMBER_WEIGHT_MAX,
                         (unsigned)options->weight);
    if (options->max > SHARDS_MAX)
        return error_set(err, BATON_INVALID, "a member takes at most %u shards", (unsigned)SHARDS_MAX);
    if (options->tag_count > TAGS_MAX)
        return error_set(err, BATON_INVALID, "a member has at most %d tags", TAGS_MAX);
    for (size_t i = 0; i < options->tag_count; i++)
        if (name_check("tag", options->tags[i], err) < 0)
            return -1;
    return 0;
}

int core_join(struct core *core, struct contest *contest, const struct group_options *options, struct baton_error *err)
{
    struct group *group = group_of(contest);
    const struct stand_options stand = {.attentive = true, .stop_ms = options->stop_ms};
    if (check_options(options, err) < 0 || core_stand(core, contest, &stand, err) < 0)
        return -1;
    contest->tenure[0].stop_ms = 0; /* it looks before each plan */
    for (size_t i = 0; i < group->options.tag_count; i++)
        free(group->tags[i]);
    group->options = *options;
    group->tags = mem_grow(group->tags, (options->tag_count + 1) * sizeof(group->tags[0]));
    for (size_t i = 0; i < options->tag_count; i++)
        group->tags[i] = mem_text(options->tags[i]);
    group->joined = group->drain = false;
    return 0;
}

void core_drain(struct core *core, struct contest *contest, bool drain)
{
    group_of(contest)->drain = drain;
    contest_mark(core, contest);
}

uint32_t group_count(const struct contest *contest)
{
    return group_of(contest)->count;
}

/* ---- the split ---- */

/* Nothing is had, and nothing declared, under another one. */
static bool may_adopt(const struct contest *contest)
{
    const struct view_record *record = contest_presence(contest);
    const struct member *own = record != NULL ? member_of(record) : NULL;
    return worker_is_idle(contest) && (record == NULL || (own != NULL && shards_empty(&own->declares)));
}

static void adopt(const struct core *core, struct contest *contest, uint32_t count, uint32_t chunk)
{
    struct group *group = group_of(contest);
    const struct view_record *record = contest_presence(contest);
    group->count = count;
    group->chunk = chunk;
    group->chunk_count = (count + chunk - 1) / chunk;
    snprintf(group->split, sizeof(group->split), "count:%u", (unsigned)count);
    group->planning = mem_grow(group->planning, group->chunk_count * sizeof(group->planning[0]));
    memset(group->planning, 0, group->chunk_count * sizeof(group->planning[0]));
    contest->tenure = mem_grow(contest->tenure, (count + 1) * sizeof(contest->tenure[0]));
    contest->tenure_count = count + 1;
    for (uint32_t part = 1; part <= count; part++)
        contest->tenure[part] = (struct tenure){
            .part = part, .stop_ms = contest->options.stop_ms, .spent = record != NULL ? record->revision : 0};
    group_read_shards(core, contest);
}

/* false: it cannot be a member. */
static bool look_at_split(struct core *core, struct contest *contest)
{
    struct group *group = group_of(contest);
    const struct split *split = group_split(group);
    uint32_t count = group->options.count;
    if (split == NULL && group->count == 0 && group->split_record == NULL && count == 0) {
        contest_end(core, contest, BATON_NOT_FOUND, "the group '%s' has no shards yet: say how many there are",
                    contest->name);
        return false;
    }
    if (split == NULL) {
        uint32_t chunk = group->options.chunk != 0 ? group->options.chunk : CHUNK_SHARDS;
        if (group->count == 0)
            adopt(core, contest, count != 0 ? count : 1, chunk);
        return true;
    }
    if (!group->joined && count != 0 && count != split->count) {
        contest_end(core, contest, BATON_INVALID, "the group '%s' has %u shards, and %u here; all must say the same",
                    contest->name, (unsigned)split->count, (unsigned)count);
        return false;
    }
    group->joined = true;
    if (!group_agrees(group) && may_adopt(contest))
        adopt(core, contest, split->count, split->chunk);
    return true;
}

/* The first member says how many there are; nobody removes that. */
static void write_split(struct core *core, struct contest *contest)
{
    struct group *group = group_of(contest);
    if (group->split_record != NULL)
        return;
    if (attempt_may(core, &group->splitting))
        todo_write(core, &group->splitting, write_owner(contest, GROUP_SPLIT), BATON_WRITE_PUT,
                   mem_format("%ssplit", group->leadership.prefix),
                   split_write(NULL, &(struct split){.count = group->count, .chunk = group->chunk}), 0, 0);
    attempt_wait(core, contest, &group->splitting);
}

/* ---- the protocol ---- */

static void init(struct contest *contest)
{
    char *path = contest->name != NULL ? prefix(contest->name) : mem_text(GROUPS_PREFIX);
    leadership_init(&group_of(contest)->leadership, contest, path, MEMBERS, 0, GROUP_DECISION);
}

static void release(struct contest *contest)
{
    struct group *group = group_of(contest);
    struct shards *sets[] = {&group->named, &group->planned, &group->unknown, &group->others, &group->heirs};
    for (size_t i = 0; i < COUNT_OF(sets); i++)
        shards_release(sets[i]);
    for (size_t i = 0; i < group->options.tag_count; i++)
        free(group->tags[i]);
    free(group->tags);
    free(group->planning);
    free(group->members);
    leader_forget(group);
    leadership_release(&group->leadership);
}

static char *presence_key(const struct contest *contest)
{
    return leadership_presence_key(&group_of(contest)->leadership);
}

static char *presence_value(const struct core *core, const struct contest *contest)
{
    struct member member = worker_member(core, contest);
    char *value = member_write(NULL, &member);
    shards_release(&member.declares);
    return value;
}

static const struct baton_error *trouble(const struct contest *contest)
{
    const struct group *group = group_of(contest);
    if (group->leadership.roster.order.trouble != NULL || group->split_record == NULL)
        return group->leadership.roster.order.trouble;
    return group->split_record->trouble;
}

static bool look(struct core *core, struct contest *contest)
{
    if (contest->view.ready && !contest->resigning)
        (void)look_at_split(core, contest);
    return true;
}

static void act(struct core *core, struct contest *contest, bool present)
{
    struct group *group = group_of(contest);
    if (present && !contest->resigning)
        write_split(core, contest);
    worker_step(core, contest, present);
    if (present || contest->tenure[0].state != TENURE_NONE)
        leadership_act(core, &group->leadership);
    if (present && worker_is_idle(contest) && leadership_leaves_nobody(&group->leadership))
        contest_remove_presence(core, contest);
    leader_step(core, contest);
}

static bool may_leave(struct core *core, struct contest *contest)
{
    return leadership_may_leave(core, &group_of(contest)->leadership);
}

static void forget_candidacy(struct contest *contest)
{
    leadership_forget_candidacy(&group_of(contest)->leadership);
    group_of(contest)->declaring = (struct attempt){0};
}

static struct attempt *write_of(struct contest *contest, unsigned which)
{
    struct group *group = group_of(contest);
    switch (which) {
    case GROUP_DECISION:
        return &group->leadership.decision;
    case GROUP_DECLARATION:
        return &group->declaring;
    case GROUP_SPLIT:
        return &group->splitting;
    default:
        return which - GROUP_PLAN < group->chunk_count ? &group->planning[which - GROUP_PLAN] : NULL;
    }
}

static const struct record_kind kinds[] = {{.path = MEMBERS "*", .read = member_read, .free = member_free},
                                           {.path = "plan/+", .read = plan_part_read, .free = plan_part_free},
                                           {.path = "split", .read = split_read, .free = free},
                                           {.path = "returns/+", .read = returns_read, .free = returns_free},
                                           {.path = "pause", .read = hold_read, .free = hold_free},
                                           LEADERSHIP_RECORDS};
static const struct record_kinds records = {GROUPS_PREFIX, kinds, COUNT_OF(kinds), name_of_path};

const struct protocol group_protocol = {
    .word = "group",
    .records = &records,
    .kind = CONTEST_GROUP,
    .part_size = sizeof(struct group),
    .seen_first = RULE_CLAIM_AFTER_PRESENCE,
    .init = init,
    .prefix = prefix,
    .presence_key = presence_key,
    .presence_value = presence_value,
    .read = group_read,
    .trouble = trouble,
    .look = look,
    .act = act,
    .may_leave = may_leave,
    .forget_candidacy = forget_candidacy,
    .write = write_of,
    .release = release,
};
