/* plan_chain.c: see plan_chain.h. */
#include "core/group/plan_chain.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"

#define LOOK_FOR_HOME 8 /* shards of one pile that are looked at for one that goes home */

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
    const struct pile *pile = board_pile(chains->board, seat, set);
    if (pile->home == PLAN_NOBODY && pile->moved == PLAN_NOBODY)
        return;
    for (uint32_t i = 0; i < chains->board->set_count; i++) {
        if (!may_be_given(chains, seat, i))
            continue;
        uint32_t at = i * chains->board->set_count + set;
        chains->holders[at] += (uint32_t)change;
        if (pile->moved != PLAN_NOBODY)
            chains->free_ones[at] += (uint32_t)change;
    }
}

void chains_init(struct chains *chains, struct board *board, unsigned tiers)
{
    size_t sets = board->set_count;
    *chains = (struct chains){.board = board, .tiers = tiers};
    chains->takers = mem_new((sets + 1) * sizeof(*chains->takers));
    chains->holders = mem_new((sets * sets + 1) * sizeof(*chains->holders));
    chains->free_ones = mem_new((sets * sets + 1) * sizeof(*chains->free_ones));
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
    free(chains->free_ones);
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
    memset(chains->cost, 0xff, sizeof(chains->cost));
}

/* Only those that the chain may begin with, which cost one shard at most. */
static void search_directly(struct chains *chains)
{
    chains->found = 0;
    for (uint32_t cost = 0; cost <= 1; cost++)
        for (uint32_t set = 0; set < chains->board->set_count; set++)
            if (chains->cost[set] == cost)
                chains->order[chains->found++] = set;
}

/* Dijkstra's, of up to 64 sets: from those that the chain may begin with, which have a cost already. */
static void search(struct chains *chains)
{
    uint32_t sets = chains->board->set_count;
    bool done[PLAN_TAG_SETS_MAX] = {false};
    chains->found = 0;
    for (;;) {
        uint32_t next = PLAN_NOBODY;
        for (uint32_t set = 0; set < sets; set++)
            if (!done[set] && chains->cost[set] != UINT32_MAX &&
                (next == PLAN_NOBODY || chains->cost[set] < chains->cost[next]))
                next = set;
        if (next == PLAN_NOBODY)
            return;
        done[next] = true;
        chains->order[chains->found++] = next;
        for (uint32_t set = 0; set < sets; set++) {
            uint32_t at = next * sets + set;
            uint32_t cost = chains->cost[next] + (chains->free_ones[at] == 0);
            if (chains->holders[at] == 0 || cost >= chains->cost[set])
                continue;
            chains->cost[set] = cost;
            chains->from[set] = next;
        }
    }
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
    chains->cost[set] = 0;
    chains->from[set] = set;
    search(chains);
    return emptiest(chains, ret_set);
}

/* Is the seat that was found as empty as any, by as few shards that leave their home as a chain can have? (Then no
 * longer one need be looked for, which is what happens nearly always.) */
static bool is_best(const struct chains *chains, uint32_t seat, uint32_t set)
{
    const struct board *board = chains->board;
    for (uint32_t i = 0; i < board->set_count; i++) {
        uint32_t other = cup_first(&chains->takers[i]);
        if (chains->cost[i] < chains->cost[set] ||
            (other != PLAN_NOBODY && seat_compare(board, &board->seats[other], &board->seats[seat], false) < 0))
            return false;
    }
    return true;
}

uint32_t chains_from_seat(struct chains *chains, uint32_t seat, bool direct, uint32_t *ret_set)
{
    search_begin(chains);
    for (uint32_t set = 0; set < chains->board->set_count; set++) {
        if (board_first(chains->board, seat, set) == PLAN_NOBODY)
            continue;
        chains->cost[set] = board_pile(chains->board, seat, set)->moved == PLAN_NOBODY;
        chains->from[set] = set;
    }
    search_directly(chains);
    uint32_t found = emptiest(chains, ret_set);
    if (direct || chains->found == 0 || (found != PLAN_NOBODY && is_best(chains, found, *ret_set)))
        return found;
    search(chains);
    return emptiest(chains, ret_set);
}

/* The shard that leaves the one seat for the other: rather one that comes home by it, or was moved already. */
static uint32_t choose(const struct board *board, uint32_t from, uint32_t to, uint32_t set)
{
    uint32_t shard = board_pile(board, from, set)->moved;
    for (unsigned i = 0; i < LOOK_FOR_HOME && shard != PLAN_NOBODY; i++, shard = board->next[shard])
        if (board->home[shard] == to)
            return shard;
    return board_first(board, from, set);
}

/* A seat that may be given the one set, and gives the other. */
static uint32_t find_holder(const struct chains *chains, uint32_t given, uint32_t gives)
{
    uint32_t any = PLAN_NOBODY;
    for (uint32_t i = 0; i < chains->board->seat_count; i++) {
        const struct pile *pile = board_pile(chains->board, i, gives);
        if ((pile->moved == PLAN_NOBODY && pile->home == PLAN_NOBODY) || !may_be_given(chains, i, given))
            continue;
        if (pile->moved != PLAN_NOBODY)
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
        uint32_t shard = choose(chains->board, from, to, *set);
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
    uint32_t shard = choose(chains->board, seat, to, set);
    take(chains, shard);
    put(chains, shard, to);
}
