/* checkers.h: what must always be true, told apart from the code that is checked.
 *
 *   X  no two leaders at one instant: neither two that say so, nor two whose programs work
 *   T  terms only grow: each decision has a larger term than any before, also one that was deleted
 *   F  a fenced resource never takes an older term after a newer one, nor one term from two writers
 *   P  no decision names a candidate that was not there before it
 *   L  once faults end there is a leader within a stated bound
 *   Q  without a fault there is no change of leader
 *   K  a session is renewed until the time that a program was given to stop, or has said that it needs, and is
 *      not ended before it has stopped (also with locks and tasks)
 *
 * With locks: X  never more holders than any of them was told that there are slots: so no shared one beside an
 *                exclusive one, and not two exclusive ones
 *             T  tokens of an exclusive lock only grow
 *             F  as above, with the token for the term
 *             L  once faults end, who waits holds within a stated bound
 *
 * With tasks: X  no two workers at one task at one instant
 *             O  at most once: a task is begun again only after a recorded failure that may be taken up again, or where
 *                both workers allow it; and each claim is begun at most once
 *             R  one result: what is done stays so, each claim ends as its own worker says or is lost, and everybody
 *                is told the same
 *             T  tokens of a task only grow
 *             L  once faults end, each task is settled within a stated bound
 *             Q  without a fault no task is lost
 */
#ifndef SIM_CHECKERS_H
#define SIM_CHECKERS_H

#include "world.h"

struct checkers *checkers_new(void);
void checkers_free(struct checkers *checkers);

/* A write was applied to the store. */
void check_stored(struct world *world, const struct baton_write *write);
/* After each step of a node. */
void check_renewed(struct world *world, int n);
/* A client ends a session. */
void check_session_end(struct world *world, int n, uint64_t session);
/* After everything that happens. */
void check_instant(struct world *world);
/* A program writes to the fenced resource. */
void check_fenced_write(struct world *world, int n, uint64_t term);
/* A program is told that it holds the lock. */
void check_token(struct world *world, int n, uint64_t token);

/* Tasks: task_checkers.c. */
/* A node is told how its task has ended. */
void check_outcome(struct world *world, int n, enum baton_code code);
void check_task_stored(struct world *world, const struct baton_write *write);
void check_task_begins(struct world *world, int n, uint64_t token);
void check_tasks(struct world *world);
struct task_checkers *task_checkers_new(void);
void task_checkers_free(struct task_checkers *checkers);
/* Since when there are no faults; NEVER_MS: there are. */
int64_t quiet_since_us(const struct world *world);
/* Within what time a session that is lost then is over. */
int64_t bound_us(const struct world *world);
/* A phase without faults begins, or ends. */
void check_quiet_begins(struct world *world);
void check_quiet_ends(struct world *world);

#endif
