/* keeping.c: a node's program releases the lock and takes it back, with nobody else in between: without a write. The
 * nodes and the engine share memory for that, as the processes of one machine do, whatever the network does. */
#include <stdlib.h>

#include "baton/latch.h"
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
    int64_t now_ms = node_clock_ms(world, node);
    uint64_t created;
    if (rng_chance(&world->rng, 100))
        return false;
    struct baton_latch *latch = core_may_keep(node->core, node->contest, now_ms, &created);
    if (latch == NULL || !baton_latch_free(latch, created))
        return false;
    (void)core_keep(node->core, node->contest, now_ms);
    world_note(world, "n%d keeps its entry", n);
    if (rng_chance(&world->rng, 800))
        node_leaves(world, n);
    node_step(world, n, &(struct event){.kind = EVENT_TICK});
    return true;
}

bool node_goes_on(struct world *world, int n, const struct queue_options *options, uint64_t *ret_token)
{
    struct sim_node *node = &world->nodes[n];
    struct baton_latch *latch;
    uint64_t created, token = 0;
    struct contest *lock = core_find_kept(node->core, SIM_NAME, options, node_clock_ms(world, node), &latch, &created);
    if (lock != NULL) {
        token = baton_latch_take(latch, created);
        if (token == 0 && !world_keeps(world, WORLD_TAKE_BACK_BY_LATCH))
            token = baton_latch_last_token(atomic_load(&latch->word)) + 1;
    }
    if (lock != NULL && core_take_back(node->core, lock, options, node, token))
        world_note(world, "n%d takes its entry back: token %llu", n, (unsigned long long)token);
    else
        lock = NULL;
    if (lock == NULL && (lock = core_queue_again(node->core, SIM_NAME, options, node)) == NULL)
        return false;
    if (token == 0)
        world_note(world, "n%d stands in the queue again", n);
    core_forget(node->core, node->contest);
    node->contest = lock;
    *ret_token = token;
    return true;
}
