/* checkers.c: what must be true of a barrier. They read the records and what the nodes are told, and share no code with
 * the core.
 *
 *   N  each opening has the next generation, and names as many as they have said, who were there together at one moment
 *      after the last opening, when nobody whom that one named was there any more; no presence is named twice
 *   O  an instance is told a generation only if it is stored, and names it; and once only
 *   X  at no instant are two in different generations, nor works the program of one that is not the other's
 *   L  once faults end, the barrier opens within a stated bound when as many wait as its size
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "barrier/nodes.h"
#include "base/base.h"
#include "checkers.h"

#define HERE "barriers/" SIM_NAME "/here/"
#define FOR_EVER UINT64_MAX
#define WORK_US (6 * SECOND_US) /* in a generation, with a stop */

/* One that was there from one moment on, until it was not there at another. */
struct seen_presence {
    char cid[64];
    uint64_t created, from, until;
    uint32_t size;
    uint64_t generation; /* that names it; 0: none does */
};

struct seen_opening {
    json_t *cids;
    json_t *told; /* those of them that were told so */
    uint64_t moment;
};

void barrier_checkers_free(struct world *world)
{
    struct barrier_part *part = barrier_part(world);
    for (size_t i = 0; i < part->opening_count; i++) {
        json_decref(part->openings[i].cids);
        json_decref(part->openings[i].told);
    }
    free(part->openings);
    free(part->presences);
}

/* ---- who is there ---- */

static bool is_at(const struct seen_presence *presence, uint64_t moment)
{
    return presence->from <= moment && moment < presence->until;
}

static struct seen_presence *find(const struct barrier_part *part, const char *cid, uint64_t moment)
{
    for (size_t i = part->presence_count; i > 0; i--)
        if (strcmp(part->presences[i - 1].cid, cid) == 0 && is_at(&part->presences[i - 1], moment))
            return &part->presences[i - 1];
    return NULL;
}

static void add(struct barrier_part *part, const struct baton_record *record)
{
    part->presences = mem_grow(part->presences, (part->presence_count + 1) * sizeof(*part->presences));
    struct seen_presence *presence = &part->presences[part->presence_count++];
    json_t *object = json_loads(record->value, 0, NULL);
    *presence = (struct seen_presence){.created = record->created,
                                       .from = part->moment,
                                       .until = FOR_EVER,
                                       .size = (uint32_t)json_integer_value(json_object_get(object, "size"))};
    text_copy(presence->cid, sizeof(presence->cid), record->key + strlen(HERE));
    json_decref(object);
}

static bool is_in(const struct baton_batch *batch, const struct seen_presence *presence)
{
    for (size_t i = 0; i < batch->count; i++)
        if (strcmp(batch->changes[i].record.key + strlen(HERE), presence->cid) == 0 &&
            batch->changes[i].record.created == presence->created)
            return true;
    return false;
}

/* Those that were gone when the last opening was stored cannot be named by the next one. */
static void forget_gone(struct barrier_part *part)
{
    uint64_t since = part->opening_count > 0 ? part->openings[part->opening_count - 1].moment : 0;
    size_t kept = 0;
    for (size_t i = 0; i < part->presence_count; i++)
        if (part->presences[i].until > since)
            part->presences[kept++] = part->presences[i];
    part->presence_count = kept;
}

/* Look who is there now: between two changes of the store there is one moment. */
static void look_who_is_there(struct world *world)
{
    struct barrier_part *part = barrier_part(world);
    struct baton_batch batch;
    if (part->revision == store_revision(world->engine.store))
        return;
    part->revision = store_revision(world->engine.store);
    (void)store_read(world->engine.store, HERE, 0, 0, &batch);
    bool changed = false;
    forget_gone(part);
    part->moment++;
    for (size_t i = 0; i < part->presence_count; i++) {
        struct seen_presence *presence = &part->presences[i];
        if (presence->until == FOR_EVER && !is_in(&batch, presence)) {
            presence->until = part->moment;
            changed = true;
        }
    }
    for (size_t i = 0; i < batch.count; i++) {
        const struct baton_record *record = &batch.changes[i].record;
        const struct seen_presence *presence = find(part, record->key + strlen(HERE), part->moment);
        if (presence == NULL || presence->created != record->created) {
            add(part, record);
            changed = true;
        }
    }
    if (!changed)
        part->moment--;
}

/* ---- N: an opening is stored ---- */

/* Were all of them there at this moment, and nobody whom the last opening named? */
static bool all_there(const struct barrier_part *part, const json_t *cids, uint64_t moment)
{
    for (size_t i = 0; i < json_array_size(cids); i++) {
        const struct seen_presence *presence = find(part, json_string_value(json_array_get(cids, i)), moment);
        if (presence == NULL || presence->generation != 0 || presence->size != json_array_size(cids))
            return false;
    }
    for (size_t i = 0; i < part->presence_count; i++)
        if (is_at(&part->presences[i], moment) && part->presences[i].generation == part->opening_count &&
            part->opening_count > 0)
            return false;
    return true;
}

static bool is_twice(const json_t *cids)
{
    for (size_t i = 0; i < json_array_size(cids); i++)
        for (size_t k = 0; k < i; k++)
            if (json_equal(json_array_get(cids, i), json_array_get(cids, k)))
                return true;
    return false;
}

static void name_all(struct barrier_part *part, json_t *cids, uint64_t moment)
{
    for (size_t i = 0; i < json_array_size(cids); i++)
        find(part, json_string_value(json_array_get(cids, i)), moment)->generation = part->opening_count + 1;
    part->openings = mem_grow(part->openings, (part->opening_count + 1) * sizeof(*part->openings));
    part->enough_since_us = NEVER_MS;
    part->openings[part->opening_count++] =
        (struct seen_opening){.cids = json_incref(cids), .told = json_array(), .moment = part->moment};
}

static void check_opening(struct world *world, const char *value)
{
    struct barrier_part *part = barrier_part(world);
    json_t *object = json_loads(value, 0, NULL), *cids = json_object_get(object, "cids");
    uint64_t generation = (uint64_t)json_integer_value(json_object_get(object, "generation"));
    uint64_t moment = part->opening_count > 0 ? part->openings[part->opening_count - 1].moment : 0;
    world_note(world, "generation %llu is open for %u", (unsigned long long)generation,
               (unsigned)json_array_size(cids));
    if (generation != part->opening_count + 1)
        world_fail(world, "N: generation %llu is opened after generation %llu", (unsigned long long)generation,
                   (unsigned long long)part->opening_count);
    while (moment <= part->moment && !all_there(part, cids, moment))
        moment++;
    if (is_twice(cids) || moment > part->moment)
        world_fail(world, "N: generation %llu names %u that were never there together, each for the first time",
                   (unsigned long long)generation, (unsigned)json_array_size(cids));
    else
        name_all(part, cids, moment);
    json_decref(object);
}

void barrier_check_stored(struct world *world, const struct baton_write *write)
{
    if (write->kind == BATON_WRITE_PUT && strcmp(write->key, "barriers/" SIM_NAME "/opening") == 0) {
        world->result->terms++;
        check_opening(world, write->value);
    }
}

/* ---- O: what the nodes are told ---- */

static bool holds(const json_t *cids, const char *cid)
{
    for (size_t i = 0; i < json_array_size(cids); i++)
        if (strcmp(json_string_value(json_array_get(cids, i)), cid) == 0)
            return true;
    return false;
}

void barrier_check_begins(struct world *world, int n, uint64_t generation)
{
    struct barrier_part *part = barrier_part(world);
    const char *cid = contest_cid(world->nodes[n].contest);
    if (generation < 1 || generation > part->opening_count || !holds(part->openings[generation - 1].cids, cid)) {
        world_fail(world, "O: n%d (%s) is told that it is in generation %llu, which does not name it", n, cid,
                   (unsigned long long)generation);
        return;
    }
    if (holds(part->openings[generation - 1].told, cid))
        world_fail(world, "O: n%d (%s) is told twice that it is in generation %llu", n, cid,
                   (unsigned long long)generation);
    json_array_append_new(part->openings[generation - 1].told, json_string(cid));
}

/* ---- X and L: at every instant ---- */

static void check_generation(struct world *world, int n, uint64_t generation, int *other, uint64_t *others)
{
    if (generation == 0)
        return;
    if (*others != 0 && *others != generation)
        world_fail(world, "X: n%d is in generation %llu while n%d is in generation %llu", n,
                   (unsigned long long)generation, *other, (unsigned long long)*others);
    *other = n;
    *others = generation;
}

static void check_opens(struct world *world)
{
    struct barrier_part *part = barrier_part(world);
    uint32_t waiting = 0;
    for (int n = 0; n < world->node_count; n++)
        waiting += world->nodes[n].up && world->nodes[n].waits_since_us != NEVER_MS;
    if (waiting < part->size || quiet_since_us(world) == NEVER_MS)
        part->enough_since_us = NEVER_MS;
    else if (part->enough_since_us == NEVER_MS)
        part->enough_since_us = world->now_us;
    else if (world->now_us - part->enough_since_us > bound_us(world) + WORK_US && !part->disagreed)
        world_fail(world, "L: %u have waited at a barrier of %u for %.0f s in quiet", (unsigned)waiting,
                   (unsigned)part->size, (double)(world->now_us - part->enough_since_us) / 1e6);
}

void barrier_check_instant(struct world *world)
{
    uint64_t generation = 0;
    int who = -1;
    look_who_is_there(world);
    if (world->config.wild)
        return;
    for (int n = 0; n < world->node_count; n++) {
        const struct sim_node *node = &world->nodes[n];
        if (!node->up)
            continue;
        check_generation(world, n, contest_leads(node->core, node->contest, 0, node_clock_ms(world, node)), &who,
                         &generation);
        check_generation(world, n, node_active(world, node) ? node->program_term : 0, &who, &generation);
    }
    check_opens(world);
}
