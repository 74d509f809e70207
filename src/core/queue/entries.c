/* entries.c: see entries.h. */
#include "core/queue/entries.h"

#include <string.h>

#include "base/base.h"

static int compare_ages(const void *left, const void *right)
{
    const struct view_record *a = *(const struct view_record *const *)left;
    const struct view_record *b = *(const struct view_record *const *)right;
    return a->created < b->created ? -1 : a->created > b->created;
}

static int compare_cids(const void *left, const void *right)
{
    const struct view_record *a = *(const struct view_record *const *)left;
    const struct view_record *b = *(const struct view_record *const *)right;
    return strcmp(a->cid, b->cid);
}

void entries_read(struct entries *entries, const struct view *view, const char *prefix, bool by_cid)
{
    order_read(&entries->order, view, prefix, by_cid ? compare_cids : compare_ages);
}

void entries_release(struct entries *entries)
{
    order_release(&entries->order);
}

size_t entries_place(const struct entries *entries, const char *cid)
{
    size_t place = 0;
    while (place < entries->order.count && strcmp(entries->order.records[place]->cid, cid) != 0)
        place++;
    return place;
}

/* What cannot be read is held to be exclusive. */
static uint32_t slots_of(const struct view_record *record)
{
    return entry_of(record) != NULL ? entry_of(record)->slots : 1;
}

bool entries_holds(const struct entries *entries, size_t place)
{
    assert(place < entries->order.count);
    for (size_t i = 0; i <= place; i++)
        if (slots_of(entries->order.records[i]) <= place)
            return false;
    return true;
}

static bool is_counted(uint32_t slots)
{
    return slots != 1 && slots != SLOTS_SHARED;
}

const struct view_record *entries_disagree(const struct entries *entries, size_t place)
{
    assert(place < entries->order.count);
    uint32_t own = slots_of(entries->order.records[place]);
    for (size_t i = 0; i < place; i++) {
        uint32_t slots = slots_of(entries->order.records[i]);
        if (slots != own && (is_counted(slots) || is_counted(own)))
            return entries->order.records[i];
    }
    return NULL;
}
