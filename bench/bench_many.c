/* bench_many.c: one process that holds many elections, next to one that holds a single one.
 *
 *     bench_many [ELECTIONS [IDLE_S]]        default: 10000 60
 *
 * Both are on local directories of their own. Measured when all are led and nothing happens any more: private memory
 * (smaps_rollup, proc(5)), CPU time and renewals of the session over IDLE_S seconds. Exits 1 when a bound is missed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench_stage.h"

#define BOUND_MIB 64.0
#define BOUND_CPU_PERCENT 1.0
#define SETTLE_MS 4000 /* a renewal, and what is still under way after the last election was led */

struct result {
    double start_s, private_mib, pss_mib, cpu_percent;
    size_t renewals;
};

static void read_memory(struct result *ret)
{
    char line[256];
    FILE *rollup = fopen("/proc/self/smaps_rollup", "r");
    if (rollup == NULL)
        stage_give_up("cannot read /proc/self/smaps_rollup");
    while (fgets(line, sizeof(line), rollup) != NULL) {
        unsigned kib;
        if (sscanf(line, "Private_Clean: %u", &kib) == 1 || sscanf(line, "Private_Dirty: %u", &kib) == 1)
            ret->private_mib += kib / 1024.0;
        if (sscanf(line, "Pss: %u", &kib) == 1)
            ret->pss_mib = kib / 1024.0;
    }
    fclose(rollup);
}

static double cpu_s(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static struct result measure(size_t elections, int idle_s)
{
    struct result result = {0};
    struct bench_stage stage;
    int64_t start_ms = baton_now_ms();
    stage_open(&stage, true);
    for (size_t i = 0; i < elections; i++) {
        char name[32];
        snprintf(name, sizeof(name), "election-%zu", i);
        stage_stand(&stage, name);
    }
    stage_wait_led(&stage, elections);
    result.start_s = (double)(baton_now_ms() - start_ms) / 1000;
    stage_idle(&stage, SETTLE_MS);
    stage.renewals = 0;
    double before_s = cpu_s();
    start_ms = baton_now_ms();
    stage_idle(&stage, (int64_t)idle_s * 1000);
    result.cpu_percent = (cpu_s() - before_s) / ((double)(baton_now_ms() - start_ms) / 1000) * 100;
    result.renewals = stage.renewals;
    read_memory(&result);
    stage_close(&stage);
    return result;
}

/* In a process of its own, so that the memory is of one measurement. */
static struct result measure_apart(size_t elections, int idle_s)
{
    int line[2], status;
    struct result result;
    if (pipe(line) < 0)
        stage_give_up("cannot make a pipe");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        result = measure(elections, idle_s);
        _exit(write(line[1], &result, sizeof(result)) == sizeof(result) ? 0 : 2);
    }
    close(line[1]);
    ssize_t got = read(line[0], &result, sizeof(result));
    if (waitpid(child, &status, 0) != child || got != sizeof(result))
        stage_give_up("the measurement of %zu elections failed", elections);
    close(line[0]);
    printf("%6zu elections: all led after %.2f s; %.1f MiB private, %.1f MiB PSS; over %d s idle %.3f %% of one core, "
           "%zu renewals\n",
           elections, result.start_s, result.private_mib, result.pss_mib, idle_s, result.cpu_percent, result.renewals);
    return result;
}

int main(int argc, char **argv)
{
    int elections = argc > 1 ? atoi(argv[1]) : 10000, idle_s = argc > 2 ? atoi(argv[2]) : 60;
    if (elections < 1 || elections > BATON_ELECTIONS_MAX || idle_s < 1 || idle_s > 3600)
        stage_give_up("ELECTIONS is 1 to %d, IDLE_S is 1 to 3600", BATON_ELECTIONS_MAX);
    struct result one = measure_apart(1, idle_s), many = measure_apart((size_t)elections, idle_s);
    /* Both are counted over the same time; where it begins within a third of a ttl makes a difference of one. */
    size_t apart = many.renewals > one.renewals ? many.renewals - one.renewals : one.renewals - many.renewals;
    bool good = many.private_mib <= BOUND_MIB && many.cpu_percent <= BOUND_CPU_PERCENT && apart <= 1;
    printf("bounds: %.0f MiB private, %.0f %% of one core, the same renewals: %s\n", BOUND_MIB, BOUND_CPU_PERCENT,
           good ? "kept" : "MISSED");
    return good ? 0 : 1;
}
