/* plan_chain.c: see plan_chain.h. */
#include "core/group/plan_chain.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"

bool seat_in_tiers(const struct seat *seat, unsigned tiers)
{
    return (tiers >> seat->state & 1) != 0;
}

static bool may_be_given(const struct chains *chains, uint32_t seat, uint32_t set)
{
    const struct seat *it = &chains->board->seats[seat];
    return seat_in_tiers(it, chains->tiers) && seat_has_tags(it, chains->board->sets[set]);
}

/* Count in what a seat may give of one set, or (`change` -1) count it out. */
static void count(struct chains *chains, uint32_t seat, uint32_t set, int change)
{
    if (board_first(chains->board, seat, set) == PLAN_NOBODY)
        return;
    for (uint32_t i = 0; i < chains->board->set_count; i++)
        if (may_be_given(chains, seat, i))
            chains->holders[i * chains->board->set_count + set] += (uint32_t)change;
}

void chains_init(struct chains *chains, struct board *board, unsigned tiers)
{
    size_t sets = board->set_count;
    *chains = (struct chains){.board = board, .tiers = tiers};
    chains->takers = mem_new((sets + 1) * sizeof(*chains->takers));
    chains->holders = mem_new((sets * sets + 1) * sizeof(*chains->holders));
    for (uint32_t set = 0; set < sets; set++) {
        cup_init(&chains->takers[set], board, false);
        for (uint32_t seat = 0; seat < board->seat_count; seat++) {
            count(chains, seat, set, 1);
            cup_set_later(&chains->takers[set], seat,
                          may_be_given(chains, seat, set) && seat_has_room(&board->seats[seat]));
        }
        cup_play(&chains->takers[set]);
    }
}

void chains_release(struct chains *chains)
{
    for (uint32_t set = 0; set < chains->board->set_count; set++)
        cup_release(&chains->takers[set]);
    free(chains->takers);
    free(chains->holders);
    *chains = (struct chains){0};
}

static void seat_changed(struct chains *chains, uint32_t seat)
{
    bool room = seat_has_room(&chains->board->seats[seat]);
    for (uint32_t set = 0; set < chains->board->set_count; set++)
        if (may_be_given(chains, seat, set))
            cup_set(&chains->takers[set], seat, room);
}

static void put(struct chains *chains, uint32_t shard, uint32_t seat)
{
    uint32_t set = chains->board->set_of[shard];
    count(chains, seat, set, -1);
    board_put(chains->board, shard, seat);
    count(chains, seat, set, 1);
    seat_changed(chains, seat);
}

static void take(struct chains *chains, uint32_t shard)
{
    uint32_t set = chains->board->set_of[shard], seat = chains->board->at[shard];
    count(chains, seat, set, -1);
    board_take(chains->board, shard);
    count(chains, seat, set, 1);
    seat_changed(chains, seat);
}

static void search_begin(struct chains *chains)
{
    chains->found = 0;
    memset(chains->from, 0xff, sizeof(chains->from));
}

static void reach(struct chains *chains, uint32_t set, uint32_t from)
{
    chains->from[set] = from;
    chains->order[chains->found++] = set;
}

/* From those that the chain may begin with, which were reached already: the shortest chain to each other set. */
static void search(struct chains *chains)
{
    uint32_t sets = chains->board->set_count;
    for (uint32_t i = 0; i < chains->found; i++)
        for (uint32_t set = 0; set < sets; set++)
            if (chains->from[set] == PLAN_NOBODY && chains->holders[chains->order[i] * sets + set] > 0)
                reach(chains, set, chains->order[i]);
}

static uint32_t emptiest(const struct chains *chains, uint32_t *ret_set)
{
    const struct board *board = chains->board;
    uint32_t best = PLAN_NOBODY;
    for (uint32_t i = 0; i < chains->found; i++) {
        uint32_t seat = cup_first(&chains->takers[chains->order[i]]);
        if (seat == PLAN_NOBODY ||
            (best != PLAN_NOBODY && seat_compare(board, &board->seats[seat], &board->seats[best], false) >= 0))
            continue;
        best = seat;
        *ret_set = chains->order[i];
    }
    return best;
}

uint32_t chains_from_set(struct chains *chains, uint32_t set, uint32_t *ret_set)
{
    search_begin(chains);
    reach(chains, set, set);
    search(chains);
    return emptiest(chains, ret_set);
}

/* Is no seat with room emptier than this one? (Then no longer chain need be looked for, which is so nearly always.) */
static bool is_emptiest(const struct chains *chains, uint32_t seat)
{
    const struct board *board = chains->board;
    for (uint32_t i = 0; i < board->set_count; i++) {
        uint32_t other = cup_first(&chains->takers[i]);
        if (other != PLAN_NOBODY && seat_compare(board, &board->seats[other], &board->seats[seat], false) < 0)
            return false;
    }
    return true;
}

uint32_t chains_from_seat(struct chains *chains, uint32_t seat, bool direct, uint32_t *ret_set)
{
    search_begin(chains);
    for (uint32_t set = 0; set < chains->board->set_count; set++)
        if (board_first(chains->board, seat, set) != PLAN_NOBODY)
            reach(chains, set, set);
    uint32_t found = emptiest(chains, ret_set);
    if (direct || chains->found == 0 || (found != PLAN_NOBODY && is_emptiest(chains, found)))
        return found;
    search(chains);
    return emptiest(chains, ret_set);
}

/* A seat that may be given the one set, and gives the other: rather one that was moved already. */
static uint32_t find_holder(const struct chains *chains, uint32_t given, uint32_t gives)
{
    uint32_t any = PLAN_NOBODY;
    for (uint32_t i = 0; i < chains->board->seat_count; i++) {
        if (board_first(chains->board, i, gives) == PLAN_NOBODY || !may_be_given(chains, i, given))
            continue;
        if (board_pile(chains->board, i, gives)->moved != PLAN_NOBODY)
            return i;
        if (any == PLAN_NOBODY)
            any = i;
    }
    assert(any != PLAN_NOBODY);
    return any;
}

/* Make room in the seats between, from the end on. Returns the seat that a shard of the first set comes to, and that
 * set. No seat is twice in a chain: it would be in a shorter one, which would have been found. */
static uint32_t make_room(struct chains *chains, uint32_t to, uint32_t *set)
{
    while (chains->from[*set] != *set) {
        uint32_t from = find_holder(chains, chains->from[*set], *set);
        uint32_t shard = board_first(chains->board, from, *set);
        take(chains, shard);
        put(chains, shard, to);
        chains->board->pushed[shard] = true;
        to = from;
        *set = chains->from[*set];
    }
    return to;
}

void chains_follow_shard(struct chains *chains, uint32_t shard, uint32_t to, uint32_t set)
{
    put(chains, shard, make_room(chains, to, &set));
}

void chains_follow_seat(struct chains *chains, uint32_t seat, uint32_t to, uint32_t set)
{
    to = make_room(chains, to, &set);
    uint32_t shard = board_first(chains->board, seat, set);
    take(chains, shard);
    put(chains, shard, to);
}
