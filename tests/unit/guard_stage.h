/* guard_stage.h: what the tests of the guard stand on. Each has a folder of its own as its working directory, and is
 * the supervisor of one guard. */
#ifndef TESTS_GUARD_STAGE_H
#define TESTS_GUARD_STAGE_H

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

#include "process/guard.h"

#define LIMIT_MS 20000
#define GRACE_MS 10000
#define SLACK_MS 200

struct stage {
    char folder[PATH_MAX];
    struct guard guard;
    struct guard_options options;
    struct guard_message message;
    struct guard_environment environment;
    char *argv[5];
};

extern pid_t test_pid; /* of the test's main process; main must set it */
#define STORY(name) cmocka_unit_test_setup_teardown(name, stage_setup, stage_teardown)
int stage_setup(void **state);
int stage_teardown(void **state);

/* Start a guard whose command is this script. */
void start(struct stage *stage, const char *script);
void spawn(struct stage *stage, int64_t deadline_ms);
/* What the guard says next, in stage->message. */
enum guard_news next(struct stage *stage);

bool exists(const char *name);
void wait_file(const char *name);
/* The first line of a file. */
const char *content(const char *name);
/* The pid in a file, which is waited for. */
pid_t pid_in(const char *name);
/* Make a file with one line; it is whole when it is there. */
void write_line(const char *name, pid_t pid, const char *text);

/* Run a part of a test in a process of its own, which is the supervisor there. */
pid_t fork_supervisor(struct stage *stage, void (*part)(struct stage *stage));
void wait_success(pid_t pid);

#endif
