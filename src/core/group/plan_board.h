/* plan_board.h: the board that a plan is made on: every member's seat, and the shards that lie there.
 *
 * Shards are told apart by the set of tags that they require, and by whether they lie with the member that has them
 * now (at home) or were moved: what was moved once may move again for nothing. A shard that is fixed counts in its
 * seat's load, and never leaves it.
 */
#ifndef CORE_GROUP_PLAN_BOARD_H
#define CORE_GROUP_PLAN_BOARD_H

#include "core/group/plan.h"

/* A member, in the order of the ids. */
struct seat {
    uint32_t member; /* its index in the caller's array */
    enum plan_state state;
    uint32_t weight, max;
    uint32_t count; /* of its shards */
    uint32_t had;   /* shards that it has at present */
    int64_t load;   /* the sum of their weights */
    uint64_t tags;
    bool was_asked; /* it is given a shard that is pinned to it */
};

/* The shards of one seat and one set of tags that may move: the first of each list, the heaviest if they are at home.
 */
struct pile {
    uint32_t home, moved;
};

struct board {
    const struct plan_shard *shards;
    uint32_t shard_count;
    struct seat *seats;
    uint32_t seat_count;
    uint32_t *seat_of;                /* of each member of the caller's array */
    uint64_t sets[PLAN_TAG_SETS_MAX]; /* the different sets of tags */
    uint32_t set_count;
    int64_t heaviest;   /* the weight of the heaviest shard; 0: there is none */
    bool equal;         /* all have that weight */
    struct pile *piles; /* set_count of each seat */
    /* Of each shard: */
    uint8_t *set_of;
    uint32_t *home; /* the seat of its present owner, or PLAN_NOBODY */
    uint32_t *at;   /* the seat where it lies, or PLAN_NOBODY */
    uint32_t *next, *previous;
    bool *pushed; /* it was moved to make room for another one */
};

/* The board without any shard on it. The numbers must have been checked. */
void board_init(struct board *board, const struct plan_member *members, uint32_t member_count,
                const struct plan_shard *shards, uint32_t shard_count);
void board_release(struct board *board);

/* Put a shard that lies nowhere on a seat; take one that is not fixed away. */
void board_put(struct board *board, uint32_t shard, uint32_t seat);
void board_fix(struct board *board, uint32_t shard, uint32_t seat);
void board_take(struct board *board, uint32_t shard);

struct pile *board_pile(const struct board *board, uint32_t seat, uint32_t set);
/* The shard of this set that leaves the seat first: one that was moved already, else the heaviest; or PLAN_NOBODY. */
uint32_t board_first(const struct board *board, uint32_t seat, uint32_t set);

bool seat_has_tags(const struct seat *seat, uint64_t tags);
bool seat_has_room(const struct seat *seat);

/* How full the left seat would be without half of a heaviest shard, next to the right one with half of one more; rule 4
 * of plan.h. True: a shard of the left one is to go to the right one. */
bool seat_gives_to(const struct board *board, const struct seat *left, const struct seat *right);
/* < 0: of the two, a shard goes rather to the left one; 0: to either. The opposite order is the one in which they give.
 */
int seat_compare(const struct board *board, const struct seat *left, const struct seat *right, bool gives);

#endif
