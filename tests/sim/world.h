/* world.h: one simulated world: nodes that run the production core, an engine that obeys the contract and nothing more,
 * a network between them, faults, and checkers. One seed, one run, to the byte.
 *
 * Time is a number of microseconds that only the world knows. Each node and the engine have a clock of their own, with
 * a rate that differs from it. Nothing here reads a real clock, and nothing depends on an address.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/election/election.h"
#include "core/queue/queue.h"
#include "engine/memory/store.h"
#include "engine/rest.h"

#define NODES_MAX 12
#define NODES_USUAL_MAX 7
#define SECOND_US 1000000LL
#define SIM_NAME "sim"                /* of the contest that all nodes want, unless its kind has a name for each */
#define SLOW_STOP_US (12 * SECOND_US) /* a stop that takes longer than was allowed, and says so */
#define SLOW_STOP_SAYS_MS 3000        /* ... for so long at once */

/* What the core relies on, and the world must keep: the engine by its contract, operators by good sense. */
#define WORLD_RULES(RULE)                                                                                              \
    RULE(VIEW_IS_ONE_STATE, "a view that shows a decision shows all presence written before it")                       \
    RULE(SESSION_LIVES_ITS_TTL, "the engine ends no session before its ttl is over")                                   \
    RULE(DELETE_ONLY_NOBODY, "a decision is deleted only when it names nobody")                                        \
    RULE(TESTAMENT_AFTER_DEATH, "a guard hands over only for a process that is dead")                                  \
    RULE(ENTRY_IS_ITS_OWNERS, "nobody removes the entry of a holder that lives")                                       \
    RULE(TOKENS_END_WITH_COMPANY, "who comes to stand beside an entry in use ends its tokens")                         \
    RULE(TAKE_BACK_BY_LATCH, "a lock that was released is taken back only by whoever moves its latch")

enum world_rule {
#define WORLD_RULE_NUMBER(name, text) WORLD_##name,
    WORLD_RULES(WORLD_RULE_NUMBER)
#undef WORLD_RULE_NUMBER
        WORLD_RULE_COUNT
};

/* ---- what a run is made of; all of it follows from the seed ---- */

struct world_kind; /* kind.h */

struct sim_config {
    uint64_t seed;
    int minutes;            /* simulated */
    int nodes;              /* 0: 3 to 7, by the seed */
    uint64_t broken;        /* rules of the core that are switched off; from RULE_OWN on, the kind's own */
    uint32_t broken_around; /* rules of the world around it that are switched off: enum world_rule */
    const struct world_kind *kind;
    bool wild;   /* clock rates beyond the bound: only F and T must hold */
    FILE *trace; /* a readable trace, or NULL */
};

struct sim_result {
    char failure[512]; /* "": none */
    uint64_t hash;     /* of everything that happened */
    uint64_t steps;
    int64_t simulated_us;
    unsigned terms, takeovers, faults;
};

void sim_run(const struct sim_config *config, struct sim_result *ret);

/* ---- randomness: splitmix64 (Steele, Lea, Flood 2014) ---- */

struct rng {
    uint64_t state;
};
static inline uint64_t rng_next(struct rng *rng)
{
    uint64_t z = rng->state += 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}
/* low..high, both included */
static inline int64_t rng_range(struct rng *rng, int64_t low, int64_t high)
{
    return low + (int64_t)(rng_next(rng) % (uint64_t)(high - low + 1));
}
static inline bool rng_chance(struct rng *rng, int per_mille)
{
    return (int)(rng_next(rng) % 1000) < per_mille;
}

/* ---- what is going to happen ---- */

enum happening_kind {
    HAPPEN_TICK,      /* to a node: its core asked to be called */
    HAPPEN_EVENT,     /* to a node: an answer arrives */
    HAPPEN_BATCH,     /* to a node: its view moves */
    HAPPEN_PROGRAM,   /* to a node: the program does its next thing */
    HAPPEN_ACT,       /* to a node: the program writes to the fenced resource, having asked before */
    HAPPEN_STOPPED,   /* to a node: the program answers a stop */
    HAPPEN_TAKES,     /* to a node: the program says that its stop takes longer */
    HAPPEN_START,     /* to a node: its process starts */
    HAPPEN_STAND,     /* to a node: the program stands again */
    HAPPEN_THROUGH,   /* to a node: the program has done what it wanted */
    HAPPEN_REQUEST,   /* to the engine: a request arrives */
    HAPPEN_SEND_VIEW, /* to the engine: it sends a watch what is new */
    HAPPEN_EXPIRE,    /* to the engine: it looks for sessions that are over */
    HAPPEN_DEATH,     /* to the engine: a guard ends the session of a dead process */
    HAPPEN_FAULT,     /* to the world: the next fault */
    HAPPEN_PHASE,     /* to the world: faults end, or begin again */
    HAPPEN_RELEASE,   /* to the world: an operator releases the hold */
    HAPPEN_OWN        /* to the world: what its kind has planned */
};

/* A change with its own text, for what is under way. */
struct batch_copy {
    struct baton_batch batch;
    struct baton_change *changes;
};

struct happening {
    int64_t at_us;
    uint64_t order; /* among those of one instant */
    enum happening_kind kind;
    int node;
    unsigned incarnation; /* of the node's process: what was meant for a dead one is dropped */
    unsigned boot;        /* of the machine: what was under way when the power was lost is dropped */
    uint64_t token;       /* by kind: a version, a watch, a session, a term */
    enum action_kind request;
    uint64_t ticket, session, watch;
    uint32_t ttl_ms;
    char *key, *value;
    struct baton_write write;
    struct event event;
    struct baton_reply reply;
    struct batch_copy *copy;
};

/* ---- the parts ---- */

#define WATCHES_MAX 32
#define SESSIONS_MAX 4096

struct sim_watch {
    bool open, connected;
    uint64_t id;
    unsigned incarnation;
    char prefix[64];
    uint64_t sent;          /* the revision up to which it was sent */
    int64_t last_at_us;     /* in order: nothing arrives before what was sent before */
    bool sending;           /* a HAPPEN_SEND_VIEW is on its way */
    struct batch_copy *old; /* an earlier batch, to be repeated */
    struct rest rest;       /* until when it need not be sent to */
};

enum program_state { PROGRAM_IDLE, PROGRAM_WORKING, PROGRAM_STOPPING };

struct sim_node {
    struct core *core;
    struct contest *contest; /* what it wants */
    struct contest *keeper;  /* a lock of its own, so that its session outlives an attempt; or NULL */
    struct update todo;
    unsigned incarnation;
    bool up, standing;
    int64_t paused_until_us;
    int64_t clock_base_ms;
    int64_t clock_ppm;
    char id[16];
    struct stand_options options;
    uint32_t ttl_ms;
    uint32_t attentive;
    uint64_t tick_version;
    /* the program, and the supervisor that kills it by the deadline */
    enum program_state program;
    uint64_t program_term;
    uint64_t program_session;
    int64_t program_until_ms; /* it is over by then, by this node's clock */
    uint64_t program_version;
    int64_t stop_until_ms;        /* by when it is to have stopped, as it was told, or has said itself */
    int64_t slow_until_us;        /* ... it says so until then; 0: it has not said so */
    bool slow_for_ever;           /* ... and does not come to an end then */
    bool place_gone;              /* it was told to stop without any time: others may lead */
    int64_t renewed_ms;           /* its core has asked for the session, or its renewal, last */
    uint64_t session;             /* the last one told */
    struct baton_write testament; /* what its guard was told last; no key: nothing */
    struct sim_watch watches[WATCHES_MAX];
    int64_t cut_until_us;   /* the network to the engine is cut */
    bool away;              /* ... and the core was told so */
    int64_t idle_us;        /* between two candidacies, or attempts: at most */
    int64_t waits_since_us; /* by its kind; NEVER_MS: it does not wait */
};

struct sim_session {
    uint64_t id;
    uint32_t ttl_ms;
    int64_t expires_ms; /* by the engine's clock */
};

struct sim_engine {
    struct store *store;
    int64_t clock_ppm;
    int64_t down_until_us;
    struct sim_session sessions[SESSIONS_MAX];
    size_t session_count;
};

struct checkers;

struct world {
    struct sim_config config;
    struct rng rng;
    int64_t now_us, end_us;
    struct happening **heap;
    size_t heap_count, heap_room;
    uint64_t order;
    int node_count;
    struct sim_node nodes[NODES_MAX];
    struct sim_engine engine;
    struct checkers *checkers;
    void *part; /* its kind's own */
    struct sim_result *result;
    bool faulty; /* a phase with faults */
    int64_t phase_end_us;
    unsigned boot;   /* how often the power was lost */
    int weights[16]; /* of each fault, by the seed */
    int loss;        /* per mille of messages, in a faulty phase */
};

/* world.c */
bool world_keeps(const struct world *world, enum world_rule rule);
struct happening *world_plan(struct world *world, int64_t at_us, enum happening_kind kind);
int64_t world_wall_ms(const struct world *world); /* the clock on the wall, everybody's */
void world_note(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
void world_fail(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
struct batch_copy *batch_copy_new(const struct baton_batch *batch);
void batch_copy_free(struct batch_copy *copy);

/* node.c */
int64_t node_clock_ms(const struct world *world, const struct sim_node *node);
void node_start(struct world *world, int n);
void node_crash(struct world *world, int n);
void node_happen(struct world *world, struct happening *happening);
void node_step(struct world *world, int n, struct event *event);
/* To happen to this process of the node. */
struct happening *node_plan(struct world *world, int n, int64_t at_us, enum happening_kind kind);
/* What the core has told the program. */
void node_told(struct world *world, int n, const struct action *tell);
/* Its program works, and is through after a while, unless it is stopped before: HAPPEN_THROUGH. */
void node_works(struct world *world, int n, uint64_t number);
/* Its program may give the handle back, and take another one. */
void node_renews_handle(struct world *world, int n);
/* The engine tells that it cannot be asked; BATON_OK: that it can again. */
void node_trouble(struct world *world, int n, enum baton_code code);
/* It waits in a queue for some time only. */
void node_waits(struct world *world, int n, struct queue_options *options);
void node_forget_testament(struct sim_node *node);
void program_move(struct sim_node *node, enum program_state to);
bool node_active(const struct world *world, const struct sim_node *node); /* the program works as a leader, now */

/* network.c: the engine and the way to it */
void network_send(struct world *world, int n, const struct action *action);
/* The guard of a node writes its testament; nobody waits for the answer. */
void network_send_testament(struct world *world, int n, int64_t at_us);
void engine_happen(struct world *world, struct happening *happening);
void engine_stored(struct world *world); /* something changed: watches are sent to */
void engine_restart(struct world *world, int64_t down_us);
void engine_break_watches(struct world *world, int n);
/* Does the node's view of what it wants rest, and has all arrived that the engine must have sent to it? */
bool engine_rests(const struct world *world, int n);
/* What was sent to a watch has arrived: it does not rest any more. */
void engine_wake_watch(struct world *world, int n, uint64_t watch);
void engine_lose_power(struct world *world);

/* faults.c */
void faults_init(struct world *world);
void faults_happen(struct world *world, struct happening *happening);
int world_any_node(struct world *world);
/* For kinds with operators who hold: an operator releases the hold, at once and once more. (Also where nobody can hold:
 * so a seed of them stays the same run.) */
void world_mend_hold(struct world *world);

#endif
