/* keeping.c: a node's program releases the lock and takes it back, with nobody else in between: without a write. The
 * nodes and the engine share memory for that, as the processes of one machine do, whatever the network does. */
#include <stdlib.h>

#include "core/lock/lock.h"
#include "lock/lock.h"

void node_finds_latch(struct world *world, int n)
{
    struct sim_node *node = &world->nodes[n];
    uint64_t created;
    char *key = core_latch_key(node->contest, &created);
    core_latch(node->core, node->contest, key != NULL ? store_latch(world->engine.store, key, created) : NULL);
    free(key);
}

void node_leaves(struct world *world, int n)
{
    struct sim_node *node = &world->nodes[n];
    if (!core_leave(node->core, node->contest, node_clock_ms(world, node)))
        core_forget(node->core, node->contest);
    node->contest = core_observe(node->core, CONTEST_LOCK, SIM_NAME, node, NULL);
}

bool node_keeps(struct world *world, int n)
{
    struct sim_node *node = &world->nodes[n];
    int64_t wake_ms;
    if (rng_chance(&world->rng, 100) || !core_keep(node->core, node->contest, node_clock_ms(world, node), &wake_ms))
        return false;
    world_note(world, "n%d keeps its entry", n);
    if (rng_chance(&world->rng, 800))
        node_leaves(world, n);
    node_step(world, n, &(struct event){.kind = EVENT_TICK});
    return true;
}

bool node_goes_on(struct world *world, int n, const struct queue_options *options, uint64_t *ret_token)
{
    struct sim_node *node = &world->nodes[n];
    uint64_t token;
    struct contest *lock = core_take_back(node->core, SIM_NAME, options, node, node_clock_ms(world, node), &token);
    if (lock != NULL)
        world_note(world, "n%d takes its entry back: token %llu", n, (unsigned long long)token);
    else
        token = 0;
    if (lock == NULL && (lock = core_queue_again(node->core, SIM_NAME, options, node)) == NULL)
        return false;
    if (token == 0)
        world_note(world, "n%d stands in the queue again", n);
    core_forget(node->core, node->contest);
    node->contest = lock;
    *ret_token = token;
    return true;
}
