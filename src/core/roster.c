/* roster.c: reading an election out of a view. */
#include "core/roster.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"

static int compare_candidates(const void *left, const void *right)
{
    const struct view_record *a = *(const struct view_record *const *)left;
    const struct view_record *b = *(const struct view_record *const *)right;
    if (a->candidate->priority != b->candidate->priority)
        return a->candidate->priority > b->candidate->priority ? -1 : 1;
    return a->created < b->created ? -1 : a->created > b->created;
}

void roster_release(struct roster *roster)
{
    free(roster->order);
    *roster = (struct roster){0};
}

/* Is the order of the candidates that of before, but for those that came and went one by one? */
static bool still_in_order(const struct roster *roster, const struct view *view)
{
    return roster->batches > 0 && roster->batches + 1 == view->batches && !view->reordered && view->troubled == 0;
}

static void insert(struct roster *roster, const struct view_record *record)
{
    size_t low = 0, high = roster->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_candidates(&roster->order[middle], &record) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    roster->order = mem_grow(roster->order, (roster->count + 1) * sizeof(roster->order[0]));
    memmove(&roster->order[low + 1], &roster->order[low], (roster->count - low) * sizeof(roster->order[0]));
    roster->order[low] = record;
    roster->count++;
}

static void drop(struct roster *roster, const struct view_record *record)
{
    size_t at = 0;
    while (at < roster->count && roster->order[at] != record)
        at++;
    if (at == roster->count)
        return; /* one that could not be read */
    roster->count--;
    memmove(&roster->order[at], &roster->order[at + 1], (roster->count - at) * sizeof(roster->order[0]));
}

/* Those that have gone first: one that came may stand where another one was freed. */
static void move(struct roster *roster, const struct view *view)
{
    for (size_t i = 0; i < view->move_count; i++)
        if (view->moves[i].gone)
            drop(roster, view->moves[i].record);
    for (size_t i = 0; i < view->move_count; i++)
        if (!view->moves[i].gone)
            insert(roster, view->moves[i].record);
}

static void read_order(struct roster *roster, const struct view *view, const char *prefix)
{
    size_t first = view_from(view, prefix), last = first;
    for (; last < view->count && text_starts(view->records[last]->key, prefix); last++)
        if (view->records[last]->trouble != NULL && roster->trouble == NULL)
            roster->trouble = view->records[last]->trouble;
    roster->count = 0;
    roster->order = mem_grow(roster->order, (last - first) * sizeof(*roster->order));
    for (size_t i = first; i < last; i++)
        if (view->records[i]->kind == KEY_CANDIDATE && view->records[i]->candidate != NULL)
            roster->order[roster->count++] = view->records[i];
    qsort(roster->order, roster->count, sizeof(*roster->order), compare_candidates);
}

static const struct view_record *take(const struct view *view, char *key)
{
    const struct view_record *record = view_find(view, key);
    free(key);
    return record;
}

void roster_read(struct roster *roster, const struct view *view, const char *name)
{
    bool in_order = still_in_order(roster, view);
    *roster = (struct roster){.order = roster->order, .count = roster->count, .batches = view->batches};
    if (in_order) {
        move(roster, view);
    } else {
        char *prefix = key_prefix(name);
        read_order(roster, view, prefix);
        free(prefix);
    }
    roster->leader_record = take(view, key_leader(name));
    roster->hold_record = take(view, key_hold(name));
    roster->transfer_record = take(view, key_transfer(name));
    roster->decision = roster->leader_record != NULL ? roster->leader_record->decision : NULL;
    /* By the key alone: a presence whose value cannot be read is a presence. */
    if (roster->decision != NULL && roster->decision->cid[0] != '\0')
        roster->leader = take(view, key_candidate(name, roster->decision->cid));
}

bool roster_vacant(const struct roster *roster)
{
    if (roster->leader_record == NULL)
        return true;
    return roster->decision != NULL && roster->leader == NULL;
}

size_t roster_place(const struct roster *roster, const char *cid)
{
    size_t place = 0;
    while (place < roster->count && strcmp(roster->order[place]->cid, cid) != 0)
        place++;
    return place;
}

static const struct view_record *elder_of(const struct roster *roster, const struct view_record *record)
{
    for (size_t i = 0; i < roster->count; i++) {
        const struct view_record *other = roster->order[i];
        if (other->created < record->created && strcmp(other->candidate->id, record->candidate->id) == 0)
            return other;
    }
    return NULL;
}

const struct view_record *roster_elder(const struct roster *roster, const char *cid)
{
    size_t place = roster_place(roster, cid);
    return place < roster->count ? elder_of(roster, roster->order[place]) : NULL;
}

const struct view_record *roster_next(const struct roster *roster, const char *cid, const char *to)
{
    const struct view_record *next = NULL;
    for (size_t i = 0; i < roster->count; i++) {
        const struct view_record *record = roster->order[i];
        if (strcmp(record->cid, cid) == 0 || elder_of(roster, record) != NULL)
            continue;
        if (to == NULL || to[0] == '\0' || strcmp(record->candidate->id, to) == 0)
            return record;
        if (next == NULL)
            next = record;
    }
    return next;
}

const struct view_record *roster_preempting(const struct roster *roster, const char *cid, int32_t priority)
{
    for (size_t i = 0; i < roster->count; i++) {
        const struct view_record *record = roster->order[i];
        if (record->candidate->priority <= priority)
            return NULL; /* in order of priority */
        if (record->candidate->preempt && strcmp(record->cid, cid) != 0 && elder_of(roster, record) == NULL)
            return record;
    }
    return NULL;
}
