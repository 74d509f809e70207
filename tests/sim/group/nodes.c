/* nodes.c: worlds in which the nodes work on the shards of a group: what their programs do, and what operators do. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "checkers.h"
#include "group/group.h"

static void begin(struct world *world)
{
    struct rng *rng = &world->rng;
    struct group_part *part = world->part = mem_new(sizeof(*part));
    part->first_count = (uint32_t)rng_range(rng, 1, rng_chance(rng, 500) ? 12 : WORLD_SHARDS_MAX);
    part->chunk = (uint32_t)rng_range(rng, 5, 60);
    part->max_moves = rng_chance(rng, 500) ? 0 : (uint32_t)rng_range(rng, 1, 8);
    part->settle_start_ms = rng_chance(rng, 500) ? 0 : rng_range(rng, 100, 4000);
    part->settle_ms = rng_chance(rng, 500) ? 0 : rng_range(rng, 100, 4000);
    part->says_count = rng_chance(rng, 500);
    if (rng_chance(rng, 250)) /* two with one id */
        memcpy(world->nodes[world->node_count - 1].id, world->nodes[0].id, sizeof(world->nodes[0].id));
    for (int n = 0; n < world->node_count; n++) {
        world->nodes[n].options.priority = 0;
        world->nodes[n].options.preempt = false;
    }
    group_checkers_begin(world);
}

static void end(struct world *world)
{
    group_checkers_end(world);
    free(world->part);
}

static void weighed(struct world *world)
{
    if (group_part(world)->says_count)
        world->weights[9] = world->weights[9] > 3 ? 3 : world->weights[9];
}

/* ---- members ---- */

static struct contest *observe(struct world *world, int n)
{
    memset(&group_part(world)->nodes[n], 0, sizeof(group_part(world)->nodes[n]));
    return core_observe(world->nodes[n].core, CONTEST_GROUP, SIM_NAME, &world->nodes[n], NULL);
}

static int want(struct world *world, int n, struct baton_error *err)
{
    struct sim_node *node = &world->nodes[n];
    struct group_part *part = group_part(world);
    uint32_t count = stored_count(world);
    struct group_options options = {.count = part->says_count || count == 0 ? part->first_count
                                             : rng_chance(&world->rng, 500) ? count
                                                                            : 0,
                                    .chunk = part->chunk,
                                    .weight = 1,
                                    .stop_ms = node->options.stop_ms,
                                    .settle_start_ms = part->settle_start_ms,
                                    .settle_ms = part->settle_ms,
                                    .max_moves = part->max_moves};
    part->nodes[n].drain = false;
    node_renews_handle(world, n);
    return core_join(node->core, node->contest, &options, err);
}

/* ---- the program of a shard ---- */

bool shard_active(const struct world *world, int n, uint32_t shard)
{
    const struct sim_node *node = &world->nodes[n];
    const struct shard_program *program = &group_part(world)->nodes[n].shards[shard];
    return node->up && program->state != PROGRAM_IDLE && node_clock_ms(world, node) < program->until_ms;
}

static struct happening *plan_of_shard(struct world *world, int n, uint32_t shard, int64_t at_us,
                                       enum happening_kind kind)
{
    struct happening *happening = node_plan(world, n, at_us, kind);
    happening->session = shard;
    happening->token = group_part(world)->nodes[n].shards[shard].grant;
    return happening;
}

/* As long as it has said, and as long as its session lasts, its supervisor lets it be. */
static void stop_goes_on(const struct sim_node *node, struct shard_program *program)
{
    int64_t deadline_ms;
    uint32_t ttl_ms;
    if (program->state != PROGRAM_STOPPING || program->slow_until_us == 0 || program->place_gone ||
        core_session(node->core, &deadline_ms, &ttl_ms) != program->session)
        return;
    program->until_ms = deadline_ms < program->stop_until_ms ? deadline_ms : program->stop_until_ms;
}

static void takes_longer(struct world *world, int n, uint32_t shard)
{
    struct sim_node *node = &world->nodes[n];
    struct shard_program *program = &group_part(world)->nodes[n].shards[shard];
    struct rng *rng = &world->rng;
    if (world->now_us >= program->slow_until_us) {
        plan_of_shard(world, n, shard, world->now_us + (program->slow_for_ever ? 300 * SECOND_US : 0), HAPPEN_STOPPED);
        return;
    }
    int64_t more_ms = rng_range(rng, 500, SLOW_STOP_SAYS_MS), until_ms = node_clock_ms(world, node) + more_ms;
    world_note(world, "n%d needs %lld ms more to stop shard %u", n, (long long)more_ms, (unsigned)shard);
    if (until_ms > program->stop_until_ms)
        program->stop_until_ms = until_ms;
    core_stop_takes(node->core, node->contest, SHARD_PART(shard), until_ms);
    stop_goes_on(node, program);
    group_check_goes_on(world, n, shard);
    node_step(world, n, &(struct event){.kind = EVENT_TICK});
    /* (Now and then it says so too late.) */
    plan_of_shard(world, n, shard, world->now_us + rng_range(rng, 0, more_ms * 1200), HAPPEN_TAKES);
}

static void told_begin(struct world *world, int n, uint32_t shard, uint64_t grant)
{
    struct sim_node *node = &world->nodes[n];
    struct shard_program *program = &group_part(world)->nodes[n].shards[shard];
    uint32_t ttl_ms;
    if (program->state != PROGRAM_IDLE)
        world_fail(world, "n%d is told to begin shard %u while its program has not stopped", n, (unsigned)shard);
    *program = (struct shard_program){.state = PROGRAM_WORKING, .grant = grant};
    program->session = core_session(node->core, &program->until_ms, &ttl_ms);
    group_part(world)->nodes[n].count = group_count(node->contest);
    group_check_begins(world, n, shard, grant);
    plan_of_shard(world, n, shard, world->now_us + rng_range(&world->rng, 0, 20000), HAPPEN_PROGRAM);
}

static void told_stop(struct world *world, int n, uint32_t shard, const struct action *tell)
{
    struct sim_node *node = &world->nodes[n];
    struct shard_program *program = &group_part(world)->nodes[n].shards[shard];
    struct rng *rng = &world->rng;
    bool again = program->state == PROGRAM_STOPPING;
    if (!again)
        group_check_stop(world, n, shard, tell->text);
    program->stop_until_ms = tell->until_ms;
    program->place_gone = program->place_gone || tell->until_ms <= node_clock_ms(world, node);
    if (tell->until_ms < program->until_ms)
        program->until_ms = tell->until_ms;
    program->state = PROGRAM_STOPPING;
    if (node->options.stop_ms == 0 || (again && program->slow_until_us != 0))
        return; /* answered by the core itself; or it says again how long it takes */
    if (!again && rng_chance(rng, 30)) {
        program->slow_until_us = world->now_us + rng_range(rng, SECOND_US, SLOW_STOP_US);
        program->slow_for_ever = rng_chance(rng, 10);
        plan_of_shard(world, n, shard, world->now_us + rng_range(rng, 0, node->options.stop_ms) * 1000, HAPPEN_TAKES);
        return;
    }
    int64_t takes_ms = rng_range(rng, 0, node->options.stop_ms);
    if (world->faulty && rng_chance(rng, 20))
        takes_ms = 3 * node->options.stop_ms + 1000;
    plan_of_shard(world, n, shard, world->now_us + takes_ms * 1000, HAPPEN_STOPPED);
}

static void told_renewed(struct world *world, int n, int64_t until_ms)
{
    for (uint32_t shard = 0; shard < WORLD_SHARDS_MAX; shard++) {
        struct shard_program *program = &group_part(world)->nodes[n].shards[shard];
        if (program->state == PROGRAM_WORKING)
            program->until_ms = until_ms;
        stop_goes_on(&world->nodes[n], program);
        group_check_goes_on(world, n, shard);
    }
}

static void told(struct world *world, int n, const struct action *tell)
{
    struct sim_node *node = &world->nodes[n];
    if (tell->tell == TELL_LEAD && tell->part > 0)
        told_begin(world, n, tell->part - 1, tell->term);
    else if (tell->tell == TELL_STOP && tell->part > 0)
        told_stop(world, n, tell->part - 1, tell);
    else if (tell->tell == TELL_FOLLOW && tell->part > 0)
        group_part(world)->nodes[n].shards[tell->part - 1].state = PROGRAM_IDLE;
    else if (tell->tell == TELL_RENEWED)
        told_renewed(world, n, tell->until_ms);
    else if (tell->tell == TELL_SESSION)
        node->session = tell->session;
    else if (tell->tell == TELL_RESIGNED) {
        node->standing = false;
        node_plan(world, n, world->now_us + rng_range(&world->rng, 0, node->idle_us), HAPPEN_STAND);
    }
}

/* Ask, and act on the answer a moment later: the node may be paused in between. */
static void program_step(struct world *world, int n, uint32_t shard)
{
    struct sim_node *node = &world->nodes[n];
    uint64_t grant = contest_leads(node->core, node->contest, SHARD_PART(shard), node_clock_ms(world, node));
    if (grant != 0)
        plan_of_shard(world, n, shard, world->now_us + rng_range(&world->rng, 0, 3000), HAPPEN_ACT)->token = grant;
    plan_of_shard(world, n, shard, world->now_us + rng_range(&world->rng, SECOND_US, 20 * SECOND_US), HAPPEN_PROGRAM);
}

static void program(struct world *world, const struct happening *happening)
{
    int n = happening->node;
    uint32_t shard = (uint32_t)happening->session;
    struct sim_node *node = &world->nodes[n];
    const struct shard_program *program = &group_part(world)->nodes[n].shards[shard];
    if (happening->kind == HAPPEN_ACT) {
        group_check_write(world, n, shard, happening->token);
        return;
    }
    if (happening->token != program->grant)
        return;
    if (happening->kind == HAPPEN_PROGRAM && program->state == PROGRAM_WORKING)
        program_step(world, n, shard);
    else if (happening->kind == HAPPEN_STOPPED && program->state == PROGRAM_STOPPING)
        node_step(world, n,
                  &(struct event){.kind = EVENT_STOPPED, .contest = node->contest, .part = SHARD_PART(shard)});
    else if (happening->kind == HAPPEN_TAKES && program->state == PROGRAM_STOPPING)
        takes_longer(world, n, shard);
}

/* ---- operators ---- */

static void put(struct world *world, const char *key, const char *value)
{
    struct baton_write write = {.kind = value != NULL ? BATON_WRITE_PUT : BATON_WRITE_REMOVE,
                                .key = key,
                                .value = value,
                                .if_revision = BATON_REVISION_ANY};
    struct baton_reply reply;
    world_note(world, "operator %s %s %s", value != NULL ? "puts" : "removes", key, value != NULL ? value : "");
    store_write(world->engine.store, &write, &reply);
    group_check_stored(world, &write);
    store_sync(world->engine.store);
    engine_stored(world);
}

#define PARTS WORLD_SHARDS_MAX /* what is below this is the number of a part; what is not, that of a shard */

/* Two members change places in a part of the plan. */
static void swap(struct world *world, uint32_t k, int a, int b)
{
    char key[64];
    snprintf(key, sizeof(key), GROUP_PREFIX "plan/%u", (unsigned)k);
    const struct baton_record *record = store_get(world->engine.store, key);
    json_t *object = record != NULL ? json_loads(record->value, 0, NULL) : NULL;
    json_t *owners = json_object_get(object, "owners");
    json_t *of_a = json_incref(json_object_get(owners, world->nodes[a].id));
    json_t *of_b = json_incref(json_object_get(owners, world->nodes[b].id));
    if (of_a != NULL && of_b != NULL && of_a != of_b) {
        json_object_set(owners, world->nodes[a].id, of_b);
        json_object_set(owners, world->nodes[b].id, of_a);
        char *value = json_dumps(object, JSON_COMPACT);
        put(world, key, value);
        free(value);
    }
    json_decref(of_a);
    json_decref(of_b);
    json_decref(object);
}

/* One shard goes to the one of both that has it not. */
static void move_one(struct world *world, uint32_t shard, int a, int b)
{
    char key[64];
    snprintf(key, sizeof(key), GROUP_PREFIX "plan/%u", (unsigned)(shard / group_part(world)->chunk));
    const struct baton_record *record = store_get(world->engine.store, key);
    json_t *object = record != NULL ? json_loads(record->value, 0, NULL) : NULL;
    json_t *owners = json_object_get(object, "owners");
    const char *ids[] = {world->nodes[a].id, world->nodes[b].id};
    struct shards one = {0}, of[2];
    shards_add(&one, shard);
    bool had[2] = {false};
    for (int i = 0; i < 2; i++)
        had[i] = shards_read(&of[i], json_object_get(owners, ids[i])) && shards_has(&of[i], shard);
    for (int i = 0; i < 2 && had[0] != had[1]; i++) {
        if (had[i])
            shards_drop_all(&of[i], &one);
        else
            shards_add(&of[i], shard);
        json_object_set_new(owners, ids[i], shards_write(&of[i]));
    }
    if (owners != NULL && had[0] != had[1]) {
        char *value = json_dumps(object, JSON_COMPACT);
        put(world, key, value);
        free(value);
    }
    shards_release(&one);
    shards_release(&of[0]);
    shards_release(&of[1]);
    json_decref(object);
}

/* ... and back, and again: the moves of each time are under way when the next one comes. */
static void again(struct world *world, uint64_t what, int a, int b, uint64_t times, int64_t at_us)
{
    struct happening *next = world_plan(world, at_us, HAPPEN_OWN);
    next->node = a;
    next->session = (uint64_t)b;
    next->token = what;
    next->ticket = times;
}

static void own(struct world *world, const struct happening *happening)
{
    uint32_t what = (uint32_t)happening->token;
    int b = (int)happening->session;
    if (what >= PARTS)
        move_one(world, what - PARTS, happening->node, b);
    else
        swap(world, what, happening->node, b);
    if (happening->ticket > 1)
        again(world, what, happening->node, b, happening->ticket - 1,
              world->now_us + rng_range(&world->rng, 0, rng_chance(&world->rng, 700) ? 60000 : 2 * SECOND_US));
}

/* To one that has less: so that all is level again, and nothing else moves. */
static void pick_two(struct world *world, uint32_t shard, int *a, int *b)
{
    if (stored_owner(world, shard) >= 0)
        *a = stored_owner(world, shard);
    for (int tries = 0; tries < 8; tries++) {
        *b = world_any_node(world);
        if (stored_load(world, *b) < stored_load(world, *a))
            return;
    }
}

/* (Mostly right before the faults end: what is left in disorder then must be put in order without another one.) */
static void move_often(struct world *world, uint32_t k, int a)
{
    struct rng *rng = &world->rng;
    uint32_t shard = (uint32_t)rng_range(rng, 0, stored_count(world) - 1);
    int b = world_any_node(world);
    bool whole = rng_chance(rng, 200);
    if (!whole)
        pick_two(world, shard, &a, &b);
    int64_t at_us = rng_chance(rng, 300) ? world->now_us : world->phase_end_us - rng_range(rng, 0, 2 * SECOND_US);
    again(world, whole ? k : PARTS + shard, a, b, (uint64_t)rng_range(rng, 1, 8), at_us);
}

/* By hand: a part of the plan is gone, or not to be read, or names somebody else. */
static void edit_plan(struct world *world, int n)
{
    struct rng *rng = &world->rng;
    uint32_t count = stored_count(world), chunk = group_part(world)->chunk;
    char key[64], value[256];
    if (count == 0)
        return;
    uint32_t k = (uint32_t)rng_range(rng, 0, (count - 1) / chunk), first = k * chunk;
    uint32_t last = first + chunk < count ? first + chunk - 1 : count - 1;
    snprintf(key, sizeof(key), GROUP_PREFIX "plan/%u", (unsigned)k);
    const char *a = world->nodes[world_any_node(world)].id, *b = world->nodes[n].id;
    switch (rng_range(rng, 0, 13)) {
    case 0:
        put(world, key, NULL);
        return;
    case 1:
        put(world, key, "{\"v\":1,\"owners\":");
        return;
    case 2:
        put(world, key, "{\"v\":1,\"term\":1,\"owners\":{}}");
        return;
    case 3:
        put(world, GROUP_PREFIX "leader", NULL);
        return;
    case 4:
        a = "ghost";
        break;
    case 5:
    case 6:
        break;
    default:
        move_often(world, k, n);
        return;
    }
    if (first == last || strcmp(a, b) == 0)
        snprintf(value, sizeof(value), "{\"v\":1,\"term\":1,\"owners\":{\"%s\":\"%u\"}}", a, (unsigned)first);
    else
        snprintf(value, sizeof(value), "{\"v\":1,\"term\":1,\"owners\":{\"%s\":\"%u\",\"%s\":\"%u-%u\"}}", a,
                 (unsigned)first, b, (unsigned)first, (unsigned)last);
    put(world, key, value);
}

static void drain(struct world *world, int n)
{
    struct sim_node *node = &world->nodes[n];
    struct group_part *part = group_part(world);
    if (!node->up || node->paused_until_us > world->now_us || !node->standing)
        return;
    part->nodes[n].drain = !part->nodes[n].drain;
    world_note(world, "n%d %s", n, part->nodes[n].drain ? "drains" : "does not drain any more");
    core_drain(node->core, node->contest, part->nodes[n].drain);
    node_step(world, n, &(struct event){.kind = EVENT_TICK});
}

static void pause_or_resize(struct world *world, int n)
{
    struct rng *rng = &world->rng;
    struct group_part *part = group_part(world);
    char value[64];
    if (part->says_count || rng_chance(rng, 500)) {
        put(world, GROUP_PREFIX "pause",
            rng_chance(rng, 500) ? "{\"v\":1,\"by\":\"o\",\"why\":\"\",\"nonce\":\"\"}" : NULL);
        return;
    }
    if (stored_count(world) == 0)
        return;
    snprintf(value, sizeof(value), "{\"v\":1,\"count\":%d,\"chunk\":%u}", (int)rng_range(rng, 1, WORLD_SHARDS_MAX),
             (unsigned)part->chunk);
    put(world, GROUP_PREFIX "split", rng_chance(rng, 100) ? NULL : value);
}

/* (One may go on draining.) */
static void undrain(struct world *world)
{
    bool one = rng_chance(&world->rng, 500);
    for (int n = 0; n < world->node_count; n++) {
        const struct sim_node *node = &world->nodes[n];
        if (!node->up || !node->standing || !group_part(world)->nodes[n].drain || (one && n == world->node_count - 2))
            continue;
        group_part(world)->nodes[n].drain = false;
        core_drain(node->core, node->contest, false);
    }
}

/* What nobody can read waits for a person, and what is paused, too. */
static void mend(struct world *world)
{
    undrain(world);
    struct baton_batch batch;
    char *keys[64];
    size_t count = 0;
    put(world, GROUP_PREFIX "pause", NULL);
    if (!store_read(world->engine.store, GROUP_PREFIX "plan/", 0, 0, &batch))
        return;
    for (size_t i = 0; i < batch.count && count < COUNT_OF(keys); i++)
        if (batch.changes[i].record.value[strlen(batch.changes[i].record.value) - 1] != '}')
            keys[count++] = mem_text(batch.changes[i].record.key);
    for (size_t i = 0; i < count; i++) {
        put(world, keys[i], NULL);
        free(keys[i]);
    }
}

const struct world_kind group_world = {
    .option = "groups",
    .text = ", groups",
    .first_rule = RULE_GROUP_BEGIN_ALONE,
    .last_rule = RULE_GROUP_PLAN_WHEN_NEEDED,
    .root = GROUP_PREFIX,
    .presences = "/members/",
    .nodes_max = NODES_MAX,
    .begin = begin,
    .end = end,
    .observe = observe,
    .want = want,
    .told = told,
    .program = program,
    .fault = {edit_plan, drain, pause_or_resize},
    .weighed = weighed,
    .own = own,
    .mend = mend,
    .check_stored = group_check_stored,
    .check_session_end = group_check_session_end,
    .check_instant = group_check_instant,
    .check_quiet_begins = group_check_quiet_begins,
    .check_quiet_ends = group_check_quiet_ends,
};
