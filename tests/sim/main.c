/* main.c: run the simulation: one seed, many, or the mutations.
 *
 *     sim --seeds 1-2000            2,000 runs; stops at the first failure and says how to replay it
 *     sim --seed 17 --trace         one run, with everything that happens
 *     sim --seconds 60 --seeds 1-   new seeds until the time is over
 *     sim --locks ...               worlds in which the nodes want a lock instead
 *     sim --tasks ...               ... or task after task to be done once
 *     sim --mutations               each rule of core/rules.h, and of the world around, is broken in turn, and must be
 *                                   caught
 */
#include <getopt.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "build.h"
#include "world.h"

struct options {
    uint64_t first, last;
    int minutes, nodes, jobs;
    double seconds; /* stop beginning new seeds after this; 0: no limit */
    uint64_t broken;
    uint32_t broken_around;
    enum sim_kind kind;
    bool wild, trace, mutations, hash;
};

struct totals {
    uint64_t runs, steps, terms, faults;
    double hours;
    uint64_t failed_seed;
    bool failed;
};

static const struct {
    const char *option, *text;
} kinds[] = {[SIM_ELECTION] = {"", ""}, [SIM_LOCK] = {" --locks", ", a lock"}, [SIM_TASK] = {" --tasks", ", tasks"}};

static const struct {
    const char *name, *text;
} rules[] = {
#define RULE_NAME(name, text) {#name, text},
    CORE_RULES(RULE_NAME) WORLD_RULES(RULE_NAME)
#undef RULE_NAME
};
#define RULES (RULE_COUNT + WORLD_RULE_COUNT) /* the core's, then the world's */

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct sim_config config_of(const struct options *options, uint64_t seed)
{
    return (struct sim_config){.seed = seed,
                               .minutes = options->minutes,
                               .nodes = options->nodes,
                               .broken = options->broken,
                               .broken_around = options->broken_around,
                               .kind = options->kind,
                               .wild = options->wild,
                               .trace = options->trace ? stdout : NULL};
}

static void break_rule(uint64_t *broken, uint32_t *broken_around, unsigned rule)
{
    if (rule < RULE_COUNT)
        *broken |= UINT64_C(1) << rule;
    else
        *broken_around |= 1U << (rule - RULE_COUNT);
}

static bool is_broken(const struct options *options, unsigned rule)
{
    return rule < RULE_COUNT ? (options->broken >> rule & 1) != 0
                             : (options->broken_around >> (rule - RULE_COUNT) & 1) != 0;
}

static void print_replay(const char *program, const struct options *options, uint64_t seed)
{
    printf("  build:  baton %s, %s, %s\n  replay: %s --seed %llu --minutes %d", BATON_VERSION, BUILD_COMMIT,
           __VERSION__, program, (unsigned long long)seed, options->minutes);
    if (options->nodes > 0)
        printf(" --nodes %d", options->nodes);
    for (unsigned i = 0; i < RULES; i++)
        if (is_broken(options, i))
            printf(" --break %s", rules[i].name);
    printf("%s%s --trace\n", kinds[options->kind].option, options->wild ? " --wild" : "");
}

/* Every `jobs`-th seed, beginning at the `job`-th. */
static void run_seeds(const char *program, const struct options *options, int job, struct totals *totals)
{
    double begin = now_s();
    for (uint64_t seed = options->first + (uint64_t)job; seed <= options->last; seed += (uint64_t)options->jobs) {
        if (options->seconds > 0 && now_s() - begin > options->seconds)
            return;
        struct sim_config config = config_of(options, seed);
        struct sim_result result;
        sim_run(&config, &result);
        totals->runs++;
        totals->steps += result.steps;
        totals->terms += result.terms;
        totals->faults += result.faults;
        totals->hours += (double)result.simulated_us / 3.6e9;
        if (options->hash)
            printf("seed %llu hash %016llx steps %llu\n", (unsigned long long)seed, (unsigned long long)result.hash,
                   (unsigned long long)result.steps);
        if (result.failure[0] != '\0') {
            printf("FAILED seed %llu: %s\n", (unsigned long long)seed, result.failure);
            print_replay(program, options, seed);
            totals->failed = true;
            totals->failed_seed = seed;
            return;
        }
    }
}

static int run_jobs(const char *program, const struct options *options)
{
    double begin = now_s();
    struct totals sum = {0};
    int pipes[2];
    if (pipe(pipes) < 0)
        return 1;
    fflush(stdout);
    for (int job = 0; job < options->jobs; job++) {
        if (fork() == 0) {
            struct totals totals = {0};
            run_seeds(program, options, job, &totals);
            fflush(stdout);
            _exit(write(pipes[1], &totals, sizeof(totals)) == sizeof(totals) ? 0 : 1);
        }
    }
    close(pipes[1]);
    struct totals part;
    int parts = 0;
    while (read(pipes[0], &part, sizeof(part)) == sizeof(part)) {
        parts++;
        sum.runs += part.runs;
        sum.steps += part.steps;
        sum.terms += part.terms;
        sum.faults += part.faults;
        sum.hours += part.hours;
        sum.failed = sum.failed || part.failed;
    }
    while (wait(NULL) > 0)
        ;
    double took = now_s() - begin;
    printf("%llu seeds from %llu, %d minutes each%s%s: %.1f simulated hours in %.1f s on %d cores, "
           "%.1f hours a second and core; %llu steps, %llu decisions, %llu faults: %s\n",
           (unsigned long long)sum.runs, (unsigned long long)options->first, options->minutes,
           kinds[options->kind].text, options->wild ? ", clocks beyond the bound" : "", sum.hours, took, options->jobs,
           sum.hours / took / options->jobs, (unsigned long long)sum.steps, (unsigned long long)sum.terms,
           (unsigned long long)sum.faults,
           sum.failed               ? "FAILED"
           : parts == options->jobs ? "ok"
                                    : "a job died");
    return sum.failed || parts != options->jobs;
}

/* ---- mutations ---- */

#define MUTATION_SEEDS 300 /* every broken rule must be found within this many */

/* Rules of locks are looked for in worlds with locks, those of tasks in worlds with tasks. */
static enum sim_kind kind_of_rule(unsigned rule)
{
    if ((rule >= RULE_HOLD_BY_VIEW && rule <= RULE_GHOST_IS_REMOVED) || rule >= RULE_COUNT + WORLD_ENTRY_IS_ITS_OWNERS)
        return SIM_LOCK;
    return rule >= RULE_TASK_CLAIM_AT_HEAD && rule < RULE_COUNT ? SIM_TASK : SIM_ELECTION;
}

static bool mutation_found(const struct options *options, unsigned rule, struct sim_result *ret, uint64_t *ret_seed)
{
    for (uint64_t seed = 1; seed <= MUTATION_SEEDS; seed++) {
        struct sim_config config = config_of(options, seed);
        break_rule(&config.broken, &config.broken_around, rule);
        config.kind = kind_of_rule(rule);
        if (rule == RULE_REST_LOOKS)
            config.nodes = NODES_MAX; /* only in a crowd does anybody rest long enough */
        sim_run(&config, ret);
        *ret_seed = seed;
        if (ret->failure[0] != '\0')
            return true;
    }
    return false;
}

static int run_mutations(const struct options *options)
{
    int missed = 0;
    printf("1..%d\n", RULES);
    for (unsigned rule = 0; rule < RULES; rule++) {
        struct sim_result result;
        uint64_t seed;
        bool found = mutation_found(options, rule, &result, &seed);
        missed += !found;
        printf("%s %u - without \"%s\" (%s)", found ? "ok" : "not ok", rule + 1, rules[rule].text, rules[rule].name);
        if (found)
            printf(" # seed %llu: %s\n", (unsigned long long)seed, result.failure);
        else
            printf(" # not found in %d seeds\n", MUTATION_SEEDS);
        fflush(stdout);
    }
    return missed > 0;
}

/* ---- the command line ---- */

static unsigned rule_number(const char *name)
{
    for (unsigned i = 0; i < RULES; i++)
        if (strcmp(rules[i].name, name) == 0)
            return i;
    fprintf(stderr, "sim: no rule '%s'; these can be broken:\n", name);
    for (unsigned i = 0; i < RULES; i++)
        fprintf(stderr, "  %-26s %s\n", rules[i].name, rules[i].text);
    exit(64);
}

static void parse_seeds(const char *text, struct options *options)
{
    char *end;
    options->first = strtoull(text, &end, 10);
    options->last = options->first;
    if (*end == '-')
        options->last = end[1] != '\0' ? strtoull(end + 1, &end, 10) : UINT64_MAX - 1024;
}

static void parse(int argc, char **argv, struct options *options)
{
    enum { SEEDS = 256, MINUTES, NODES, JOBS, SECONDS, BREAK, LOCKS, TASKS, WILD, TRACE, MUTATIONS, HASH };
    static const struct option longs[] = {{"seeds", required_argument, NULL, SEEDS},
                                          {"seed", required_argument, NULL, SEEDS},
                                          {"minutes", required_argument, NULL, MINUTES},
                                          {"nodes", required_argument, NULL, NODES},
                                          {"jobs", required_argument, NULL, JOBS},
                                          {"seconds", required_argument, NULL, SECONDS},
                                          {"break", required_argument, NULL, BREAK},
                                          {"locks", no_argument, NULL, LOCKS},
                                          {"tasks", no_argument, NULL, TASKS},
                                          {"wild", no_argument, NULL, WILD},
                                          {"trace", no_argument, NULL, TRACE},
                                          {"mutations", no_argument, NULL, MUTATIONS},
                                          {"hash", no_argument, NULL, HASH},
                                          {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (option) {
        case SEEDS:
            parse_seeds(optarg, options);
            break;
        case MINUTES:
            options->minutes = atoi(optarg);
            break;
        case NODES:
            options->nodes = atoi(optarg);
            break;
        case JOBS:
            options->jobs = atoi(optarg);
            break;
        case SECONDS:
            options->seconds = atof(optarg);
            break;
        case BREAK:
            break_rule(&options->broken, &options->broken_around, rule_number(optarg));
            break;
        case LOCKS:
            options->kind = SIM_LOCK;
            break;
        case TASKS:
            options->kind = SIM_TASK;
            break;
        case WILD:
            options->wild = true;
            break;
        case TRACE:
            options->trace = true;
            break;
        case MUTATIONS:
            options->mutations = true;
            break;
        case HASH:
            options->hash = true;
            break;
        default:
            exit(64);
        }
    }
    if (options->minutes < 1 || options->nodes > NODES_MAX || options->jobs < 1) {
        fprintf(stderr, "sim: --minutes and --jobs are at least 1, --nodes at most %d\n", NODES_MAX);
        exit(64);
    }
}

int main(int argc, char **argv)
{
    struct options options = {.first = 1, .last = 100, .minutes = 10, .jobs = 1};
    parse(argc, argv, &options);
    json_object_seed(1);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (options.mutations)
        return run_mutations(&options);
    return run_jobs(argv[0], &options);
}
