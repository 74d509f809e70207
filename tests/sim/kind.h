/* kind.h: a kind of world: what its nodes want, what goes wrong in it besides what goes wrong everywhere, and what must
 * be true of it. A table of functions, as src/core/protocol.h is one of what is simulated.
 *
 * Every world has nodes, each of which is the production core, a program and its supervisor (node.c); an engine and a
 * network (network.c); faults that come and go (faults.c); and checkers that know no kinds (checkers.c). The rest is
 * the kind's: one contest is wanted by each node at a time (node->contest), under some name, again and again.
 *
 * Each protocol has a kind of world, which is a folder here with its name and this table, NAME_world: nodes.c;
 * checkers.c, which shares no code with the core; meson.build. It is found by the protocol's line in
 * src/core/protocols.h. Then `sim --NAMEs` runs it, `sim --mutations` breaks its rules in turn, and the tests and
 * `make soak` run its seeds. What it does must follow from world->rng alone. In worlds of other kinds nothing of it
 * happens: their hash (sim --hash) stays the same. docs/protocols.md tells all of it by an example.
 *
 * A function that is NULL has nothing to add, unless something else is said.
 */
#ifndef SIM_KIND_H
#define SIM_KIND_H

#include "world.h"

#define OWN_FAULTS_MAX 3

struct sim_rule {
    const char *name, *text;
};

struct world_kind {
    const char *option; /* of sim's command line: the protocol's name with an "s", "locks" */
    const char *text;   /* in the summary of a run: ", a lock" */

    /* Which rules are looked for in worlds of this kind (sim --mutations); those that no kind names, in the first one
     * of protocols.h. Of core/rules.h, the first and the last of them; of WORLD_RULES, a bit for each; and the
     * protocol's own, which are numbered from RULE_OWN on, in the order of this list. */
    enum core_rule first_rule, last_rule; /* both 0: none */
    uint32_t world_rules;
    const struct sim_rule *own_rules;
    unsigned own_rule_count;

    const char *root;      /* where the records of SIM_NAME are: "locks/sim/" */
    const char *presences; /* a part of the key of each presence, and of no other record: "/candidates/" */
    bool keeps_session;    /* each node holds a lock of its own besides, so that its session outlives an attempt */

    /* The nodes are there, and nothing has happened: what the seed decides for this kind; world->part, on the heap. */
    void (*begin)(struct world *world);
    void (*end)(struct world *world); /* frees world->part; NULL: there is none */

    int nodes_max; /* 0: NODES_USUAL_MAX */

    /* ---- what the nodes do ---- */

    /* Never NULL: its process has started: what does it want? core_observe. */
    struct contest *(*observe)(struct world *world, int n);
    /* Never NULL: it stands in node->contest, by core_stand or the like. -1 with err: that is a failure of the run. */
    int (*want)(struct world *world, int n, struct baton_error *err);
    /* It was told TELL_LEAD with this number. The program works from now on; node_works plans its end. */
    void (*begins)(struct world *world, int n, uint64_t number);
    /* ... and the step in which it was told so is over. */
    void (*begun)(struct world *world, int n);
    /* The program writes to the fenced resource, with the number that it was told when it asked right before. */
    void (*acts)(struct world *world, int n, uint64_t number);
    /* The program has done what it wanted; NULL: it resigns, and has stopped. */
    void (*through)(struct world *world, int n);
    /* The program has stopped as it was told. false: the core is told so, as usual. */
    bool (*stopped)(struct world *world, int n);
    /* It was told TELL_OUTCOME. */
    void (*outcome)(struct world *world, int n, enum baton_code code);

    /* A contest with several things to have: a program for each, in place of that of node.c. The first is all that the
     * core tells of the contest or the session; the second is HAPPEN_PROGRAM to HAPPEN_THROUGH, as the kind has planned
     * them. Both or none. */
    void (*told)(struct world *world, int n, const struct action *tell);
    void (*program)(struct world *world, const struct happening *happening);

    /* ---- what goes wrong besides ---- */

    /* What an operator does, or the like, at node n. The seed gives each one its weight. */
    void (*fault[OWN_FAULTS_MAX])(struct world *world, int n);
    /* HAPPEN_OWN, as the kind has planned it. */
    void (*own)(struct world *world, const struct happening *happening);
    /* The faults have their weights: what else the seed decides of them. */
    void (*weighed)(struct world *world);
    /* Faults end: what they have left behind, and will not go by itself, is put right. */
    void (*mend)(struct world *world);

    /* ---- its checkers: they call world_fail ---- */

    void (*check_stored)(struct world *world, const struct baton_write *write); /* a write was applied to the store */
    void (*check_session_end)(struct world *world, int n, uint64_t session);    /* a client ends a session */
    void (*check_instant)(struct world *world);                                 /* after everything that happens */
    void (*check_quiet_begins)(struct world *world);                            /* a phase without faults; or ends */
    void (*check_quiet_ends)(struct world *world);
};

#define WORLD_KIND_EXTERN(kind, name) extern const struct world_kind name##_world;
PROTOCOLS(WORLD_KIND_EXTERN)
#undef WORLD_KIND_EXTERN

#endif
