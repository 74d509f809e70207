/* claim.c: see claim.h. */
#include "core/task/claim.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "core/json.h"

static const char *const state_names[] = {
    [CLAIM_FREE] = "free",     [CLAIM_RUNNING] = "running", [CLAIM_DONE] = "done",
    [CLAIM_FAILED] = "failed", [CLAIM_LOST] = "lost",
};

const char *claim_state_name(enum claim_state state)
{
    return state_names[state];
}

bool claim_expired(const struct claim *claim, int64_t wall_ms)
{
    return claim->state != CLAIM_RUNNING && claim->keep_ms > 0 && wall_ms - claim->ended_wall_ms >= claim->keep_ms;
}

static bool state_read(const json_t *object, enum claim_state *ret)
{
    char *name = json_field_text(object, "state", TEXT_MAX);
    size_t i = 0;
    while (name != NULL && i < COUNT_OF(state_names) && strcmp(name, state_names[i]) != 0)
        i++;
    bool found = name != NULL && i < COUNT_OF(state_names);
    if (found)
        *ret = (enum claim_state)i;
    free(name);
    return found;
}

void *claim_read(const char *value, struct baton_error *err)
{
    json_t *object = json_record_read(value, err);
    if (object == NULL)
        return NULL;
    struct claim *claim = mem_new(sizeof(*claim));
    claim->cid = json_field_text(object, "cid", TEXT_MAX);
    claim->id = json_field_text(object, "id", TEXT_MAX);
    claim->host = json_field_text(object, "host", TEXT_MAX);
    claim->what = json_field_text(object, "what", CLAIM_WHAT_MAX);
    int64_t attempt = json_field_number(object, "attempt", 0);
    int64_t status = json_field_number(object, "status", 0);
    claim->attempt = (uint32_t)attempt;
    claim->status = (int32_t)status;
    claim->again = json_is_true(json_object_get(object, "again"));
    claim->since_wall_ms = json_field_between(object, "since", 0, WALL_MS_MAX);
    claim->ended_wall_ms = json_field_between(object, "ended", 0, WALL_MS_MAX);
    claim->keep_ms = json_field_between(object, "keep_ms", 0, CLAIM_KEEP_MS_MAX);
    claim->out.left_out = (uint64_t)json_field_between(object, "out_left_out", 0, INT64_MAX);
    claim->err.left_out = (uint64_t)json_field_between(object, "err_left_out", 0, INT64_MAX);
    bool good = state_read(object, &claim->state) && claim->cid != NULL && claim->id != NULL && claim->host != NULL &&
                claim->what != NULL && attempt >= 0 && attempt <= CLAIM_ATTEMPT_MAX && status >= 0 &&
                status <= INT32_MAX &&
                json_field_bytes(object, "out", CLAIM_OUTPUT_MAX, &claim->out.bytes, &claim->out.size) &&
                json_field_bytes(object, "err", CLAIM_OUTPUT_MAX, &claim->err.bytes, &claim->err.size);
    json_decref(object);
    if (good)
        return claim;
    error_set(err, BATON_CORRUPT,
              "is not the claim of a task (\"state\", \"cid\", \"attempt\" or another field is "
              "not right)");
    claim_free(claim);
    return NULL;
}

void claim_free(void *object)
{
    struct claim *claim = object;
    if (claim == NULL)
        return;
    free(claim->cid);
    free(claim->id);
    free(claim->host);
    free(claim->what);
    free(claim->out.bytes);
    free(claim->err.bytes);
    free(claim);
}

/* 0 is not written: absent is 0. */
static void set_number(json_t *object, const char *name, int64_t number)
{
    if (number != 0)
        json_object_set_new(object, name, json_integer(number));
    else
        json_object_del(object, name);
}

static void set_output(json_t *object, const char *name, const char *left_out, const struct claim_output *output)
{
    if (output->bytes != NULL)
        json_set_bytes(object, name, output->bytes, output->size);
    else
        json_object_del(object, name);
    set_number(object, left_out, output->left_out < INT64_MAX ? (int64_t)output->left_out : INT64_MAX);
}

char *claim_write(const char *before, const struct claim *claim)
{
    json_t *object = json_record_again(before);
    json_set_text(object, "state", state_names[claim->state]);
    json_set_text(object, "cid", claim->cid);
    json_set_text(object, "id", claim->id);
    json_set_text(object, "host", claim->host);
    json_set_text(object, "what", claim->what);
    json_object_set_new(object, "attempt", json_integer(claim->attempt));
    json_object_set_new(object, "again", json_boolean(claim->again));
    json_object_set_new(object, "status", json_integer(claim->status));
    set_number(object, "since", claim->since_wall_ms);
    set_number(object, "ended", claim->ended_wall_ms);
    set_number(object, "keep_ms", claim->keep_ms);
    set_output(object, "out", "out_left_out", &claim->out);
    set_output(object, "err", "err_left_out", &claim->err);
    char *value = json_record_write(object);
    json_decref(object);
    return value;
}
