/* conformance.c: what every engine promises (baton/engine.h), as one suite: `conformance memory:`, `conformance
 * local:`.
 *
 * Each test has a namespace of its own: the URL of the command line, with a directory or a name put behind it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "world.h"

static const struct part *const parts[] = {
    &part_writes, &part_watches,    &part_model,   &part_states,  &part_resting,       &part_latches, &part_sessions,
    &part_guards, &part_testaments, &part_opening, &part_exports, &part_states_served, &part_served};

static bool has_what_it_needs(const char *url, const struct part *part)
{
    if (part->needs == NEEDS_A_SERVER)
        return server_port(url) > 0;
    if (part->needs == NEEDS_TESTAMENTS)
        return harness_ops(url)->guard_testament != NULL;
    return part->needs == NEEDS_NOTHING || !(text_starts(url, "memory:") || text_starts(url, "example:"));
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: conformance URL [TESTS] (memory:, local:, etcd://h:2379/; a pattern with * and ?)\n");
        return 2;
    }
    if (argc == 5 && strcmp(argv[1], "guard") == 0)
        return exports_guard(argv + 2);
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    struct CMUnitTest *tests = NULL;
    size_t count = 0;
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        if (!has_what_it_needs(argv[1], parts[i]))
            continue;
        tests = mem_grow(tests, (count + parts[i]->count) * sizeof(*tests));
        memcpy(tests + count, parts[i]->tests, parts[i]->count * sizeof(*tests));
        count += parts[i]->count;
    }
    world_engine(argv[1]);
    int failed = _cmocka_run_group_tests(argv[1], tests, count, NULL, NULL);
    world_engine_end();
    free(tests);
    return failed != 0;
}
