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

void roster_read(struct roster *roster, const struct view *view, const char *name)
{
    const struct view_record **order = roster->order;
    *roster = (struct roster){.order = order};
    char *prefix = key_prefix(name);
    size_t first = view_from(view, prefix), last = first;
    while (last < view->count && text_starts(view->records[last]->key, prefix))
        last++;
    free(prefix);
    roster->order = mem_grow(roster->order, (last - first) * sizeof(*roster->order));
    for (size_t i = first; i < last; i++) {
        const struct view_record *record = view->records[i];
        if (record->trouble != NULL && roster->trouble == NULL)
            roster->trouble = record->trouble;
        switch (record->kind) {
        case KEY_CANDIDATE:
            if (record->candidate != NULL)
                roster->order[roster->count++] = record;
            break;
        case KEY_LEADER:
            roster->leader_record = record;
            roster->decision = record->decision;
            break;
        case KEY_HOLD:
            roster->hold_record = record;
            break;
        case KEY_TRANSFER:
            roster->transfer_record = record;
            break;
        case KEY_OTHER:
            break;
        }
    }
    qsort(roster->order, roster->count, sizeof(*roster->order), compare_candidates);
    if (roster->decision != NULL && roster->decision->cid[0] != '\0') {
        /* By the key alone: a presence whose value cannot be read is a presence. */
        char *key = key_candidate(name, roster->decision->cid);
        roster->leader = view_find(view, key);
        free(key);
    }
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
