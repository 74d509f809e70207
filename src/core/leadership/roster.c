/* roster.c: reading an election out of a view. */
#include "core/leadership/roster.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"

static int compare_candidates(const void *left, const void *right)
{
    const struct view_record *a = *(const struct view_record *const *)left;
    const struct view_record *b = *(const struct view_record *const *)right;
    if (candidate_of(a)->priority != candidate_of(b)->priority)
        return candidate_of(a)->priority > candidate_of(b)->priority ? -1 : 1;
    return a->created < b->created ? -1 : a->created > b->created;
}

void roster_release(struct roster *roster)
{
    order_release(&roster->order);
    *roster = (struct roster){0};
}

static const struct view_record *take(const struct view *view, char *key)
{
    const struct view_record *record = view_find(view, key);
    free(key);
    return record;
}

void roster_read(struct roster *roster, const struct view *view, const char *prefix, const char *folder)
{
    *roster = (struct roster){.order = roster->order};
    order_read(&roster->order, view, prefix, compare_candidates);
    roster->leader_record = take(view, decision_key(prefix));
    roster->hold_record = take(view, hold_key(prefix));
    roster->transfer_record = take(view, transfer_key(prefix));
    roster->decision = roster->leader_record != NULL ? decision_of(roster->leader_record) : NULL;
    /* By the key alone: a presence whose value cannot be read is a presence. */
    if (roster->decision != NULL && roster->decision->cid[0] != '\0')
        roster->leader = take(view, candidate_key(prefix, folder, roster->decision->cid));
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
    while (place < roster->order.count && strcmp(roster->order.records[place]->cid, cid) != 0)
        place++;
    return place;
}

static const struct view_record *elder_of(const struct roster *roster, const struct view_record *record)
{
    for (size_t i = 0; i < roster->order.count; i++) {
        const struct view_record *other = roster->order.records[i];
        if (other->created < record->created && strcmp(candidate_of(other)->id, candidate_of(record)->id) == 0)
            return other;
    }
    return NULL;
}

const struct view_record *roster_elder(const struct roster *roster, const char *cid)
{
    size_t place = roster_place(roster, cid);
    return place < roster->order.count ? elder_of(roster, roster->order.records[place]) : NULL;
}

const struct view_record *roster_next(const struct roster *roster, const char *cid, const char *to)
{
    const struct view_record *next = NULL;
    for (size_t i = 0; i < roster->order.count; i++) {
        const struct view_record *record = roster->order.records[i];
        if (strcmp(record->cid, cid) == 0 || elder_of(roster, record) != NULL)
            continue;
        if (to == NULL || to[0] == '\0' || strcmp(candidate_of(record)->id, to) == 0)
            return record;
        if (next == NULL)
            next = record;
    }
    return next;
}

const struct view_record *roster_preempting(const struct roster *roster, const char *cid, int32_t priority)
{
    for (size_t i = 0; i < roster->order.count; i++) {
        const struct view_record *record = roster->order.records[i];
        if (candidate_of(record)->priority <= priority)
            return NULL; /* in order of priority */
        if (candidate_of(record)->preempt && strcmp(record->cid, cid) != 0 && elder_of(roster, record) == NULL)
            return record;
    }
    return NULL;
}
