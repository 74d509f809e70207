/* worker.c: a member works on shards: it declares, begins, stops, and takes back.
 *
 * What carries the safety is named in rules.h. In short: it begins a shard only when one view shows its own declaration
 * of it and nobody else's; it stops first, and only then writes a record without the shard; each of its writes is
 * compared with the record that it has seen; and what it has offered to take back it begins only in a newer record.
 */
#include <stdlib.h>
#include <string.h>

#include "core/group/state.h"

/* Its own record: NULL: the view does not show it, or it cannot be read. */
static const struct member *own_of(const struct view_record *record)
{
    return record != NULL ? member_of(record) : NULL;
}

bool worker_is_idle(const struct contest *contest)
{
    for (uint32_t part = 1; part < contest->tenure_count; part++)
        if (contest->tenure[part].state != TENURE_NONE)
            return false;
    return true;
}

/* May it want any shard at all? Of two with one id only the elder does. */
static bool is_willing(const struct core *core, const struct contest *contest)
{
    const struct group *group = group_of(contest);
    const struct view_record *eldest = group_member(group, core->options.id);
    bool duplicate = eldest != NULL && strcmp(eldest->cid, contest->cid) != 0;
    return !contest->resigning && group_agrees(group) && (!duplicate || !rule(core, RULE_GROUP_YOUNGER_WAITS));
}

/* ---- one shard ---- */

/* NULL: go on. */
static const char *reason_to_stop(const struct core *core, const struct contest *contest, const struct tenure *tenure,
                                  bool willing)
{
    const struct group *group = group_of(contest);
    uint32_t shard = tenure->part - 1;
    if (contest->resigning)
        return "it leaves the group";
    if (tenure_fading(core, tenure))
        return "the session could not be renewed in time";
    if (group_split(group) != NULL && !group_agrees(group))
        return "the number of shards is another one";
    if (!willing && group_agrees(group))
        return "another member has the same id";
    if (shards_has(&group->named, shard) || shards_has(&group->unknown, shard))
        return NULL;
    if (!shards_has(&group->planned, shard))
        return "nobody is to work on it";
    if (shards_has(&group->heirs, shard) || !rule(core, RULE_GROUP_WORKS_ON))
        return "it moves to another member";
    return NULL; /* who is to have it has not come for it */
}

/* Simulation: the answer to a declaration says as much as a view that shows it. */
static bool believes_answer(const struct core *core, const struct contest *contest)
{
    const struct attempt *declaring = &group_of(contest)->declaring;
    return !rule(core, RULE_GROUP_BEGIN_BY_VIEW) && declaring->ticket == 0 && !declaring->unknown &&
           declaring->revision > contest->view.revision;
}

static bool may_begin(const struct core *core, const struct contest *contest, const struct tenure *tenure,
                      const struct view_record *record)
{
    const struct group *group = group_of(contest);
    const struct member *own = own_of(record);
    uint32_t shard = tenure->part - 1;
    if (own == NULL || strcmp(own->split, group->split) != 0 || tenure_fading(core, tenure))
        return false;
    if (!shards_has(&own->declares, shard) && !believes_answer(core, contest))
        return false;
    if (rule(core, RULE_GROUP_BEGIN_NAMED) && !shards_has(&group->named, shard))
        return false;
    if (rule(core, RULE_GROUP_BEGIN_ALONE) && (group->others_all || shards_has(&group->others, shard)))
        return false;
    return record->revision > tenure->spent;
}

static void shard_step(struct core *core, struct contest *contest, struct tenure *tenure,
                       const struct view_record *record, bool willing)
{
    const struct member *own = own_of(record);
    bool declared = own != NULL && strcmp(own->split, group_of(contest)->split) == 0 &&
                    shards_has(&own->declares, tenure->part - 1);
    const char *why;
    switch (tenure->state) {
    case TENURE_HAD:
        if (record != NULL && own != NULL && !declared)
            tenure_lost(core, contest, tenure, "somebody has taken it out of the record of this instance");
        else if ((why = reason_to_stop(core, contest, tenure, willing)) != NULL)
            tenure_stop(core, contest, tenure, core->now_ms + tenure->stop_ms, why);
        return;
    case TENURE_STOPPING:
        tenure_wait(core, contest, tenure);
        return;
    case TENURE_STOPPED: /* until the view shows that it was taken back; one that leaves does so by its removal */
        if (contest->resigning || record == NULL || (own != NULL && !declared))
            tenure_move(tenure, TENURE_NONE);
        return;
    case TENURE_NONE:
        if (willing && may_begin(core, contest, tenure, record))
            tenure_begin(core, contest, tenure,
                         rule(core, RULE_GROUP_GRANT_GROWS) ? record->revision : record->created);
        return;
    }
    IMPOSSIBLE("a shard in state %d", (int)tenure->state);
}

/* ---- the record ---- */

static bool is_wanted(const struct core *core, const struct contest *contest, const struct tenure *tenure,
                      const struct member *own, bool willing)
{
    const struct group *group = group_of(contest);
    uint32_t shard = tenure->part - 1;
    switch (tenure->state) {
    case TENURE_HAD:
        return true;
    case TENURE_STOPPING:
        return rule(core, RULE_GROUP_STOP_BEFORE_TAKE_BACK);
    case TENURE_STOPPED:
        return false;
    case TENURE_NONE:
        break;
    }
    if (!willing)
        return false;
    if (!rule(core, RULE_GROUP_TAKES_BACK) && own != NULL && shards_has(&own->declares, shard))
        return true;
    bool free = !group->others_all && !shards_has(&group->others, shard);
    return shards_has(&group->named, shard) && (free || rule(core, RULE_GROUP_DECLARES_AT_ONCE));
}

struct member worker_member(const struct core *core, const struct contest *contest)
{
    struct group *group = group_of(contest);
    const struct view_record *record = contest_presence(contest);
    const struct member *own = own_of(record);
    struct member member = {
        .candidate = {.id = (char *)core->options.id,
                      .address = (char *)core->options.address,
                      .host = (char *)core->options.host,
                      .since_wall_ms = own != NULL ? own->candidate.since_wall_ms : core->wall_ms},
        .weight = group->options.weight,
        .max = group->options.max,
        .standby = group->options.standby,
        .drain = group->drain,
        .split = group->split,
        .tags = group->tags,
        .tag_count = group->options.tag_count,
    };
    bool willing = is_willing(core, contest);
    for (uint32_t part = 1; part < contest->tenure_count; part++)
        if (is_wanted(core, contest, &contest->tenure[part], own, willing))
            shards_add(&member.declares, part - 1);
    return member;
}

/* A write that left a shard out, and was not answered, may still take effect: a newer record must forestall it before
 * the shard can be begun. */
static bool is_to_be_forestalled(const struct contest *contest, const struct member *next, uint64_t revision)
{
    for (uint32_t shard = shards_next(&next->declares, 0); shard != NO_SHARD;
         shard = shards_next(&next->declares, shard + 1))
        if (contest->tenure[SHARD_PART(shard)].state == TENURE_NONE &&
            contest->tenure[SHARD_PART(shard)].spent >= revision)
            return true;
    return false;
}

static bool is_written(const struct core *core, const struct contest *contest, const struct view_record *record,
                       const struct member *next)
{
    const struct member *own = own_of(record);
    return own != NULL && strcmp(own->split, next->split) == 0 && own->drain == next->drain &&
           shards_equal(&own->declares, &next->declares) && !is_to_be_forestalled(contest, next, record->revision);
}

static void declare(struct core *core, struct contest *contest, const struct view_record *record)
{
    struct group *group = group_of(contest);
    struct member next = worker_member(core, contest);
    bool gives_up = group->declaring.unknown && !rule(core, RULE_GROUP_RESENDS);
    if (gives_up || is_written(core, contest, record, &next)) {
        shards_release(&next.declares);
        return;
    }
    if (attempt_may(core, &group->declaring)) {
        todo_write(core, &group->declaring, write_owner(contest, GROUP_DECLARATION), BATON_WRITE_PUT,
                   mem_text(record->key), member_write(record->value, &next), core->session.id,
                   rule(core, RULE_GROUP_DECLARE_COMPARES) ? record->revision : BATON_REVISION_ANY);
        group->declaring.unknown = false;
        for (uint32_t part = 1; part < contest->tenure_count; part++) {
            struct tenure *tenure = &contest->tenure[part];
            if (!shards_has(&next.declares, part - 1) && tenure->spent < record->revision &&
                rule(core, RULE_GROUP_TAKE_BACK_STANDS))
                tenure->spent = record->revision;
        }
    }
    attempt_wait(core, contest, &group->declaring);
    shards_release(&next.declares);
}

void worker_step(struct core *core, struct contest *contest, bool present)
{
    const struct view_record *record = present ? contest_presence(contest) : NULL;
    bool willing = is_willing(core, contest);
    for (uint32_t part = 1; part < contest->tenure_count; part++)
        shard_step(core, contest, &contest->tenure[part], record, willing);
    if (record != NULL && !contest->resigning)
        declare(core, contest, record);
}
