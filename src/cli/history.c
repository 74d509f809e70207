/* history.c: `baton history NAME`: the last terms of an election, the newest first. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "cli/cli.h"
#include "cli/observer.h"
#include "cli/present.h"

/* What a record's word means: why the place passed on to the leader of that line. */
static char *reason_text(const char *word)
{
    static const struct {
        const char *word, *meaning;
    } reasons[] = {
        {"claim", "the place was empty, or the lease of the last leader was over"},
        {"resign", "the last leader gave it up: its command ended, or it was told to stop"},
        {"death", "the last leader was dead, and its guard named this one"},
        {"handover", "the last leader could not go on"},
        {"transfer", "an operator asked for it"},
        {"preempt", "a candidate of higher priority asked for it"},
        {"hold", "put on hold: nobody leads"},
    };
    for (size_t i = 0; i < COUNT_OF(reasons); i++)
        if (strcmp(word, reasons[i].word) == 0)
            return mem_format("%s: %s", word, reasons[i].meaning);
    return mem_text(word); /* of a newer version */
}

static void print_table(const struct baton_status *status)
{
    struct cli_table table = {.columns = 4};
    const char *head[] = {"TERM", "LEADER", "SINCE", "REASON"};
    cli_table_row(&table, head);
    for (size_t i = 0; i < status->term_count; i++) {
        const struct baton_term *term = &status->terms[i];
        char number[24], since[32];
        snprintf(number, sizeof(number), "%" PRIu64, term->term);
        char *reason = reason_text(term->reason);
        const char *cells[] = {number, term->id[0] != '\0' ? term->id : "-", cli_time_text(term->since_wall_ms, since),
                               reason};
        cli_table_row(&table, cells);
        free(reason);
    }
    cli_table_print(&table, stdout, "");
    cli_table_free(&table);
}

static void print_json(const struct baton_status *status)
{
    for (size_t i = 0; i < status->term_count; i++) {
        const struct baton_term *term = &status->terms[i];
        json_t *json = json_object();
        json_object_set_new(json, "name", present_text(status->name));
        json_object_set_new(json, "term", json_integer((json_int_t)term->term));
        json_object_set_new(json, "leader", present_text(term->id[0] != '\0' ? term->id : NULL));
        json_object_set_new(json, "since", present_time(term->since_wall_ms));
        json_object_set_new(json, "reason", present_text(term->reason));
        present_line(json);
    }
}

static int show(const struct observer *observer, bool json)
{
    const struct baton_status *status = &observer->status[0];
    if (!observer_exists(status))
        return present_no_election(observer);
    if (status->trouble != NULL)
        cli_error("%s", status->trouble);
    if (json)
        print_json(status);
    else
        print_table(status);
    return 0;
}

static int run(int argc, char **argv)
{
    const char *url = NULL;
    uint32_t timeout_ms = CLI_ENGINE_TIMEOUT_MS;
    bool json = false;
    const struct cli_option options[] = {CLI_OPTION_URL(&url), CLI_OPTION_ENGINE_TIMEOUT(&timeout_ms),
                                         CLI_OPTION_JSON(&json)};
    const struct cli_form form = {.command = "history",
                                  .synopsis = "[OPTIONS] NAME",
                                  .about =
                                      "Lists the last 16 terms of the election NAME, the newest first: who led, since\n"
                                      "when, and why the place passed on.",
                                  .options = options,
                                  .option_count = COUNT_OF(options),
                                  .operands_min = 1,
                                  .operands_max = 1,
                                  .operands = "NAME",
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

const struct cli_command command_history = {"history", "list the last terms of an election", run};
