/* watch.c: `baton watch [NAME]`: a line for each change. It begins with what is, told as if it had just happened.
 *
 * Several changes may come as one view; the terms that an election keeps tell each leader in between, so that no
 * change of leader is left out (up to the 16 terms that are kept). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/observer.h"
#include "cli/present.h"
#include "cli/trouble.h"

struct change {
    const char *name;
    const char *what; /* "lead", "vacant", "join", "leave", "hold", "release", "trouble", "gone" */
    const char *id;
    uint64_t term;
    const char *reason;
    int64_t wall_ms; /* when; 0: now */
};

static void print_text(const struct change *change)
{
    char when[32], line[1024];
    const char *id = change->id != NULL ? change->id : "somebody";
    const char *reason = change->reason != NULL ? change->reason : "";
    const char *open = reason[0] != '\0' ? " (" : "", *shut = reason[0] != '\0' ? ")" : "";
    if (strcmp(change->what, "lead") == 0)
        snprintf(line, sizeof(line), "%s leads, term %" PRIu64 "%s%s%s", id, change->term, open, reason, shut);
    else if (strcmp(change->what, "vacant") == 0)
        snprintf(line, sizeof(line), "nobody leads%s%s%s", open, reason, shut);
    else if (strcmp(change->what, "join") == 0)
        snprintf(line, sizeof(line), "%s stands", id);
    else if (strcmp(change->what, "leave") == 0)
        snprintf(line, sizeof(line), "%s stands no more", id);
    else if (strcmp(change->what, "hold") == 0)
        snprintf(line, sizeof(line), "on hold by %s%s%s%s", id, open, reason, shut);
    else if (strcmp(change->what, "release") == 0)
        snprintf(line, sizeof(line), "released");
    else if (strcmp(change->what, "gone") == 0)
        snprintf(line, sizeof(line), "no such election any more");
    else
        snprintf(line, sizeof(line), "trouble: %s", reason);
    cli_say("%s  %s  %s", cli_time_text(change->wall_ms, when), change->name, line);
}

static void print_change(struct change change, bool json)
{
    if (change.wall_ms == 0)
        change.wall_ms = clock_wall_ms();
    if (!json) {
        print_text(&change);
        return;
    }
    json_t *object = json_object();
    json_object_set_new(object, "time", present_time(change.wall_ms));
    json_object_set_new(object, "name", present_text(change.name));
    json_object_set_new(object, "change", present_text(change.what));
    if (change.id != NULL)
        json_object_set_new(object, "id", present_text(change.id));
    if (change.term != 0)
        json_object_set_new(object, "term", json_integer((json_int_t)change.term));
    if (change.reason != NULL && change.reason[0] != '\0')
        json_object_set_new(object, "reason", present_text(change.reason));
    present_line(object);
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool has_candidate(const struct baton_status *status, const struct baton_candidate *candidate)
{
    for (size_t i = 0; i < status->candidate_count; i++)
        if (strcmp(status->candidates[i].id, candidate->id) == 0 &&
            status->candidates[i].since_wall_ms == candidate->since_wall_ms)
            return true;
    return false;
}

static void print_term(const struct baton_status *now, const struct baton_term *term, bool json)
{
    bool led = term->id[0] != '\0';
    struct change change = {.name = now->name,
                            .what = led ? "lead" : "vacant",
                            .id = led ? term->id : NULL,
                            .term = term->term,
                            .reason = term->reason,
                            .wall_ms = term->since_wall_ms};
    print_change(change, json);
}

static void print_release(const struct baton_status *now, bool *released, bool json)
{
    if (*released)
        print_change((struct change){.name = now->name, .what = "release"}, json);
    *released = false;
}

/* The leaders since `then`, oldest first, and whether the last one is still there. The release of a hold, if there was
 * one, comes after the stop that the hold had caused, and before who leads because of it. */
static void print_leaders(const struct baton_status *then, const struct baton_status *now, bool json)
{
    bool led = then->leader != NULL, released = then->held && !now->held;
    if (!then->known) { /* the beginning: only what is */
        led = now->leader == NULL;
        if (now->leader != NULL && now->term_count > 0)
            print_term(now, &now->terms[0], json);
    } else {
        for (size_t i = now->term_count; i-- > 0;) {
            if (now->terms[i].term <= then->term)
                continue;
            if (strcmp(now->terms[i].reason, "hold") != 0)
                print_release(now, &released, json);
            print_term(now, &now->terms[i], json);
            led = now->terms[i].id[0] != '\0';
        }
    }
    if (led && now->leader == NULL)
        print_change((struct change){.name = now->name, .what = "vacant", .term = now->term}, json);
    print_release(now, &released, json);
}

static void print_difference(const struct baton_status *then, const struct baton_status *now, bool json)
{
    for (size_t i = 0; i < then->candidate_count; i++)
        if (!has_candidate(now, &then->candidates[i]))
            print_change((struct change){.name = now->name, .what = "leave", .id = then->candidates[i].id}, json);
    for (size_t i = 0; i < now->candidate_count; i++)
        if (!has_candidate(then, &now->candidates[i]))
            print_change((struct change){.name = now->name,
                                         .what = "join",
                                         .id = now->candidates[i].id,
                                         .wall_ms = now->candidates[i].since_wall_ms},
                         json);
    if (now->held && !then->held)
        print_change((struct change){.name = now->name, .what = "hold", .id = now->held_by, .reason = now->held_why},
                     json);
    print_leaders(then, now, json);
    if (now->trouble != NULL && !same_text(then->trouble, now->trouble))
        print_change((struct change){.name = now->name, .what = "trouble", .reason = now->trouble}, json);
}

static const struct baton_status *find(const struct baton_status *all, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(all[i].name, name) == 0)
            return &all[i];
    return NULL;
}

/* Print each difference between the two views. */
static void print_views(const struct baton_status *then, size_t then_count, const struct baton_status *now,
                        size_t now_count, bool json)
{
    static const struct baton_status nothing;
    for (size_t i = 0; i < now_count; i++) {
        const struct baton_status *before = find(then, then_count, now[i].name);
        print_difference(before != NULL ? before : &nothing, &now[i], json);
    }
    for (size_t i = 0; i < then_count; i++)
        if (find(now, now_count, then[i].name) == NULL)
            print_change((struct change){.name = then[i].name, .what = "gone"}, json);
}

/* Ends with an error, or when nobody reads any more. */
static int watch(struct observer *observer, bool json)
{
    const char *url = baton_url(observer->client);
    struct trouble trouble = {0};
    char text[TROUBLE_TEXT];
    struct baton_status *then = NULL;
    size_t then_count = 0;
    struct baton_error err;
    int status = -1;
    while (status < 0) {
        struct baton_event event;
        int got = observer_next(observer, trouble_wake_ms(&trouble), &event, &err);
        const char *words = trouble_due(&trouble, url, text);
        /* (A record's is told with the change.) */
        if (got > 0 && (event.kind == BATON_TROUBLE || event.kind == BATON_RECOVERED) && event.election == NULL)
            words = trouble_event(&trouble, url, &event, text);
        if (words != NULL)
            cli_error("%s", words);
        if (got == 0 && words != NULL)
            continue;
        if (got <= 0) {
            status = got < 0 ? cli_fail(&err) : 0;
            break;
        }
        if (event.kind != BATON_CHANGED || !observer->viewed)
            continue;
        print_views(then, then_count, observer->status, observer->count, json);
        baton_status_free(then, then_count);
        then = observer->status;
        then_count = observer->count;
        observer->status = NULL; /* it is ours now */
        observer->count = 0;
        enum cli_out out = cli_flush();
        if (out != CLI_OUT_OK)
            status = out == CLI_OUT_BROKEN ? 0 : EX_IOERR;
    }
    baton_status_free(then, then_count);
    return status;
}

static int run(int argc, char **argv)
{
    const char *url = NULL;
    bool json = false;
    const struct cli_option options[] = {CLI_OPTION_URL(&url), CLI_OPTION_JSON(&json)};
    const struct cli_form form = {.command = "watch",
                                  .synopsis = "[OPTIONS] [NAME]",
                                  .about =
                                      "Prints a line for each change of the election NAME, or of all elections: who\n"
                                      "leads, who stands, holds. Begins with what is now; ends with Ctrl-C.",
                                  .options = options,
                                  .option_count = COUNT_OF(options),
                                  .operands_max = 1,
                                  .names_election = true};
    struct cli_args args;
    int status = cli_parse(&form, argc, argv, &args);
    if (status != CLI_GO)
        return status;
    struct baton_error err;
    struct observer observer;
    if (observer_open(&observer, url, args.operands[0], false, &err) < 0)
        status = cli_fail(&err);
    else {
        observer.reader = STDOUT_FILENO; /* `baton watch | head -1` must not wait for the next change to end */
        status = watch(&observer, json);
    }
    observer_close(&observer);
    return status;
}

const struct cli_command command_watch = {"watch", "print a line for each change", run};
