/* checkers.h: what must always be true, in worlds of every kind, told apart from the code that is checked. What must be
 * true of one kind is in its own checkers.c.
 *
 *   F  a fenced resource never takes an older term (or token) after a newer one, nor one term from two writers
 *   K  a session is renewed until the time that a program was given to stop, or has said that it needs, and is not
 * ended before it has stopped
 */
#ifndef SIM_CHECKERS_H
#define SIM_CHECKERS_H

#include "world.h"

struct checkers *checkers_new(void);
void checkers_free(struct checkers *checkers);

/* A program writes to the fenced resource. */
void check_fenced_write(struct world *world, int n, uint64_t term);
/* After each step of a node. */
void check_renewed(struct world *world, int n);
/* A client ends a session. */
void check_session_end(struct world *world, int n, uint64_t session);

/* At each instant: the nodes whose views rest, a bit for each; 0 also when it need not be looked at now. */
uint32_t resting_now(struct world *world);

/* Since when there are no faults; NEVER_MS: there are. */
int64_t quiet_since_us(const struct world *world);
/* A phase without faults begins, or ends. */
void quiet_begins(struct world *world);
void quiet_ends(struct world *world);
/* Within what time after the faults' end a session that was lost by then is over, and a claim made. */
int64_t bound_us(const struct world *world);

#endif
