/* network.c: the engine, which obeys the contract of engine.h and nothing more, and the network to it: requests and
 * answers are delayed, lost (the outcome is unknown), and repeated; views are stale, stand still, break, and begin
 * again with everything. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "checkers.h"
#include "kind.h"
#include "world.h"

static int64_t engine_clock_ms(const struct world *world)
{
    return (world->now_us + world->now_us / 1000 * world->engine.clock_ppm / 1000) / 1000;
}

static bool engine_down(const struct world *world)
{
    return world->engine.down_until_us > world->now_us;
}

static bool cut(const struct world *world, int n)
{
    return world->nodes[n].cut_until_us > world->now_us;
}

/* How long a message takes: mostly a little, sometimes much. */
static int64_t latency_us(struct world *world)
{
    struct rng *rng = &world->rng;
    if (world->faulty && rng_chance(rng, world->loss))
        return rng_range(rng, 20000, 8 * SECOND_US);
    return rng_range(rng, 200, 12000);
}

static bool lost(struct world *world, int n)
{
    return cut(world, n) || (world->faulty && rng_chance(&world->rng, world->loss));
}

/* ---- from a node ---- */

static struct happening *request_new(struct world *world, int n, const struct action *action, int64_t at_us)
{
    struct happening *request = world_plan(world, at_us, HAPPEN_REQUEST);
    request->node = n;
    request->incarnation = world->nodes[n].incarnation;
    request->request = action->kind;
    request->ticket = action->ticket;
    request->session = action->session;
    request->ttl_ms = action->ttl_ms;
    request->write = action->write;
    request->write.key = request->key = mem_text(action->write.key);
    request->write.value = request->value = mem_text(action->write.value);
    return request;
}

static struct happening *answer_new(struct world *world, int n, unsigned incarnation, int64_t at_us)
{
    struct happening *answer = world_plan(world, at_us, HAPPEN_EVENT);
    answer->node = n;
    answer->incarnation = incarnation;
    return answer;
}

/* The node's side gives up waiting: the outcome is unknown. The request may still arrive. */
static void answer_unknown(struct world *world, int n, const struct action *action)
{
    struct happening *answer = answer_new(world, n, world->nodes[n].incarnation,
                                          world->now_us + rng_range(&world->rng, 300000, 4 * SECOND_US));
    answer->event.ticket = action->ticket;
    answer->reply.answer = BATON_ANSWER_UNKNOWN;
    error_set(&answer->reply.error, BATON_UNAVAILABLE, "sim: no answer");
    switch (action->kind) {
    case ACTION_SESSION_OPEN:
        answer->event.kind = EVENT_SESSION_OPENED;
        break;
    case ACTION_SESSION_RENEW:
        answer->event.kind = EVENT_SESSION_RENEWED;
        break;
    default:
        answer->event.kind = EVENT_WRITTEN;
        break;
    }
}

static void watch_open(struct world *world, int n, const struct action *action)
{
    struct sim_node *node = &world->nodes[n];
    for (int w = 0; w < WATCHES_MAX; w++) {
        struct sim_watch *watch = &node->watches[w];
        if (watch->open)
            continue;
        batch_copy_free(watch->old);
        rest_end(&watch->rest);
        *watch =
            (struct sim_watch){.open = true, .connected = true, .id = action->watch, .incarnation = node->incarnation};
        text_copy(watch->prefix, sizeof(watch->prefix), action->write.key);
        struct happening *send = world_plan(world, world->now_us + latency_us(world), HAPPEN_SEND_VIEW);
        send->node = n;
        send->token = (uint64_t)w;
        watch->sending = true;
        return;
    }
    world_fail(world, "n%d opens more than %d watches", n, WATCHES_MAX);
}

static struct sim_watch *watch_find(struct sim_node *node, uint64_t id, int *ret_w)
{
    for (int w = 0; w < WATCHES_MAX; w++) {
        *ret_w = w;
        if (node->watches[w].open && node->watches[w].id == id)
            return &node->watches[w];
    }
    return NULL;
}

static void plan_send(struct world *world, int n, int w);

static void watch_rest(struct world *world, int n, const struct action *action)
{
    int w;
    struct sim_watch *watch = watch_find(&world->nodes[n], action->watch, &w);
    if (watch == NULL)
        return;
    world_note(world, "n%d: watch %d %s", n, w, action->key_count > 0 ? "rests" : "does not rest");
    rest_begin(&watch->rest, &(struct baton_rest){.keys = (const char *const *)action->keys,
                                                  .count = action->key_count,
                                                  .slow = action->write.key});
    plan_send(world, n, w); /* something may have happened since */
}

void engine_wake_watch(struct world *world, int n, uint64_t id)
{
    int w;
    struct sim_watch *watch = watch_find(&world->nodes[n], id, &w);
    if (watch == NULL || watch->rest.count == 0)
        return;
    rest_end(&watch->rest);
    plan_send(world, n, w);
}

bool engine_rests(const struct world *world, int n)
{
    const struct sim_node *node = &world->nodes[n];
    for (int w = 0; node->up && w < WATCHES_MAX; w++) {
        const struct sim_watch *watch = &node->watches[w];
        if (watch->open && watch->rest.count > 0 && watch->connected && !watch->sending &&
            watch->incarnation == node->incarnation && watch->last_at_us < world->now_us &&
            node->paused_until_us < world->now_us && text_starts(world->config.kind->root, watch->prefix))
            return true;
    }
    return false;
}

/* A session of this node is renewed: what it wants to see at times, is there something new? */
static void look_at_slow(struct world *world, int n)
{
    for (int w = 0; w < WATCHES_MAX; w++) {
        struct sim_watch *watch = &world->nodes[n].watches[w];
        if (!watch->open || watch->rest.slow == NULL)
            continue;
        const struct baton_record *record = store_get(world->engine.store, watch->rest.slow);
        if (record != NULL && record->revision <= watch->sent)
            continue;
        rest_end(&watch->rest);
        plan_send(world, n, w);
    }
}

void network_send(struct world *world, int n, const struct action *action)
{
    struct sim_node *node = &world->nodes[n];
    switch (action->kind) {
    case ACTION_WATCH:
        watch_open(world, n, action);
        return;
    case ACTION_UNWATCH:
        for (int w = 0; w < WATCHES_MAX; w++)
            if (node->watches[w].open && node->watches[w].id == action->watch)
                node->watches[w].open = false;
        return;
    case ACTION_REST:
        watch_rest(world, n, action);
        return;
    default:
        break;
    }
    if (lost(world, n)) {
        if (action->kind != ACTION_SESSION_END)
            answer_unknown(world, n, action);
        /* Lost on the way, or only late: it may arrive after it was given up. */
        if (!rng_chance(&world->rng, 300))
            return;
        request_new(world, n, action, world->now_us + rng_range(&world->rng, 100000, 20 * SECOND_US))->token = 1;
        return;
    }
    request_new(world, n, action, world->now_us + latency_us(world));
    if (world->faulty && action->kind != ACTION_SESSION_OPEN && rng_chance(&world->rng, world->loss / 4))
        request_new(world, n, action, world->now_us + latency_us(world))->token = 1; /* repeated; answered once */
}

void network_send_testament(struct world *world, int n, int64_t at_us)
{
    const struct sim_node *node = &world->nodes[n];
    if (node->testament.key == NULL || lost(world, n))
        return;
    struct action action = {.kind = ACTION_WRITE, .write = node->testament};
    world_note(world, "the guard of n%d passes its place on", n);
    request_new(world, n, &action, at_us + latency_us(world))->token = 1;
}

/* ---- views ---- */

static void plan_send(struct world *world, int n, int w)
{
    struct sim_watch *watch = &world->nodes[n].watches[w];
    if (watch->sending || !watch->open || !watch->connected)
        return;
    watch->sending = true;
    struct happening *send = world_plan(world, world->now_us, HAPPEN_SEND_VIEW);
    send->node = n;
    send->token = (uint64_t)w;
}

void engine_stored(struct world *world)
{
    for (int n = 0; n < world->node_count; n++)
        for (int w = 0; w < WATCHES_MAX; w++)
            plan_send(world, n, w);
}

void engine_break_watches(struct world *world, int n)
{
    for (int w = 0; w < WATCHES_MAX; w++) {
        struct sim_watch *watch = &world->nodes[n].watches[w];
        if (!watch->open || !watch->connected)
            continue;
        watch->connected = false;
        struct happening *again =
            world_plan(world, world->now_us + rng_range(&world->rng, 50000, 4 * SECOND_US), HAPPEN_SEND_VIEW);
        again->node = n;
        again->token = (uint64_t)w;
        watch->sending = true;
    }
}

static struct happening *plan_batch(struct world *world, int n, struct sim_watch *watch, int64_t at_us,
                                    struct batch_copy *copy)
{
    struct happening *arrive = world_plan(world, at_us, HAPPEN_BATCH);
    arrive->node = n;
    arrive->incarnation = world->nodes[n].incarnation;
    arrive->watch = watch->id;
    arrive->copy = copy;
    return arrive;
}

/* With VIEW_IS_ONE_STATE broken: who has come to stand is shown later than everything else. */
static void tear(struct world *world, int n, int w, struct batch_copy *copy)
{
    size_t kept = 0;
    for (size_t i = 0; i < copy->batch.count; i++) {
        struct baton_change *change = &copy->changes[i];
        if (change->kind == BATON_CHANGE_PUT && strstr(change->record.key, world->config.kind->presences) != NULL) {
            free((char *)change->record.key);
            free((char *)change->record.value);
        } else {
            copy->changes[kept++] = *change;
        }
    }
    copy->batch.count = kept;
    struct happening *later =
        world_plan(world, world->now_us + rng_range(&world->rng, SECOND_US, 6 * SECOND_US), HAPPEN_SEND_VIEW);
    later->node = n;
    later->token = (uint64_t)w;
    later->session = 1; /* begin again with everything */
}

static void send_view(struct world *world, int n, int w)
{
    struct sim_node *node = &world->nodes[n];
    struct sim_watch *watch = &node->watches[w];
    watch->sending = false;
    if (!watch->open || watch->incarnation != node->incarnation)
        return;
    if (engine_down(world) || cut(world, n)) {
        /* Tried again until it works. */
        watch->connected = false;
        watch->sending = true;
        struct happening *again =
            world_plan(world, world->now_us + rng_range(&world->rng, 100000, SECOND_US), HAPPEN_SEND_VIEW);
        again->node = n;
        again->token = (uint64_t)w;
        return;
    }
    if (!watch->connected) {
        watch->connected = true;
        if (rng_chance(&world->rng, 700))
            watch->sent = 0; /* begin again with everything; else go on where it was */
    }
    struct baton_batch batch;
    assert(watch->sent <= store_revision(world->engine.store)); /* a view shows nothing that has not been */
    bool something = store_read(world->engine.store, watch->prefix, watch->sent, 0, &batch);
    if (watch->rest.count > 0 && (!something || !rest_ends_by(&watch->rest, &batch)) && !rng_chance(&world->rng, 20))
        return; /* (it may go on sooner) */
    rest_end(&watch->rest);
    watch->sent = batch.revision;
    if (!something)
        return;
    int64_t at_us = world->now_us + latency_us(world);
    if (at_us < watch->last_at_us)
        at_us = watch->last_at_us;
    assert(at_us >= world->now_us);
    watch->last_at_us = at_us;
    if (world->faulty && rng_chance(&world->rng, world->loss / 4)) {
        /* An earlier batch is repeated after this one: a second connection that is late. */
        if (watch->old != NULL) {
            plan_batch(world, n, watch, at_us + rng_range(&world->rng, 0, SECOND_US), watch->old);
            watch->old = NULL;
        } else {
            watch->old = batch_copy_new(&batch);
        }
    }
    struct batch_copy *copy = batch_copy_new(&batch);
    if (!world_keeps(world, WORLD_VIEW_IS_ONE_STATE) && rng_chance(&world->rng, 100))
        tear(world, n, w, copy);
    plan_batch(world, n, watch, at_us, copy);
    if (batch.revision == 0)
        watch->sent = 0;
}

/* ---- sessions ---- */

static struct sim_session *session_find(struct sim_engine *engine, uint64_t id)
{
    for (size_t i = 0; i < engine->session_count; i++)
        if (engine->sessions[i].id == id)
            return &engine->sessions[i];
    return NULL;
}

static void session_end(struct world *world, uint64_t id, const char *why)
{
    struct sim_engine *engine = &world->engine;
    struct sim_session *session = session_find(engine, id);
    if (session == NULL)
        return;
    assert(engine->session_count > 0);
    *session = engine->sessions[--engine->session_count];
    world_note(world, "engine ends session %llu: %s", (unsigned long long)id, why);
    store_session_end(engine->store, id);
    engine_stored(world);
}

static void plan_expiry(struct world *world, const struct sim_session *session)
{
    /* Not before its time; and sometimes late. */
    int64_t left_us = (session->expires_ms - engine_clock_ms(world)) * 1000;
    left_us = left_us * 1000000 / (1000000 + world->engine.clock_ppm) + 1000;
    if (left_us < world->engine.down_until_us - world->now_us)
        left_us = world->engine.down_until_us - world->now_us + 1000;
    if (rng_chance(&world->rng, 200))
        left_us += rng_range(&world->rng, 0, SECOND_US);
    world_plan(world, world->now_us + left_us, HAPPEN_EXPIRE)->session = session->id;
}

static void expire(struct world *world, uint64_t id)
{
    struct sim_session *session = session_find(&world->engine, id);
    if (session == NULL)
        return;
    if (engine_down(world) || engine_clock_ms(world) < session->expires_ms)
        plan_expiry(world, session);
    else
        session_end(world, id, "not renewed");
}

void engine_restart(struct world *world, int64_t down_us)
{
    struct sim_engine *engine = &world->engine;
    engine->down_until_us = world->now_us + down_us;
    /* It does not know what it heard last: every session gets its whole ttl again. */
    for (size_t i = 0; i < engine->session_count; i++)
        engine->sessions[i].expires_ms = engine_clock_ms(world) + down_us / 1000 + 1000 + engine->sessions[i].ttl_ms;
    for (int n = 0; n < world->node_count; n++)
        engine_break_watches(world, n);
}

/* All runs on one machine, and it is off: nobody lives, nothing is under way, and what was not on the disk is gone. */
void engine_lose_power(struct world *world)
{
    world->boot++;
    world->engine.session_count = 0;
    store_lose_power(world->engine.store);
}

static int64_t granted_ms(const struct world *world, uint32_t ttl_ms)
{
    return world_keeps(world, WORLD_SESSION_LIVES_ITS_TTL) ? ttl_ms : ttl_ms / 2;
}

/* ---- to the engine ---- */

static void apply_write(struct world *world, struct happening *request, struct baton_reply *reply)
{
    store_write(world->engine.store, &request->write, reply);
    world_note(world, "engine: n%d %s %s if %lld: %d at %llu", request->node,
               request->write.kind == BATON_WRITE_PUT ? "puts" : "removes", request->key,
               (long long)request->write.if_revision, (int)reply->answer, (unsigned long long)reply->revision);
    if (reply->answer == BATON_ANSWER_DONE) {
        /* What may be lost is on the disk only when something else is, or by chance. */
        if (request->write.session == 0 && (!request->write.may_be_lost || rng_chance(&world->rng, 100)))
            store_sync(world->engine.store);
        if (world->config.kind->check_stored != NULL)
            world->config.kind->check_stored(world, &request->write);
        engine_stored(world);
    }
}

/* Old servers of etcd answer a renewal of a lease whose end is under way, or has just been, as if it lived. Then the
 * answer proves nothing; the deadline that the client counts, and its presence gone from the view, must suffice. */
static bool lies(struct world *world)
{
    return world->faulty && rng_chance(&world->rng, 500);
}

static void apply_renew(struct world *world, struct happening *request, struct baton_reply *reply)
{
    struct sim_session *session = session_find(&world->engine, request->session);
    bool over = session == NULL || engine_clock_ms(world) >= session->expires_ms;
    if (over && lies(world)) {
        world_note(world, "engine: n%d renews session %llu, which is over: done", request->node,
                   (unsigned long long)request->session);
        return;
    }
    if (session == NULL) {
        reply->answer = BATON_ANSWER_REFUSED;
        error_set(&reply->error, BATON_LOST, "sim: session %llu is over", (unsigned long long)request->session);
        return;
    }
    int64_t expires_ms = engine_clock_ms(world) + granted_ms(world, session->ttl_ms);
    if (expires_ms > session->expires_ms)
        session->expires_ms = expires_ms;
    if (world->nodes[request->node].incarnation == request->incarnation)
        look_at_slow(world, request->node);
}

static void apply_open(struct world *world, struct happening *request, struct happening *answer)
{
    struct sim_engine *engine = &world->engine;
    if (engine->session_count == SESSIONS_MAX) {
        world_fail(world, "more than %d sessions", SESSIONS_MAX);
        return;
    }
    struct sim_session *session = &engine->sessions[engine->session_count++];
    *session = (struct sim_session){.id = store_session_open(engine->store),
                                    .ttl_ms = request->ttl_ms,
                                    .expires_ms = engine_clock_ms(world) + granted_ms(world, request->ttl_ms)};
    answer->event.session = session->id;
    answer->event.ttl_ms = session->ttl_ms;
    plan_expiry(world, session);
}

static void apply(struct world *world, struct happening *request)
{
    int n = request->node;
    bool first = request->token == 0; /* a repeated or late one is not answered (again) */
    if (engine_down(world)) {
        if (first && request->request != ACTION_SESSION_END) {
            struct action again = {.kind = request->request, .ticket = request->ticket};
            answer_unknown(world, n, &again);
        }
        return;
    }
    struct happening *answer = mem_new(sizeof(*answer));
    answer->event.ticket = request->ticket;
    switch (request->request) {
    case ACTION_SESSION_OPEN:
        answer->event.kind = EVENT_SESSION_OPENED;
        apply_open(world, request, answer);
        break;
    case ACTION_SESSION_RENEW:
        answer->event.kind = EVENT_SESSION_RENEWED;
        apply_renew(world, request, &answer->reply);
        break;
    case ACTION_SESSION_END:
        session_end(world, request->session, "by its owner");
        first = false;
        break;
    case ACTION_WRITE:
        answer->event.kind = EVENT_WRITTEN;
        apply_write(world, request, &answer->reply);
        break;
    default:
        IMPOSSIBLE("request %d", (int)request->request);
    }
    if (first && lost(world, n)) {
        struct action again = {.kind = request->request, .ticket = request->ticket};
        answer_unknown(world, n, &again);
    } else if (first) {
        bool twice = world->faulty && rng_chance(&world->rng, world->loss / 4);
        for (int i = 0; i < (twice ? 2 : 1); i++) {
            struct happening *sent = answer_new(world, n, request->incarnation, world->now_us + latency_us(world));
            sent->event = answer->event;
            sent->reply = answer->reply;
        }
    }
    free(answer);
}

void engine_happen(struct world *world, struct happening *happening)
{
    if (happening->boot != world->boot && happening->kind != HAPPEN_SEND_VIEW)
        return;
    switch (happening->kind) {
    case HAPPEN_REQUEST:
        apply(world, happening);
        return;
    case HAPPEN_SEND_VIEW:
        if (happening->session != 0)
            world->nodes[happening->node].watches[happening->token].sent = 0;
        send_view(world, happening->node, (int)happening->token);
        return;
    case HAPPEN_EXPIRE:
        expire(world, happening->session);
        return;
    case HAPPEN_DEATH:
        session_end(world, happening->session, "its process is dead");
        return;
    default:
        IMPOSSIBLE("happening %d is not the engine's", (int)happening->kind);
    }
}
