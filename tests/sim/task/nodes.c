/* nodes.c: worlds in which the nodes want one task after another to be done: t0, t1, ... Who starts anew begins at one
 * of the last. */
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"
#include "checkers.h"
#include "core/task/task.h"
#include "task/task.h"

#define RETRY_MAX_MS 2000
#define KEEP_MAX_MS 20000

static void begin(struct world *world)
{
    world->part = mem_new(sizeof(struct task_part));
}

static void end(struct world *world)
{
    free(task_part(world)->seen);
    free(task_part(world));
}

static void weighed(struct world *world)
{
    task_part(world)->tidy = rng_chance(&world->rng, 500);
}

struct task_policy task_policy(const struct world *world, unsigned task)
{
    struct rng rng = {.state = world->config.seed * 1000003 + task};
    struct task_policy policy = {.retries = (uint32_t)rng_range(&rng, 0, 2), .mixed = rng_chance(&rng, 250)};
    policy.again = rng_chance(&rng, 500);
    if (rng_chance(&rng, 250))
        policy.keep_ms = rng_range(&rng, 1, KEEP_MAX_MS);
    return policy;
}

static struct contest *observe_next(struct world *world, int n)
{
    struct sim_node *node = &world->nodes[n];
    struct task_part *part = task_part(world);
    char key[32];
    unsigned newest = part->task_count > 0 ? part->task_count - 1 : 0;
    if (node->contest == NULL)
        part->nodes[n].task = newest - (unsigned)rng_range(&world->rng, 0, newest < 2 ? newest : 2);
    else
        part->nodes[n].task++;
    if (part->nodes[n].task >= part->task_count)
        part->task_count = part->nodes[n].task + 1;
    snprintf(key, sizeof(key), "t%u", part->nodes[n].task);
    return core_observe(node->core, CONTEST_TASK, key, node, NULL);
}

static struct contest *observe(struct world *world, int n)
{
    task_part(world)->nodes[n].wanted = false;
    return observe_next(world, n);
}

static int want(struct world *world, int n, struct baton_error *err)
{
    struct sim_node *node = &world->nodes[n];
    struct task_part *part = task_part(world);
    struct rng *rng = &world->rng;
    if (part->nodes[n].wanted) {
        struct contest *before = node->contest;
        node->contest = observe_next(world, n);
        core_forget(node->core, before);
    }
    struct task_policy policy = task_policy(world, part->nodes[n].task);
    part->nodes[n].again = policy.mixed ? rng_chance(rng, 500) : policy.again;
    struct task_options options = {
        .what = "",
        .again = part->nodes[n].again,
        .retries = policy.retries,
        .keep_ms = policy.keep_ms,
        .retry_after_ms = rng_range(rng, 0, RETRY_MAX_MS),
        .queue = {.try_only = rng_chance(rng, 100), .until_ms = NEVER_MS, .stop_ms = node->options.stop_ms}};
    if (options.queue.try_only || rng_chance(rng, 150))
        node_waits(world, n, &options.queue);
    node->waits_since_us = world->now_us;
    part->nodes[n].wanted = true;
    return core_once(node->core, node->contest, &options, err);
}

static void begins(struct world *world, int n, uint64_t token)
{
    world->result->terms++;
    task_check_begins(world, n, token);
    world->nodes[n].waits_since_us = world->now_us;
    node_works(world, n, token);
}

static void through(struct world *world, int n)
{
    struct sim_node *node = &world->nodes[n];
    struct task_result result = {.state = CLAIM_DONE};
    if (rng_chance(&world->rng, 300)) {
        result.state = CLAIM_FAILED;
        result.status = (int32_t)rng_range(&world->rng, 1, 255);
    }
    core_ended(node->core, node->contest, &result);
    node_step(world, n, &(struct event){.kind = EVENT_TICK});
}

/* It may have been through just in time. */
static bool stopped(struct world *world, int n)
{
    if (!rng_chance(&world->rng, 300))
        return false;
    through(world, n);
    return true;
}

/* An operator forgets it, without force: not what is being done. */
static void forget(struct world *world, int n)
{
    struct sim_node *node = &world->nodes[n];
    const struct task_part *part = task_part(world);
    if (!node->up || node->paused_until_us > world->now_us)
        return;
    int64_t until_ms = node_clock_ms(world, node) + rng_range(&world->rng, 500, 20000);
    world_note(world, "operator at n%d: forget t%u%s", n, part->nodes[n].task, part->tidy ? " if it has expired" : "");
    core_forget_task(node->core, node->contest, ++world->order, part->tidy ? FORGET_EXPIRED : FORGET_IDLE, until_ms);
    node_step(world, n, &(struct event){.kind = EVENT_TICK});
}

const struct world_kind task_world = {
    .option = "tasks",
    .text = ", tasks",
    .first_rule = RULE_TASK_CLAIM_AT_HEAD,
    .last_rule = RULE_TASK_FORGET_EXPIRED,
    .root = "tasks/",
    .presences = "/queue/",
    .keeps_session = true,
    .begin = begin,
    .end = end,
    .observe = observe,
    .want = want,
    .begins = begins,
    .through = through,
    .stopped = stopped,
    .outcome = task_check_outcome,
    .fault = {NULL, NULL, forget},
    .weighed = weighed,
    .mend = world_mend_hold,
    .check_stored = task_check_stored,
    .check_instant = task_check_instant,
};
