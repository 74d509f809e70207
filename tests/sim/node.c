/* node.c: one node: the production core, a program that leads and stops as the core tells it, and the supervisor that
 * sees to it that the program is over by the deadline. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "checkers.h"
#include "world.h"

int64_t node_clock_ms(const struct world *world, const struct sim_node *node)
{
    return node->clock_base_ms + (world->now_us + world->now_us / 1000 * node->clock_ppm / 1000) / 1000;
}

/* The first instant at which the node's clock shows at_ms. */
static int64_t instant_of(const struct world *world, const struct sim_node *node, int64_t at_ms)
{
    int64_t left_ms = at_ms - node_clock_ms(world, node);
    if (left_ms <= 0)
        return world->now_us;
    return world->now_us + left_ms * 1000 * 1000000 / (1000000 + node->clock_ppm) + 1000;
}

static struct happening *plan(struct world *world, int n, int64_t at_us, enum happening_kind kind)
{
    struct happening *happening = world_plan(world, at_us, kind);
    happening->node = n;
    happening->incarnation = world->nodes[n].incarnation;
    return happening;
}

bool node_active(const struct world *world, const struct sim_node *node)
{
    return node->up && node->program != PROGRAM_IDLE && node_clock_ms(world, node) < node->program_until_ms;
}

/* ---- the program ---- */

/* Its stop takes longer than was allowed, and it says so; at times it does not end at all. */
static void stop_slowly(struct world *world, int n)
{
    struct sim_node *node = &world->nodes[n];
    node->slow_until_us = world->now_us + rng_range(&world->rng, SECOND_US, SLOW_STOP_US);
    node->slow_for_ever = rng_chance(&world->rng, 300);
    plan(world, n, world->now_us + rng_range(&world->rng, 0, node->options.stop_ms) * 1000, HAPPEN_TAKES)->token =
        node->program_term;
}

/* As long as it has said, and as long as its session lasts, its supervisor lets it be. */
static void stop_goes_on(struct sim_node *node)
{
    int64_t deadline_ms;
    uint32_t ttl_ms;
    if (node->program != PROGRAM_STOPPING || node->slow_until_us == 0 || node->place_gone ||
        core_session(node->core, &deadline_ms, &ttl_ms) != node->program_session)
        return;
    node->program_until_ms = deadline_ms < node->stop_until_ms ? deadline_ms : node->stop_until_ms;
}

static void program_takes_longer(struct world *world, int n)
{
    struct sim_node *node = &world->nodes[n];
    struct rng *rng = &world->rng;
    if (world->now_us >= node->slow_until_us) {
        plan(world, n, world->now_us + (node->slow_for_ever ? 300 * SECOND_US : 0), HAPPEN_STOPPED)->token =
            node->program_term;
        return;
    }
    int64_t more_ms = rng_range(rng, 500, SLOW_STOP_SAYS_MS), until_ms = node_clock_ms(world, node) + more_ms;
    world_note(world, "n%d needs %lld ms more to stop", n, (long long)more_ms);
    if (until_ms > node->stop_until_ms)
        node->stop_until_ms = until_ms;
    core_stop_takes(node->core, node->election, 0, until_ms);
    stop_goes_on(node);
    node_step(world, n, &(struct event){.kind = EVENT_TICK});
    /* (Now and then it says so too late.) */
    plan(world, n, world->now_us + rng_range(rng, 0, more_ms * 1200), HAPPEN_TAKES)->token = node->program_term;
}

static void program_told(struct world *world, int n, const struct action *tell)
{
    struct sim_node *node = &world->nodes[n];
    struct rng *rng = &world->rng;
    switch (tell->tell) {
    case TELL_LEAD:
        if (node->program != PROGRAM_IDLE)
            world_fail(world, "n%d is told to lead while its program has not stopped", n);
        node->program = PROGRAM_WORKING;
        if (world->config.kind != SIM_ELECTION) {
            check_token(world, n, tell->term);
            node->waits_since_us = world->config.kind == SIM_LOCK ? NEVER_MS : world->now_us;
            plan(world, n, world->now_us + rng_range(rng, 0, rng_chance(rng, 500) ? 50000 : 3 * SECOND_US),
                 HAPPEN_UNLOCK)
                ->token = tell->term;
        }
        node->program_term = tell->term;
        node->slow_until_us = 0;
        node->place_gone = false;
        uint32_t ttl_ms;
        node->program_session = core_session(node->core, &node->program_until_ms, &ttl_ms);
        plan(world, n, world->now_us + rng_range(rng, 0, 20000), HAPPEN_PROGRAM)->token = ++node->program_version;
        break;
    case TELL_RENEWED:
        /* The supervisor lets it go on to the new deadline, unless it is being stopped. */
        if (node->program == PROGRAM_WORKING)
            node->program_until_ms = tell->until_ms;
        stop_goes_on(node);
        break;
    case TELL_STOP: {
        node->stop_until_ms = tell->until_ms;
        node->place_gone = node->place_gone || tell->until_ms <= node_clock_ms(world, node);
        if (tell->until_ms < node->program_until_ms)
            node->program_until_ms = tell->until_ms;
        bool again = node->program == PROGRAM_STOPPING;
        node->program = PROGRAM_STOPPING;
        if (node->options.stop_ms == 0)
            break; /* answered by the core itself: the program asks before each use */
        if (again && node->slow_until_us != 0)
            break; /* it says again how long it takes, and answers then */
        if (!again && rng_chance(rng, 100)) {
            stop_slowly(world, n);
            break;
        }
        int64_t takes_ms = rng_range(rng, 0, node->options.stop_ms);
        if (world->faulty && rng_chance(rng, 50))
            takes_ms = 3 * node->options.stop_ms + 1000;
        plan(world, n, world->now_us + takes_ms * 1000, HAPPEN_STOPPED)->token = tell->term;
        break;
    }
    case TELL_FOLLOW:
        node->program = PROGRAM_IDLE;
        break;
    case TELL_OUTCOME: /* of a lock: RESIGNED follows */
        if (world->config.kind == SIM_TASK)
            check_outcome(world, n, tell->code);
        break;
    case TELL_RESIGNED:
        node->standing = false;
        node->waits_since_us = NEVER_MS;
        plan(world, n, world->now_us + rng_range(rng, 0, node->idle_us), HAPPEN_STAND);
        break;
    case TELL_SESSION:
        node->session = tell->session;
        break;
    default:
        break;
    }
}

/* Ask, and act on the answer a moment later: the node may be paused in between. */
static void program_step(struct world *world, int n)
{
    struct sim_node *node = &world->nodes[n];
    uint64_t term = contest_leads(node->core, node->election, 0, node_clock_ms(world, node));
    if (term != 0 && world->config.kind != SIM_TASK)
        plan(world, n, world->now_us + rng_range(&world->rng, 0, 3000), HAPPEN_ACT)->token = term;
    if (node->program == PROGRAM_WORKING)
        plan(world, n, world->now_us + rng_range(&world->rng, 50000, 900000), HAPPEN_PROGRAM)->token =
            node->program_version;
}

/* ---- the core ---- */

void node_forget_testament(struct sim_node *node)
{
    free((char *)node->testament.key);
    free((char *)node->testament.value);
    node->testament = (struct baton_write){0};
}

/* The supervisor tells its guard what to write; at times it dies before it has. */
static void tell_testament(struct world *world, struct sim_node *node)
{
    if (world->faulty && rng_chance(&world->rng, 100))
        return;
    node_forget_testament(node);
    (void)election_testament(node->core, node->election, &node->testament);
}

void node_step(struct world *world, int n, struct event *event)
{
    struct sim_node *node = &world->nodes[n];
    event->now_ms = node_clock_ms(world, node);
    event->wall_ms = world_wall_ms(world);
    update_clear(&node->todo);
    core_step(node->core, event, &node->todo);
    bool told = false, leads = false;
    for (size_t i = 0; i < node->todo.count; i++) {
        const struct action *action = &node->todo.actions[i];
        if (action->kind == ACTION_TELL && action->contest != NULL && action->contest != node->election)
            continue; /* of the keeper, or of a task that it is through with */
        if (action->kind == ACTION_TELL) {
            told = told || action->tell != TELL_RENEWED;
            leads = leads || action->tell == TELL_LEAD;
            if (action->tell != TELL_CHANGED && action->tell != TELL_RENEWED)
                world_note(world, "n%d told %s term %llu %s", n, tell_name(action->tell),
                           (unsigned long long)action->term, action->text);
            program_told(world, n, action);
        } else {
            if (action->kind == ACTION_SESSION_OPEN || action->kind == ACTION_SESSION_RENEW)
                node->renewed_ms = event->now_ms;
            if (action->kind == ACTION_SESSION_END)
                check_session_end(world, n, action->session);
            network_send(world, n, action);
        }
    }
    check_renewed(world, n);
    if (told)
        tell_testament(world, node);
    if (leads && world->config.kind == SIM_LOCK)
        node_finds_latch(world, n);
    if (node->todo.deadline_ms != NEVER_MS)
        plan(world, n, instant_of(world, node, node->todo.deadline_ms), HAPPEN_TICK)->token = ++node->tick_version;
}

static uint32_t pick_slots(struct world *world)
{
    struct rng *rng = &world->rng;
    switch (world->lock_kind) {
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

static void program_told(struct world *world, int n, const struct action *tell);

void node_waits(struct world *world, int n, struct queue_options *options)
{
    options->until_ms = node_clock_ms(world, &world->nodes[n]) + rng_range(&world->rng, 0, 10000);
    options->answer_ms = options->until_ms + rng_range(&world->rng, 0, 3000);
}

void node_trouble(struct world *world, int n, enum baton_code code)
{
    struct sim_node *node = &world->nodes[n];
    struct baton_reply reply = {.error = {.code = code, .text = "sim: the engine cannot be reached"}};
    if (!node->up || node->paused_until_us > world->now_us || node->away == (code != BATON_OK))
        return;
    node->away = code != BATON_OK;
    node_step(world, n, &(struct event){.kind = EVENT_TROUBLE, .reply = &reply});
}

static int enter_queue(struct world *world, int n, struct baton_error *err)
{
    struct sim_node *node = &world->nodes[n];
    struct rng *rng = &world->rng;
    struct queue_options options = {.slots = node->slots = pick_slots(world),
                                    .try_only = rng_chance(rng, 100),
                                    .until_ms = NEVER_MS,
                                    .stop_ms = node->options.stop_ms};
    if (options.try_only || rng_chance(rng, 150))
        node_waits(world, n, &options);
    node->waits_since_us = world->now_us;
    uint64_t token;
    if (node_goes_on(world, n, &options, &token)) {
        if (token != 0)
            program_told(world, n, &(struct action){.tell = TELL_LEAD, .term = token});
        return 0;
    }
    return core_queue(node->core, node->election, &options, err);
}

static void keep_session(struct world *world, struct sim_node *node)
{
    const struct queue_options options = {.slots = 1, .until_ms = NEVER_MS};
    if (node->keeper != NULL && !contest_standing(node->keeper))
        (void)core_queue(node->core, node->keeper, &options, NULL);
}

static int enter(struct world *world, int n, struct baton_error *err)
{
    struct sim_node *node = &world->nodes[n];
    switch (world->config.kind) {
    case SIM_ELECTION:
        return core_stand(node->core, node->election, &node->options, err);
    case SIM_LOCK:
        return enter_queue(world, n, err);
    case SIM_TASK:
        return task_enter(world, n, err);
    }
    IMPOSSIBLE("kind %d", (int)world->config.kind);
}

/* A program may give its handle back and take another one. */
static void renew_handle(struct world *world, struct sim_node *node)
{
    if (world->config.kind == SIM_TASK || !rng_chance(&world->rng, 300))
        return;
    enum contest_kind kind = contest_kind(node->election);
    core_forget(node->core, node->election);
    node->election = core_observe(node->core, kind, ELECTION, node, NULL);
}

static void stand(struct world *world, int n)
{
    struct sim_node *node = &world->nodes[n];
    keep_session(world, node);
    if (node->standing)
        return;
    if (core_is_kept(node->election))
        node_leaves(world, n);
    else
        renew_handle(world, node);
    node->standing = true;
    struct baton_error err;
    if (enter(world, n, &err) < 0)
        world_fail(world, "n%d cannot stand: %s", n, err.text);
    node_step(world, n, &(struct event){.kind = EVENT_TICK});
}

void node_start(struct world *world, int n)
{
    struct sim_node *node = &world->nodes[n];
    if (node->up)
        return;
    node->up = true;
    node->incarnation++;
    node_forget_testament(node);
    node->standing = node->task_wanted = node->away = false;
    node->program = PROGRAM_IDLE;
    node->session = 0;
    node->paused_until_us = 0;
    struct core_options options = {.id = node->id,
                                   .address = "",
                                   .host = node->id,
                                   .ttl_ms = node->ttl_ms,
                                   .step_ms = 150,
                                   .attentive = node->attentive,
                                   .broken = world->config.broken};
    node->core = core_new(&options);
    node->waits_since_us = NEVER_MS;
    if (world->config.kind == SIM_TASK)
        node->election = task_observe(world, n);
    else
        node->election = core_observe(node->core, world->config.kind == SIM_LOCK ? CONTEST_LOCK : CONTEST_ELECTION,
                                      ELECTION, node, NULL);
    node->keeper =
        world->config.kind != SIM_ELECTION ? core_observe(node->core, CONTEST_LOCK, node->id, node, NULL) : NULL;
    world_note(world, "n%d starts", n);
    stand(world, n);
}

void node_crash(struct world *world, int n)
{
    struct sim_node *node = &world->nodes[n];
    if (!node->up)
        return;
    world_note(world, "n%d crashes", n);
    node->up = false;
    node->program = PROGRAM_IDLE;
    core_free(node->core);
    node->core = NULL;
    node->election = NULL;
    for (int w = 0; w < WATCHES_MAX; w++)
        node->watches[w].open = false;
}

/* The program has done what it wanted the lock, or the task, for. */
static void program_is_through(struct world *world, int n)
{
    struct sim_node *node = &world->nodes[n];
    if (world->config.kind == SIM_TASK) {
        task_finish(world, n);
        return;
    }
    if (node_keeps(world, n)) {
        node->program = PROGRAM_IDLE;
        node->standing = false;
        plan(world, n, world->now_us + rng_range(&world->rng, 0, 150000), HAPPEN_STAND);
        return;
    }
    if (rng_chance(&world->rng, 800) && core_unlock(node->core, node->election)) {
        node->program = PROGRAM_IDLE;
        node_step(world, n, &(struct event){.kind = EVENT_TICK});
    } else {
        node_step(world, n, &(struct event){.kind = EVENT_RESIGN, .contest = node->election});
        node_step(world, n, &(struct event){.kind = EVENT_STOPPED, .contest = node->election});
    }
    if (node->standing && rng_chance(&world->rng, 300)) { /* it wants it again, before that is through */
        node_leaves(world, n);
        node->standing = false;
        plan(world, n, world->now_us + rng_range(&world->rng, 0, 20000), HAPPEN_STAND);
    }
}

void node_happen(struct world *world, struct happening *happening)
{
    int n = happening->node;
    struct sim_node *node = &world->nodes[n];
    switch (happening->kind) {
    case HAPPEN_TICK:
        if (happening->token == node->tick_version)
            node_step(world, n, &(struct event){.kind = EVENT_TICK});
        return;
    case HAPPEN_EVENT:
        happening->event.reply = &happening->reply;
        node_step(world, n, &happening->event);
        return;
    case HAPPEN_BATCH:
        engine_wake_watch(world, n, happening->watch);
        if (happening->copy->batch.reset)
            node_trouble(world, n, BATON_OK);
        node_step(world, n,
                  &(struct event){.kind = EVENT_CHANGED, .watch = happening->watch, .batch = &happening->copy->batch});
        return;
    case HAPPEN_PROGRAM:
        if (happening->token == node->program_version)
            program_step(world, n);
        return;
    case HAPPEN_ACT:
        check_fenced_write(world, n, happening->token);
        return;
    case HAPPEN_STOPPED:
        if (node->program != PROGRAM_STOPPING || happening->token != node->program_term)
            return;
        if (world->config.kind == SIM_TASK && rng_chance(&world->rng, 300))
            task_finish(world, n); /* it was through just in time */
        else
            node_step(world, n, &(struct event){.kind = EVENT_STOPPED, .contest = node->election});
        return;
    case HAPPEN_TAKES:
        if (node->program == PROGRAM_STOPPING && happening->token == node->program_term)
            program_takes_longer(world, n);
        return;
    case HAPPEN_START:
        node_start(world, n);
        return;
    case HAPPEN_STAND:
        stand(world, n);
        return;
    case HAPPEN_UNLOCK:
        if (node->program == PROGRAM_WORKING && happening->token == node->program_term)
            program_is_through(world, n);
        return;
    default:
        IMPOSSIBLE("happening %d is not a node's", (int)happening->kind);
    }
}
