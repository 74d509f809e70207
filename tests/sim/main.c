/* main.c: run the simulation: one seed, many, or the mutations.
 *
 *     sim --seeds 1-2000            2,000 runs; stops at the first failure and says how to replay it
 *     sim --seed 17 --trace         one run, with everything that happens
 *     sim --seconds 60 --seeds 1-   new seeds until the time is over
 *     sim --locks ...               worlds of another kind (kind.h): the nodes want a lock; --kinds names all kinds
 *     sim --mutations               each rule of core/rules.h, of the world around, and of the kinds is broken in turn,
 *                                   and must be caught
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
#include "kind.h"

struct options {
    uint64_t first, last;
    int minutes, nodes, jobs;
    double seconds; /* stop beginning new seeds after this; 0: no limit */
    uint64_t broken;
    uint32_t broken_around;
    const struct world_kind *kind;
    bool wild, trace, mutations, hash;
};

struct totals {
    uint64_t runs, steps, terms, faults;
    double hours;
    uint64_t failed_seed;
    bool failed;
};

#define KIND(kind, name) &name##_world,
static const struct world_kind *const kinds[] = {PROTOCOLS(KIND)};
#undef KIND

/* ---- rules: the core's, then the world's, then each kind's own ---- */

static const struct sim_rule common_rules[] = {
#define RULE_NAME(name, text) {#name, text},
    CORE_RULES(RULE_NAME) WORLD_RULES(RULE_NAME)
#undef RULE_NAME
};
#define COMMON_RULES (RULE_COUNT + WORLD_RULE_COUNT)

/* Of this rule: the kind whose own it is, and its number there. NULL: it is nobody's own, or there is none. */
static const struct world_kind *owner_of(unsigned rule, unsigned *ret_own)
{
    unsigned left = rule - COMMON_RULES;
    for (size_t i = 0; rule >= COMMON_RULES && i < COUNT_OF(kinds); i++) {
        *ret_own = left;
        if (left < kinds[i]->own_rule_count)
            return kinds[i];
        left -= kinds[i]->own_rule_count;
    }
    return NULL;
}

/* NULL: there is none of this number. */
static const struct sim_rule *rule_of(unsigned rule)
{
    unsigned own;
    const struct world_kind *kind = owner_of(rule, &own);
    return rule < COMMON_RULES ? &common_rules[rule] : kind != NULL ? &kind->own_rules[own] : NULL;
}

/* In worlds of which kind a rule is looked for. */
static const struct world_kind *kind_of_rule(unsigned rule)
{
    unsigned own;
    const struct world_kind *owner = owner_of(rule, &own);
    for (size_t i = 0; owner == NULL && i < COUNT_OF(kinds); i++)
        if (rule < RULE_COUNT ? kinds[i]->last_rule > 0 && rule >= kinds[i]->first_rule && rule <= kinds[i]->last_rule
                              : (kinds[i]->world_rules >> (rule - RULE_COUNT) & 1) != 0)
            return kinds[i];
    return owner != NULL ? owner : kinds[0];
}

static void break_rule(uint64_t *broken, uint32_t *broken_around, unsigned rule)
{
    unsigned own;
    if (owner_of(rule, &own) != NULL) {
        assert(RULE_OWN + own < 64);
        *broken |= UINT64_C(1) << (RULE_OWN + own);
    } else if (rule < RULE_COUNT) {
        *broken |= UINT64_C(1) << rule;
    } else {
        *broken_around |= 1U << (rule - RULE_COUNT);
    }
}

static bool is_broken(const struct options *options, unsigned rule)
{
    unsigned own;
    const struct world_kind *owner = owner_of(rule, &own);
    if (owner != NULL)
        return owner == options->kind && (options->broken >> (RULE_OWN + own) & 1) != 0;
    return rule < RULE_COUNT ? (options->broken >> rule & 1) != 0
                             : (options->broken_around >> (rule - RULE_COUNT) & 1) != 0;
}

/* ---- runs ---- */

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

static void print_replay(const char *program, const struct options *options, uint64_t seed)
{
    printf("  build:  baton %s, %s, %s\n  replay: %s --seed %llu --minutes %d", BATON_VERSION, BUILD_COMMIT,
           __VERSION__, program, (unsigned long long)seed, options->minutes);
    if (options->nodes > 0)
        printf(" --nodes %d", options->nodes);
    for (unsigned i = 0; rule_of(i) != NULL; i++)
        if (is_broken(options, i))
            printf(" --break %s", rule_of(i)->name);
    printf(" --%s%s --trace\n", options->kind->option, options->wild ? " --wild" : "");
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
           (unsigned long long)sum.runs, (unsigned long long)options->first, options->minutes, options->kind->text,
           options->wild ? ", clocks beyond the bound" : "", sum.hours, took, options->jobs,
           sum.hours / took / options->jobs, (unsigned long long)sum.steps, (unsigned long long)sum.terms,
           (unsigned long long)sum.faults,
           sum.failed               ? "FAILED"
           : parts == options->jobs ? "ok"
                                    : "a job died");
    return sum.failed || parts != options->jobs;
}

/* ---- mutations ---- */

#define MUTATION_SEEDS 300 /* every broken rule must be found within this many */

static bool mutation_found(const struct options *options, unsigned rule, struct sim_result *ret, uint64_t *ret_seed)
{
    for (uint64_t seed = 1; seed <= MUTATION_SEEDS; seed++) {
        struct sim_config config = config_of(options, seed);
        break_rule(&config.broken, &config.broken_around, rule);
        config.kind = kind_of_rule(rule);
        if (rule == RULE_REST_LOOKS)
            config.nodes = NODES_USUAL_MAX; /* only in a crowd does anybody rest long enough */
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
    unsigned count = 0;
    while (rule_of(count) != NULL)
        count++;
    printf("1..%u\n", count);
    for (unsigned rule = 0; rule < count; rule++) {
        struct sim_result result;
        uint64_t seed;
        bool found = mutation_found(options, rule, &result, &seed);
        missed += !found;
        printf("%s %u - without \"%s\" (%s)", found ? "ok" : "not ok", rule + 1, rule_of(rule)->text,
               rule_of(rule)->name);
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
    const struct sim_rule *rule;
    for (unsigned i = 0; (rule = rule_of(i)) != NULL; i++)
        if (strcmp(rule->name, name) == 0)
            return i;
    fprintf(stderr, "sim: no rule '%s'; these can be broken:\n", name);
    for (unsigned i = 0; (rule = rule_of(i)) != NULL; i++)
        fprintf(stderr, "  %-26s %s\n", rule->name, rule->text);
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
    enum { SEEDS = 256, MINUTES, NODES, JOBS, SECONDS, BREAK, WILD, TRACE, MUTATIONS, HASH, KINDS, KIND_FIRST };
    static const struct option common[] = {{"seeds", required_argument, NULL, SEEDS},
                                           {"seed", required_argument, NULL, SEEDS},
                                           {"minutes", required_argument, NULL, MINUTES},
                                           {"nodes", required_argument, NULL, NODES},
                                           {"jobs", required_argument, NULL, JOBS},
                                           {"seconds", required_argument, NULL, SECONDS},
                                           {"break", required_argument, NULL, BREAK},
                                           {"wild", no_argument, NULL, WILD},
                                           {"trace", no_argument, NULL, TRACE},
                                           {"mutations", no_argument, NULL, MUTATIONS},
                                           {"hash", no_argument, NULL, HASH},
                                           {"kinds", no_argument, NULL, KINDS}};
    struct option longs[COUNT_OF(common) + COUNT_OF(kinds) + 1] = {{0}};
    size_t count = COUNT_OF(common);
    memcpy(longs, common, sizeof(common));
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        longs[count++] = (struct option){kinds[i]->option, no_argument, NULL, KIND_FIRST + (int)i};
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
        case KINDS:
            for (size_t i = 0; i < COUNT_OF(kinds); i++)
                printf("--%s\n", kinds[i]->option);
            exit(0);
        default:
            if (option < KIND_FIRST)
                exit(64);
            options->kind = kinds[option - KIND_FIRST];
        }
    }
    if (options->minutes < 1 || options->nodes > NODES_MAX || options->jobs < 1) {
        fprintf(stderr, "sim: --minutes and --jobs are at least 1, --nodes at most %d\n", NODES_MAX);
        exit(64);
    }
}

int main(int argc, char **argv)
{
    struct options options = {.first = 1, .last = 100, .minutes = 10, .jobs = 1, .kind = kinds[0]};
    parse(argc, argv, &options);
    json_object_seed(1);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (options.mutations)
        return run_mutations(&options);
    return run_jobs(argv[0], &options);
}
