/* state.h: a group as a contest keeps it. Private to src/core. */
#ifndef CORE_GROUP_STATE_H
#define CORE_GROUP_STATE_H

#include "core/group/group.h"
#include "core/leadership/leadership.h"

enum { GROUP_DECISION = WRITE_FIRST, GROUP_DECLARATION, GROUP_SPLIT, GROUP_PLAN /* and from here on: each part */ };

/* Somebody that the plan names, and that is not there. */
struct absence {
    char *id;
    int64_t since_ms; /* that this leader has seen it */
    bool seen;        /* in this step */
};

struct group {
    struct leadership leadership;
    struct group_options options;
    char **tags;
    bool joined; /* it has seen that the group has the number of shards that it was told */
    bool drain;
    struct attempt declaring, splitting, *planning; /* one for each part of the plan */

    /* The split under which it works: its tenures and its declarations are numbered by it. */
    uint32_t count, chunk, chunk_count;
    char split[SPLIT_TEXT_MAX];

    /* As the view shows it. */
    const struct view_record *split_record;
    const struct view_record **members; /* by id, of each id the eldest */
    size_t member_count;
    struct shards named;   /* for which the plan names this member, */
    struct shards planned; /* ... or anybody */
    struct shards unknown; /* of which there is no plan, or none that can be read */
    struct shards others;  /* that other members declare */
    struct shards heirs;   /* that are declared by another member for which the plan names that one */
    bool others_all;       /* what another one declares is not known: it may be any shard */

    /* As the leader. */
    uint64_t plan_term; /* under which it plans, */
    int64_t plans_since_ms;
    struct absence *absences;
    size_t absence_count;
};

static inline struct group *group_of(const struct contest *contest)
{
    assert(contest->protocol->kind == CONTEST_GROUP);
    return contest->part;
}

/* members.c: what the view shows */
void group_read(struct core *core, struct contest *contest);
void group_read_shards(const struct core *core, struct contest *contest);
const struct view_record *group_member(const struct group *group, const char *id);
const struct split *group_split(const struct group *group); /* NULL: there is none, or it cannot be read */
/* Does it work under the split that there is? */
bool group_agrees(const struct group *group);

/* worker.c: what a member does */
void worker_step(struct core *core, struct contest *contest, bool present);
bool worker_is_idle(const struct contest *contest); /* nothing of its shards is had any more */
/* What is in its record; declares: the caller's to release. */
struct member worker_member(const struct core *core, const struct contest *contest);

/* leader.c: what the leader does besides */
void leader_step(struct core *core, struct contest *contest);
void leader_forget(struct group *group);

#endif
