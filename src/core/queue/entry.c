/* entry.c: see entry.h. */
#include "core/queue/entry.h"

#include <stdlib.h>

#include "base/base.h"
#include "core/json.h"

void *entry_read(const char *value, struct baton_error *err)
{
    json_t *object = json_record_read(value, err);
    if (object == NULL)
        return NULL;
    struct lock_entry *entry = mem_new(sizeof(*entry));
    int64_t slots = json_field_number(object, "slots", 1);
    entry->id = json_field_text(object, "id", TEXT_MAX);
    entry->host = json_field_text(object, "host", TEXT_MAX);
    entry->slots = json_is_true(json_object_get(object, "shared")) ? SLOTS_SHARED : (uint32_t)slots;
    entry->since_wall_ms = json_field_between(object, "since", 0, WALL_MS_MAX);
    json_decref(object);
    if (entry->id == NULL || entry->id[0] == '\0' || entry->host == NULL || slots < 1 || slots > SLOTS_MAX) {
        error_set(err, BATON_CORRUPT,
                  "is not the record of a lock's entry (\"id\", \"host\" or \"slots\" is not right)");
        entry_free(entry);
        return NULL;
    }
    return entry;
}

void entry_free(void *object)
{
    struct lock_entry *entry = object;
    if (entry == NULL)
        return;
    free(entry->id);
    free(entry->host);
    free(entry);
}

char *entry_write(const struct lock_entry *entry)
{
    json_t *object = json_record_new();
    json_set_text(object, "id", entry->id);
    json_set_text(object, "host", entry->host);
    if (entry->slots == SLOTS_SHARED)
        json_object_set_new(object, "shared", json_true());
    else
        json_object_set_new(object, "slots", json_integer(entry->slots));
    json_object_set_new(object, "since", json_integer(entry->since_wall_ms));
    char *value = json_record_write(object);
    json_decref(object);
    return value;
}
