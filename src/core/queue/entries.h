/* entries.h: the queue of a lock, or of a task, as a view shows it: in the order in which the entries were made, who
 * holds, who waits.
 *
 * An entry holds when its place in the queue is below its own number of slots and that of every entry ahead of it. So
 * one rule makes all kinds: an exclusive entry has 1 slot (it holds when it is the first), a shared one has as many as
 * there are (it holds when no exclusive one is ahead), a counted one has N. And no holder of N slots ever has more than
 * N - 1 others beside it, also where entries disagree about N: those behind it are held to its N, too.
 */
#ifndef CORE_QUEUE_ENTRIES_H
#define CORE_QUEUE_ENTRIES_H

#include "core/order.h"
#include "core/queue/entry.h"

struct entries {
    struct order order; /* by age */
};

/* Read the queue whose entries are under `prefix`; release it, or read into it again, from the same view. `by_cid`:
 * simulation only, the order of a broken rule. */
void entries_read(struct entries *entries, const struct view *view, const char *prefix, bool by_cid);
void entries_release(struct entries *entries);

/* The place of `cid`, or the count. */
size_t entries_place(const struct entries *entries, const char *cid);
/* Does the one at `place` hold? */
bool entries_holds(const struct entries *entries, size_t place);
/* The first entry ahead of `place` that disagrees with it about the lock: exclusive and shared ones agree with each
 * other, counted ones only with those of the same number of slots. NULL: none. */
const struct view_record *entries_disagree(const struct entries *entries, size_t place);

#endif
