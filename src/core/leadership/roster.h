/* roster.h: one election as a view shows it: who stands, in which order, who leads, who would be next.
 *
 * A roster borrows from the view that it was read from, and is valid until that view moves.
 */
#ifndef CORE_LEADERSHIP_ROSTER_H
#define CORE_LEADERSHIP_ROSTER_H

#include "core/leadership/record.h"
#include "core/order.h"

struct roster {
    struct order order;                      /* readable candidates, as they would claim: priority, then age */
    const struct view_record *leader_record; /* the decision's record, readable or not; NULL: there is none */
    const struct decision *decision;         /* NULL: none, or it cannot be read */
    const struct view_record *leader;        /* the presence of the one the decision names; NULL: vacant */
    const struct view_record *hold_record;   /* also one that cannot be read holds */
    const struct view_record *transfer_record;
};

/* Read the election whose records are under `prefix`, and whose candidates are in its `folder`, from the view; release
 * it, or read into it again, from the same view. */
void roster_read(struct roster *roster, const struct view *view, const char *prefix, const char *folder);
void roster_release(struct roster *roster);

/* Is the place free to claim? Only when the decision can be read (or there is none), and names nobody, or somebody
 * whose presence is not in this same view. The presence was written before any decision that names it, and a CID is
 * never used again: so absence is proof. */
bool roster_vacant(const struct roster *roster);

/* The place of `cid` in the order, or count. */
size_t roster_place(const struct roster *roster, const char *cid);
/* The earlier candidate that has the same id as the one with `cid`, or NULL. Only the earliest may lead. */
const struct view_record *roster_elder(const struct roster *roster, const char *cid);
/* Whom the leader `cid` hands over to: the one with the id `to`, if it stands (to may be NULL), else the first in the
 * order; never `cid` itself, never one that shares its id with an elder. NULL: nobody. */
const struct view_record *roster_next(const struct roster *roster, const char *cid, const char *to);
/* The first candidate that asks the leader `cid` of `priority` to give way. */
const struct view_record *roster_preempting(const struct roster *roster, const char *cid, int32_t priority);

#endif
