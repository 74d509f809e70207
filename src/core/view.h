/* view.h: an ordered copy of the records under one prefix, as they were at one revision.
 *
 * A view is moved by whole batches only, so what it shows is always a state that the namespace really had.
 */
#ifndef CORE_VIEW_H
#define CORE_VIEW_H

#include "base/base.h"

#include "baton/records.h"
#include "core/kinds.h"

#define VIEW_RECORDS_MAX 262144 /* more are not looked at: the view says so by `overflown` and shows nothing */

struct view_record {
    char *key, *value;
    uint64_t revision, created, session;
    const struct record_kind *kind; /* NULL: none that the view knows */
    const char *cid;                /* of a presence: points into key */
    void *object;                   /* what its kind has read; NULL when it could not be */
    struct baton_error *trouble;    /* why it could not be read, or NULL */
};

#define VIEW_MOVES_MAX 8

struct view {
    const struct record_kinds *kinds; /* that it can read */
    bool ready;                       /* it shows something: a first snapshot has arrived */
    bool overflown;                   /* there is more than it can show */
    uint64_t revision;
    struct view_record **records; /* by key */
    size_t count, room;
    size_t troubled; /* records that could not be read */
    /* What the last batch did to candidates and entries, so that an order need not be made again for nothing. */
    uint64_t batches; /* that were applied, ever */
    struct {
        const struct view_record *record; /* if it has gone: freed, to compare with only */
        bool gone;
    } moves[VIEW_MOVES_MAX]; /* that came or went, in this order */
    size_t move_count;
    bool reordered; /* more than that happened: one has changed, or there is no room for all */
};

void view_init(struct view *view, const struct record_kinds *kinds);
void view_release(struct view *view);

/* Move the view by a batch. A batch that would move it back (an older revision) is dropped: false. */
bool view_apply(struct view *view, const struct baton_batch *batch);

/* In a view of all elections, locks or tasks: their names (of tasks: their keys), each once, in order. On the heap,
 * *ret_count of them. */
struct view_name {
    char text[NAME_MAX_BYTES + 1];
};
struct view_name *view_names(const struct view *view, size_t *ret_count);

/* May it stand in an order: a presence that can be read, or one of a kind that holds its place all the same. */
bool view_record_stands(const struct view_record *record);

/* What `read` has made of it; NULL: it could not be read. The record is of that kind. */
static inline const void *view_object(const struct view_record *record,
                                      void *(*read)(const char *value, struct baton_error *err))
{
    assert(record->kind != NULL && record->kind->read == read);
    return record->object;
}

/* Forget everything: not ready until the next reset. */
void view_clear(struct view *view);

/* The record at key, or NULL. */
const struct view_record *view_find(const struct view *view, const char *key);
/* The index of the first record whose key is not below `key`. */
size_t view_from(const struct view *view, const char *key);

#endif
