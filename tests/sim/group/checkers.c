/* checkers.c: what must be true of groups, told apart from the code that is checked.
 *
 *   S  no shard has two workers at one instant, also under different numbers of shards
 *   T  grants only grow, from worker to worker
 *   F  a fenced resource is never written by two workers with one grant
 *   L  once faults end, each shard has a worker within a stated bound, and soon it is the one that the plan names
 *   N  a member begins only what the plan has named it for since, and stops what moves only when the other one has come
 *   P  no part of the plan is written that changes nothing; none when all is level, and nothing moves that need not;
 *      and no more moves are under way than are allowed
 *   K  as elsewhere
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/base64.h"
#include "checkers.h"
#include "group/group.h"

#define NOBODY (-1)
#define STILL UINT64_MAX
#define IDS NODES_MAX

struct group_seen {
    int owner[WORLD_SHARDS_MAX];                    /* by the plan: the number of the id, or NOBODY */
    uint64_t named_until[WORLD_SHARDS_MAX][IDS];    /* STILL, or the revision of the plan that does not any more */
    uint64_t declared_until[WORLD_SHARDS_MAX][IDS]; /* likewise, of the id's records */
    uint64_t granted[WORLD_SHARDS_MAX];             /* the newest grant */
    uint64_t written[WORLD_SHARDS_MAX];             /* by which the fenced resource was written last, */
    int writer[WORLD_SHARDS_MAX];
    unsigned writer_incarnation[WORLD_SHARDS_MAX];
    int64_t planned_us; /* when a part of the plan was written last */
    int64_t looked_us;
};

static struct group_seen *seen_of(const struct world *world)
{
    return group_part(world)->seen;
}

void group_checkers_begin(struct world *world)
{
    struct group_seen *seen = group_part(world)->seen = mem_new(sizeof(*seen));
    for (uint32_t shard = 0; shard < WORLD_SHARDS_MAX; shard++)
        seen->owner[shard] = seen->writer[shard] = NOBODY;
}

void group_checkers_end(struct world *world)
{
    free(group_part(world)->seen);
}

/* ---- records ---- */

static void read_text(bool set[WORLD_SHARDS_MAX], const char *text)
{
    unsigned first, last;
    int used;
    while (sscanf(text, "%u%n", &first, &used) == 1) {
        text += used;
        last = first;
        if (*text == '-' && sscanf(text, "-%u%n", &last, &used) == 1)
            text += used;
        for (unsigned shard = first; shard <= last && shard < WORLD_SHARDS_MAX; shard++)
            set[shard] = true;
        if (*text != ',')
            return;
        text++;
    }
}

static void read_set(bool set[WORLD_SHARDS_MAX], const json_t *field)
{
    const char *encoded = json_string_value(json_object_get(field, "base64"));
    char bytes[WORLD_SHARDS_MAX * 2];
    size_t size;
    memset(set, 0, WORLD_SHARDS_MAX * sizeof(set[0]));
    if (json_is_string(field))
        read_text(set, json_string_value(field));
    else if (encoded != NULL && base64_decode(bytes, &size, encoded))
        for (size_t i = 0; i < size * 8 && i < WORLD_SHARDS_MAX; i++)
            set[i] = ((unsigned char)bytes[i / 8] >> i % 8 & 1) != 0;
}

/* The first node that has it. */
static int number_of_id(const struct world *world, const char *id)
{
    for (int n = 0; id != NULL && n < world->node_count; n++)
        if (strcmp(world->nodes[n].id, id) == 0)
            return n;
    return NOBODY;
}

uint32_t stored_count(const struct world *world)
{
    const struct baton_record *record = store_get(world->engine.store, GROUP_PREFIX "split");
    json_t *object = record != NULL ? json_loads(record->value, 0, NULL) : NULL;
    uint32_t count = (uint32_t)json_integer_value(json_object_get(object, "count"));
    json_decref(object);
    return count;
}

/* Who is there, by id, as the records show it. */
struct members {
    bool there[IDS], drains[IDS];
    bool declares[IDS][WORLD_SHARDS_MAX];
};

static void read_members(struct world *world, struct members *ret)
{
    struct baton_batch batch;
    *ret = (struct members){0};
    if (!store_read(world->engine.store, GROUP_PREFIX "members/", 0, 0, &batch))
        return;
    for (size_t i = 0; i < batch.count; i++) {
        json_t *object = json_loads(batch.changes[i].record.value, 0, NULL);
        int id = number_of_id(world, json_string_value(json_object_get(object, "id")));
        bool set[WORLD_SHARDS_MAX];
        read_set(set, json_object_get(object, "declares"));
        for (uint32_t shard = 0; id != NOBODY && shard < WORLD_SHARDS_MAX; shard++)
            ret->declares[id][shard] = ret->declares[id][shard] || set[shard];
        if (id != NOBODY) {
            ret->there[id] = true;
            ret->drains[id] = ret->drains[id] || json_is_true(json_object_get(object, "drain"));
        }
        json_decref(object);
    }
}

/* ---- what is stored ---- */

static void check_member(struct world *world, const char *value)
{
    struct group_seen *seen = seen_of(world);
    json_t *object = json_loads(value, 0, NULL);
    int id = number_of_id(world, json_string_value(json_object_get(object, "id")));
    bool set[WORLD_SHARDS_MAX];
    read_set(set, json_object_get(object, "declares"));
    json_decref(object);
    for (uint32_t shard = 0; id != NOBODY && shard < WORLD_SHARDS_MAX; shard++) {
        if (set[shard])
            seen->declared_until[shard][id] = STILL;
        else if (seen->declared_until[shard][id] == STILL)
            seen->declared_until[shard][id] = store_revision(world->engine.store);
    }
}

static bool settled(const struct world *world)
{
    return quiet_since_us(world) != NEVER_MS && world->now_us - quiet_since_us(world) > bound_us(world) &&
           !world->config.wild;
}

static void count_loads(const struct group_seen *seen, uint32_t count, int loads[IDS])
{
    memset(loads, 0, IDS * sizeof(loads[0]));
    for (uint32_t shard = 0; shard < count; shard++)
        if (seen->owner[shard] != NOBODY)
            loads[seen->owner[shard]]++;
}

int stored_owner(const struct world *world, uint32_t shard)
{
    return seen_of(world)->owner[shard];
}

int stored_load(const struct world *world, int n)
{
    int loads[IDS];
    count_loads(seen_of(world), stored_count(world), loads);
    return loads[number_of_id(world, world->nodes[n].id)];
}

/* Each shard has an owner that is there and does not drain, and their loads differ by one at most. */
static bool is_level(const struct group_seen *seen, const struct members *members, uint32_t count)
{
    int loads[IDS], most = 0, least = WORLD_SHARDS_MAX + 1;
    count_loads(seen, count, loads);
    for (uint32_t shard = 0; shard < count; shard++)
        if (seen->owner[shard] == NOBODY || !members->there[seen->owner[shard]] || members->drains[seen->owner[shard]])
            return false;
    for (int id = 0; id < IDS; id++) {
        if (!members->there[id] || members->drains[id])
            continue;
        most = loads[id] > most ? loads[id] : most;
        least = loads[id] < least ? loads[id] : least;
    }
    return most - least <= 1;
}

static void check_moves(struct world *world, const struct members *members, const int owner[WORLD_SHARDS_MAX],
                        uint32_t first, uint32_t end)
{
    const struct group_seen *seen = seen_of(world);
    int loads[IDS];
    uint32_t under_way = 0;
    count_loads(seen, stored_count(world), loads);
    for (uint32_t shard = 0; shard < stored_count(world); shard++) {
        bool written = shard >= first && shard < end;
        int from = seen->owner[shard], to = written ? owner[shard] : from;
        bool declared = false;
        for (int id = 0; id < IDS; id++)
            declared = declared || (id != to && members->declares[id][shard]);
        under_way += to != NOBODY && members->there[to] && declared;
        if (from != to && from != NOBODY && to != NOBODY && members->there[from] && !members->drains[from] &&
            members->there[to] && loads[from] <= loads[to])
            world_fail(world, "P: shard %u moves from %s with %d shards to %s with %d", (unsigned)shard,
                       world->nodes[from].id, loads[from], world->nodes[to].id, loads[to]);
    }
    if (group_part(world)->max_moves > 0 && under_way > group_part(world)->max_moves)
        world_fail(world, "P: %u moves are under way", (unsigned)under_way);
}

static void check_plan(struct world *world, uint32_t k, const char *value)
{
    struct group_seen *seen = seen_of(world);
    uint32_t first = k * group_part(world)->chunk, end = first + group_part(world)->chunk, changed = 0;
    int owner[WORLD_SHARDS_MAX];
    json_t *object = value != NULL ? json_loads(value, 0, NULL) : NULL;
    const char *id;
    json_t *field;
    end = end < WORLD_SHARDS_MAX ? end : WORLD_SHARDS_MAX;
    for (uint32_t shard = 0; shard < WORLD_SHARDS_MAX; shard++)
        owner[shard] = NOBODY;
    json_object_foreach(json_object_get(object, "owners"), id, field)
    {
        bool set[WORLD_SHARDS_MAX];
        read_set(set, field);
        for (uint32_t shard = first; shard < end; shard++)
            if (set[shard] && owner[shard] == NOBODY)
                owner[shard] = number_of_id(world, id);
    }
    json_decref(object);
    if (settled(world)) {
        struct members members;
        read_members(world, &members);
        if (is_level(seen, &members, stored_count(world)))
            world_fail(world, "P: plan/%u is written, and all is level", (unsigned)k);
        check_moves(world, &members, owner, first, end);
    }
    for (uint32_t shard = first; shard < end; shard++) {
        int before = seen->owner[shard];
        changed += before != owner[shard];
        if (before != NOBODY && before != owner[shard])
            seen->named_until[shard][before] = store_revision(world->engine.store);
        if (owner[shard] != NOBODY)
            seen->named_until[shard][owner[shard]] = STILL;
        seen->owner[shard] = owner[shard];
    }
    if (changed == 0 && settled(world) && value != NULL)
        world_fail(world, "P: plan/%u is written, and says what it said", (unsigned)k);
    seen->planned_us = world->now_us;
    world->result->terms++;
}

void group_check_stored(struct world *world, const struct baton_write *write)
{
    unsigned k;
    if (write->kind == BATON_WRITE_PUT && text_starts(write->key, GROUP_PREFIX "members/"))
        check_member(world, write->value);
    else if (sscanf(write->key, GROUP_PREFIX "plan/%u", &k) == 1)
        check_plan(world, k, write->kind == BATON_WRITE_PUT ? write->value : NULL);
}

/* ---- what the nodes do ---- */

/* Nobody else may work on it now; nor on anything under another number of shards. */
static void check_alone(struct world *world, int n, uint32_t shard)
{
    const struct group_part *part = group_part(world);
    for (int k = 0; k < world->node_count && !world->config.wild; k++) {
        if (k == n)
            continue;
        if (part->nodes[k].count == part->nodes[n].count) {
            if (shard_active(world, k, shard))
                world_fail(world, "S: n%d and n%d work on shard %u at the same time", n, k, (unsigned)shard);
            continue;
        }
        for (uint32_t other = 0; other < WORLD_SHARDS_MAX; other++)
            if (shard_active(world, k, other))
                world_fail(world, "S: n%d works on one of %u shards while n%d works on one of %u", n,
                           (unsigned)part->nodes[n].count, k, (unsigned)part->nodes[k].count);
    }
}

void group_check_begins(struct world *world, int n, uint32_t shard, uint64_t grant)
{
    struct group_seen *seen = seen_of(world);
    int id = number_of_id(world, world->nodes[n].id);
    world_note(world, "n%d begins shard %u with grant %llu", n, (unsigned)shard, (unsigned long long)grant);
    check_alone(world, n, shard);
    if (grant <= seen->granted[shard] && !world->config.wild)
        world_fail(world, "T: n%d begins shard %u with grant %llu after grant %llu", n, (unsigned)shard,
                   (unsigned long long)grant, (unsigned long long)seen->granted[shard]);
    if (seen->named_until[shard][id] < grant)
        world_fail(world, "N: n%d begins shard %u, for which it is not named any more", n, (unsigned)shard);
    seen->granted[shard] = grant;
}

void group_check_goes_on(struct world *world, int n, uint32_t shard)
{
    if (shard_active(world, n, shard))
        check_alone(world, n, shard);
}

void group_check_stop(struct world *world, int n, uint32_t shard, const char *why)
{
    const struct group_seen *seen = seen_of(world);
    uint64_t grant = group_part(world)->nodes[n].shards[shard].grant;
    if (strstr(why, "moves") == NULL)
        return;
    for (int id = 0; id < IDS; id++)
        if (id != number_of_id(world, world->nodes[n].id) && seen->declared_until[shard][id] > grant)
            return;
    world_fail(world, "N: n%d stops shard %u, and nobody has come for it", n, (unsigned)shard);
}

void group_check_write(struct world *world, int n, uint32_t shard, uint64_t grant)
{
    struct group_seen *seen = seen_of(world);
    if (grant < seen->written[shard])
        return; /* the guard of the resource refuses it */
    if (grant == seen->written[shard] &&
        (seen->writer[shard] != n || seen->writer_incarnation[shard] != world->nodes[n].incarnation))
        world_fail(world, "F: shard %u is written by n%d with grant %llu, which n%d has used", (unsigned)shard, n,
                   (unsigned long long)grant, seen->writer[shard]);
    seen->written[shard] = grant;
    seen->writer[shard] = n;
    seen->writer_incarnation[shard] = world->nodes[n].incarnation;
}

void group_check_session_end(struct world *world, int n, uint64_t session)
{
    for (uint32_t shard = 0; shard < WORLD_SHARDS_MAX; shard++) {
        const struct shard_program *program = &group_part(world)->nodes[n].shards[shard];
        if (program->state != PROGRAM_IDLE && world->nodes[n].options.stop_ms > 0 && program->session == session)
            world_fail(world, "K: n%d ends the session of the program of shard %u, which has not stopped", n,
                       (unsigned)shard);
    }
}

/* ---- L: when it is quiet ---- */

static int worker_of(const struct world *world, uint32_t shard)
{
    for (int n = 0; n < world->node_count; n++)
        if (shard_active(world, n, shard))
            return n;
    return NOBODY;
}

/* A session that is lost is over within bound_us; then a leader plans, after the time for which it keeps the shards of
 * those that have gone, and a shard may have to be stopped for that. */
static int64_t group_bound_us(const struct world *world)
{
    return bound_us(world) + group_part(world)->settle_ms * 1000 + group_part(world)->settle_start_ms * 1000 +
           10 * SECOND_US;
}

void group_check_instant(struct world *world)
{
    struct group_seen *seen = seen_of(world);
    if (quiet_since_us(world) == NEVER_MS || world->config.wild || world->now_us - seen->looked_us < SECOND_US ||
        world->now_us - quiet_since_us(world) < group_bound_us(world))
        return;
    seen->looked_us = world->now_us;
    for (uint32_t shard = 0; shard < stored_count(world); shard++) {
        int n = worker_of(world, shard);
        bool stops = n != NOBODY || world->now_us - seen->planned_us < 4 * SECOND_US + SLOW_STOP_US;
        if (!stops)
            world_fail(world, "L: shard %u has no worker %.0f s after the faults ended", (unsigned)shard,
                       (double)(world->now_us - quiet_since_us(world)) / 1e6);
    }
}

void group_check_quiet_begins(struct world *world)
{
    seen_of(world)->looked_us = 0;
}

void group_check_quiet_ends(struct world *world)
{
    const struct group_seen *seen = seen_of(world);
    if (world->config.wild || world->now_us - quiet_since_us(world) < group_bound_us(world) ||
        world->now_us - seen->planned_us < bound_us(world) / 2)
        return;
    for (uint32_t shard = 0; shard < stored_count(world); shard++) {
        int n = worker_of(world, shard);
        if (n == NOBODY || number_of_id(world, world->nodes[n].id) != seen->owner[shard])
            world_fail(world, "L: shard %u is worked on by n%d, and the plan names n%d", (unsigned)shard, n,
                       seen->owner[shard]);
    }
}
