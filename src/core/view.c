/* view.c: the sorted array behind a view. */
#include "core/view.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"

void view_init(struct view *view, const struct record_kinds *kinds)
{
    *view = (struct view){.kinds = kinds};
}

static void record_forget_object(struct view_record *record)
{
    if (record->object != NULL)
        record->kind->free(record->object);
    record->object = NULL;
    free(record->trouble);
    record->trouble = NULL;
}

static void record_free(struct view_record *record)
{
    record_forget_object(record);
    free(record->key);
    free(record->value);
    free(record);
}

static void record_read(struct view_record *record)
{
    struct baton_error err;
    if (record->kind == NULL || (record->object = record->kind->read(record->value, &err)) != NULL)
        return;
    record->trouble = mem_new(sizeof(err));
    error_set(record->trouble, err.code, "%s %s", record->key, err.text);
}

void view_clear(struct view *view)
{
    for (size_t i = 0; i < view->count; i++)
        record_free(view->records[i]);
    view->count = view->troubled = 0;
    view->ready = false;
    view->overflown = false;
}

void view_release(struct view *view)
{
    view_clear(view);
    assert(view->count == 0);
    free(view->records);
    *view = (struct view){.kinds = view->kinds};
}

size_t view_from(const struct view *view, const char *key)
{
    size_t low = 0, high = view->count;
    /* A snapshot comes in order: look at the end first. */
    if (high > 0 && strcmp(view->records[high - 1]->key, key) < 0)
        return high;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(view->records[middle]->key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct view_record *view_find(const struct view *view, const char *key)
{
    size_t place = view_from(view, key);
    if (place < view->count && strcmp(view->records[place]->key, key) == 0)
        return view->records[place];
    return NULL;
}

bool view_record_stands(const struct view_record *record)
{
    return record->cid != NULL && (record->object != NULL || record->kind->stands_unread);
}

static void note_move(struct view *view, const struct view_record *record, bool gone)
{
    size_t last = view->move_count;
    while (gone && last > 0 && (view->moves[last - 1].record != record || view->moves[last - 1].gone))
        last--;
    if (gone && last > 0) { /* it came and went: nobody needs to know */
        view->move_count--;
        memmove(&view->moves[last - 1], &view->moves[last], (view->move_count - last + 1) * sizeof(view->moves[0]));
        return;
    }
    if (view->move_count == VIEW_MOVES_MAX) {
        view->reordered = true;
        return;
    }
    view->moves[view->move_count].record = record;
    view->moves[view->move_count++].gone = gone;
}

static void view_remove(struct view *view, const char *key)
{
    size_t place = view_from(view, key);
    if (place == view->count || strcmp(view->records[place]->key, key) != 0)
        return;
    struct view_record *record = view->records[place];
    if (record->cid != NULL)
        note_move(view, record, true);
    view->troubled -= record->trouble != NULL;
    record_free(record);
    view->count--;
    memmove(&view->records[place], &view->records[place + 1], (view->count - place) * sizeof(view->records[0]));
}

static struct view_record *view_insert(struct view *view, size_t place, const char *key)
{
    assert(place == 0 || strcmp(view->records[place - 1]->key, key) < 0);
    assert(place == view->count || strcmp(key, view->records[place]->key) < 0);
    if (view->count == view->room) {
        view->room = view->room > 0 ? 2 * view->room : 4;
        view->records = mem_grow(view->records, view->room * sizeof(view->records[0]));
    }
    memmove(&view->records[place + 1], &view->records[place], (view->count - place) * sizeof(view->records[0]));
    view->count++;
    struct view_record *record = view->records[place] = mem_new(sizeof(*record));
    record->key = mem_text(key);
    const char *name;
    size_t name_length;
    record->kind = record_kind(view->kinds, record->key, &name, &name_length, &record->cid);
    return record;
}

static void view_put(struct view *view, const struct baton_record *from)
{
    size_t place = view_from(view, from->key);
    struct view_record *record;
    if (place < view->count && strcmp(view->records[place]->key, from->key) == 0) {
        record = view->records[place];
        view->reordered = view->reordered || record->cid != NULL;
        view->troubled -= record->trouble != NULL;
        record_forget_object(record);
        free(record->value);
    } else {
        if (view->count >= VIEW_RECORDS_MAX) {
            view->overflown = true;
            return;
        }
        record = view_insert(view, place, from->key);
        if (record->cid != NULL)
            note_move(view, record, false);
    }
    record->value = mem_text(from->value);
    record->revision = from->revision;
    record->created = from->created;
    record->session = from->session;
    record_read(record);
    view->troubled += record->trouble != NULL;
}

bool view_apply(struct view *view, const struct baton_batch *batch)
{
    if (batch->revision < view->revision || (!view->ready && !batch->reset))
        return false;
    view->batches++;
    view->move_count = 0;
    view->reordered = batch->reset;
    if (batch->reset)
        view_clear(view);
    for (size_t i = 0; i < batch->count; i++) {
        const struct baton_change *change = &batch->changes[i];
        if (change->kind == BATON_CHANGE_PUT)
            view_put(view, &change->record);
        else
            view_remove(view, change->record.key);
    }
    assert(view->count <= VIEW_RECORDS_MAX && view->troubled <= view->count && view->move_count <= VIEW_MOVES_MAX);
    view->revision = batch->revision;
    view->ready = !view->overflown;
    return true;
}

static int compare_names(const void *left, const void *right)
{
    return strcmp(((const struct view_name *)left)->text, ((const struct view_name *)right)->text);
}

/* Each one's records are together in the order of keys; but that has the slash after the name: "a-b/" is before "a/".
 */
struct view_name *view_names(const struct view *view, size_t *ret_count)
{
    struct view_name *names = NULL;
    size_t count = 0, room = 0;
    for (size_t i = 0; i < view->count; i++) {
        const char *name, *cid;
        size_t length;
        struct view_name next = {0};
        if (record_kind(view->kinds, view->records[i]->key, &name, &length, &cid) == NULL ||
            !view->kinds->name(next.text, name, length) || (count > 0 && strcmp(names[count - 1].text, next.text) == 0))
            continue;
        if (count == room) {
            room = room > 0 ? 2 * room : 8;
            names = mem_grow(names, room * sizeof(*names));
        }
        names[count++] = next;
    }
    if (count > 0)
        qsort(names, count, sizeof(*names), compare_names);
    *ret_count = count;
    return names;
}
