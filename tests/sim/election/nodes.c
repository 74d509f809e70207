/* nodes.c: worlds in which the nodes want to lead, and operators ask for handovers and holds. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "checkers.h"
#include "election/election.h"

static void begin(struct world *world)
{
    world->part = mem_new(sizeof(struct election_part));
    election_part(world)->leader = -1;
}

static void end(struct world *world)
{
    struct election_part *part = election_part(world);
    for (size_t i = 0; i < part->cid_count; i++)
        free(part->cids[i]);
    free(part->cids);
    free(part);
}

static struct contest *observe(struct world *world, int n)
{
    struct sim_node *node = &world->nodes[n];
    return core_observe(node->core, CONTEST_ELECTION, SIM_NAME, node, NULL);
}

static int want(struct world *world, int n, struct baton_error *err)
{
    struct sim_node *node = &world->nodes[n];
    node_renews_handle(world, n);
    return core_stand(node->core, node->contest, &node->options, err);
}

/* ---- operators ---- */

static bool can_be_asked(const struct world *world, const struct sim_node *node)
{
    return node->up && node->paused_until_us <= world->now_us;
}

static void transfer(struct world *world, int n)
{
    struct sim_node *node = &world->nodes[n];
    if (!can_be_asked(world, node))
        return;
    int64_t until_ms = node_clock_ms(world, node) + rng_range(&world->rng, 500, 20000);
    const char *to = rng_chance(&world->rng, 600) ? world->nodes[world_any_node(world)].id : NULL;
    world_note(world, "operator at n%d: transfer", n);
    core_transfer(node->core, node->contest, ++world->order, to, until_ms);
    node_step(world, n, &(struct event){.kind = EVENT_TICK});
}

static void hold(struct world *world, int n)
{
    struct sim_node *node = &world->nodes[n];
    if (!can_be_asked(world, node))
        return;
    int64_t until_ms = node_clock_ms(world, node) + rng_range(&world->rng, 500, 20000);
    if (rng_chance(&world->rng, 600))
        (void)world_any_node(world); /* (as a transfer draws whom to) */
    world_note(world, "operator at n%d: hold", n);
    core_hold(node->core, node->contest, ++world->order, "maintenance", until_ms);
    world_plan(world, world->now_us + rng_range(&world->rng, SECOND_US, 30 * SECOND_US), HAPPEN_RELEASE);
    node_step(world, n, &(struct event){.kind = EVENT_TICK});
}

/* As an operator with the engine's own tool would: by compare-and-set, and only when nobody is named. */
static void delete_decision(struct world *world, int n)
{
    const struct baton_record *record = store_get(world->engine.store, DECISION_KEY);
    if (record == NULL ||
        (world_keeps(world, WORLD_DELETE_ONLY_NOBODY) && strstr(record->value, "\"cid\":\"\"") == NULL))
        return;
    world_note(world, "operator deletes the decision at %llu", (unsigned long long)record->revision);
    struct baton_write write = {.kind = BATON_WRITE_REMOVE, .key = DECISION_KEY, .if_revision = record->revision};
    struct baton_reply reply;
    store_write(world->engine.store, &write, &reply);
    election_check_stored(world, &write);
    engine_stored(world);
}

const struct world_kind election_world = {
    .option = "elections",
    .text = "",
    .root = "elections/" SIM_NAME "/",
    .presences = "/candidates/",
    .begin = begin,
    .end = end,
    .observe = observe,
    .want = want,
    .acts = check_fenced_write,
    .fault = {transfer, hold, delete_decision},
    .mend = world_mend_hold,
    .check_stored = election_check_stored,
    .check_instant = election_check_instant,
    .check_quiet_begins = election_check_quiet_begins,
    .check_quiet_ends = election_check_quiet_ends,
};
