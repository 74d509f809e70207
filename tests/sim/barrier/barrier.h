/* barrier.h: the example of docs/protocols.md: instances wait for each other. It is built into the simulation only.
 *
 *     barriers/NAME/here/CID   {"v":1,"id":"a","host":"web1","size":3,"since":...}     bound
 *     barriers/NAME/opening    {"v":1,"generation":7,"cids":["2a-1","2b-1","31-4"]}    lasting
 *
 * A barrier of size N opens again and again; each opening has a number, its generation. What is promised:
 *
 *   - An opening names N presences that were there together in one state of the namespace, after the last opening, and
 *     when nobody whom that one named was there any more.
 *   - An instance is told that it is in a generation (TELL_LEAD, with the number) only when a view shows an opening
 * that names it. So all are told the same, also one that comes to look late. Nobody is told twice for one presence.
 *   - It is in the generation until it resigns, or loses its session, and has stopped: a tenure, as that of a lock.
 * While it is, there is no later generation: no two are ever in different ones.
 *   - One that dies, or loses its session, after the others have seen it is named, and is in no generation; the others
 *     are, and do not wait for it any more. One that waits and loses its session waits anew, at the end.
 */
#ifndef SIM_BARRIER_BARRIER_H
#define SIM_BARRIER_BARRIER_H

#include "core/core.h"

#define BARRIERS_PREFIX "barriers/"
#define BARRIER_SIZE_MAX 256 /* so that an opening fits into a value */

#define BARRIER_RULES(RULE)                                                                                            \
    RULE(BARRIER_COUNTS_ALL, "a barrier opens when one view shows as many as its size")                                \
    RULE(BARRIER_LAST_HAS_LEFT, "it opens when nobody whom the last opening named is there any more")                  \
    RULE(BARRIER_COMPARES, "it is opened by compare-and-set on the last opening's revision")                           \
    RULE(BARRIER_BEGIN_BY_VIEW, "an instance begins when the view shows an opening that names it")                     \
    RULE(BARRIER_STOP_BEFORE_LEAVING, "an instance has stopped before its presence is removed")

enum barrier_rule {
    BARRIER_RULE_BEFORE_FIRST = RULE_OWN - 1,
#define BARRIER_RULE_NUMBER(name, text) name,
    BARRIER_RULES(BARRIER_RULE_NUMBER)
#undef BARRIER_RULE_NUMBER
};

struct barrier_options {
    uint32_t size;    /* 1..BARRIER_SIZE_MAX; all must say the same */
    uint32_t stop_ms; /* what a stop may take; 0: the program asks before each use and needs no time */
};

/* Wait at a barrier that is observed. -1: it waits already (BATON_CONFLICT), or the size is not right (BATON_INVALID).
 * It ends with TELL_RESIGNED: BATON_OK (it has left), BATON_INVALID (somebody who was there before it says another
 * size), BATON_LOST (it was in a generation, and the session is over). */
int barrier_wait(struct core *core, struct contest *contest, const struct barrier_options *options,
                 struct baton_error *err);

#endif
