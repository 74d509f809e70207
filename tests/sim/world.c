/* world.c: the scheduler: a heap of what is going to happen, and a loop that lets it happen. */
#include "world.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "checkers.h"
#include "kind.h"

/* ---- what happened, as text and as a number ---- */

static void hash_bytes(uint64_t *hash, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) /* FNV-1a */
        *hash = (*hash ^ (unsigned char)bytes[i]) * 0x100000001b3ULL;
}

int64_t world_wall_ms(const struct world *world)
{
    return 1700000000000 + world->now_us / 1000;
}

void world_note(struct world *world, const char *format, ...)
{
    char text[1024];
    int used = snprintf(text, sizeof(text), "%12.6f ", (double)world->now_us / 1e6);
    va_list args;
    va_start(args, format);
    vsnprintf(text + used, sizeof(text) - (size_t)used, format, args);
    va_end(args);
    hash_bytes(&world->result->hash, text, strlen(text));
    if (world->config.trace != NULL)
        fprintf(world->config.trace, "%s\n", text);
}

void world_fail(struct world *world, const char *format, ...)
{
    if (world->result->failure[0] != '\0')
        return;
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    snprintf(world->result->failure, sizeof(world->result->failure), "at %.6f s: %s", (double)world->now_us / 1e6,
             text);
    world_note(world, "VIOLATION %s", text);
}

bool world_keeps(const struct world *world, enum world_rule rule)
{
    return (world->config.broken_around & (1U << rule)) == 0;
}

/* ---- the heap ---- */

static bool before(const struct happening *a, const struct happening *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void heap_add(struct world *world, struct happening *happening)
{
    if (world->heap_count == world->heap_room) {
        world->heap_room = world->heap_room > 0 ? 2 * world->heap_room : 64;
        world->heap = mem_grow(world->heap, world->heap_room * sizeof(struct happening *));
    }
    size_t at = world->heap_count++;
    while (at > 0 && before(happening, world->heap[(at - 1) / 2])) {
        world->heap[at] = world->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    world->heap[at] = happening;
}

static struct happening *heap_take(struct world *world)
{
    assert(world->heap_count > 0);
    struct happening *first = world->heap[0];
    struct happening *last = world->heap[--world->heap_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= world->heap_count)
            break;
        if (child + 1 < world->heap_count && before(world->heap[child + 1], world->heap[child]))
            child++;
        if (!before(world->heap[child], last))
            break;
        world->heap[at] = world->heap[child];
        at = child;
    }
    if (world->heap_count > 0)
        world->heap[at] = last;
    return first;
}

struct happening *world_plan(struct world *world, int64_t at_us, enum happening_kind kind)
{
    struct happening *happening = mem_new(sizeof(*happening));
    happening->at_us = at_us > world->now_us ? at_us : world->now_us;
    happening->order = ++world->order;
    happening->kind = kind;
    happening->node = -1;
    happening->boot = world->boot;
    heap_add(world, happening);
    return happening;
}

/* ---- copies ---- */

struct batch_copy *batch_copy_new(const struct baton_batch *batch)
{
    struct batch_copy *copy = mem_new(sizeof(*copy));
    copy->changes = mem_new(batch->count * sizeof(*copy->changes));
    for (size_t i = 0; i < batch->count; i++) {
        copy->changes[i] = batch->changes[i];
        copy->changes[i].record.key = mem_text(batch->changes[i].record.key);
        copy->changes[i].record.value = mem_text(batch->changes[i].record.value);
    }
    copy->batch = *batch;
    copy->batch.changes = copy->changes;
    return copy;
}

void batch_copy_free(struct batch_copy *copy)
{
    if (copy == NULL)
        return;
    for (size_t i = 0; i < copy->batch.count; i++) {
        free((char *)copy->changes[i].record.key);
        free((char *)copy->changes[i].record.value);
    }
    free(copy->changes);
    free(copy);
}

static void happening_free(struct happening *happening)
{
    free(happening->key);
    free(happening->value);
    batch_copy_free(happening->copy);
    free(happening);
}

/* ---- the loop ---- */

static bool to_a_node(enum happening_kind kind)
{
    return kind <= HAPPEN_THROUGH;
}

static void happen(struct world *world, struct happening *happening)
{
    if (to_a_node(happening->kind)) {
        assert(happening->node >= 0 && happening->node < world->node_count);
        struct sim_node *node = &world->nodes[happening->node];
        if (happening->kind != HAPPEN_START && (!node->up || happening->incarnation != node->incarnation)) {
            happening_free(happening);
            return;
        }
        if (node->up && node->paused_until_us > world->now_us) {
            /* The machine stands still: everything waits, in order. */
            happening->at_us = node->paused_until_us;
            happening->order = ++world->order;
            heap_add(world, happening);
            return;
        }
        node_happen(world, happening);
    } else if (happening->kind >= HAPPEN_FAULT) {
        faults_happen(world, happening);
    } else {
        engine_happen(world, happening);
    }
    happening_free(happening);
    world->result->steps++;
    world->config.kind->check_instant(world);
}

static void world_init(struct world *world)
{
    struct rng *rng = &world->rng;
    rng->state = world->config.seed * 0x2545f4914f6cdd1dULL + 1;
    world->end_us = world->config.minutes * 60 * SECOND_US;
    int nodes_max = world->config.kind->nodes_max > 0 ? world->config.kind->nodes_max : NODES_USUAL_MAX;
    world->node_count = world->config.nodes > 0 ? world->config.nodes : (int)rng_range(rng, 3, nodes_max);
    int64_t ppm = world->config.wild ? 400000 : 450;
    world->engine.store = store_new();
    if (!world_keeps(world, WORLD_TOKENS_END_WITH_COMPANY))
        store_break_latches(world->engine.store);
    world->engine.clock_ppm = rng_range(rng, -ppm, ppm);
    world->checkers = checkers_new();
    uint32_t ttl_ms = (uint32_t)rng_range(rng, 2, 12) * 1000;
    for (int n = 0; n < world->node_count; n++) {
        struct sim_node *node = &world->nodes[n];
        snprintf(node->id, sizeof(node->id), "n%d", n);
        node->clock_base_ms = rng_range(rng, 1000, 100000000);
        node->clock_ppm = rng_range(rng, -ppm, ppm);
        node->ttl_ms = ttl_ms;
        node->options.stop_ms = rng_chance(rng, 300) ? 0 : (uint32_t)rng_range(rng, 100, ttl_ms / 3);
        node->options.priority = rng_chance(rng, 200) ? (int32_t)rng_range(rng, -3, 3) : 0;
        node->options.preempt = rng_chance(rng, 100);
        node->options.attentive = rng_chance(rng, 100);
        node->attentive = (uint32_t)rng_range(rng, 1, 3);
        node->idle_us = 5 * SECOND_US;
        update_init(&node->todo);
        struct happening *start = world_plan(world, rng_range(rng, 0, 3 * SECOND_US), HAPPEN_START);
        start->node = n;
    }
    if (world->config.kind->begin != NULL)
        world->config.kind->begin(world);
    faults_init(world);
}

static void world_release(struct world *world)
{
    while (world->heap_count > 0)
        happening_free(heap_take(world));
    free(world->heap);
    for (int n = 0; n < world->node_count; n++) {
        core_free(world->nodes[n].core);
        node_forget_testament(&world->nodes[n]);
        update_release(&world->nodes[n].todo);
        for (int w = 0; w < WATCHES_MAX; w++) {
            batch_copy_free(world->nodes[n].watches[w].old);
            rest_end(&world->nodes[n].watches[w].rest);
        }
    }
    store_free(world->engine.store);
    checkers_free(world->checkers);
    if (world->config.kind->end != NULL)
        world->config.kind->end(world);
}

void sim_run(const struct sim_config *config, struct sim_result *ret)
{
    *ret = (struct sim_result){.hash = 0xcbf29ce484222325ULL};
    struct world *world = mem_new(sizeof(*world));
    world->config = *config;
    world->result = ret;
    world_init(world);
    while (world->heap_count > 0 && ret->failure[0] == '\0') {
        if (world->heap[0]->at_us > world->end_us)
            break;
        struct happening *next = heap_take(world);
        assert(next->at_us >= world->now_us); /* time never goes back */
        world->now_us = next->at_us;
        happen(world, next);
    }
    ret->simulated_us = world->now_us;
    world_release(world);
    free(world);
}
