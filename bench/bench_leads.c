/* bench_leads.c: what baton_leads() costs, next to one clock_gettime(CLOCK_BOOTTIME) in the same run.
 *
 *     bench_leads [ROUNDS]
 *
 * Rounds of both alternate, so that a noisy machine disturbs both alike; medians are compared. Exits 1 when the ratio
 * is above its bound.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "baton/baton.h"
#include "bench_stage.h"

#define CALLS 100000
#define ROUNDS_MAX 10000
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

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof(*values), compare);
    return values[count / 2];
}

int main(int argc, char **argv)
{
    static double clocks[ROUNDS_MAX], leads[ROUNDS_MAX];
    int rounds = argc > 1 ? atoi(argv[1]) : 50;
    if (rounds < 1 || rounds > ROUNDS_MAX)
        stage_give_up("ROUNDS is 1 to %d", ROUNDS_MAX);
    struct bench_stage stage;
    stage_open(&stage, false);
    struct baton_election *e = stage_stand(&stage, "bench");
    stage_wait_led(&stage, 1);
    for (int i = 0; i < rounds; i++) {
        clocks[i] = clock_round();
        leads[i] = leads_round(e);
    }
    stage_close(&stage);
    double clock_ns = median(clocks, rounds), leads_ns = median(leads, rounds), ratio = leads_ns / clock_ns;
    printf("clock_gettime(CLOCK_BOOTTIME) %.1f ns, baton_leads() %.1f ns: ratio %.2f (bound: %.1f)\n", clock_ns,
           leads_ns, ratio, BOUND);
    return ratio <= BOUND ? 0 : 1;
}
