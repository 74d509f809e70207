/* plan_board.c: see plan_board.h. */
#include "core/group/plan_board.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"

struct rank {
    const char *id;
    uint32_t member;
};

static int compare_ranks(const void *left, const void *right)
{
    return strcmp(((const struct rank *)left)->id, ((const struct rank *)right)->id);
}

/* The seats by id, and where each member's seat is. */
static void take_seats(struct board *board, const struct plan_member *members)
{
    struct rank *ranks = mem_new((board->seat_count + 1) * sizeof(*ranks));
    for (uint32_t i = 0; i < board->seat_count; i++)
        ranks[i] = (struct rank){members[i].id, i};
    qsort(ranks, board->seat_count, sizeof(*ranks), compare_ranks);
    for (uint32_t i = 0; i < board->seat_count; i++) {
        const struct plan_member *member = &members[ranks[i].member];
        board->seats[i] = (struct seat){.member = ranks[i].member,
                                        .state = member->state,
                                        .weight = member->weight,
                                        .max = member->max == 0 ? UINT32_MAX : member->max,
                                        .tags = member->tags};
        board->seat_of[ranks[i].member] = i;
    }
    free(ranks);
}

static uint8_t find_set(struct board *board, uint64_t tags)
{
    uint32_t set = 0;
    while (set < board->set_count && board->sets[set] != tags)
        set++;
    if (set == board->set_count) {
        assert(set < PLAN_TAG_SETS_MAX);
        board->sets[board->set_count++] = tags;
    }
    return (uint8_t)set;
}

static void read_shards(struct board *board)
{
    board->equal = true;
    for (uint32_t i = 0; i < board->shard_count; i++) {
        const struct plan_shard *shard = &board->shards[i];
        board->at[i] = board->home[i] = PLAN_NOBODY;
        if (shard->gone)
            continue;
        board->set_of[i] = find_set(board, shard->tags);
        if (board->heaviest != 0 && shard->weight != board->heaviest)
            board->equal = false;
        if (shard->weight > board->heaviest)
            board->heaviest = shard->weight;
        if (shard->owner == PLAN_NOBODY)
            continue;
        board->home[i] = board->seat_of[shard->owner];
        board->seats[board->home[i]].had++;
    }
}

void board_init(struct board *board, const struct plan_member *members, uint32_t member_count,
                const struct plan_shard *shards, uint32_t shard_count)
{
    size_t room = (size_t)shard_count + 1;
    *board = (struct board){.shards = shards, .shard_count = shard_count, .seat_count = member_count};
    board->seats = mem_new(((size_t)member_count + 1) * sizeof(*board->seats));
    board->seat_of = mem_new(((size_t)member_count + 1) * sizeof(*board->seat_of));
    board->set_of = mem_new(room * sizeof(*board->set_of));
    board->home = mem_new(room * sizeof(*board->home));
    board->at = mem_new(room * sizeof(*board->at));
    board->next = mem_new(room * sizeof(*board->next));
    board->previous = mem_new(room * sizeof(*board->previous));
    board->pushed = mem_new(room * sizeof(*board->pushed));
    take_seats(board, members);
    read_shards(board);
    size_t piles = (size_t)member_count * board->set_count;
    board->piles = mem_new((piles + 1) * sizeof(*board->piles));
    for (size_t i = 0; i < piles; i++)
        board->piles[i] = (struct pile){PLAN_NOBODY, PLAN_NOBODY};
}

void board_release(struct board *board)
{
    free(board->seats);
    free(board->seat_of);
    free(board->set_of);
    free(board->home);
    free(board->at);
    free(board->next);
    free(board->previous);
    free(board->pushed);
    free(board->piles);
    *board = (struct board){0};
}

struct pile *board_pile(const struct board *board, uint32_t seat, uint32_t set)
{
    return &board->piles[(size_t)seat * board->set_count + set];
}

uint32_t board_first(const struct board *board, uint32_t seat, uint32_t set)
{
    const struct pile *pile = board_pile(board, seat, set);
    return pile->moved != PLAN_NOBODY ? pile->moved : pile->home;
}

static uint32_t *list_of(const struct board *board, uint32_t shard, uint32_t seat)
{
    struct pile *pile = board_pile(board, seat, board->set_of[shard]);
    return board->home[shard] == seat ? &pile->home : &pile->moved;
}

void board_fix(struct board *board, uint32_t shard, uint32_t seat)
{
    assert(board->at[shard] == PLAN_NOBODY);
    board->at[shard] = seat;
    board->seats[seat].count++;
    board->seats[seat].load += board->shards[shard].weight;
}

void board_put(struct board *board, uint32_t shard, uint32_t seat)
{
    board_fix(board, shard, seat);
    uint32_t *first = list_of(board, shard, seat);
    board->previous[shard] = PLAN_NOBODY;
    board->next[shard] = *first;
    if (*first != PLAN_NOBODY)
        board->previous[*first] = shard;
    *first = shard;
}

void board_take(struct board *board, uint32_t shard)
{
    uint32_t seat = board->at[shard];
    assert(seat != PLAN_NOBODY);
    if (board->next[shard] != PLAN_NOBODY)
        board->previous[board->next[shard]] = board->previous[shard];
    if (board->previous[shard] != PLAN_NOBODY)
        board->next[board->previous[shard]] = board->next[shard];
    else
        *list_of(board, shard, seat) = board->next[shard];
    board->at[shard] = PLAN_NOBODY;
    board->seats[seat].count--;
    board->seats[seat].load -= board->shards[shard].weight;
}

bool seat_has_tags(const struct seat *seat, uint64_t tags)
{
    return (tags & ~seat->tags) == 0;
}

bool seat_has_room(const struct seat *seat)
{
    return seat->count < seat->max;
}

/* left / left_weight next to right / right_weight. The largest load is 10^11, so that nothing overflows. */
static int compare_fractions(int64_t left, uint32_t left_weight, int64_t right, uint32_t right_weight)
{
    int64_t l = left * right_weight, r = right * left_weight;
    return l < r ? -1 : l > r;
}

bool seat_gives_to(const struct board *board, const struct seat *left, const struct seat *right)
{
    return compare_fractions(2 * left->load - board->heaviest, left->weight, 2 * right->load + board->heaviest,
                             right->weight) > 0;
}

int seat_compare(const struct board *board, const struct seat *left, const struct seat *right, bool gives)
{
    int64_t half = gives ? -board->heaviest : board->heaviest;
    return compare_fractions(2 * left->load + half, left->weight, 2 * right->load + half, right->weight);
}
