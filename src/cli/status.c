/* status.c: `baton status [NAME]`: who leads, and who else stands. Its exit code says whether there is a leader. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"
#include "cli/cli.h"
#include "cli/lock_view.h"
#include "cli/observer.h"
#include "cli/present.h"

#define EXIT_NO_LEADER 1

/* Who leads, in a few words: "alpha", "-", "- (on hold)". */
static const char *state_of(const struct baton_status *status)
{
    if (status->held)
        return status->leader != NULL ? "stopping for a hold" : "on hold";
    if (status->trouble != NULL)
        return "trouble";
    return status->leader != NULL ? "led" : "no leader";
}

static const struct baton_candidate *leader_of(const struct baton_status *status)
{
    for (size_t i = 0; i < status->candidate_count; i++)
        if (status->candidates[i].leads)
            return &status->candidates[i];
    return NULL;
}

static void print_all(const struct observer *observer)
{
    struct cli_table table = {.columns = 7};
    const char *head[] = {"NAME", "STATE", "LEADER", "TERM", "SINCE", "CANDIDATES", "ADDRESS"};
    cli_table_row(&table, head);
    for (size_t i = 0; i < observer->count; i++) {
        const struct baton_status *status = &observer->status[i];
        const struct baton_candidate *leader = leader_of(status);
        char term[24], count[24], since[32];
        snprintf(term, sizeof(term), "%" PRIu64, status->term);
        snprintf(count, sizeof(count), "%zu", status->candidate_count);
        const char *cells[] = {status->name,
                               state_of(status),
                               status->leader != NULL ? status->leader : "-",
                               term,
                               cli_time_text(status->since_wall_ms, since),
                               count,
                               leader != NULL ? leader->address : ""};
        cli_table_row(&table, cells);
    }
    if (observer->count > 0)
        cli_table_print(&table, stdout, "");
    else
        printf("no elections in %s\n", baton_url(observer->client));
    cli_table_free(&table);
}

static void print_one(const struct baton_status *status)
{
    char since[32];
    present_leader(status, cli_colour(stdout));
    if (status->trouble != NULL)
        cli_say("trouble: %s", status->trouble);
    if (status->candidate_count == 0) {
        puts("nobody stands");
        return;
    }
    struct cli_table table = {.columns = 6};
    const char *head[] = {"CANDIDATE", "LEADS", "PRIORITY", "SINCE", "HOST", "ADDRESS"};
    cli_table_row(&table, head);
    for (size_t i = 0; i < status->candidate_count; i++) {
        const struct baton_candidate *candidate = &status->candidates[i];
        char priority[32];
        snprintf(priority, sizeof(priority), "%" PRId32 "%s", candidate->priority,
                 candidate->preempt ? " preempts" : "");
        const char *cells[] = {candidate->id,   candidate->leads ? "yes" : "-",
                               priority,        cli_time_text(candidate->since_wall_ms, since),
                               candidate->host, candidate->address};
        cli_table_row(&table, cells);
    }
    cli_table_print(&table, stdout, "");
    cli_table_free(&table);
}

static json_t *candidate_json(const struct baton_candidate *candidate)
{
    json_t *json = json_object();
    json_object_set_new(json, "id", present_text(candidate->id));
    json_object_set_new(json, "leads", json_boolean(candidate->leads));
    json_object_set_new(json, "priority", json_integer(candidate->priority));
    json_object_set_new(json, "preempt", json_boolean(candidate->preempt));
    json_object_set_new(json, "host", present_text(candidate->host));
    json_object_set_new(json, "address", present_text(candidate->address));
    json_object_set_new(json, "since", present_time(candidate->since_wall_ms));
    return json;
}

static void print_json(const struct baton_status *status)
{
    json_t *json = json_object();
    json_object_set_new(json, "name", present_text(status->name));
    json_object_set_new(json, "leader", present_text(status->leader));
    json_object_set_new(json, "term", json_integer((json_int_t)status->term));
    json_object_set_new(json, "since", present_time(status->since_wall_ms));
    json_object_set_new(json, "held", json_boolean(status->held));
    json_object_set_new(json, "held_by", present_text(status->held_by));
    json_object_set_new(json, "held_why", present_text(status->held_why));
    json_object_set_new(json, "revision", json_integer((json_int_t)status->revision));
    json_object_set_new(json, "trouble", present_text(status->trouble));
    json_t *candidates = json_array();
    for (size_t i = 0; i < status->candidate_count; i++)
        json_array_append_new(candidates, candidate_json(&status->candidates[i]));
    json_object_set_new(json, "candidates", candidates);
    present_line(json);
}

/* All elections, and all locks. */
static int show_all(const struct observer *observer, bool json)
{
    struct baton_lock_status *locks;
    struct baton_error err;
    size_t count;
    if (lock_view_get(observer->client, NULL, observer->until_ms, &locks, &count, &err) < 0)
        return cli_fail(&err);
    if (!json && (observer->count > 0 || count == 0))
        print_all(observer);
    if (!json && observer->count > 0 && count > 0)
        puts("");
    if (!json)
        lock_view_print_all(locks, count);
    for (size_t i = 0; json && i < observer->count; i++)
        print_json(&observer->status[i]);
    for (size_t i = 0; json && i < count; i++)
        lock_view_print_json(&locks[i]);
    baton_lock_status_free(locks, count);
    return 0;
}

static int show(const struct observer *observer, bool json)
{
    if (observer->name == NULL)
        return show_all(observer, json);
    const struct baton_status *status = &observer->status[0];
    if (!observer_exists(status))
        return present_no_election(observer);
    if (json)
        print_json(status);
    else
        print_one(status);
    return status->leader != NULL ? 0 : EXIT_NO_LEADER;
}

static int run(int argc, char **argv)
{
    const char *url = NULL;
    uint32_t timeout_ms = CLI_ENGINE_TIMEOUT_MS;
    bool json = false;
    const struct cli_option options[] = {CLI_OPTION_URL(&url), CLI_OPTION_ENGINE_TIMEOUT(&timeout_ms),
                                         CLI_OPTION_JSON(&json)};
    const struct cli_form form = {
        .command = "status",
        .synopsis = "[OPTIONS] [NAME]",
        .about = "Shows who leads the election NAME and who else stands, or lists all elections\n"
                 "and locks (a lock's queue: baton lock --describe NAME).\n\n"
                 "The exit code of `baton status NAME` is 0 when there is a leader, 1 when there is\n"
                 "none, 66 when there is no such election, and another one after an error.",
        .options = options,
        .option_count = COUNT_OF(options),
        .operands_max = 1,
        .names_election = true};
    struct cli_args args;
    int status = cli_parse(&form, argc, argv, &args);
    if (status != CLI_GO)
        return status;
    struct observer observer;
    status = observer_begin(&observer, url, args.operands[0], false, timeout_ms);
    if (status == CLI_GO)
        status = show(&observer, json);
    observer_close(&observer);
    return status;
}

const struct cli_command command_status = {"status", "show who leads and who stands", run};
