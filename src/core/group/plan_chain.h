/* plan_chain.h: the chains by which a shard comes to a seat: one moves to it from another seat, which is given one by a
 * third, and so on.
 *
 * A chain is looked for among the sets of tags, not among the seats: a shard of one set can push one of another set
 * away if some seat that may be given the first has one of the second. How many seats there are for each two sets is
 * counted. As in N. Harvey, R. Ladner, L. Lovasz, T. Tamir, "Semi-matchings for bipartite graphs and load balancing"
 * (2003), a seat from which no chain leads to a lower one can be left out from then on; when that is so of all, equal
 * shards are as level as the tags allow.
 */
#ifndef CORE_GROUP_PLAN_CHAIN_H
#define CORE_GROUP_PLAN_CHAIN_H

#include "core/group/plan_cup.h"

struct chains {
    struct board *board;
    unsigned tiers;     /* the states of the seats that may be given something: 1 << PLAN_PRESENT ... */
    struct cup *takers; /* of each set: the seats that may be given a shard of it, and have room */
    uint32_t *holders;  /* for each two sets: seats that may be given the first, and may give one of the second */
    /* What the last search has found: */
    uint32_t from[PLAN_TAG_SETS_MAX];  /* of each set, the one that pushes it; itself: the chain begins there */
    uint32_t order[PLAN_TAG_SETS_MAX]; /* the sets that were reached, those by shorter chains first */
    uint32_t found;
};

void chains_init(struct chains *chains, struct board *board, unsigned tiers);
void chains_release(struct chains *chains);

/* Look for the chains that begin with a shard of this set, which lies nowhere; or with any shard of this seat. Returns
 * the emptiest seat with room that one of them leads to (of equal ones by the shortest chain), and the set of the
 * shard that would come to it; or PLAN_NOBODY. `direct`: only chains of one move. */
uint32_t chains_from_set(struct chains *chains, uint32_t set, uint32_t *ret_set);
uint32_t chains_from_seat(struct chains *chains, uint32_t seat, bool direct, uint32_t *ret_set);

/* Move along what was found last, so that the shard, or one of the seat, has left. */
void chains_follow_shard(struct chains *chains, uint32_t shard, uint32_t to, uint32_t set);
void chains_follow_seat(struct chains *chains, uint32_t seat, uint32_t to, uint32_t set);

bool seat_in_tiers(const struct seat *seat, unsigned tiers);

#endif
