/* plan_moves.h: how shards move on the board: to a seat that has room, and from full seats to emptier ones.
 *
 * Tiers are the states (1 << PLAN_PRESENT ...) of the seats that may be given something. No function looks at each pair
 * of a shard and a seat: whom a seat could give to depends only on the sets of tags that lie there.
 */
#ifndef CORE_GROUP_PLAN_MOVES_H
#define CORE_GROUP_PLAN_MOVES_H

#include "core/group/plan_board.h"

/* Place shards that lie nowhere, each on the emptiest seat that may take it. Where all of those are full, others make
 * room, if that can be at all: as few as can be. The shards for which there is no place remain in the array (in the
 * order of their numbers, as they must come); returns how many. */
uint32_t moves_place(struct board *board, uint32_t *shards, uint32_t count, unsigned tiers);

/* Level the loads of one tier: rule 4 of plan.h. */
void moves_level(struct board *board, unsigned tier);

#endif
