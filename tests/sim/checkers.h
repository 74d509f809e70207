/* checkers.h: what must always be true, told apart from the code that is checked.
 *
 *   X  no two leaders at one instant: neither two that say so, nor two whose programs work
 *   T  terms only grow: each decision has a larger term than any before, also one that was deleted
 *   F  a fenced resource never takes an older term after a newer one, nor one term from two writers
 *   P  no decision names a candidate that was not there before it
 *   L  once faults end there is a leader within a stated bound
 *   Q  without a fault there is no change of leader
 *
 * With locks: X  never more holders than any of them was told that there are slots: so no shared one beside an
 *                exclusive one, and not two exclusive ones
 *             T  tokens of an exclusive lock only grow
 *             F  as above, with the token for the term
 *             L  once faults end, who waits holds within a stated bound
 */
#ifndef SIM_CHECKERS_H
#define SIM_CHECKERS_H

#include "world.h"

struct checkers *checkers_new(void);
void checkers_free(struct checkers *checkers);

/* A write was applied to the store. */
void check_stored(struct world *world, const struct baton_write *write);
/* After everything that happens. */
void check_instant(struct world *world);
/* A program writes to the fenced resource. */
void check_fenced_write(struct world *world, int n, uint64_t term);
/* A program is told that it holds the lock. */
void check_token(struct world *world, int n, uint64_t token);
/* A phase without faults begins, or ends. */
void check_quiet_begins(struct world *world);
void check_quiet_ends(struct world *world);

#endif
