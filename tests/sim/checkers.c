/* checkers.c: what must be true in worlds of every kind: the fenced resource, and how long a session is kept. */
#include "checkers.h"

#include <stdlib.h>

#include "base/base.h"

#define REST_STEPS 16 /* who rests is looked at so often: one that should not goes on doing so for much longer */

struct checkers {
    uint64_t fenced_term; /* the newest term that the fenced resource has taken */
    int fenced_node;
    unsigned fenced_incarnation;
    uint32_t resting;       /* the nodes whose views were found resting, a bit for each, ... */
    uint64_t rest_revision; /* ... and what was stored then */
    bool quiet;
    int64_t quiet_since_us;
};

struct checkers *checkers_new(void)
{
    struct checkers *checkers = mem_new(sizeof(*checkers));
    checkers->fenced_node = -1;
    return checkers;
}

void checkers_free(struct checkers *checkers)
{
    free(checkers);
}

/* ---- F: the fenced resource ---- */

void check_fenced_write(struct world *world, int n, uint64_t term)
{
    struct checkers *checkers = world->checkers;
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

/* ---- K: how long a session is kept ---- */

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

/* ---- R: whose turn it is must not rest ---- */

uint32_t resting_now(struct world *world)
{
    struct checkers *checkers = world->checkers;
    uint64_t revision = store_revision(world->engine.store);
    uint32_t resting = 0;
    if (world->result->steps % REST_STEPS != 0)
        return 0;
    for (int n = 0; n < world->node_count; n++)
        resting |= (uint32_t)engine_rests(world, n) << n;
    if (resting == checkers->resting && revision == checkers->rest_revision)
        return 0;
    checkers->resting = resting;
    checkers->rest_revision = revision;
    return resting;
}

/* ---- phases without faults ---- */

int64_t quiet_since_us(const struct world *world)
{
    return world->checkers->quiet ? world->checkers->quiet_since_us : NEVER_MS;
}

void quiet_begins(struct world *world)
{
    world->checkers->quiet = true;
    world->checkers->quiet_since_us = world->now_us;
}

void quiet_ends(struct world *world)
{
    world->checkers->quiet = false;
}
