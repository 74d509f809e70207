/* bench_stage.h: a client on a local directory of its own, for benchmarks of the library. Who cannot go on says why and
 * exits with 2. */
#ifndef BENCH_STAGE_H
#define BENCH_STAGE_H

#include <stdio.h>
#include <stdlib.h>

#include "baton/baton.h"

struct bench_stage {
    char folder[64];
    struct baton *client;
    size_t renewals; /* seen */
    size_t led;
};

#define stage_give_up(...) (fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), exit(2))
void stage_open(struct bench_stage *stage, bool renewals);
struct baton_election *stage_stand(struct bench_stage *stage, const char *name);
/* Take what is told until `count` elections were led, or the limit is over. */
void stage_wait_led(struct bench_stage *stage, size_t count);
/* Take what is told for this time. */
void stage_idle(struct bench_stage *stage, int64_t time_ms);
void stage_close(struct bench_stage *stage);

#endif
