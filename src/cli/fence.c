/* fence.c: `baton fence`: a fence in a database, which refuses what a leader writes whose term is over. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/base.h"
#include "baton/baton.h"
#include "cli/cli.h"
#include "cli/present.h"
#include "fence/fence.h"

#define EXIT_NOT_PROVED 1

struct fence_options {
    uint32_t timeout_ms;
    bool json;
};

/* Each verb: what comes after the URL, whether the fence must be there, and what it does: an exit status. */
struct verb {
    const char *name, *operands;
    int count;
    bool installed;
    int (*run)(struct fence *fence, char *const *operands, const struct fence_options *options,
               struct baton_error *err);
};

/* ---- verbs ---- */

static int run_install(struct fence *fence, char *const *operands, const struct fence_options *options,
                       struct baton_error *err)
{
    int version;
    if (fence->ops->version(fence, &version, err) < 0)
        return -1;
    if (version > FENCE_VERSION)
        return fence_check_installed(fence, err);
    if (fence->ops->install(fence, err) < 0)
        return -1;
    if (version == 0)
        printf("%s: the fence is there, version %d\n", fence->ops->describe(fence), FENCE_VERSION);
    else
        printf("%s: the fence was there, version %d; it is of version %d\n", fence->ops->describe(fence), version,
               FENCE_VERSION);
    return 0;
}

static int run_remove(struct fence *fence, char *const *operands, const struct fence_options *options,
                      struct baton_error *err)
{
    if (fence->ops->remove(fence, err) < 0)
        return -1;
    printf("%s: the fence is gone, with its guards and the terms that it knew\n", fence->ops->describe(fence));
    return 0;
}

static int run_guard(struct fence *fence, char *const *operands, const struct fence_options *options,
                     struct baton_error *err)
{
    if (baton_check_name("the election", operands[1], err) < 0)
        return -1;
    if (fence->ops->guard(fence, operands[0], operands[1], err) < 0)
        return -1;
    printf("%s takes changes only from the leader of %s\n", operands[0], operands[1]);
    return 0;
}

static int run_unguard(struct fence *fence, char *const *operands, const struct fence_options *options,
                       struct baton_error *err)
{
    if (fence->ops->unguard(fence, operands[0], err) < 0)
        return -1;
    printf("%s takes changes from everybody again\n", operands[0]);
    return 0;
}

static int run_reset(struct fence *fence, char *const *operands, const struct fence_options *options,
                     struct baton_error *err)
{
    bool known;
    if (baton_check_name("the election", operands[0], err) < 0 ||
        fence->ops->reset(fence, operands[0], &known, err) < 0)
        return -1;
    if (!known)
        return error_set(err, BATON_NOT_FOUND, "no term of '%s' was seen in %s: there is nothing to forget",
                         operands[0], fence->ops->describe(fence));
    printf("%s: the terms of %s are forgotten; the next one counts, whatever it is\n", fence->ops->describe(fence),
           operands[0]);
    return 0;
}

static void print_table(const struct fence_table *tables, size_t count)
{
    struct cli_table table = {.columns = 4};
    const char *head[] = {"TABLE", "ELECTION", "TERM", "SINCE"};
    cli_table_row(&table, head);
    for (size_t i = 0; i < count; i++) {
        char term[24];
        snprintf(term, sizeof(term), "%" PRIu64, tables[i].term);
        const char *cells[] = {tables[i].table, tables[i].election, tables[i].term > 0 ? term : "-",
                               tables[i].since[0] != '\0' ? tables[i].since : "-"};
        cli_table_row(&table, cells);
    }
    cli_table_print(&table, stdout, "");
    cli_table_free(&table);
}

static json_t *table_json(const struct fence_table *table)
{
    json_t *json = json_object();
    json_object_set_new(json, "table", present_text(table->table));
    json_object_set_new(json, "election", present_text(table->election));
    json_object_set_new(json, "term", table->term > 0 ? json_integer((json_int_t)table->term) : json_null());
    json_object_set_new(json, "since", present_text(table->since[0] != '\0' ? table->since : NULL));
    return json;
}

static int run_status(struct fence *fence, char *const *operands, const struct fence_options *options,
                      struct baton_error *err)
{
    struct fence_table *tables;
    size_t count;
    if (fence->ops->tables(fence, &tables, &count, err) < 0)
        return -1;
    for (size_t i = 0; options->json && i < count; i++)
        present_line(table_json(&tables[i]));
    if (!options->json && count == 0)
        printf("%s: the fence is there, and no table is guarded\n", fence->ops->describe(fence));
    else if (!options->json)
        print_table(tables, count);
    fence_tables_free(tables, count);
    return 0;
}

static const char *as_it_should(bool is)
{
    return is ? "yes" : "NO";
}

static json_t *proof_json(const struct fence_proof *proof)
{
    json_t *json = json_object();
    json_object_set_new(json, "isolation", present_text(proof->where));
    json_object_set_new(json, "newest_passes", json_boolean(proof->newest_passes));
    json_object_set_new(json, "older_is_refused", json_boolean(proof->older_is_refused));
    json_object_set_new(json, "no_term_is_refused", json_boolean(proof->no_term_is_refused));
    json_object_set_new(json, "is_whole", json_boolean(proof->is_whole));
    json_object_set_new(json, "hole", present_text(proof->is_whole ? NULL : proof->hole));
    json_object_set_new(json, "words", present_text(proof->words));
    return json;
}

static bool proves(const struct fence_proof *proof)
{
    return proof->newest_passes && proof->older_is_refused && proof->no_term_is_refused && proof->is_whole;
}

static void print_proof(const char *table, const struct fence_proof *proof)
{
    printf("%s%s%s: the newest term passes: %s; an older one is refused: %s; no term at all is refused: %s\n", table,
           proof->where != NULL ? ", " : "", proof->where != NULL ? proof->where : "",
           as_it_should(proof->newest_passes), as_it_should(proof->older_is_refused),
           as_it_should(proof->no_term_is_refused));
}

static int run_test(struct fence *fence, char *const *operands, const struct fence_options *options,
                    struct baton_error *err)
{
    struct fence_proof proofs[FENCE_PROOFS_MAX];
    size_t count;
    bool proved = true;
    if (fence->ops->test(fence, operands[0], proofs, &count, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        proved = proved && proves(&proofs[i]);
        if (options->json)
            present_line(proof_json(&proofs[i]));
        else
            print_proof(operands[0], &proofs[i]);
    }
    if (!options->json && proved)
        cli_say("The older one was told: %s", proofs[0].words);
    if (!proofs[0].is_whole)
        cli_error("%s: there is a way around the guard of '%s': guard it again, so that it is on '%s', too",
                  fence->ops->describe(fence), operands[0], proofs[0].hole);
    else if (!proved)
        cli_error("%s: the guard of '%s' does not do what it should", fence->ops->describe(fence), operands[0]);
    return proved ? 0 : EXIT_NOT_PROVED;
}

static const struct verb verbs[] = {
    {"install", "URL", 0, false, run_install},      {"guard", "URL TABLE ELECTION", 2, true, run_guard},
    {"unguard", "URL TABLE", 1, true, run_unguard}, {"status", "URL", 0, true, run_status},
    {"test", "URL TABLE", 1, true, run_test},       {"reset", "URL ELECTION", 1, true, run_reset},
    {"remove", "URL", 0, true, run_remove},
};

/* ---- the command ---- */

static int run_verb(const struct verb *verb, char *const *operands, const struct fence_options *options)
{
    struct fence *fence = NULL;
    struct baton_error err = {0};
    int status = -1;
    if (fence_open(operands[0], options->timeout_ms, &fence, &err) == 0 &&
        (!verb->installed || fence_check_installed(fence, &err) == 0))
        status = verb->run(fence, operands + 1, options, &err);
    if (status < 0)
        status = cli_fail(&err);
    fence_close(fence);
    return status;
}

static const char about[] = "A fence in a database: tables that take changes only from the leader, and\n"
                            "refuse one whose term is over. URL is postgresql://[USER@]HOST/DATABASE or\n"
                            "sqlite:PATH.\n\n"
                            "install URL                 put it up, or make it this version's\n"
                            "guard URL TABLE ELECTION    from now on TABLE takes changes of the leader only\n"
                            "unguard URL TABLE           of everybody again\n"
                            "status URL                  what is guarded, and the newest term that was seen\n"
                            "test URL TABLE              try it, in transactions that are rolled back\n"
                            "reset URL ELECTION          forget its terms: the next one counts\n"
                            "remove URL                  take it away, with all guards\n\n"
                            "A program under baton run --fence pg has its term in each of its connections;\n"
                            "for SQLite it loads an extension. See baton-fence(1).";

/* Too few operands, or too many. */
static int refuse_count(const struct verb *verb, int given)
{
    const char *left = verb->operands;
    for (int i = 0; i < given && *left != '\0'; i++) {
        left += strcspn(left, " ");
        left += *left == ' ';
    }
    if (*left == '\0')
        return cli_usage_error("fence", "that is too much; it is baton fence %s %s", verb->name, verb->operands);
    return cli_usage_error("fence", "missing: %s; it is baton fence %s %s", left, verb->name, verb->operands);
}

static int run(int argc, char **argv)
{
    struct fence_options fence = {.timeout_ms = CLI_ENGINE_TIMEOUT_MS};
    const struct cli_option options[] = {{.name = "engine-timeout",
                                          .kind = CLI_DURATION,
                                          .into = &fence.timeout_ms,
                                          .value = "DURATION",
                                          .min = 1,
                                          .help = "how long to wait for the database (default: 5s)"},
                                         CLI_OPTION_JSON(&fence.json)};
    const struct cli_form form = {.command = "fence",
                                  .synopsis = "[OPTIONS] VERB URL [TABLE [ELECTION]]",
                                  .about = about,
                                  .options = options,
                                  .option_count = COUNT_OF(options),
                                  .operands_min = 1,
                                  .operands_max = 4,
                                  .operands = "VERB URL"};
    struct cli_args args;
    int status = cli_parse(&form, argc, argv, &args);
    if (status != CLI_GO)
        return status;
    for (size_t i = 0; i < COUNT_OF(verbs); i++) {
        if (strcmp(verbs[i].name, args.operands[0]) != 0)
            continue;
        if (args.operand_count != 2 + verbs[i].count)
            return refuse_count(&verbs[i], args.operand_count - 1);
        return run_verb(&verbs[i], args.operands + 1, &fence);
    }
    return cli_usage_error("fence",
                           "there is no '%.40s'; there are install, guard, unguard, status, test, reset and remove",
                           args.operands[0]);
}

const struct cli_command command_fence = {"fence", "let a database refuse a leader whose term is over", run};
