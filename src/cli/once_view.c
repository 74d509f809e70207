/* once_view.c: see once_view.h. */
#include "cli/once_view.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/base.h"
#include "base/base64.h"
#include "cli/cli.h"
#include "cli/known.h"
#include "cli/present.h"

/* The status of one task, or of all, at one moment. */
struct looking {
    struct baton *client;
    struct baton_task *task;
    struct baton_task_status *status;
    size_t count;
    int64_t until_ms;
};

static bool is_known(const void *task)
{
    return baton_task_known(task);
}

static void look_end(struct looking *looking)
{
    baton_task_status_free(looking->status, looking->count);
    baton_close(looking->client);
}

/* CLI_GO, or an exit status; then there is nothing to end. */
static int look(const struct once_view *view, const char *key, struct looking *ret)
{
    struct baton_options options;
    struct baton_error err;
    baton_options_init(&options);
    options.url = view->url;
    options.create = false;
    *ret = (struct looking){.until_ms = baton_now_ms() + view->timeout_ms};
    if (baton_open(&options, &ret->client, &err) == 0 && baton_observe_task(ret->client, key, &ret->task, &err) == 0 &&
        known_wait(ret->client, is_known, ret->task, ret->until_ms, &err) == 0 &&
        baton_task_status(ret->task, &ret->status, &ret->count, &err) == 0)
        return CLI_GO;
    look_end(ret);
    return cli_fail(&err);
}

static bool is_nothing(const struct baton_task_status *status)
{
    return status->state == BATON_TASK_NONE && status->attempt == 0 && status->waiting == 0 && status->trouble == NULL;
}

/* "done", "failed (3)", "expired" */
static const char *state_text(const struct baton_task_status *status, char text[48])
{
    if (status->trouble != NULL)
        return "trouble";
    if (status->expired)
        return "expired";
    if (status->state == BATON_TASK_NONE)
        return "not begun";
    if (status->state != BATON_TASK_FAILED)
        return baton_task_state_name(status->state);
    snprintf(text, 48, "failed (%" PRId32 ")", status->status);
    return text;
}

/* ---- list and show ---- */

static json_t *task_json(const struct baton_task_status *status)
{
    json_t *json = json_object();
    json_object_set_new(json, "task", present_text(status->key));
    json_object_set_new(json, "state", present_text(baton_task_state_name(status->state)));
    json_object_set_new(json, "expired", json_boolean(status->expired));
    json_object_set_new(json, "status",
                        status->state == BATON_TASK_DONE || status->state == BATON_TASK_FAILED
                            ? json_integer(status->status)
                            : json_null());
    json_object_set_new(json, "attempt", json_integer(status->attempt));
    json_object_set_new(json, "id", present_text(status->id));
    json_object_set_new(json, "host", present_text(status->host));
    json_object_set_new(json, "what", present_text(status->what));
    json_object_set_new(json, "at_least_once", json_boolean(status->at_least_once));
    json_object_set_new(json, "since", present_time(status->since_wall_ms));
    json_object_set_new(json, "ended", present_time(status->ended_wall_ms));
    json_object_set_new(json, "expires", present_time(status->expires_wall_ms));
    json_object_set_new(json, "waiting", json_integer((json_int_t)status->waiting));
    json_object_set_new(json, "revision", json_integer((json_int_t)status->revision));
    json_object_set_new(json, "trouble", present_text(status->trouble));
    return json;
}

static void print_table(const struct looking *looking)
{
    struct cli_table table = {.columns = 7};
    const char *head[] = {"TASK", "STATE", "ATTEMPT", "WAITING", "BEGAN", "ENDED", "WORKER"};
    cli_table_row(&table, head);
    for (size_t i = 0; i < looking->count; i++) {
        const struct baton_task_status *status = &looking->status[i];
        char state[48], attempt[16], waiting[24], since[32], ended[32];
        snprintf(attempt, sizeof(attempt), "%" PRIu32, status->attempt);
        snprintf(waiting, sizeof(waiting), "%zu", status->waiting);
        const char *cells[] = {status->key,
                               state_text(status, state),
                               attempt,
                               waiting,
                               cli_time_text(status->since_wall_ms, since),
                               cli_time_text(status->ended_wall_ms, ended),
                               status->id[0] != '\0' ? status->id : "-"};
        cli_table_row(&table, cells);
    }
    cli_table_print(&table, stdout, "");
    cli_table_free(&table);
}

int once_list(const struct once_view *view)
{
    struct looking looking;
    int status = look(view, NULL, &looking);
    if (status != CLI_GO)
        return status;
    for (size_t i = 0; view->json && i < looking.count; i++)
        present_line(task_json(&looking.status[i]));
    if (!view->json && looking.count == 0)
        printf("no tasks in %s\n", baton_url(looking.client));
    else if (!view->json)
        print_table(&looking);
    look_end(&looking);
    return 0;
}

static void print_bytes(const struct baton_task_output *output, FILE *to)
{
    if (output->left_out > 0)
        cli_error("the first %" PRIu64 " bytes of what it printed were not kept", output->left_out);
    char *bytes = mem_new(output->size + 1);
    memcpy(bytes, output->bytes, output->size);
    /* To a terminal it goes as any text of others; else as it was. */
    size_t size = isatty(fileno(to)) == 1 ? cli_printable_lines(bytes, output->size) : output->size;
    fwrite(bytes, 1, size, to);
    free(bytes);
    if (to == stdout)
        (void)cli_flush(); /* it tells what is wrong, and remembers */
    else
        fflush(to);
}

void once_print_output(const struct baton_task_status *status)
{
    if (status->out.bytes != NULL)
        print_bytes(&status->out, stdout);
    if (status->err.bytes != NULL)
        print_bytes(&status->err, stderr);
}

static void print_one(const struct baton_task_status *status)
{
    char text[48];
    cli_say("%s: %s", status->key, state_text(status, text));
    if (status->trouble != NULL)
        cli_say("  trouble:  %s", status->trouble);
    if (status->attempt > 0) {
        printf("  attempt:  %" PRIu32 ", %s\n", status->attempt,
               status->at_least_once ? "begun again if its worker is lost" : "at most once");
        cli_say("  worker:   %s on %s", status->id, status->host);
        printf("  began:    %s\n", cli_time_text(status->since_wall_ms, text));
    }
    if (status->what[0] != '\0')
        cli_say("  command:  %s", status->what);
    if (status->ended_wall_ms > 0)
        printf("  ended:    %s\n", cli_time_text(status->ended_wall_ms, text));
    if (status->expires_wall_ms > 0)
        printf("  expires:  %s\n", cli_time_text(status->expires_wall_ms, text));
    if (status->waiting > 0)
        printf("  waiting:  %zu\n", status->waiting);
    if (status->out.bytes != NULL || status->err.bytes != NULL)
        printf("  output:   %" PRIu64 " bytes, errors: %" PRIu64 " bytes; --output prints them\n",
               (uint64_t)status->out.size + status->out.left_out, (uint64_t)status->err.size + status->err.left_out);
}

/* Text where it is UTF-8; else {"base64": "..."}, as in the record. */
static json_t *output_json(const struct baton_task_output *output)
{
    if (output->bytes == NULL)
        return json_null();
    json_t *json = json_stringn(output->bytes, output->size);
    if (json != NULL)
        return json;
    char *encoded = mem_new(BASE64_SIZE(output->size) + 1);
    base64_encode(encoded, output->bytes, output->size);
    json = json_pack("{s:s}", "base64", encoded);
    free(encoded);
    return json;
}

int once_show(const struct once_view *view, const char *key)
{
    struct looking looking;
    int result = look(view, key, &looking);
    if (result != CLI_GO)
        return result;
    const struct baton_task_status *status = looking.status;
    if (is_nothing(status)) {
        cli_error("nothing is known of a task '%s' in %s", key, baton_url(looking.client));
        look_end(&looking);
        return EX_NOINPUT;
    }
    if (view->json) {
        json_t *json = task_json(status);
        json_object_set_new(json, "out", output_json(&status->out));
        json_object_set_new(json, "err", output_json(&status->err));
        present_line(json);
    } else if (view->output) {
        once_print_output(status);
    } else {
        print_one(status);
    }
    look_end(&looking);
    return 0;
}

/* ---- forget ---- */

static int forget_one(const struct once_view *view, const struct looking *looking, const char *key, bool expired)
{
    struct baton_task *task;
    struct baton_error err;
    if (baton_observe_task(looking->client, key, &task, &err) < 0)
        return cli_fail(&err);
    uint64_t request =
        expired ? baton_forget_expired(task, view->timeout_ms) : baton_forget(task, view->force, view->timeout_ms);
    /* The library answers in time; the slack is for a busy machine. */
    int result = known_reply(looking->client, request, baton_now_ms() + view->timeout_ms + 1000, &err);
    baton_task_free(task);
    /* Somebody else has forgotten it just now, or taken it up once more. */
    if (result == 0 || (expired && (err.code == BATON_NOT_FOUND || err.code == BATON_CONFLICT)))
        return 0;
    if (err.code == BATON_CONFLICT)
        cli_error("%s; --force forgets it all the same, and stops its worker", err.text);
    else
        cli_error("%s", err.text);
    return cli_exit_code(err.code);
}

/* All are tried; the status is that of the first that failed. */
int once_forget(const struct once_view *view, char *const *keys, int count)
{
    struct looking looking;
    int result = look(view, NULL, &looking);
    if (result != CLI_GO)
        return result;
    result = 0;
    for (int i = 0; i < count; i++) {
        int status = forget_one(view, &looking, keys[i], false);
        result = result != 0 ? result : status;
    }
    for (size_t i = 0; view->expired && i < looking.count; i++) {
        if (!looking.status[i].expired)
            continue;
        int status = forget_one(view, &looking, looking.status[i].key, true);
        result = result != 0 ? result : status;
    }
    look_end(&looking);
    return result;
}

/* ---- what has expired ---- */

#define SWEEP_MS 2000
#define SWEEP_MOST 64
#define SWEEP_ALWAYS 1000 /* below this token there is little to read */
#define SWEEP_EVERY 64    /* a task takes about four revisions; so, about each sixteenth */

/* To look at all tasks takes as long as there are tasks, so not each claim does it. */
static bool sweeps(uint64_t token)
{
    return token < SWEEP_ALWAYS || token % SWEEP_EVERY < 4;
}

static void forget_expired(struct baton *client, const char *key, int64_t until_ms)
{
    struct baton_task *task;
    int64_t left_ms = until_ms - baton_now_ms();
    if (left_ms <= 0 || baton_observe_task(client, key, &task, NULL) < 0)
        return;
    uint64_t request = baton_forget_expired(task, (uint32_t)left_ms);
    (void)known_reply(client, request, until_ms, NULL); /* somebody else may have been faster */
    baton_task_free(task);
}

void once_sweep(struct baton *client, const char *own_key, uint64_t token)
{
    struct baton_task *all;
    struct baton_task_status *status;
    size_t count, forgotten = 0;
    int64_t until_ms = baton_now_ms() + SWEEP_MS;
    if (!sweeps(token) || baton_observe_task(client, NULL, &all, NULL) < 0)
        return;
    if (known_wait(client, is_known, all, until_ms, NULL) == 0 && baton_task_status(all, &status, &count, NULL) == 0) {
        for (size_t i = 0; i < count && forgotten < SWEEP_MOST; i++) {
            if (!status[i].expired || strcmp(status[i].key, own_key) == 0)
                continue;
            forget_expired(client, status[i].key, until_ms);
            forgotten++;
        }
        baton_task_status_free(status, count);
    }
    baton_task_free(all);
}
