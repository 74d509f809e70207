/* plan_moves.c: see plan_moves.h.
 *
 * Where all shards have one set of tags, whoever has the most gives to whoever has the least, one by one. Where there
 * are several, a seat may have to give to a second one, that gives to a third: a chain. The emptiest seat that a chain
 * leads to is found by a search from seat to set of tags to seat, as in N. Harvey, R. Ladner, L. Lovasz, T. Tamir,
 * "Semi-matchings for bipartite graphs and load balancing" (2003): when no chain leads from a seat to a lower one, it
 * can be left out from then on, and when that is so of all, the loads of equal shards are as level as the tags allow.
 */
#include "core/group/plan_moves.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"

#define NO_SET UINT8_MAX
#define LOOK_FOR_HOME 8 /* shards of one pile that are looked at for one that goes home */

static bool in_tiers(const struct seat *seat, unsigned tiers)
{
    return (tiers >> seat->state & 1) != 0;
}

/* A tournament: the seat that is the first of all to give or to take, known again after a change of one in log(seats).
 * winners[1] is the first of all, winners[n] the better one of winners[2n] and winners[2n + 1]. */
struct tournament {
    struct board *board;
    uint32_t *winners;
    uint32_t leaves;
    unsigned tiers;
    uint32_t set; /* of the shards */
    bool gives;
};

static bool takes_part(const struct tournament *cup, uint32_t seat)
{
    const struct seat *it = &cup->board->seats[seat];
    if (!in_tiers(it, cup->tiers))
        return false;
    if (cup->gives)
        return board_first(cup->board, seat, cup->set) != PLAN_NOBODY;
    return seat_has_room(it) && seat_has_tags(it, cup->board->sets[cup->set]);
}

static void play(struct tournament *cup, uint32_t at)
{
    uint32_t left = cup->winners[2 * at], right = cup->winners[2 * at + 1], winner = left;
    if (left == PLAN_NOBODY) {
        winner = right;
    } else if (right != PLAN_NOBODY) {
        int order = seat_compare(cup->board, &cup->board->seats[left], &cup->board->seats[right], cup->gives);
        winner = (cup->gives ? order < 0 : order > 0) ? right : left;
    }
    cup->winners[at] = winner;
}

static void tournament_begin(struct tournament *cup, struct board *board, unsigned tiers, uint32_t set, bool gives)
{
    uint32_t leaves = 1;
    while (leaves < board->seat_count)
        leaves *= 2;
    *cup = (struct tournament){.board = board, .leaves = leaves, .tiers = tiers, .set = set, .gives = gives};
    cup->winners = mem_new((size_t)2 * leaves * sizeof(*cup->winners));
    for (uint32_t i = 0; i < leaves; i++)
        cup->winners[leaves + i] = i < board->seat_count && takes_part(cup, i) ? i : PLAN_NOBODY;
    for (uint32_t i = leaves - 1; i > 0; i--)
        play(cup, i);
}

static void tournament_end(struct tournament *cup)
{
    free(cup->winners);
}

static void tournament_changed(struct tournament *cup, uint32_t seat)
{
    uint32_t at = cup->leaves + seat;
    cup->winners[at] = takes_part(cup, seat) ? seat : PLAN_NOBODY;
    for (at /= 2; at > 0; at /= 2)
        play(cup, at);
}

static uint32_t tournament_first(const struct tournament *cup)
{
    return cup->winners[1];
}

/* The chains that begin at one seat, or with one shard that lies nowhere. */
struct search {
    struct board *board;
    unsigned tiers;
    uint32_t *reached; /* seats; those that fewer shards need move to stand first */
    uint32_t count;
    uint8_t *via; /* of each seat: the set of the shard that it would be given; NO_SET: not reached */
    uint32_t from[PLAN_TAG_SETS_MAX]; /* of each set: the seat that would give a shard of it */
    bool seen[PLAN_TAG_SETS_MAX];
    bool room; /* one that was reached has room */
};

static void search_init(struct search *search, struct board *board, unsigned tiers)
{
    *search = (struct search){.board = board, .tiers = tiers};
    search->reached = mem_new(((size_t)board->seat_count + 1) * sizeof(*search->reached));
    search->via = mem_new((size_t)board->seat_count + 1);
}

static void search_release(struct search *search)
{
    free(search->reached);
    free(search->via);
}

static void search_begin(struct search *search)
{
    search->count = 0;
    search->room = false;
    memset(search->via, NO_SET, search->board->seat_count);
    memset(search->seen, 0, sizeof(search->seen));
}

/* Whom a shard of this set, from that seat (PLAN_NOBODY: from nowhere), could be given to. */
static void visit(struct search *search, uint32_t set, uint32_t from)
{
    const struct board *board = search->board;
    search->seen[set] = true;
    search->from[set] = from;
    for (uint32_t i = 0; i < board->seat_count; i++) {
        if (i == from || search->via[i] != NO_SET || !in_tiers(&board->seats[i], search->tiers) ||
            !seat_has_tags(&board->seats[i], board->sets[set]))
            continue;
        search->via[i] = (uint8_t)set;
        search->room = search->room || seat_has_room(&board->seats[i]);
        search->reached[search->count++] = i;
    }
}

/* Go on from one seat: by the shards that were moved already, or by those that lie at home. */
static void expand(struct search *search, uint32_t seat, bool moved)
{
    for (uint32_t set = 0; set < search->board->set_count; set++) {
        const struct pile *pile = board_pile(search->board, seat, set);
        if (!search->seen[set] && (moved ? pile->moved : pile->home) != PLAN_NOBODY)
            visit(search, set, seat);
    }
}

/* Go on from all that were reached, cheapest first: to the end, or until one has room. */
static void search_on(struct search *search, bool until_room)
{
    uint32_t freely = 0, paying = 0;
    while (paying < search->count && !(until_room && search->room)) {
        if (freely < search->count)
            expand(search, search->reached[freely++], true);
        else
            expand(search, search->reached[paying++], false);
    }
}

/* Of those reached, the emptiest that has room, and is lower than `giver` (NULL: whatever); or PLAN_NOBODY. */
static uint32_t emptiest(const struct search *search, const struct seat *giver)
{
    const struct board *board = search->board;
    uint32_t best = PLAN_NOBODY;
    for (uint32_t i = 0; i < search->count; i++) {
        const struct seat *seat = &board->seats[search->reached[i]];
        if (!seat_has_room(seat) || (giver != NULL && !seat_gives_to(board, giver, seat)))
            continue;
        if (best == PLAN_NOBODY || seat_compare(board, seat, &board->seats[best], false) < 0)
            best = search->reached[i];
    }
    return best;
}

/* The shard that leaves the one seat for the other: rather one that comes home by it. */
static uint32_t choose(const struct board *board, uint32_t from, uint32_t to, uint32_t set)
{
    uint32_t shard = board_pile(board, from, set)->moved;
    for (unsigned i = 0; i < LOOK_FOR_HOME && shard != PLAN_NOBODY; i++, shard = board->next[shard])
        if (board->home[shard] == to)
            return shard;
    return board_first(board, from, set);
}

static void move(struct board *board, uint32_t shard, uint32_t to)
{
    board_take(board, shard);
    board_put(board, shard, to);
}

/* Move along the chain that ends at `to`, back to where it begins; returns the set whose shard it begins with. */
static uint8_t follow(const struct search *search, uint32_t to, uint32_t giver)
{
    for (;;) {
        uint8_t set = search->via[to];
        uint32_t from = search->from[set];
        if (from == PLAN_NOBODY)
            return set;
        uint32_t shard = choose(search->board, from, to, set);
        move(search->board, shard, to);
        if (from == giver)
            return set;
        search->board->pushed[shard] = true;
        to = from;
    }
}

/* As follow, of a shard that lies nowhere: it has the seat that has room then. */
static void follow_in(const struct search *search, uint32_t shard, uint32_t to)
{
    struct board *board = search->board;
    uint32_t at = to;
    while (search->from[search->via[at]] != PLAN_NOBODY)
        at = search->from[search->via[at]];
    follow(search, to, PLAN_NOBODY);
    board_put(board, shard, at);
}

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

static void in_turn(const struct board *board, uint32_t *shards, uint32_t count, unsigned tiers)
{
    if (board->equal && board->set_count == 1)
        return; /* by their numbers, as they came */
    uint32_t takers[PLAN_TAG_SETS_MAX] = {0};
    for (uint32_t set = 0; set < board->set_count; set++)
        for (uint32_t i = 0; i < board->seat_count; i++)
            if (in_tiers(&board->seats[i], tiers) && seat_has_tags(&board->seats[i], board->sets[set]))
                takers[set]++;
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
    struct tournament takers;
    uint32_t placed = 0;
    tournament_begin(&takers, board, tiers, board->set_of[shards[0]], false);
    for (; placed < count && tournament_first(&takers) != PLAN_NOBODY; placed++) {
        uint32_t seat = tournament_first(&takers);
        board_put(board, shards[placed], seat);
        tournament_changed(&takers, seat);
    }
    tournament_end(&takers);
    return placed;
}

static uint32_t place_where_room_can_be_made(struct board *board, const uint32_t *shards, uint32_t count,
                                             unsigned tiers)
{
    struct search search;
    uint32_t placed = 0;
    search_init(&search, board, tiers);
    for (; placed < count; placed++) {
        search_begin(&search);
        visit(&search, board->set_of[shards[placed]], PLAN_NOBODY);
        search_on(&search, true);
        uint32_t seat = emptiest(&search, NULL);
        if (seat == PLAN_NOBODY)
            break;
        follow_in(&search, shards[placed], seat);
    }
    search_release(&search);
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
        if (board->set_count > 1)
            placed += place_where_room_can_be_made(board, shards + placed, last - placed, tiers);
        memmove(shards + left, shards + placed, (last - placed) * sizeof(*shards));
        left += last - placed;
    }
    qsort(shards, left, sizeof(*shards), compare_numbers);
    return left;
}

static void level_one_set(struct board *board, unsigned tier, uint64_t steps)
{
    struct tournament givers, takers;
    tournament_begin(&givers, board, tier, 0, true);
    tournament_begin(&takers, board, tier, 0, false);
    for (; steps > 0; steps--) {
        uint32_t from = tournament_first(&givers), to = tournament_first(&takers);
        if (from == PLAN_NOBODY || to == PLAN_NOBODY || !seat_gives_to(board, &board->seats[from], &board->seats[to]))
            break;
        move(board, choose(board, from, to, 0), to);
        tournament_changed(&givers, from);
        tournament_changed(&givers, to);
        tournament_changed(&takers, from);
        tournament_changed(&takers, to);
    }
    tournament_end(&givers);
    tournament_end(&takers);
}

/* The fullest seat that is not settled. */
static uint32_t fullest(const struct board *board, unsigned tier, const bool *settled)
{
    uint32_t best = PLAN_NOBODY;
    for (uint32_t i = 0; i < board->seat_count; i++)
        if (!settled[i] && in_tiers(&board->seats[i], tier) &&
            (best == PLAN_NOBODY || seat_compare(board, &board->seats[i], &board->seats[best], true) > 0))
            best = i;
    return best;
}

/* Shards of different weights go by no chain: the seats between would not be as full as before. So a seat that gave may
 * be lower than one that was settled before, and all are looked at again until nothing moves. */
static bool level_once(struct board *board, struct search *search, bool *settled, uint64_t *steps)
{
    bool moved = false;
    memset(settled, 0, board->seat_count);
    for (uint32_t giver; *steps > 0 && (giver = fullest(board, search->tiers, settled)) != PLAN_NOBODY; --*steps) {
        search_begin(search);
        search->via[giver] = 0; /* any: no chain comes back to it */
        search->reached[search->count++] = giver;
        if (board->equal) {
            search_on(search, false);
        } else {
            expand(search, giver, true);
            expand(search, giver, false);
        }
        uint32_t to = emptiest(search, &board->seats[giver]);
        if (to != PLAN_NOBODY)
            follow(search, to, giver);
        else
            settled[giver] = true;
        moved = moved || to != PLAN_NOBODY;
    }
    return moved;
}

static void level_several_sets(struct board *board, unsigned tier, uint64_t steps)
{
    struct search search;
    bool *settled = mem_new((size_t)board->seat_count + 1);
    search_init(&search, board, tier);
    while (level_once(board, &search, settled, &steps) && !board->equal) {
    }
    search_release(&search);
    free(settled);
}

void moves_level(struct board *board, unsigned tier)
{
    /* Each move makes the sum of load^2 / weight smaller, so that there is an end; the limit is for weights that are
     * chosen to make it a far one. */
    uint64_t steps = 8 * ((uint64_t)board->shard_count + board->seat_count + 8);
    if (board->set_count == 1)
        level_one_set(board, tier, steps);
    else if (board->set_count > 1)
        level_several_sets(board, tier, steps);
}
