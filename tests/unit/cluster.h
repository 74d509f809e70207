/* cluster.h: a few cores around the memory store, with a clock that the test turns by hand. Everything is delivered at
 * once and nothing is lost: for stories about what should happen. What must not happen, whatever goes wrong, is the
 * simulation's work. */
#ifndef UNIT_CLUSTER_H
#define UNIT_CLUSTER_H

#include <stdbool.h>

#include "core/election/election.h"
#include "core/lock/lock.h"
#include "core/task/task.h"
#include "engine/memory/store.h"

#define CLUSTER_NODES 4
#define CLUSTER_TTL_MS 9000
#define CLUSTER_STEP_MS 100

struct cluster_node {
    struct core *core;
    struct contest *election;
    struct update todo;
    bool cut;  /* nothing gets through; requests are not answered */
    bool full; /* no session can be opened */
    uint64_t watch, seen;
    uint64_t unanswered;             /* the ticket of the last write that was cut off */
    char told[64][BATON_ERROR_TEXT]; /* "LEAD 3", in order; CHANGED and RENEWED are left out */
    size_t told_count;
    int64_t stop_until_ms;
};

struct cluster {
    struct store *store;
    int64_t now_ms;
    uint64_t record_writes, write_tries;
    struct cluster_node nodes[CLUSTER_NODES];
    struct {
        uint64_t id;
        int64_t renewed_ms;
    } sessions[64];
    size_t session_count;
};

void cluster_init(struct cluster *cluster);
void cluster_release(struct cluster *cluster);
/* Node n starts and stands in the election "e". options NULL: the program only asks. */
void cluster_stand(struct cluster *cluster, int n, const struct stand_options *options);
void cluster_event(struct cluster *cluster, int n, enum event_kind kind);
/* Let time pass, in steps of 10 ms, and everything that is due happen. */
void cluster_wait(struct cluster *cluster, int64_t ms);
/* The process is gone; its session ends now. */
void cluster_kill(struct cluster *cluster, int n);
/* The engine says that node n's session is over, before its deadline; the views do not show it yet. */
void cluster_session_ended(struct cluster *cluster, int n);
/* The answer to the write of node n that was cut off comes at last: its session was over then. */
void cluster_answer_lost(struct cluster *cluster, int n);
/* What its guard would write for node n, now: the caller frees key and value. false: nothing. */
bool cluster_testament(struct cluster *cluster, int n, struct baton_write *ret);
/* A guard writes this (and key and value are freed). true: it took effect. */
bool cluster_bequeath(struct cluster *cluster, struct baton_write *testament);
/* Which node leads (-1: none). Fails when there are two. */
int cluster_leader(struct cluster *cluster);
uint64_t cluster_term(struct cluster *cluster);
/* Was node n told this, as the last but `back`? */
bool cluster_told(const struct cluster *cluster, int n, size_t back, const char *text);
/* A write from outside, as by the engine's own tool. */
void cluster_put(struct cluster *cluster, const char *key, const char *value);
void cluster_remove(struct cluster *cluster, const char *key);

#endif
