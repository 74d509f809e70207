/* checkers.c: the checkers. They read the store's records and what the nodes claim, and share no code with the core. */
#include "checkers.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

#define CIDS_MAX 65536

struct checkers {
    uint64_t highest_term; /* of any decision, or token, ever */
    char **cids;           /* of every candidate that was ever there */
    size_t cid_count, cid_room;
    uint64_t fenced_term; /* the newest term that the fenced resource has taken */
    int fenced_node;
    unsigned fenced_incarnation;
    /* a quiet phase */
    bool quiet;
    int64_t quiet_since_us, settled_us;
    int leader; /* of the quiet phase, once there is one; -1: none yet */
    uint64_t leader_term;
};

struct checkers *checkers_new(void)
{
    struct checkers *checkers = mem_new(sizeof(*checkers));
    checkers->leader = -1;
    checkers->fenced_node = -1;
    return checkers;
}

void checkers_free(struct checkers *checkers)
{
    for (size_t i = 0; i < checkers->cid_count; i++)
        free(checkers->cids[i]);
    free(checkers->cids);
    free(checkers);
}

/* ---- T and P: what is stored ---- */

static bool cid_known(const struct checkers *checkers, const char *cid)
{
    for (size_t i = checkers->cid_count; i > 0; i--)
        if (strcmp(checkers->cids[i - 1], cid) == 0)
            return true;
    return false;
}

static void check_decision(struct world *world, const char *value)
{
    struct checkers *checkers = world->checkers;
    json_t *object = json_loads(value, 0, NULL);
    const char *cid = json_string_value(json_object_get(object, "cid"));
    uint64_t term = (uint64_t)json_integer_value(json_object_get(object, "term"));
    if (term == 0 && cid != NULL && cid[0] == '\0') { /* no term yet */
        json_decref(object);
        return;
    }
    if (term <= checkers->highest_term)
        world_fail(world, "T: term %llu is decided after term %llu", (unsigned long long)term,
                   (unsigned long long)checkers->highest_term);
    checkers->highest_term = term;
    world->result->terms++;
    if (cid == NULL)
        world_fail(world, "P: a decision has no cid");
    else if (cid[0] != '\0' && !cid_known(checkers, cid) && !world->config.wild)
        world_fail(world, "P: the decision of term %llu names '%s', who never stood", (unsigned long long)term, cid);
    world_note(world, "decided: term %llu, %s", (unsigned long long)term, cid != NULL ? cid : "?");
    json_decref(object);
}

void check_stored(struct world *world, const struct baton_write *write)
{
    struct checkers *checkers = world->checkers;
    if (world->config.kind == SIM_TASK) {
        check_task_stored(world, write);
        return;
    }
    if (write->kind != BATON_WRITE_PUT)
        return;
    const char *cid = strstr(write->key, "/candidates/");
    if (cid != NULL) {
        cid += strlen("/candidates/");
        if (cid_known(checkers, cid))
            return;
        if (checkers->cid_count == checkers->cid_room) {
            checkers->cid_room = checkers->cid_room > 0 ? 2 * checkers->cid_room : 64;
            checkers->cids = mem_grow(checkers->cids, checkers->cid_room * sizeof(char *));
        }
        checkers->cids[checkers->cid_count++] = mem_text(cid);
        return;
    }
    if (strcmp(write->key, "elections/" ELECTION "/leader") == 0)
        check_decision(world, write->value);
}

/* ---- F: the fenced resource ---- */

void check_fenced_write(struct world *world, int n, uint64_t term)
{
    struct checkers *checkers = world->checkers;
    if (world->config.kind == SIM_LOCK && world->lock_kind != LOCK_EXCLUSIVE)
        return; /* several may write */
    /* The guard of the resource: an older term is refused. */
    if (term < checkers->fenced_term)
        return;
    if (term == checkers->fenced_term &&
        (checkers->fenced_node != n || checkers->fenced_incarnation != world->nodes[n].incarnation)) {
        world_fail(world, "F: the resource is written by n%d with term %llu, which n%d has used", n,
                   (unsigned long long)term, checkers->fenced_node);
        return;
    }
    checkers->fenced_term = term;
    checkers->fenced_node = n;
    checkers->fenced_incarnation = world->nodes[n].incarnation;
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
        uint64_t term = contest_leads(node->core, node->election, 0, node_clock_ms(world, node));
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

/* ---- locks ---- */

/* Once faults end: a session whose process is gone ends after its ttl (and the engine may have given it twice that when
 * it restarted, and is up to a second late); what was under way arrives within 20 s; a program that overran its stop
 * takes three times its time, or says how much longer it takes; then the candidates claim in turn. */
int64_t bound_us(const struct world *world)
{
    return (22 + 4 * (int64_t)world->nodes[0].ttl_ms / 1000) * SECOND_US + SLOW_STOP_US + SLOW_STOP_SAYS_MS * 1000;
}

void check_renewed(struct world *world, int n)
{
    const struct sim_node *node = &world->nodes[n];
    int64_t now_ms = node_clock_ms(world, node), deadline_ms;
    uint32_t ttl_ms;
    if (node->program != PROGRAM_STOPPING || node->place_gone || now_ms >= node->stop_until_ms ||
        core_session(node->core, &deadline_ms, &ttl_ms) != node->program_session)
        return;
    if (now_ms - node->renewed_ms > ttl_ms / 3)
        world_fail(world, "K: n%d has %lld ms left to stop, and its session was not renewed for %lld ms", n,
                   (long long)(node->stop_until_ms - now_ms), (long long)(now_ms - node->renewed_ms));
}

void check_session_end(struct world *world, int n, uint64_t session)
{
    const struct sim_node *node = &world->nodes[n];
    bool works = node->program == PROGRAM_WORKING || node->program == PROGRAM_STOPPING;
    if (works && node->options.stop_ms > 0 && session == node->program_session)
        world_fail(world, "K: n%d ends the session of its program, which has not stopped", n);
}

void check_token(struct world *world, int n, uint64_t token)
{
    struct checkers *checkers = world->checkers;
    world->result->terms++;
    if (world->config.kind == SIM_TASK) {
        check_task_begins(world, n, token);
        return;
    }
    if (world->lock_kind != LOCK_EXCLUSIVE)
        return;
    /* (With wild clocks one whose session is over may be told late that it is the first; then F is what holds.) */
    if (token <= checkers->highest_term && !world->config.wild)
        world_fail(world, "T: n%d holds with token %llu after token %llu", n, (unsigned long long)token,
                   (unsigned long long)checkers->highest_term);
    checkers->highest_term = token;
}

/* Who says that it holds, or whose program works. */
static void check_holders(struct world *world)
{
    uint32_t limit = UINT32_MAX, count = 0;
    char who[NODES_MAX * 24] = "";
    for (int n = 0; n < world->node_count; n++) {
        const struct sim_node *node = &world->nodes[n];
        if (!node->up || (contest_leads(node->core, node->election, 0, node_clock_ms(world, node)) == 0 &&
                          !node_active(world, node)))
            continue;
        snprintf(who + strlen(who), sizeof(who) - strlen(who), " n%d (%u)", n, (unsigned)node->slots);
        limit = node->slots < limit ? node->slots : limit;
        count++;
    }
    if (count > limit && !world->config.wild)
        world_fail(world, "X: %u hold a lock of %u:%s", (unsigned)count, (unsigned)limit, who);
}

/* Each of those ahead may take 3 s, and 3 s more to stop. */
static void check_waiting(struct world *world)
{
    struct checkers *checkers = world->checkers;
    for (int n = 0; n < world->node_count; n++) {
        const struct sim_node *node = &world->nodes[n];
        int64_t since_us =
            node->waits_since_us > checkers->quiet_since_us ? node->waits_since_us : checkers->quiet_since_us;
        if (node->up && node->waits_since_us != NEVER_MS &&
            world->now_us - since_us > bound_us(world) + world->node_count * 6 * SECOND_US)
            world_fail(world, "L: n%d has waited for %.0f s in quiet", n, (double)(world->now_us - since_us) / 1e6);
    }
}

/* ---- L and Q: when it is quiet ---- */

static void check_quiet(struct world *world, int leader, uint64_t term)
{
    struct checkers *checkers = world->checkers;
    if (checkers->leader < 0) {
        if (leader >= 0 && world->now_us - checkers->quiet_since_us > bound_us(world) - 2 * SECOND_US) {
            checkers->leader = leader;
            checkers->leader_term = term;
        } else if (world->now_us - checkers->quiet_since_us > bound_us(world)) {
            world_fail(world, "L: nobody leads %.0f s after the faults ended", (double)bound_us(world) / 1e6);
        }
        return;
    }
    if (leader != checkers->leader || term != checkers->leader_term)
        world_fail(world, "Q: n%d led with term %llu; now n%d leads with term %llu, and nothing went wrong",
                   checkers->leader, (unsigned long long)checkers->leader_term, leader, (unsigned long long)term);
}

int64_t quiet_since_us(const struct world *world)
{
    return world->checkers->quiet ? world->checkers->quiet_since_us : NEVER_MS;
}

void check_instant(struct world *world)
{
    int leader;
    uint64_t term;
    if (world->config.kind == SIM_TASK) {
        check_tasks(world);
        return;
    }
    if (world->config.kind == SIM_LOCK) {
        check_holders(world);
        if (world->checkers->quiet && !world->config.wild)
            check_waiting(world);
        return;
    }
    check_leaders(world, &leader, &term);
    if (world->checkers->quiet && !world->config.wild)
        check_quiet(world, leader, term);
}

void check_quiet_begins(struct world *world)
{
    struct checkers *checkers = world->checkers;
    checkers->quiet = true;
    checkers->quiet_since_us = world->now_us;
    checkers->leader = -1;
}

void check_quiet_ends(struct world *world)
{
    struct checkers *checkers = world->checkers;
    if (!checkers->quiet)
        return;
    if (checkers->leader < 0 && !world->config.wild && world->config.kind == SIM_ELECTION)
        world_fail(world, "L: nobody leads at the end of a quiet phase");
    checkers->quiet = false;
}
