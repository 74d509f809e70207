/* nodes.c: worlds in which the nodes wait for each other at one barrier, again and again. */
#include "barrier/nodes.h"

#include <stdlib.h>

#include "barrier/barrier.h"
#include "base/base.h"

static void begin(struct world *world)
{
    struct barrier_part *part = world->part = mem_new(sizeof(*part));
    part->size = (uint32_t)rng_range(&world->rng, 1, world->node_count);
    part->enough_since_us = NEVER_MS;
    part->disagreed = rng_chance(&world->rng, 150);
}

static void end(struct world *world)
{
    barrier_checkers_free(world);
    free(world->part);
}

static struct contest *observe(struct world *world, int n)
{
    struct sim_node *node = &world->nodes[n];
    return core_observe(node->core, CONTEST_BARRIER, SIM_NAME, node, NULL);
}

static int want(struct world *world, int n, struct baton_error *err)
{
    struct sim_node *node = &world->nodes[n];
    struct barrier_part *part = barrier_part(world);
    node_renews_handle(world, n);
    part->sizes[n] = part->size;
    if (part->disagreed && rng_chance(&world->rng, 100))
        part->sizes[n] = (uint32_t)rng_range(&world->rng, 1, world->node_count);
    node->waits_since_us = world->now_us;
    const struct barrier_options options = {.size = part->sizes[n], .stop_ms = node->options.stop_ms};
    return barrier_wait(node->core, node->contest, &options, err);
}

static void begins(struct world *world, int n, uint64_t generation)
{
    world->nodes[n].waits_since_us = NEVER_MS;
    barrier_check_begins(world, n, generation);
    node_works(world, n, generation);
}

static const struct sim_rule rules[] = {
#define RULE_NAME(name, text) {#name, text},
    BARRIER_RULES(RULE_NAME)
#undef RULE_NAME
};

const struct world_kind barrier_world = {
    .option = "barriers",
    .text = ", a barrier",
    .own_rules = rules,
    .own_rule_count = COUNT_OF(rules),
    .root = "barriers/" SIM_NAME "/",
    .presences = "/here/",
    .keeps_session = true,
    .begin = begin,
    .end = end,
    .observe = observe,
    .want = want,
    .begins = begins,
    .check_stored = barrier_check_stored,
    .check_instant = barrier_check_instant,
};
