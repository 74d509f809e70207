/* bench_leads.c: what baton_leads() costs, next to one clock_gettime(CLOCK_BOOTTIME) in the same run.
 *
 *     bench_leads [ROUNDS]
 *
 * Rounds of both alternate. The fastest round of each counts: on a busy machine most of them hold other processes'
 * time, and a call costs what it costs when nobody takes the core away. Exits 1 when the ratio is above its bound.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "baton/baton.h"
#include "bench_stage.h"

#define CALLS 10000
#define ROUNDS 500
#define BOUND 2.0

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double clock_round(void)
{
    struct timespec t;
    double start = now_ns();
    for (int i = 0; i < CALLS; i++)
        clock_gettime(CLOCK_BOOTTIME, &t);
    return (now_ns() - start) / CALLS;
}

static double leads_round(const struct baton_election *e)
{
    int led = 0;
    double start = now_ns();
    for (int i = 0; i < CALLS; i++) {
        uint64_t term;
        led += baton_leads(e, &term);
    }
    double each = (now_ns() - start) / CALLS;
    if (led != CALLS)
        stage_give_up("it led at %d of %d calls only", led, CALLS);
    return each;
}

static double lower(double left, double right)
{
    return left < right ? left : right;
}

int main(int argc, char **argv)
{
    double clock_ns = 1e9, leads_ns = 1e9;
    int rounds = argc > 1 ? atoi(argv[1]) : ROUNDS;
    if (rounds < 1)
        stage_give_up("ROUNDS is 1 or more");
    struct bench_stage stage;
    stage_open(&stage, false);
    struct baton_election *e = stage_stand(&stage, "bench");
    stage_wait_led(&stage, 1);
    for (int i = 0; i < rounds; i++) {
        clock_ns = lower(clock_ns, clock_round());
        leads_ns = lower(leads_ns, leads_round(e));
    }
    stage_close(&stage);
    double ratio = leads_ns / clock_ns;
    printf("clock_gettime(CLOCK_BOOTTIME) %.1f ns, baton_leads() %.1f ns: ratio %.2f (bound: %.1f)\n", clock_ns,
           leads_ns, ratio, BOUND);
    return ratio <= BOUND ? 0 : 1;
}
