/* plan.c: see plan.h. */
#include "core/group/plan.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "core/group/plan_board.h"
#include "core/group/plan_moves.h"

#define TIER(state) (1U << (state))
#define WORKERS TIER(PLAN_PRESENT)
#define STANDBYS TIER(PLAN_STANDBY)

static int check_members(const struct plan_member *members, uint32_t count, struct baton_error *err)
{
    if (count > PLAN_MEMBERS_MAX)
        return error_set(err, BATON_FULL, "a group of %u members cannot be planned for: at most %u are allowed", count,
                         PLAN_MEMBERS_MAX);
    for (uint32_t i = 0; i < count; i++)
        if (members[i].weight < 1 || members[i].weight > PLAN_MEMBER_WEIGHT_MAX)
            return error_set(err, BATON_INVALID, "the weight of member '%s' is %u; it must be 1 to %u", members[i].id,
                             members[i].weight, PLAN_MEMBER_WEIGHT_MAX);
    return 0;
}

static int check_tag_sets(const struct plan_shard *shards, uint32_t count, struct baton_error *err)
{
    uint64_t sets[PLAN_TAG_SETS_MAX];
    uint32_t set_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t set = 0;
        while (set < set_count && (shards[i].gone || sets[set] != shards[i].tags))
            set++;
        if (shards[i].gone || set < set_count)
            continue;
        if (set_count == PLAN_TAG_SETS_MAX)
            return error_set(
                err, BATON_FULL,
                "shard %u requires one more set of tags: the shards of a group may require %u different ones", i,
                PLAN_TAG_SETS_MAX);
        sets[set_count++] = shards[i].tags;
    }
    return 0;
}

static int check_shards(const struct plan_shard *shards, uint32_t count, uint32_t members, struct baton_error *err)
{
    if (count > PLAN_SHARDS_MAX)
        return error_set(err, BATON_FULL, "%u shards cannot be planned for: at most %u are allowed", count,
                         PLAN_SHARDS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        const struct plan_shard *shard = &shards[i];
        if (shard->gone)
            continue;
        if (shard->weight < 1 || shard->weight > PLAN_SHARD_WEIGHT_MAX)
            return error_set(err, BATON_INVALID, "the weight of shard %u is %u; it must be 1 to %u", i, shard->weight,
                             PLAN_SHARD_WEIGHT_MAX);
        if ((shard->owner != PLAN_NOBODY && shard->owner >= members) ||
            (shard->pin != PLAN_NOBODY && shard->pin >= members))
            return error_set(err, BATON_INVALID, "shard %u has an owner or a pin that is no member", i);
    }
    return check_tag_sets(shards, count, err);
}

/* A plan under way. */
struct making {
    struct board board;
    const struct plan_member *members;
    uint32_t *pool; /* shards that lie nowhere, by their numbers */
    uint32_t pool_count;
    bool *kept;      /* of each seat: it is away, and its shards are kept back for it */
    uint32_t *order; /* all shards that are there, the heaviest last */
    uint32_t order_count;
};

/* Those that are away keep their shards, whoever went first, up to half of all. */
static uint32_t keep_back(struct making *making)
{
    struct board *board = &making->board;
    uint32_t kept = 0;
    for (;;) {
        uint32_t next = PLAN_NOBODY;
        uint64_t since = UINT64_MAX;
        for (uint32_t i = 0; i < board->seat_count; i++) {
            const struct seat *seat = &board->seats[i];
            uint64_t away_since = making->members[seat->member].away_since;
            if (seat->state == PLAN_AWAY && !making->kept[i] && (next == PLAN_NOBODY || away_since < since)) {
                next = i;
                since = away_since;
            }
        }
        if (next == PLAN_NOBODY)
            return kept;
        if (2 * (kept + board->seats[next].had) <= making->order_count) {
            making->kept[next] = true;
            kept += board->seats[next].had;
        } else {
            board->seats[next].state = PLAN_LEFT;
        }
    }
}

static int compare_weights(const void *left, const void *right)
{
    uint64_t l = *(const uint64_t *)left, r = *(const uint64_t *)right;
    return l < r ? -1 : l > r;
}

static void order_shards(struct making *making)
{
    const struct board *board = &making->board;
    uint64_t *keys = mem_new(((size_t)board->shard_count + 1) * sizeof(*keys));
    uint32_t count = 0;
    for (uint32_t i = 0; i < board->shard_count; i++)
        if (!board->shards[i].gone)
            keys[count++] = (uint64_t)board->shards[i].weight << 32 | i;
    if (!board->equal)
        qsort(keys, count, sizeof(*keys), compare_weights);
    for (uint32_t i = 0; i < count; i++)
        making->order[i] = (uint32_t)keys[i];
    making->order_count = count;
    free(keys);
}

/* Of the pins that are kept at present, or of the others. */
static void fix_pins(struct making *making, bool at_home)
{
    struct board *board = &making->board;
    for (uint32_t i = 0; i < board->shard_count; i++) {
        const struct plan_shard *shard = &board->shards[i];
        if (shard->gone || shard->pin == PLAN_NOBODY)
            continue;
        uint32_t pin = board->seat_of[shard->pin];
        struct seat *seat = &board->seats[pin];
        bool takes =
            seat->state == PLAN_PRESENT || seat->state == PLAN_STANDBY || (seat->state == PLAN_DRAINING && at_home);
        if ((board->home[i] == pin) == at_home && takes && seat_has_tags(seat, shard->tags) && seat_has_room(seat)) {
            board_fix(board, i, pin);
            seat->was_asked = !at_home;
        }
    }
}

/* Put every shard that may stay where it is; the others are in the pool. (The heaviest last: it is the first of its
 * pile, and the first that finds no room.) */
static void stay(struct making *making)
{
    struct board *board = &making->board;
    for (uint32_t i = 0; i < making->order_count; i++) {
        uint32_t shard = making->order[i], home = board->home[shard];
        if (board->at[shard] != PLAN_NOBODY || home == PLAN_NOBODY)
            continue;
        const struct seat *seat = &board->seats[home];
        if (making->kept[home])
            board_fix(board, shard, home);
        else if (seat->state <= PLAN_DRAINING && seat_has_tags(seat, board->shards[shard].tags) && seat_has_room(seat))
            board_put(board, shard, home);
    }
    for (uint32_t i = 0; i < board->shard_count; i++)
        if (!board->shards[i].gone && board->at[i] == PLAN_NOBODY)
            making->pool[making->pool_count++] = i;
}

static void place_pool(struct making *making)
{
    struct board *board = &making->board;
    making->pool_count = moves_place(board, making->pool, making->pool_count, WORKERS);
    making->pool_count = moves_place(board, making->pool, making->pool_count, WORKERS | STANDBYS);
}

/* What lies with members of this state, and is not fixed there, goes to the tiers as far as they have room. */
static void relieve(struct making *making, enum plan_state state, const unsigned *tiers, unsigned tier_count)
{
    struct board *board = &making->board;
    uint32_t *shards = mem_new(((size_t)board->shard_count + 1) * sizeof(*shards));
    uint32_t *from = mem_new(((size_t)board->shard_count + 1) * sizeof(*from));
    uint32_t count = 0;
    for (uint32_t seat = 0; seat < board->seat_count; seat++)
        for (uint32_t set = 0; board->seats[seat].state == state && set < board->set_count; set++)
            for (uint32_t shard; (shard = board_first(board, seat, set)) != PLAN_NOBODY; count++) {
                board_take(board, shard);
                shards[count] = shard;
                from[shard] = seat;
            }
    for (unsigned i = 0; i < tier_count; i++)
        count = moves_place(board, shards, count, tiers[i]);
    for (uint32_t i = 0; i < count; i++)
        board_put(board, shards[i], from[shards[i]]);
    free(shards);
    free(from);
}

static enum plan_why why_unplaced(const struct board *board, uint32_t shard)
{
    enum plan_why why = PLAN_EMPTY;
    for (uint32_t i = 0; i < board->seat_count; i++) {
        const struct seat *seat = &board->seats[i];
        if (seat->state != PLAN_PRESENT && seat->state != PLAN_STANDBY)
            continue;
        if (seat_has_tags(seat, board->shards[shard].tags))
            return PLAN_FULL;
        why = PLAN_ALIEN;
    }
    return why;
}

static enum plan_why why_levelled(const struct board *board, uint32_t shard)
{
    const struct seat *from = &board->seats[board->home[shard]], *to = &board->seats[board->at[shard]];
    if (board->pushed[shard])
        return PLAN_TAGS;
    if (from->was_asked)
        return PLAN_OPERATOR;
    bool alike = board->equal && from->weight == to->weight;
    return (alike || to->had == 0) && from->had <= from->max ? PLAN_JOIN : PLAN_WEIGHT;
}

static enum plan_why why_moved(const struct board *board, uint32_t shard)
{
    const struct seat *from = &board->seats[board->home[shard]], *to = &board->seats[board->at[shard]];
    if (board->shards[shard].pin == to->member)
        return PLAN_OPERATOR;
    switch (from->state) {
    case PLAN_AWAY: /* and pinned to another one, which is told above */
    case PLAN_LEFT:
        return PLAN_LEAVE;
    case PLAN_FAILED:
        return PLAN_FAILURE;
    case PLAN_DRAINING:
        return PLAN_DRAIN;
    case PLAN_PRESENT:
    case PLAN_STANDBY:
        break;
    }
    if (!seat_has_tags(from, board->shards[shard].tags))
        return PLAN_TAGS;
    if (from->state == PLAN_STANDBY && to->state == PLAN_PRESENT)
        return PLAN_JOIN;
    return why_levelled(board, shard);
}

static enum plan_why why_of(const struct making *making, uint32_t shard)
{
    const struct board *board = &making->board;
    if (board->shards[shard].gone)
        return PLAN_STAYS;
    if (board->at[shard] == PLAN_NOBODY)
        return why_unplaced(board, shard);
    if (board->at[shard] == board->home[shard])
        return making->kept[board->at[shard]] ? PLAN_KEPT : PLAN_STAYS;
    if (board->home[shard] != PLAN_NOBODY)
        return why_moved(board, shard);
    return board->shards[shard].pin == board->seats[board->at[shard]].member ? PLAN_OPERATOR : PLAN_FIRST;
}

static void write_plan(const struct making *making, struct plan *plan)
{
    const struct board *board = &making->board;
    *plan = (struct plan){.count = board->shard_count};
    plan->owners = mem_new(((size_t)plan->count + 1) * sizeof(*plan->owners));
    plan->whys = mem_new((size_t)plan->count + 1);
    for (uint32_t i = 0; i < plan->count; i++) {
        uint32_t at = board->at[i];
        enum plan_why why = why_of(making, i);
        plan->owners[i] = at == PLAN_NOBODY ? PLAN_NOBODY : board->seats[at].member;
        plan->whys[i] = (uint8_t)why;
        if (plan_why_is_unplaced(why))
            plan->unplaced++;
        else if (why == PLAN_KEPT)
            plan->kept_back++;
        else if (why != PLAN_STAYS)
            plan->moves++;
    }
}

int plan_make(struct plan *ret_plan, const struct plan_member *members, uint32_t member_count,
              const struct plan_shard *shards, uint32_t shard_count, struct baton_error *err)
{
    if (check_members(members, member_count, err) != 0 || check_shards(shards, shard_count, member_count, err) != 0)
        return -1;
    struct making making = {.members = members};
    board_init(&making.board, members, member_count, shards, shard_count);
    making.pool = mem_new(((size_t)shard_count + 1) * sizeof(*making.pool));
    making.order = mem_new(((size_t)shard_count + 1) * sizeof(*making.order));
    making.kept = mem_new((size_t)member_count + 1);
    order_shards(&making);
    keep_back(&making);
    fix_pins(&making, true);
    fix_pins(&making, false);
    stay(&making);
    place_pool(&making);
    relieve(&making, PLAN_DRAINING, (const unsigned[]){WORKERS, WORKERS | STANDBYS}, 2);
    relieve(&making, PLAN_STANDBY, (const unsigned[]){WORKERS}, 1);
    moves_level(&making.board, WORKERS);
    moves_level(&making.board, STANDBYS);
    write_plan(&making, ret_plan);
    free(making.pool);
    free(making.order);
    free(making.kept);
    board_release(&making.board);
    return 0;
}

void plan_release(struct plan *plan)
{
    free(plan->owners);
    free(plan->whys);
    *plan = (struct plan){0};
}

const char *plan_why_word(enum plan_why why)
{
    static const char *const words[] = {
        [PLAN_STAYS] = "stays",       [PLAN_KEPT] = "kept",       [PLAN_FIRST] = "first",   [PLAN_JOIN] = "join",
        [PLAN_LEAVE] = "leave",       [PLAN_FAILURE] = "failure", [PLAN_WEIGHT] = "weight", [PLAN_TAGS] = "tags",
        [PLAN_OPERATOR] = "operator", [PLAN_DRAIN] = "drain",     [PLAN_EMPTY] = "empty",   [PLAN_ALIEN] = "alien",
        [PLAN_FULL] = "full",
    };
    assert((size_t)why < COUNT_OF(words));
    return words[why];
}

bool plan_why_is_unplaced(enum plan_why why)
{
    return why >= PLAN_EMPTY;
}
