/* local_stage.h: what the tests of the local engine stand on: a directory each, and other processes, which are this
 * program started again with the name of a part to play. */
#ifndef TESTS_LOCAL_STAGE_H
#define TESTS_LOCAL_STAGE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include <cmocka.h>

#include "harness.h"

#define ANY BATON_REVISION_ANY
#define LONG_TTL_MS 60000 /* nothing that a test waits for may depend on it */
#define SOON_MS 10000     /* "at once", on a machine that is busy; well below LONG_TTL_MS */
#define KILLS 200
#define NOBODY 65534
#define GROUP 60

struct world {
    uv_loop_t loop;
    char folder[100], url[120], db[120];
    struct client *client;
};

void world_init(struct world *w);
void world_open(struct world *w);
void world_close(struct world *w);
void world_release(struct world *w);
/* Run SQL on its database. */
void execute(const struct world *w, const char *sql);

/* Where all directories are. */
const char *local_stage_top(void);
/* Play a part, or run the tests. The program's exit status. */
int local_stage_main(int argc, char **argv, int (*run_stories)(void));

struct child {
    pid_t pid;
    FILE *says;
};

struct as {
    uid_t uid;
    gid_t gid;
    bool pid_namespace;
};

/* The part and its arguments; `as` NULL: as this user. */
struct child child_start(const struct as *as, const char *const arguments[]);
void child_kill(struct child *child);
void child_line(struct child *child, char *line, int size);
/* A process with a session and a bound record; `guarded` (may be NULL): its guard's pid is in *ret_guard. */
struct child hold(const struct world *w, const char *ttl_ms, const char *guarded, int *ret_guard);

bool never(void *ctx);

#endif
