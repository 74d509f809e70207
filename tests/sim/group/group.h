/* group.h: worlds in which the nodes work on the shards of a group. */
#ifndef SIM_GROUP_GROUP_H
#define SIM_GROUP_GROUP_H

#include "core/group/group.h"
#include "kind.h"

#define GROUP_PREFIX "groups/" SIM_NAME "/"
#define WORLD_SHARDS_MAX 100

/* The program of one shard at one node, and its supervisor: as that of node.c. */
struct shard_program {
    enum program_state state;
    uint64_t grant, session;
    int64_t until_ms;      /* it is over by then, by its node's clock */
    int64_t stop_until_ms; /* by when it is to have stopped, as it was told, or has said itself */
    int64_t slow_until_us; /* ... it says so until then; 0: it has not said so */
    bool slow_for_ever;    /* ... and does not come to an end then */
    bool place_gone;       /* it was told to stop without any time */
};

struct group_part {
    uint32_t first_count, chunk, max_moves;
    int64_t settle_start_ms, settle_ms;
    bool says_count; /* all members say how many shards there are; nobody changes that */
    struct {
        struct shard_program shards[WORLD_SHARDS_MAX];
        uint32_t count; /* of shards, when it began the last one */
        bool drain;
    } nodes[NODES_MAX];
    struct group_seen *seen; /* by the checkers */
};

static inline struct group_part *group_part(const struct world *world)
{
    return world->part;
}

bool shard_active(const struct world *world, int n, uint32_t shard); /* its program works, now */

/* checkers.c */
void group_checkers_begin(struct world *world);
void group_checkers_end(struct world *world);
uint32_t stored_count(const struct world *world);            /* of shards; 0: not told yet */
int stored_owner(const struct world *world, uint32_t shard); /* by the plan; -1: nobody */
int stored_load(const struct world *world, int n);           /* shards for which the plan names it */
void group_check_stored(struct world *world, const struct baton_write *write);
void group_check_begins(struct world *world, int n, uint32_t shard, uint64_t grant);
void group_check_goes_on(struct world *world, int n, uint32_t shard);
void group_check_stop(struct world *world, int n, uint32_t shard, const char *why);
void group_check_write(struct world *world, int n, uint32_t shard, uint64_t grant);
void group_check_session_end(struct world *world, int n, uint64_t session);
void group_check_instant(struct world *world);
void group_check_quiet_begins(struct world *world);
void group_check_quiet_ends(struct world *world);

#endif
