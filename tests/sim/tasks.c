/* tasks.c: nodes that want one task after another to be done: t0, t1, ... Who starts anew begins at one of the last. */
#include <stdio.h>

#include "base/base.h"
#include "world.h"

#define RETRY_MAX_MS 2000
#define KEEP_MAX_MS 20000

struct task_policy task_policy(const struct world *world, unsigned task)
{
    struct rng rng = {.state = world->config.seed * 1000003 + task};
    struct task_policy policy = {.retries = (uint32_t)rng_range(&rng, 0, 2), .mixed = rng_chance(&rng, 250)};
    policy.again = rng_chance(&rng, 500);
    if (rng_chance(&rng, 250))
        policy.keep_ms = rng_range(&rng, 1, KEEP_MAX_MS);
    return policy;
}

struct contest *task_observe(struct world *world, int n)
{
    struct sim_node *node = &world->nodes[n];
    char key[32];
    unsigned newest = world->task_count > 0 ? world->task_count - 1 : 0;
    if (node->election == NULL)
        node->task = newest - (unsigned)rng_range(&world->rng, 0, newest < 2 ? newest : 2);
    else
        node->task++;
    if (node->task >= world->task_count)
        world->task_count = node->task + 1;
    snprintf(key, sizeof(key), "t%u", node->task);
    return core_observe(node->core, CONTEST_TASK, key, node, NULL);
}

int task_enter(struct world *world, int n, struct baton_error *err)
{
    struct sim_node *node = &world->nodes[n];
    struct rng *rng = &world->rng;
    if (node->task_wanted) {
        struct contest *before = node->election;
        node->election = task_observe(world, n);
        core_forget(node->core, before);
    }
    struct task_policy policy = task_policy(world, node->task);
    node->task_again = policy.mixed ? rng_chance(rng, 500) : policy.again;
    struct task_options options = {
        .what = "",
        .again = node->task_again,
        .retries = policy.retries,
        .keep_ms = policy.keep_ms,
        .retry_after_ms = rng_range(rng, 0, RETRY_MAX_MS),
        .queue = {.try_only = rng_chance(rng, 100), .until_ms = NEVER_MS, .stop_ms = node->options.stop_ms}};
    if (options.queue.try_only || rng_chance(rng, 150))
        node_waits(world, n, &options.queue);
    node->waits_since_us = world->now_us;
    node->task_wanted = true;
    return core_once(node->core, node->election, &options, err);
}

void task_finish(struct world *world, int n)
{
    struct sim_node *node = &world->nodes[n];
    struct task_result result = {.state = CLAIM_DONE};
    if (rng_chance(&world->rng, 300)) {
        result.state = CLAIM_FAILED;
        result.status = (int32_t)rng_range(&world->rng, 1, 255);
    }
    core_ended(node->core, node->election, &result);
    node_step(world, n, &(struct event){.kind = EVENT_TICK});
}
