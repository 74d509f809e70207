/* node.c: one node: the production core, a program that leads and stops as the core tells it, and the supervisor that
 * sees to it that the program is over by the deadline. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "checkers.h"
#include "core/lock/lock.h"
#include "kind.h"
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

struct happening *node_plan(struct world *world, int n, int64_t at_us, enum happening_kind kind)
{
    struct happening *happening = world_plan(world, at_us, kind);
    happening->node = n;
    happening->incarnation = world->nodes[n].incarnation;
    return happening;
}

/* A program works only after it was idle. What comes after work is a stop, which may be told again, or nothing: it has
 * stopped, was ended by itself, or its process has died. */
void program_move(struct sim_node *node, enum program_state to)
{
    static const unsigned may_follow[] = {
        [PROGRAM_IDLE] = 1U << PROGRAM_IDLE | 1U << PROGRAM_WORKING,
        [PROGRAM_WORKING] = 1U << PROGRAM_STOPPING | 1U << PROGRAM_IDLE,
        [PROGRAM_STOPPING] = 1U << PROGRAM_STOPPING | 1U << PROGRAM_IDLE,
    };
    assert((may_follow[node->program] >> to & 1) != 0);
    node->program = to;
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
    node_plan(world, n, world->now_us + rng_range(&world->rng, 0, node->options.stop_ms) * 1000, HAPPEN_TAKES)->token =
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
        node_plan(world, n, world->now_us + (node->slow_for_ever ? 300 * SECOND_US : 0), HAPPEN_STOPPED)->token =
            node->program_term;
        return;
    }
    int64_t more_ms = rng_range(rng, 500, SLOW_STOP_SAYS_MS), until_ms = node_clock_ms(world, node) + more_ms;
    world_note(world, "n%d needs %lld ms more to stop", n, (long long)more_ms);
    if (until_ms > node->stop_until_ms)
        node->stop_until_ms = until_ms;
    core_stop_takes(node->core, node->contest, 0, until_ms);
    stop_goes_on(node);
    node_step(world, n, &(struct event){.kind = EVENT_TICK});
    /* (Now and then it says so too late.) */
    node_plan(world, n, world->now_us + rng_range(rng, 0, more_ms * 1200), HAPPEN_TAKES)->token = node->program_term;
}

void node_works(struct world *world, int n, uint64_t number)
{
    struct rng *rng = &world->rng;
    int64_t works_us = rng_range(rng, 0, rng_chance(rng, 500) ? 50000 : 3 * SECOND_US);
    node_plan(world, n, world->now_us + works_us, HAPPEN_THROUGH)->token = number;
}

void node_told(struct world *world, int n, const struct action *tell)
{
    struct sim_node *node = &world->nodes[n];
    struct rng *rng = &world->rng;
    switch (tell->tell) {
    case TELL_LEAD:
        if (node->program != PROGRAM_IDLE) {
            world_fail(world, "n%d is told to lead while its program has not stopped", n);
            return;
        }
        program_move(node, PROGRAM_WORKING);
        if (world->config.kind->begins != NULL)
            world->config.kind->begins(world, n, tell->term);
        node->program_term = tell->term;
        node->slow_until_us = 0;
        node->place_gone = false;
        uint32_t ttl_ms;
        node->program_session = core_session(node->core, &node->program_until_ms, &ttl_ms);
        node_plan(world, n, world->now_us + rng_range(rng, 0, 20000), HAPPEN_PROGRAM)->token = ++node->program_version;
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
        program_move(node, PROGRAM_STOPPING);
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
        node_plan(world, n, world->now_us + takes_ms * 1000, HAPPEN_STOPPED)->token = tell->term;
        break;
    }
    case TELL_FOLLOW:
        program_move(node, PROGRAM_IDLE);
        break;
    case TELL_OUTCOME: /* of a lock: RESIGNED follows */
        if (world->config.kind->outcome != NULL)
            world->config.kind->outcome(world, n, tell->code);
        break;
    case TELL_RESIGNED:
        node->standing = false;
        node->waits_since_us = NEVER_MS;
        node_plan(world, n, world->now_us + rng_range(rng, 0, node->idle_us), HAPPEN_STAND);
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
    uint64_t term = contest_leads(node->core, node->contest, 0, node_clock_ms(world, node));
    if (term != 0 && world->config.kind->acts != NULL)
        node_plan(world, n, world->now_us + rng_range(&world->rng, 0, 3000), HAPPEN_ACT)->token = term;
    if (node->program == PROGRAM_WORKING)
        node_plan(world, n, world->now_us + rng_range(&world->rng, 50000, 900000), HAPPEN_PROGRAM)->token =
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
    (void)election_testament(node->core, node->contest, &node->testament);
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
        if (action->kind == ACTION_TELL && action->contest != NULL && action->contest != node->contest)
            continue; /* of the keeper, or of a task that it is through with */
        if (action->kind == ACTION_TELL) {
            told = told || action->tell != TELL_RENEWED;
            leads = leads || action->tell == TELL_LEAD;
            if (action->tell != TELL_CHANGED && action->tell != TELL_RENEWED)
                world_note(world, "n%d told %s term %llu %s", n, tell_name(action->tell),
                           (unsigned long long)action->term, action->text);
            if (world->config.kind->told != NULL)
                world->config.kind->told(world, n, action);
            else
                node_told(world, n, action);
        } else {
            if (action->kind == ACTION_SESSION_OPEN || action->kind == ACTION_SESSION_RENEW)
                node->renewed_ms = event->now_ms;
            if (action->kind == ACTION_SESSION_END && world->config.kind->check_session_end != NULL)
                world->config.kind->check_session_end(world, n, action->session);
            else if (action->kind == ACTION_SESSION_END)
                check_session_end(world, n, action->session);
            network_send(world, n, action);
        }
    }
    check_renewed(world, n);
    if (told)
        tell_testament(world, node);
    if (leads && world->config.kind->begun != NULL)
        world->config.kind->begun(world, n);
    if (node->todo.deadline_ms != NEVER_MS)
        node_plan(world, n, instant_of(world, node, node->todo.deadline_ms), HAPPEN_TICK)->token = ++node->tick_version;
}

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

static void keep_session(struct world *world, struct sim_node *node)
{
    const struct queue_options options = {.slots = 1, .until_ms = NEVER_MS};
    if (node->keeper != NULL && !contest_standing(node->keeper))
        (void)core_queue(node->core, node->keeper, &options, NULL);
}

void node_renews_handle(struct world *world, int n)
{
    struct sim_node *node = &world->nodes[n];
    if (!rng_chance(&world->rng, 300))
        return;
    core_forget(node->core, node->contest);
    node->contest = world->config.kind->observe(world, n);
}

static void stand(struct world *world, int n)
{
    struct sim_node *node = &world->nodes[n];
    keep_session(world, node);
    if (node->standing)
        return;
    node->standing = true;
    struct baton_error err;
    if (world->config.kind->want(world, n, &err) < 0)
        world_fail(world, "n%d cannot stand: %s", n, err.text);
    node_step(world, n, &(struct event){.kind = EVENT_TICK});
}

void node_start(struct world *world, int n)
{
    struct sim_node *node = &world->nodes[n];
    if (node->up)
        return;
    assert(node->core == NULL && node->contest == NULL); /* of a process that died nothing is left */
    node->up = true;
    node->incarnation++;
    node_forget_testament(node);
    node->standing = node->away = false;
    program_move(node, PROGRAM_IDLE);
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
    node->contest = world->config.kind->observe(world, n);
    node->keeper =
        world->config.kind->keeps_session ? core_observe(node->core, CONTEST_LOCK, node->id, node, NULL) : NULL;
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
    program_move(node, PROGRAM_IDLE);
    core_free(node->core);
    node->core = NULL;
    node->contest = NULL;
    for (int w = 0; w < WATCHES_MAX; w++)
        node->watches[w].open = false;
}

static void program_is_through(struct world *world, int n)
{
    struct sim_node *node = &world->nodes[n];
    if (world->config.kind->through != NULL) {
        world->config.kind->through(world, n);
        return;
    }
    node_step(world, n, &(struct event){.kind = EVENT_RESIGN, .contest = node->contest});
    node_step(world, n, &(struct event){.kind = EVENT_STOPPED, .contest = node->contest});
}

static void program_stopped(struct world *world, int n)
{
    struct sim_node *node = &world->nodes[n];
    if (world->config.kind->stopped == NULL || !world->config.kind->stopped(world, n))
        node_step(world, n, &(struct event){.kind = EVENT_STOPPED, .contest = node->contest});
}

/* Is this of what the program does now, not of what it did before? */
static bool is_of_now(const struct sim_node *node, const struct happening *happening, enum program_state program)
{
    return node->program == program && happening->token == node->program_term;
}

static void program_happen(struct world *world, const struct happening *happening)
{
    int n = happening->node;
    const struct sim_node *node = &world->nodes[n];
    switch (happening->kind) {
    case HAPPEN_PROGRAM:
        if (happening->token == node->program_version)
            program_step(world, n);
        return;
    case HAPPEN_ACT:
        world->config.kind->acts(world, n, happening->token);
        return;
    case HAPPEN_STOPPED:
        if (is_of_now(node, happening, PROGRAM_STOPPING))
            program_stopped(world, n);
        return;
    case HAPPEN_TAKES:
        if (is_of_now(node, happening, PROGRAM_STOPPING))
            program_takes_longer(world, n);
        return;
    case HAPPEN_THROUGH:
        if (is_of_now(node, happening, PROGRAM_WORKING))
            program_is_through(world, n);
        return;
    default:
        IMPOSSIBLE("happening %d is not a node's", (int)happening->kind);
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
    case HAPPEN_START:
        node_start(world, n);
        return;
    case HAPPEN_STAND:
        stand(world, n);
        return;
    default:
        if (world->config.kind->program != NULL)
            world->config.kind->program(world, happening);
        else
            program_happen(world, happening);
    }
}
