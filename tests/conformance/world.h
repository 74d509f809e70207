/* world.h: what each test of the suite begins with, what it expects, and the parts of the suite, each in a file of its
 * own. */
#ifndef CONFORMANCE_WORLD_H
#define CONFORMANCE_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "harness.h"

#define ANY BATON_REVISION_ANY

/* Two clients on a namespace of their own. */
struct world {
    uv_loop_t loop;
    char url[200];
    struct client *a, *b;
};

/* The engine, before the tests run: the URL up to the namespace. */
void world_engine(const char *url);
void world_engine_end(void);
int world_setup(void **state);
int world_teardown(void **state);

void expect_done(const struct baton_reply *reply);
void expect_conflict(const struct baton_reply *reply);
void expect_refused(const struct baton_reply *reply, enum baton_code code);

/* What to wait for (wait_until); the context is a client. */
bool all_answered(void *ctx);
bool was_told_of_end(void *ctx);
bool never(void *ctx);

/* What etcd does every now and then where it is told to: forget all states but the newest. Other engines have no such
 * thing. */
void forget_history(const struct world *w, uint64_t revision);
/* The port of a URL with `127.0.0.1:PORT`; 0: this engine has no server. */
int server_port(const char *url);
/* The world's URL, but with this port. */
void url_with_port(const struct world *w, int port, char url[220]);

/* A part of the suite. An engine that has not what it needs is not asked. */
enum part_needs { NEEDS_NOTHING, NEEDS_OTHER_PROCESSES, NEEDS_A_SERVER, NEEDS_TESTAMENTS };

struct part {
    const struct CMUnitTest *tests;
    size_t count;
    enum part_needs needs;
};

#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
#define PART(list, needed)                                                                                             \
    {                                                                                                                  \
        .tests = list, .count = sizeof(list) / sizeof((list)[0]), .needs = needed                                      \
    }

extern const struct part part_writes, part_watches, part_model, part_states, part_states_served, part_resting;
extern const struct part part_latches, part_sessions, part_guards, part_testaments, part_exports, part_opening;
extern const struct part part_served;

/* exports.c: `conformance guard URL TEXT FD` is another process, which ends a session that was exported to it. */
int exports_guard(char **argv);

#endif
