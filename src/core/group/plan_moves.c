/* plan_moves.c: see plan_moves.h. */
#include "core/group/plan_moves.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "core/group/plan_chain.h"

/* How a shard is placed: what fewer seats may take comes first, of that the heaviest. */
struct turn {
    uint32_t seats, set, weight, shard;
};

static int compare_turns(const void *left, const void *right)
{
    const struct turn *l = left, *r = right;
    if (l->seats != r->seats)
        return l->seats < r->seats ? -1 : 1;
    if (l->set != r->set)
        return l->set < r->set ? -1 : 1;
    if (l->weight != r->weight)
        return l->weight > r->weight ? -1 : 1;
    return l->shard < r->shard ? -1 : l->shard > r->shard;
}

static int compare_numbers(const void *left, const void *right)
{
    uint32_t l = *(const uint32_t *)left, r = *(const uint32_t *)right;
    return l < r ? -1 : l > r;
}

static bool may_take(const struct board *board, uint32_t seat, uint32_t set, unsigned tiers)
{
    return seat_in_tiers(&board->seats[seat], tiers) && seat_has_tags(&board->seats[seat], board->sets[set]);
}

static void in_turn(const struct board *board, uint32_t *shards, uint32_t count, unsigned tiers)
{
    if (board->equal && board->set_count == 1)
        return; /* by their numbers, as they came */
    uint32_t takers[PLAN_TAG_SETS_MAX] = {0};
    for (uint32_t set = 0; set < board->set_count; set++)
        for (uint32_t i = 0; i < board->seat_count; i++)
            takers[set] += may_take(board, i, set, tiers);
    struct turn *turns = mem_new((count + (size_t)1) * sizeof(*turns));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t set = board->set_of[shards[i]];
        turns[i] = (struct turn){takers[set], set, board->shards[shards[i]].weight, shards[i]};
    }
    qsort(turns, count, sizeof(*turns), compare_turns);
    for (uint32_t i = 0; i < count; i++)
        shards[i] = turns[i].shard;
    free(turns);
}

/* Shards of one set; returns how many were placed. */
static uint32_t place_where_room(struct board *board, const uint32_t *shards, uint32_t count, unsigned tiers)
{
    struct cup takers;
    uint32_t placed = 0;
    cup_init(&takers, board, false);
    for (uint32_t i = 0; i < board->seat_count; i++)
        cup_set_later(&takers, i,
                      may_take(board, i, board->set_of[shards[0]], tiers) && seat_has_room(&board->seats[i]));
    cup_play(&takers);
    for (; placed < count && cup_first(&takers) != PLAN_NOBODY; placed++) {
        uint32_t seat = cup_first(&takers);
        board_put(board, shards[placed], seat);
        cup_set(&takers, seat, seat_has_room(&board->seats[seat]));
    }
    cup_release(&takers);
    return placed;
}

static uint32_t place_where_room_is_made(struct board *board, const uint32_t *shards, uint32_t count, unsigned tiers)
{
    struct chains chains;
    uint32_t placed = 0;
    chains_init(&chains, board, tiers);
    for (; placed < count; placed++) {
        uint32_t set, seat = chains_from_set(&chains, board->set_of[shards[placed]], &set);
        if (seat == PLAN_NOBODY)
            break;
        chains_follow_shard(&chains, shards[placed], seat, set);
    }
    chains_release(&chains);
    return placed;
}

uint32_t moves_place(struct board *board, uint32_t *shards, uint32_t count, unsigned tiers)
{
    uint32_t left = 0;
    in_turn(board, shards, count, tiers);
    for (uint32_t first = 0, last; first < count; first = last) {
        for (last = first + 1; last < count && board->set_of[shards[last]] == board->set_of[shards[first]];)
            last++;
        uint32_t placed = first + place_where_room(board, shards + first, last - first, tiers);
        if (placed < last && board->set_count > 1)
            placed += place_where_room_is_made(board, shards + placed, last - placed, tiers);
        memmove(shards + left, shards + placed, (last - placed) * sizeof(*shards));
        left += last - placed;
    }
    qsort(shards, left, sizeof(*shards), compare_numbers);
    return left;
}

/* Whoever has the most gives to whoever has the least of those that a chain leads to, one by one, until nobody is left
 * from whom one leads to a lower one. Shards of different weights go by no chain of several moves: the seats between
 * would not be as full as before. Returns whether anything has moved. */
static bool level_once(struct chains *chains, struct cup *givers, uint64_t *steps)
{
    struct board *board = chains->board;
    bool moved = false;
    for (uint32_t i = 0; i < board->seat_count; i++)
        cup_set_later(givers, i, seat_in_tiers(&board->seats[i], chains->tiers));
    cup_play(givers);
    for (uint32_t giver; *steps > 0 && (giver = cup_first(givers)) != PLAN_NOBODY; --*steps) {
        uint32_t set, to = chains_from_seat(chains, giver, !board->equal, &set);
        bool lower = to != PLAN_NOBODY && seat_gives_to(board, &board->seats[giver], &board->seats[to]);
        if (lower) {
            chains_follow_seat(chains, giver, to, set);
            cup_set(givers, to, true); /* it was not left out: one that was gives no less than this giver did */
        }
        cup_set(givers, giver, lower);
        moved = moved || lower;
    }
    return moved;
}

void moves_level(struct board *board, unsigned tier)
{
    /* Each move makes the sum of load^2 / weight smaller, so that there is an end; the limit is for weights that are
     * chosen to make it a far one. */
    uint64_t steps = 8 * ((uint64_t)board->shard_count + board->seat_count + 8);
    struct chains chains;
    struct cup givers;
    chains_init(&chains, board, tier);
    cup_init(&givers, board, true);
    /* A seat of weighted shards that gave may be lower than one that was left out before. */
    while (level_once(&chains, &givers, &steps) && !board->equal) {
    }
    cup_release(&givers);
    chains_release(&chains);
}
