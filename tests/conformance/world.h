/* world.h: what each test of the suite begins with, and the tests that have a file of their own. */
#ifndef CONFORMANCE_WORLD_H
#define CONFORMANCE_WORLD_H

#include "harness.h"

/* Two clients on a namespace of their own. */
struct world {
    uv_loop_t loop;
    char url[200];
    struct client *a, *b;
};

void expect_done(const struct baton_reply *reply);

/* latches.c */
void test_an_entry_that_was_freed_is_taken_back_without_a_write(void **state);
void test_who_stands_beside_an_entry_that_is_free_removes_it(void **state);
void test_who_stands_beside_an_entry_in_use_ends_its_tokens(void **state);
void test_what_comes_after_an_entry_is_above_its_last_token(void **state);
void test_each_queue_has_a_latch_of_its_own(void **state);
void test_an_entry_is_taken_back_or_removed_never_both(void **state);

#endif
