/* client_stage.h: a namespace of its own for each story about clients, and waiting for what they are told.
 *
 * The engine is named by the program's argument ("local", "memory"). Every wait is poll() on baton_fd() with a limit;
 * who waits in vain fails the test and says what came instead.
 */
#ifndef UNIT_CLIENT_STAGE_H
#define UNIT_CLIENT_STAGE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "baton/baton.h"

#define STAGE_LIMIT_MS 20000 /* for anything that should happen at once; machines are noisy */
#define STAGE_TTL_MS 60000 /* nothing that a story waits for may depend on it */

struct stage {
    char folder[64]; /* of the local engine */
    char url[128];
};

/* cmocka's setup and teardown: *state is a struct stage. */
int stage_setup(void **state);
int stage_teardown(void **state);
/* The program's argument, the engine; before the tests run. */
void stage_engine(int argc, char **argv);
bool stage_is_local(void);

/* A client with this id, or the test fails. `ttl_ms` 0: STAGE_TTL_MS. */
struct baton *stage_open(const struct stage *stage, const char *id, uint32_t ttl_ms);
struct baton_election *stage_stand(struct baton *b, const char *name, uint32_t stop_ms);
struct baton_election *stage_observe(struct baton *b, const char *name);

/* Take events until one of `kind` comes (of `e`, unless that is NULL); those before it are dropped. */
struct baton_event stage_wait(struct baton *b, const struct baton_election *e, enum baton_event_kind kind);
/* The next event that is none of CHANGED, SESSION, RENEWED must be this one. */
struct baton_event stage_expect(struct baton *b, const struct baton_election *e, enum baton_event_kind kind);
/* No event but CHANGED, SESSION, RENEWED is there now. */
void stage_expect_nothing(struct baton *b);
/* Wait until what `e`, an observation, knows fits `what`; the status is the caller's. */
struct baton_status *stage_wait_status(struct baton *b, const struct baton_election *e,
                                       bool (*fits)(const struct baton_status *status, const void *what),
                                       const void *what);
/* Is the descriptor readable at this moment? */
bool stage_readable(int fd);
/* Wait until this time of CLOCK_BOOTTIME. */
void stage_wait_until(int64_t at_ms);

bool led_by(const struct baton_status *status, const void *id); /* NULL: by nobody */
bool has_candidates(const struct baton_status *status, const void *count /* size_t */);

#define assert_code(err, expected) assert_string_equal(baton_code_name((err).code), baton_code_name(expected))

#endif
