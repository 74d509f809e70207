/* opening.c: see opening.h. */
#include "barrier/opening.h"

#include <stdlib.h>
#include <string.h>

#include "barrier/barrier.h"
#include "base/base.h"
#include "core/json.h"

void *arrival_read(const char *value, struct baton_error *err)
{
    json_t *object = json_record_read(value, err);
    if (object == NULL)
        return NULL;
    struct arrival *arrival = mem_new(sizeof(*arrival));
    int64_t size = json_field_number(object, "size", 0);
    arrival->id = json_field_text(object, "id", TEXT_MAX);
    arrival->host = json_field_text(object, "host", TEXT_MAX);
    arrival->size = (uint32_t)size;
    arrival->since_wall_ms = json_field_between(object, "since", 0, WALL_MS_MAX);
    json_decref(object);
    if (arrival->id != NULL && arrival->host != NULL && size >= 1 && size <= BARRIER_SIZE_MAX)
        return arrival;
    error_set(err, BATON_CORRUPT,
              "is not the presence of one at a barrier (\"id\", \"host\" or \"size\" is not right)");
    arrival_free(arrival);
    return NULL;
}

void arrival_free(void *object)
{
    struct arrival *arrival = object;
    free(arrival->id);
    free(arrival->host);
    free(arrival);
}

char *arrival_write(const struct arrival *arrival)
{
    json_t *object = json_record_new();
    json_set_text(object, "id", arrival->id);
    json_set_text(object, "host", arrival->host);
    json_object_set_new(object, "size", json_integer(arrival->size));
    json_object_set_new(object, "since", json_integer(arrival->since_wall_ms));
    char *value = json_record_write(object);
    json_decref(object);
    return value;
}

void *opening_read(const char *value, struct baton_error *err)
{
    json_t *object = json_record_read(value, err);
    if (object == NULL)
        return NULL;
    const json_t *cids = json_object_get(object, "cids");
    int64_t generation = json_field_number(object, "generation", 0);
    bool good = generation >= 1 && json_array_size(cids) >= 1 && json_array_size(cids) <= BARRIER_SIZE_MAX;
    struct opening *opening = mem_new(sizeof(*opening));
    opening->generation = (uint64_t)generation;
    opening->cids = mem_new(BARRIER_SIZE_MAX * sizeof(char *));
    for (; good && opening->count < json_array_size(cids); opening->count++) {
        const char *cid = json_string_value(json_array_get(cids, opening->count));
        good = cid != NULL;
        opening->cids[opening->count] = mem_text(cid);
    }
    json_decref(object);
    if (good)
        return opening;
    error_set(err, BATON_CORRUPT, "is not the opening of a barrier (\"generation\" or \"cids\" is not right)");
    opening_free(opening);
    return NULL;
}

void opening_free(void *object)
{
    struct opening *opening = object;
    for (size_t i = 0; i < opening->count; i++)
        free(opening->cids[i]);
    free(opening->cids);
    free(opening);
}

char *opening_write(const char *before, uint64_t generation, const struct view_record *const *named, size_t count)
{
    json_t *object = json_record_again(before), *cids = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(cids, json_string(named[i]->cid));
    json_object_set_new(object, "generation", json_integer((json_int_t)generation));
    json_object_set_new(object, "cids", cids);
    char *value = json_record_write(object);
    json_decref(object);
    return value;
}

bool opening_names(const struct opening *opening, const char *cid)
{
    for (size_t i = 0; opening != NULL && i < opening->count; i++)
        if (strcmp(opening->cids[i], cid) == 0)
            return true;
    return false;
}
