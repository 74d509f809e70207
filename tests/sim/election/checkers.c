/* checkers.c: what must be true of elections, told apart from the code that is checked.
 *
 *   X  no two leaders at one instant: neither two that say so, nor two whose programs work
 *   T  terms only grow: each decision has a larger term than any before, also one that was deleted
 *   P  no decision names a candidate that was not there before it
 *   L  once faults end there is a leader within a stated bound
 *   Q  without a fault there is no change of leader
 *   R  nobody's view rests whose turn it is to claim
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "checkers.h"
#include "election/election.h"

/* ---- T and P: what is stored ---- */

static bool cid_known(const struct election_part *part, const char *cid)
{
    for (size_t i = part->cid_count; i > 0; i--)
        if (strcmp(part->cids[i - 1], cid) == 0)
            return true;
    return false;
}

static void check_decision(struct world *world, const char *value)
{
    struct election_part *part = election_part(world);
    json_t *object = json_loads(value, 0, NULL);
    const char *cid = json_string_value(json_object_get(object, "cid"));
    uint64_t term = (uint64_t)json_integer_value(json_object_get(object, "term"));
    if (term == 0 && cid != NULL && cid[0] == '\0') { /* no term yet */
        json_decref(object);
        return;
    }
    if (term <= part->highest_term)
        world_fail(world, "T: term %llu is decided after term %llu", (unsigned long long)term,
                   (unsigned long long)part->highest_term);
    part->highest_term = term;
    world->result->terms++;
    if (cid == NULL)
        world_fail(world, "P: a decision has no cid");
    else if (cid[0] != '\0' && !cid_known(part, cid) && !world->config.wild)
        world_fail(world, "P: the decision of term %llu names '%s', who never stood", (unsigned long long)term, cid);
    world_note(world, "decided: term %llu, %s", (unsigned long long)term, cid != NULL ? cid : "?");
    json_decref(object);
}

void election_check_stored(struct world *world, const struct baton_write *write)
{
    struct election_part *part = election_part(world);
    if (write->kind != BATON_WRITE_PUT)
        return;
    const char *cid = strstr(write->key, "/candidates/");
    if (cid != NULL) {
        cid += strlen("/candidates/");
        if (cid_known(part, cid))
            return;
        if (part->cid_count == part->cid_room) {
            part->cid_room = part->cid_room > 0 ? 2 * part->cid_room : 64;
            part->cids = mem_grow(part->cids, part->cid_room * sizeof(char *));
        }
        part->cids[part->cid_count++] = mem_text(cid);
        return;
    }
    if (strcmp(write->key, DECISION_KEY) == 0)
        check_decision(world, write->value);
}

/* ---- X: at every instant ---- */

static void check_leaders(struct world *world, int *ret_leader, uint64_t *ret_term)
{
    int claims = -1, active = -1;
    *ret_leader = -1;
    *ret_term = 0;
    for (int n = 0; n < world->node_count; n++) {
        const struct sim_node *node = &world->nodes[n];
        if (!node->up)
            continue;
        uint64_t term = contest_leads(node->core, node->contest, 0, node_clock_ms(world, node));
        if (term != 0) {
            if (claims >= 0 && !world->config.wild)
                world_fail(world, "X: n%d and n%d lead at the same time (terms %llu and %llu)", claims, n,
                           (unsigned long long)*ret_term, (unsigned long long)term);
            claims = *ret_leader = n;
            *ret_term = term;
        }
        if (node_active(world, node)) {
            if (active >= 0 && !world->config.wild)
                world_fail(world, "X: the programs of n%d and n%d work at the same time", active, n);
            active = n;
        }
    }
    if (claims >= 0 && active >= 0 && claims != active && !world->config.wild)
        world_fail(world, "X: n%d leads while the program of n%d still works", claims, active);
}

/* ---- L and Q: when it is quiet ---- */

static void check_quiet(struct world *world, int leader, uint64_t term)
{
    struct election_part *part = election_part(world);
    int64_t quiet_us = world->now_us - quiet_since_us(world);
    if (part->leader < 0) {
        if (leader >= 0 && quiet_us > bound_us(world) - 2 * SECOND_US) {
            part->leader = leader;
            part->leader_term = term;
        } else if (quiet_us > bound_us(world)) {
            world_fail(world, "L: nobody leads %.0f s after the faults ended", (double)bound_us(world) / 1e6);
        }
        return;
    }
    if (leader != part->leader || term != part->leader_term)
        world_fail(world, "Q: n%d led with term %llu; now n%d leads with term %llu, and nothing went wrong",
                   part->leader, (unsigned long long)part->leader_term, leader, (unsigned long long)term);
}

/* ---- R: the view of the first candidate, when nobody leads ---- */

static int64_t priority_stored(const struct baton_record *record)
{
    json_t *object = json_loads(record->value, 0, NULL);
    int64_t priority = json_integer_value(json_object_get(object, "priority"));
    json_decref(object);
    return priority;
}

static bool is_candidate(const struct baton_record *record, const char *cid)
{
    const char *found = strstr(record->key, "/candidates/");
    return found != NULL && (cid == NULL || strcmp(found + strlen("/candidates/"), cid) == 0);
}

static const struct baton_record *find_candidate(const struct baton_batch *batch, const char *cid)
{
    for (size_t i = 0; i < batch->count; i++)
        if (is_candidate(&batch->changes[i].record, cid))
            return &batch->changes[i].record;
    return NULL;
}

static bool is_vacant(const struct world *world)
{
    const struct baton_record *decision = store_get(world->engine.store, DECISION_KEY);
    json_t *object = decision != NULL ? json_loads(decision->value, 0, NULL) : NULL;
    const char *cid = json_string_value(json_object_get(object, "cid"));
    char key[160];
    snprintf(key, sizeof(key), "elections/" SIM_NAME "/candidates/%s", cid != NULL ? cid : "");
    json_decref(object);
    return store_get(world->engine.store, key) == NULL;
}

static void check_rest(struct world *world, int n)
{
    struct baton_batch batch;
    if (!is_vacant(world))
        return;
    (void)store_read(world->engine.store, world->config.kind->root, 0, 0, &batch);
    const struct baton_record *own = find_candidate(&batch, contest_cid(world->nodes[n].contest));
    if (own == NULL)
        return;
    int64_t priority = priority_stored(own);
    for (size_t i = 0; i < batch.count; i++) {
        const struct baton_record *other = &batch.changes[i].record;
        if (is_candidate(other, NULL) && other != own &&
            (priority_stored(other) > priority ||
             (priority_stored(other) == priority && other->created < own->created)))
            return; /* it is not the first */
    }
    world_fail(world, "R: n%d rests, nobody leads, and it is the first candidate", n);
}

void election_check_instant(struct world *world)
{
    uint32_t resting = resting_now(world);
    for (int n = 0; n < world->node_count; n++)
        if ((resting >> n & 1) != 0)
            check_rest(world, n);
    int leader;
    uint64_t term;
    check_leaders(world, &leader, &term);
    if (quiet_since_us(world) != NEVER_MS && !world->config.wild)
        check_quiet(world, leader, term);
}

void election_check_quiet_begins(struct world *world)
{
    election_part(world)->leader = -1;
}

void election_check_quiet_ends(struct world *world)
{
    if (election_part(world)->leader < 0 && !world->config.wild)
        world_fail(world, "L: nobody leads at the end of a quiet phase");
}
