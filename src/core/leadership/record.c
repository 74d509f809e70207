/* record.c: JSON in, structs out, and back. */
#include "core/leadership/record.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "core/json.h"

void *candidate_read(const char *value, struct baton_error *err)
{
    json_t *object = json_record_read(value, err);
    if (object == NULL)
        return NULL;
    struct candidate *candidate = mem_new(sizeof(*candidate));
    candidate->id = json_field_text(object, "id", TEXT_MAX);
    candidate->address = json_field_text(object, "address", TEXT_MAX);
    candidate->host = json_field_text(object, "host", TEXT_MAX);
    candidate->priority = (int32_t)json_field_between(object, "priority", -1000, 1000);
    candidate->preempt = json_is_true(json_object_get(object, "preempt"));
    candidate->since_wall_ms = json_field_between(object, "since", 0, WALL_MS_MAX);
    json_decref(object);
    if (candidate->id == NULL || candidate->id[0] == '\0' || candidate->address == NULL || candidate->host == NULL) {
        error_set(err, BATON_CORRUPT,
                  "is not the record of a candidate (\"id\", \"address\" or \"host\" is not right)");
        candidate_free(candidate);
        return NULL;
    }
    return candidate;
}

void candidate_free(void *object)
{
    struct candidate *candidate = object;
    if (candidate == NULL)
        return;
    free(candidate->id);
    free(candidate->address);
    free(candidate->host);
    free(candidate);
}

char *candidate_write(const struct candidate *candidate)
{
    json_t *object = json_record_new();
    json_set_text(object, "id", candidate->id);
    if (candidate->address[0] != '\0')
        json_set_text(object, "address", candidate->address);
    json_set_text(object, "host", candidate->host);
    json_object_set_new(object, "priority", json_integer(candidate->priority));
    if (candidate->preempt)
        json_object_set_new(object, "preempt", json_true());
    json_object_set_new(object, "since", json_integer(candidate->since_wall_ms));
    char *value = json_record_write(object);
    json_decref(object);
    return value;
}

static void terms_read(struct decision *decision, const json_t *terms)
{
    size_t i;
    const json_t *entry;
    json_array_foreach(terms, i, entry)
    {
        if (decision->term_count == TERMS_KEPT)
            break;
        int64_t term = json_field_number(entry, "term", -1);
        char *id = json_field_text(entry, "id", TEXT_MAX);
        char *reason = json_field_text(entry, "reason", TEXT_MAX);
        if (term < 0 || id == NULL || reason == NULL) {
            free(id);
            free(reason);
            continue; /* history is for people; the decision stands without it */
        }
        decision->terms[decision->term_count++] =
            (struct term_entry){.term = (uint64_t)term,
                                .id = id,
                                .reason = reason,
                                .since_wall_ms = json_field_between(entry, "since", 0, WALL_MS_MAX)};
    }
}

void *decision_read(const char *value, struct baton_error *err)
{
    json_t *object = json_record_read(value, err);
    if (object == NULL)
        return NULL;
    struct decision *decision = mem_new(sizeof(*decision));
    decision->cid = json_field_text(object, "cid", TEXT_MAX);
    int64_t term = json_field_number(object, "term", -1);
    if (decision->cid == NULL || term < 0 || (uint64_t)term > TERM_MAX || (term == 0 && decision->cid[0] != '\0')) {
        error_set(err, BATON_CORRUPT, "is not a decision (\"cid\" or \"term\" is not right)");
        json_decref(object);
        decision_free(decision);
        return NULL;
    }
    decision->term = (uint64_t)term;
    terms_read(decision, json_object_get(object, "terms"));
    json_decref(object);
    return decision;
}

void decision_free(void *object)
{
    struct decision *decision = object;
    if (decision == NULL)
        return;
    free(decision->cid);
    for (size_t i = 0; i < decision->term_count; i++) {
        free(decision->terms[i].id);
        free(decision->terms[i].reason);
    }
    free(decision);
}

static void terms_add(json_t *object, const char *id, uint64_t term, const char *reason, int64_t wall_ms)
{
    json_t *terms = json_object_get(object, "terms");
    if (!json_is_array(terms)) {
        json_object_set_new(object, "terms", json_array());
        terms = json_object_get(object, "terms");
    }
    json_t *entry = json_object();
    json_object_set_new(entry, "term", json_integer((json_int_t)term));
    json_set_text(entry, "id", id);
    json_set_text(entry, "reason", reason);
    json_object_set_new(entry, "since", json_integer(wall_ms));
    json_array_insert_new(terms, 0, entry);
    while (json_array_size(terms) > TERMS_KEPT)
        json_array_remove(terms, json_array_size(terms) - 1);
}

char *decision_next(const char *before, const char *cid, const char *id, uint64_t term, const char *reason,
                    int64_t wall_ms)
{
    json_t *object = json_record_again(before);
    json_set_text(object, "cid", cid);
    json_set_text(object, "id", id);
    json_object_set_new(object, "term", json_integer((json_int_t)term));
    if (term > 0)
        terms_add(object, id, term, reason, wall_ms);
    char *value = json_record_write(object);
    json_decref(object);
    return value;
}

void *hold_read(const char *value, struct baton_error *err)
{
    json_t *object = json_record_read(value, err);
    if (object == NULL)
        return NULL;
    struct hold *hold = mem_new(sizeof(*hold));
    hold->by = json_field_text(object, "by", TEXT_MAX);
    hold->why = json_field_text(object, "why", TEXT_MAX);
    hold->nonce = json_field_text(object, "nonce", TEXT_MAX);
    hold->since_wall_ms = json_field_between(object, "since", 0, WALL_MS_MAX);
    json_decref(object);
    if (hold->by == NULL || hold->why == NULL || hold->nonce == NULL) {
        error_set(err, BATON_CORRUPT, "is not a hold (\"by\", \"why\" or \"nonce\" is not right)");
        hold_free(hold);
        return NULL;
    }
    return hold;
}

void hold_free(void *object)
{
    struct hold *hold = object;
    if (hold == NULL)
        return;
    free(hold->by);
    free(hold->why);
    free(hold->nonce);
    free(hold);
}

char *hold_write(const struct hold *hold)
{
    json_t *object = json_record_new();
    json_set_text(object, "by", hold->by);
    json_set_text(object, "why", hold->why);
    json_set_text(object, "nonce", hold->nonce);
    json_object_set_new(object, "since", json_integer(hold->since_wall_ms));
    char *value = json_record_write(object);
    json_decref(object);
    return value;
}

void *transfer_read(const char *value, struct baton_error *err)
{
    json_t *object = json_record_read(value, err);
    if (object == NULL)
        return NULL;
    struct transfer *transfer = mem_new(sizeof(*transfer));
    transfer->to = json_field_text(object, "to", TEXT_MAX);
    transfer->by = json_field_text(object, "by", TEXT_MAX);
    transfer->nonce = json_field_text(object, "nonce", TEXT_MAX);
    int64_t term = json_field_number(object, "term", -1);
    transfer->term = term > 0 ? (uint64_t)term : 0;
    json_decref(object);
    if (transfer->to == NULL || transfer->by == NULL || transfer->nonce == NULL || transfer->term == 0) {
        error_set(err, BATON_CORRUPT, "is not a transfer (\"to\", \"by\", \"nonce\" or \"term\" is not right)");
        transfer_free(transfer);
        return NULL;
    }
    return transfer;
}

void transfer_free(void *object)
{
    struct transfer *transfer = object;
    if (transfer == NULL)
        return;
    free(transfer->to);
    free(transfer->by);
    free(transfer->nonce);
    free(transfer);
}

char *transfer_write(const struct transfer *transfer)
{
    json_t *object = json_record_new();
    json_set_text(object, "to", transfer->to);
    json_set_text(object, "by", transfer->by);
    json_set_text(object, "nonce", transfer->nonce);
    json_object_set_new(object, "term", json_integer((json_int_t)transfer->term));
    char *value = json_record_write(object);
    json_decref(object);
    return value;
}

char *candidate_key(const char *prefix, const char *folder, const char *cid)
{
    return mem_format("%s%s%s", prefix, folder, cid);
}

char *decision_key(const char *prefix)
{
    return mem_format("%sleader", prefix);
}

char *hold_key(const char *prefix)
{
    return mem_format("%shold", prefix);
}

char *transfer_key(const char *prefix)
{
    return mem_format("%stransfer", prefix);
}
