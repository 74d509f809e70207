/* lock_view.c: see lock_view.h. */
#include "cli/lock_view.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"
#include "cli/cli.h"
#include "cli/known.h"
#include "cli/present.h"

static bool is_known(const void *lock)
{
    return baton_lock_known(lock);
}

int lock_view_get(struct baton *client, const char *name, int64_t until_ms, struct baton_lock_status **ret,
                  size_t *ret_count, struct baton_error *err)
{
    struct baton_lock *lock;
    if (baton_observe_lock(client, name, &lock, err) < 0)
        return -1;
    int result = known_wait(client, is_known, lock, until_ms, err);
    if (result == 0)
        result = baton_lock_status(lock, ret, ret_count, err);
    baton_lock_free(lock);
    return result;
}

const char *lock_view_slots(uint32_t slots, char text[32])
{
    if (slots == 1)
        return "exclusive";
    if (slots == BATON_SHARED)
        return "shared";
    snprintf(text, 32, "%" PRIu32 " slots", slots);
    return text;
}

void lock_view_print(const struct baton_lock_status *status)
{
    struct cli_table table = {.columns = 6};
    const char *head[] = {"ENTRY", "HOLDS", "KIND", "SINCE", "HOST", "TOKEN"};
    if (status->trouble != NULL)
        cli_say("trouble: %s", status->trouble);
    if (status->entry_count == 0) {
        cli_say("%s: free", status->name);
        return;
    }
    cli_say("%s: %zu %s, %zu %s", status->name, status->holders, status->holders == 1 ? "holds" : "hold",
            status->entry_count - status->holders, status->entry_count - status->holders == 1 ? "waits" : "wait");
    cli_table_row(&table, head);
    for (size_t i = 0; i < status->entry_count; i++) {
        const struct baton_lock_entry *entry = &status->entries[i];
        char since[32], slots[32], token[24] = "-";
        if (entry->holds)
            snprintf(token, sizeof(token), "%" PRIu64, entry->token);
        const char *cells[] = {entry->id,
                               entry->holds ? "yes" : "-",
                               lock_view_slots(entry->slots, slots),
                               cli_time_text(entry->since_wall_ms, since),
                               entry->host,
                               token};
        cli_table_row(&table, cells);
    }
    cli_table_print(&table, stdout, "");
    cli_table_free(&table);
}

void lock_view_print_all(const struct baton_lock_status *all, size_t count)
{
    struct cli_table table = {.columns = 4};
    const char *head[] = {"LOCK", "HELD BY", "HOLDERS", "WAITING"};
    if (count == 0)
        return;
    cli_table_row(&table, head);
    for (size_t i = 0; i < count; i++) {
        char holders[24], waiting[24];
        snprintf(holders, sizeof(holders), "%zu", all[i].holders);
        snprintf(waiting, sizeof(waiting), "%zu", all[i].entry_count - all[i].holders);
        const char *cells[] = {all[i].name, all[i].holders > 0 ? all[i].entries[0].id : "-", holders, waiting};
        cli_table_row(&table, cells);
    }
    cli_table_print(&table, stdout, "");
    cli_table_free(&table);
}

static json_t *entry_json(const struct baton_lock_entry *entry)
{
    char slots[32];
    json_t *json = json_object();
    json_object_set_new(json, "id", present_text(entry->id));
    json_object_set_new(json, "host", present_text(entry->host));
    json_object_set_new(json, "kind", present_text(lock_view_slots(entry->slots, slots)));
    json_object_set_new(json, "holds", json_boolean(entry->holds));
    if (entry->holds)
        json_object_set_new(json, "token", json_integer((json_int_t)entry->token));
    json_object_set_new(json, "since", present_time(entry->since_wall_ms));
    return json;
}

void lock_view_print_json(const struct baton_lock_status *status)
{
    json_t *json = json_object(), *entries = json_array();
    json_object_set_new(json, "lock", present_text(status->name));
    json_object_set_new(json, "holders", json_integer((json_int_t)status->holders));
    json_object_set_new(json, "waiting", json_integer((json_int_t)(status->entry_count - status->holders)));
    json_object_set_new(json, "revision", json_integer((json_int_t)status->revision));
    json_object_set_new(json, "trouble", present_text(status->trouble));
    for (size_t i = 0; i < status->entry_count; i++)
        json_array_append_new(entries, entry_json(&status->entries[i]));
    json_object_set_new(json, "entries", entries);
    present_line(json);
}
