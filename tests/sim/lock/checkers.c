/* checkers.c: what must be true of locks, told apart from the code that is checked.
 *
 *   X  never more holders than any of them was told that there are slots: so no shared one beside an exclusive one, and
 *      not two exclusive ones
 *   T  tokens of an exclusive lock only grow
 *   F  as of elections, with the token for the term
 *   L  once faults end, who waits holds within a stated bound
 *   R  nobody's view rests whose turn it is
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "checkers.h"
#include "lock/lock.h"

void lock_check_token(struct world *world, int n, uint64_t token)
{
    struct lock_part *part = lock_part(world);
    if (part->kind != LOCK_EXCLUSIVE)
        return;
    /* (With wild clocks one whose session is over may be told late that it is the first; then F is what holds.) */
    if (token <= part->highest_token && !world->config.wild)
        world_fail(world, "T: n%d holds with token %llu after token %llu", n, (unsigned long long)token,
                   (unsigned long long)part->highest_token);
    part->highest_token = token;
}

void lock_check_act(struct world *world, int n, uint64_t token)
{
    if (lock_part(world)->kind == LOCK_EXCLUSIVE) /* else several may write */
        check_fenced_write(world, n, token);
}

/* Who says that it holds, or whose program works. */
static void check_holders(struct world *world)
{
    uint32_t limit = UINT32_MAX, count = 0;
    char who[NODES_MAX * 24] = "";
    for (int n = 0; n < world->node_count; n++) {
        const struct sim_node *node = &world->nodes[n];
        if (!node->up ||
            (contest_leads(node->core, node->contest, 0, node_clock_ms(world, node)) == 0 && !node_active(world, node)))
            continue;
        snprintf(who + strlen(who), sizeof(who) - strlen(who), " n%d (%u)", n, (unsigned)lock_part(world)->slots[n]);
        limit = lock_part(world)->slots[n] < limit ? lock_part(world)->slots[n] : limit;
        count++;
    }
    if (count > limit && !world->config.wild)
        world_fail(world, "X: %u hold a lock of %u:%s", (unsigned)count, (unsigned)limit, who);
}

/* Each of those ahead may take 3 s, and 3 s more to stop. */
static void check_waiting(struct world *world)
{
    int64_t quiet_us = quiet_since_us(world);
    for (int n = 0; n < world->node_count; n++) {
        const struct sim_node *node = &world->nodes[n];
        int64_t since_us = node->waits_since_us > quiet_us ? node->waits_since_us : quiet_us;
        if (node->up && node->waits_since_us != NEVER_MS &&
            world->now_us - since_us > bound_us(world) + world->node_count * 6 * SECOND_US)
            world_fail(world, "L: n%d has waited for %.0f s in quiet", n, (double)(world->now_us - since_us) / 1e6);
    }
}

/* ---- R: the view of one that holds by what is stored ---- */

static uint32_t slots_stored(const struct baton_record *record)
{
    json_t *object = json_loads(record->value, 0, NULL);
    bool shared = json_is_true(json_object_get(object, "shared"));
    uint32_t slots = shared ? UINT32_MAX : (uint32_t)json_integer_value(json_object_get(object, "slots"));
    json_decref(object);
    return slots;
}

/* Is its place in the queue below its own number of slots, and that of every entry ahead of it? */
static bool is_its_turn(const struct baton_batch *queue, const struct baton_record *own)
{
    uint32_t place = 0, slots = slots_stored(own);
    for (size_t i = 0; i < queue->count; i++)
        place += queue->changes[i].record.created < own->created;
    for (size_t i = 0; i < queue->count; i++) {
        const struct baton_record *other = &queue->changes[i].record;
        if (other->created < own->created && slots_stored(other) < slots)
            slots = slots_stored(other);
    }
    return place < slots;
}

static void check_rest(struct world *world, int n)
{
    const char *cid = contest_cid(world->nodes[n].contest);
    struct baton_batch queue;
    (void)store_read(world->engine.store, world->config.kind->root, 0, 0, &queue);
    for (size_t i = 0; i < queue.count; i++) {
        const struct baton_record *record = &queue.changes[i].record;
        if (strcmp(record->key + strlen(world->config.kind->root), cid) == 0 && is_its_turn(&queue, record))
            world_fail(world, "R: n%d rests, and it is its turn", n);
    }
}

void lock_check_instant(struct world *world)
{
    uint32_t resting = resting_now(world);
    for (int n = 0; n < world->node_count; n++)
        if ((resting >> n & 1) != 0)
            check_rest(world, n);
    check_holders(world);
    if (quiet_since_us(world) != NEVER_MS && !world->config.wild)
        check_waiting(world);
}
