/* faults.c: what goes wrong, when: phases with faults of every kind, and quiet ones in which the world must come to
 * rest. The seed gives each kind its weight, so that each run has a character of its own. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "checkers.h"
#include "kind.h"
#include "world.h"

enum fault {
    FAULT_PAUSE,      /* a node stands still for a moment */
    FAULT_LONG_PAUSE, /* longer than a ttl: a frozen machine, a suspended laptop */
    FAULT_CRASH,      /* a process dies; a guard may end its session at once */
    FAULT_CUT,        /* no way to the engine */
    FAULT_BREAK,      /* the connection of a view breaks */
    FAULT_RESTART,    /* the engine restarts */
    FAULT_COMPACT,    /* the engine forgets its history */
    FAULT_OWN_0,      /* of the kind's own */
    FAULT_OWN_1,
    FAULT_RESIGN, /* a candidate resigns, and stands again */
    FAULT_OWN_2,
    FAULT_POWER,  /* the power is lost: all nodes and the engine are on one machine */
    FAULT_REMOVE, /* an operator removes the presence that is there for the longest time */
    FAULT_KINDS
};

static const enum fault own_faults[OWN_FAULTS_MAX] = {FAULT_OWN_0, FAULT_OWN_1, FAULT_OWN_2};

int world_any_node(struct world *world)
{
    return (int)rng_range(&world->rng, 0, world->node_count - 1);
}

static void pause_node(struct world *world, int n, int64_t us)
{
    struct sim_node *node = &world->nodes[n];
    if (!node->up || node->paused_until_us > world->now_us)
        return;
    if (us > world->phase_end_us - world->now_us)
        us = world->phase_end_us - world->now_us;
    world_note(world, "n%d stands still for %.3f s", n, (double)us / 1e6);
    node->paused_until_us = world->now_us + us;
    if (!world_keeps(world, WORLD_TESTAMENT_AFTER_DEATH))
        network_send_testament(world, n, world->now_us);
}

static void crash_node(struct world *world, int n)
{
    struct sim_node *node = &world->nodes[n];
    if (!node->up)
        return;
    uint64_t session = node->session;
    node_crash(world, n);
    if (session != 0 && rng_chance(&world->rng, 500)) {
        /* Its guard: when all is over, the testament, and then the end of the session; or it is killed in between. */
        int64_t over_us = world->now_us + rng_range(&world->rng, 500, 50000);
        if (rng_chance(&world->rng, 700))
            network_send_testament(world, n, over_us);
        if (rng_chance(&world->rng, 900))
            world_plan(world, over_us + rng_range(&world->rng, 0, 20000), HAPPEN_DEATH)->session = session;
    }
    world_plan(world, world->now_us + rng_range(&world->rng, 1000, 20 * SECOND_US), HAPPEN_START)->node = n;
}

static void lose_power(struct world *world)
{
    world_note(world, "the power is lost");
    for (int n = 0; n < world->node_count; n++) {
        node_crash(world, n);
        world_plan(world, world->now_us + rng_range(&world->rng, 1000, 20 * SECOND_US), HAPPEN_START)->node = n;
    }
    engine_lose_power(world);
}

static void remove_presence(struct world *world)
{
    struct baton_batch batch;
    const struct baton_record *first = NULL;
    struct baton_reply reply;
    if (!store_read(world->engine.store, world->config.kind->root, 0, 0, &batch))
        return;
    for (size_t i = 0; i < batch.count; i++)
        if (strstr(batch.changes[i].record.key, world->config.kind->presences) != NULL &&
            (first == NULL || batch.changes[i].record.created < first->created))
            first = &batch.changes[i].record;
    if (first == NULL)
        return;
    char *key = mem_text(first->key);
    world_note(world, "operator removes %s", key);
    store_write(world->engine.store,
                &(struct baton_write){.kind = BATON_WRITE_REMOVE, .key = key, .if_revision = BATON_REVISION_ANY},
                &reply);
    free(key);
    engine_stored(world);
}

static void release_hold(struct world *world)
{
    struct baton_write write = {
        .kind = BATON_WRITE_REMOVE, .key = "elections/" SIM_NAME "/hold", .if_revision = BATON_REVISION_ANY};
    struct baton_reply reply;
    world_note(world, "operator releases the hold");
    store_write(world->engine.store, &write, &reply);
    engine_stored(world);
}

void world_mend_hold(struct world *world)
{
    release_hold(world);
    /* A request for a hold may still be on its way: for up to 20 s. */
    world_plan(world, world->now_us + 21 * SECOND_US, HAPPEN_RELEASE);
}

static void one_fault(struct world *world, enum fault fault)
{
    struct rng *rng = &world->rng;
    int n = world_any_node(world);
    world->result->faults++;
    switch (fault) {
    case FAULT_PAUSE:
        pause_node(world, n, rng_range(rng, 1000, 2 * SECOND_US));
        return;
    case FAULT_LONG_PAUSE:
        pause_node(world, n, rng_range(rng, SECOND_US, 40 * SECOND_US));
        return;
    case FAULT_CRASH:
        crash_node(world, n);
        return;
    case FAULT_CUT:
        world_note(world, "n%d is cut off", n);
        world->nodes[n].cut_until_us = world->now_us + rng_range(rng, 100000, 30 * SECOND_US);
        engine_break_watches(world, n);
        node_trouble(world, n, BATON_UNAVAILABLE);
        return;
    case FAULT_BREAK:
        engine_break_watches(world, n);
        return;
    case FAULT_RESTART:
        world_note(world, "the engine restarts");
        engine_restart(world, rng_range(rng, 10000, 15 * SECOND_US));
        return;
    case FAULT_COMPACT:
        store_compact(world->engine.store);
        return;
    case FAULT_OWN_0:
        world->config.kind->fault[0](world, n);
        return;
    case FAULT_OWN_1:
        world->config.kind->fault[1](world, n);
        return;
    case FAULT_RESIGN: {
        struct sim_node *node = &world->nodes[n];
        if (node->up && node->paused_until_us <= world->now_us && node->standing)
            node_step(world, n, &(struct event){.kind = EVENT_RESIGN, .contest = node->contest});
        return;
    }
    case FAULT_OWN_2:
        world->config.kind->fault[2](world, n);
        return;
    case FAULT_POWER:
        lose_power(world);
        return;
    case FAULT_REMOVE:
        remove_presence(world);
        return;
    case FAULT_KINDS:
        break;
    }
    IMPOSSIBLE("fault %d", (int)fault);
}

static void plan_fault(struct world *world)
{
    world_plan(world, world->now_us + rng_range(&world->rng, 50000, 6 * SECOND_US), HAPPEN_FAULT);
}

static void any_fault(struct world *world)
{
    if (!world->faulty)
        return;
    int sum = 0;
    for (int i = 0; i < FAULT_KINDS; i++)
        sum += world->weights[i];
    int64_t pick = rng_range(&world->rng, 0, sum - 1);
    int fault = 0;
    while (pick >= world->weights[fault])
        pick -= world->weights[fault++];
    one_fault(world, (enum fault)fault);
    plan_fault(world);
}

/* Everything that was broken is mended, at once. */
static void mend(struct world *world)
{
    world->engine.down_until_us = 0;
    for (int n = 0; n < world->node_count; n++) {
        struct sim_node *node = &world->nodes[n];
        node->cut_until_us = 0;
        if (!node->up)
            world_plan(world, world->now_us, HAPPEN_START)->node = n;
    }
    if (world->config.kind->mend != NULL)
        world->config.kind->mend(world);
}

static void phase(struct world *world)
{
    int64_t length_us;
    if (world->faulty) {
        world->faulty = false;
        length_us = 120 * SECOND_US;
        world_note(world, "---- faults end");
        mend(world);
        quiet_begins(world);
        if (world->config.kind->check_quiet_begins != NULL)
            world->config.kind->check_quiet_begins(world);
    } else {
        if (quiet_since_us(world) != NEVER_MS && world->config.kind->check_quiet_ends != NULL)
            world->config.kind->check_quiet_ends(world);
        quiet_ends(world);
        world->faulty = true;
        world->loss = (int)rng_range(&world->rng, 0, 1) * (int)rng_range(&world->rng, 1, 150);
        length_us = rng_range(&world->rng, 60, 240) * SECOND_US;
        world_note(world, "---- faults begin");
        plan_fault(world);
    }
    world->phase_end_us = world->now_us + length_us;
    world_plan(world, world->phase_end_us, HAPPEN_PHASE);
}

void faults_init(struct world *world)
{
    for (int i = 0; i < FAULT_REMOVE; i++)
        world->weights[i] = rng_chance(&world->rng, 350) ? 0 : (int)rng_range(&world->rng, 1, 10);
    world->weights[FAULT_REMOVE] = world_keeps(world, WORLD_ENTRY_IS_ITS_OWNERS) ? 0 : 5;
    for (int i = 0; i < OWN_FAULTS_MAX; i++)
        if (world->config.kind->fault[i] == NULL)
            world->weights[own_faults[i]] = 0;
    if (world->config.kind->weighed != NULL)
        world->config.kind->weighed(world);
    world->weights[FAULT_PAUSE]++; /* never none at all */
    if (world->weights[FAULT_POWER] > 2)
        world->weights[FAULT_POWER] = 2;
    if (world->weights[FAULT_RESTART] > 2)
        world->weights[FAULT_RESTART] = 2;
    world->faulty = false;
    phase(world);
}

void faults_happen(struct world *world, struct happening *happening)
{
    switch (happening->kind) {
    case HAPPEN_FAULT:
        any_fault(world);
        return;
    case HAPPEN_PHASE:
        phase(world);
        return;
    case HAPPEN_RELEASE:
        release_hold(world);
        return;
    case HAPPEN_OWN:
        world->config.kind->own(world, happening);
        return;
    default:
        IMPOSSIBLE("happening %d is not a fault", (int)happening->kind);
    }
}
