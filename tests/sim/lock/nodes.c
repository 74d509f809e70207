/* nodes.c: worlds in which the nodes want a lock, of some kind, again and again. */
#include <stdlib.h>

#include "base/base.h"
#include "checkers.h"
#include "core/lock/lock.h"
#include "lock/lock.h"

static void begin(struct world *world)
{
    world->part = mem_new(sizeof(struct lock_part));
    lock_part(world)->kind = (enum lock_kind)rng_range(&world->rng, 0, LOCK_KINDS - 1);
    /* It may be wanted by all, or mostly by one of them, again and again. */
    bool crowded = rng_chance(&world->rng, 400);
    for (int n = 0; n < world->node_count && !crowded; n++)
        world->nodes[n].idle_us = (n == 0 ? 1 : 60) * SECOND_US;
}

static void end(struct world *world)
{
    free(world->part);
}

static struct contest *observe(struct world *world, int n)
{
    struct sim_node *node = &world->nodes[n];
    return core_observe(node->core, CONTEST_LOCK, SIM_NAME, node, NULL);
}

static uint32_t pick_slots(struct world *world)
{
    struct rng *rng = &world->rng;
    switch (lock_part(world)->kind) {
    case LOCK_COUNTED:
        return 2 + (uint32_t)(world->config.seed % 2);
    case LOCK_SHARED:
        return rng_chance(rng, 500) ? 1 : SLOTS_SHARED;
    case LOCK_DISAGREED:
        return rng_chance(rng, 250) ? SLOTS_SHARED : (uint32_t)rng_range(rng, 1, 3);
    default:
        return 1;
    }
}

static int want(struct world *world, int n, struct baton_error *err)
{
    struct sim_node *node = &world->nodes[n];
    struct rng *rng = &world->rng;
    if (core_is_kept(node->contest))
        node_leaves(world, n);
    else
        node_renews_handle(world, n);
    struct queue_options options = {.slots = lock_part(world)->slots[n] = pick_slots(world),
                                    .try_only = rng_chance(rng, 100),
                                    .until_ms = NEVER_MS,
                                    .stop_ms = node->options.stop_ms};
    if (options.try_only || rng_chance(rng, 150))
        node_waits(world, n, &options);
    node->waits_since_us = world->now_us;
    uint64_t token;
    if (node_goes_on(world, n, &options, &token)) {
        if (token != 0)
            node_told(world, n, &(struct action){.tell = TELL_LEAD, .term = token});
        return 0;
    }
    return core_queue(node->core, node->contest, &options, err);
}

static void begins(struct world *world, int n, uint64_t token)
{
    world->result->terms++;
    lock_check_token(world, n, token);
    world->nodes[n].waits_since_us = NEVER_MS;
    node_works(world, n, token);
}

static void through(struct world *world, int n)
{
    struct sim_node *node = &world->nodes[n];
    if (node_keeps(world, n)) {
        program_move(node, PROGRAM_IDLE);
        node->standing = false;
        node_plan(world, n, world->now_us + rng_range(&world->rng, 0, 150000), HAPPEN_STAND);
        return;
    }
    if (rng_chance(&world->rng, 800) && core_unlock(node->core, node->contest)) {
        program_move(node, PROGRAM_IDLE);
        node_step(world, n, &(struct event){.kind = EVENT_TICK});
    } else {
        node_step(world, n, &(struct event){.kind = EVENT_RESIGN, .contest = node->contest});
        node_step(world, n, &(struct event){.kind = EVENT_STOPPED, .contest = node->contest});
    }
    if (node->standing && rng_chance(&world->rng, 300)) { /* it wants it again, before that is through */
        node_leaves(world, n);
        node->standing = false;
        node_plan(world, n, world->now_us + rng_range(&world->rng, 0, 20000), HAPPEN_STAND);
    }
}

const struct world_kind lock_world = {
    .option = "locks",
    .text = ", a lock",
    .first_rule = RULE_HOLD_BY_VIEW,
    .last_rule = RULE_GHOST_IS_REMOVED,
    .world_rules =
        1U << WORLD_ENTRY_IS_ITS_OWNERS | 1U << WORLD_TOKENS_END_WITH_COMPANY | 1U << WORLD_TAKE_BACK_BY_LATCH,
    .root = "locks/" SIM_NAME "/",
    .presences = "locks/" SIM_NAME "/",
    .keeps_session = true,
    .begin = begin,
    .end = end,
    .observe = observe,
    .want = want,
    .begins = begins,
    .begun = node_finds_latch,
    .acts = lock_check_act,
    .through = through,
    .mend = world_mend_hold,
    .check_instant = lock_check_instant,
};
