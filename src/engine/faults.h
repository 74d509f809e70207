/* faults.h: an engine that makes another one worse, as far as the contract allows: BATON_FAULTS=FAULT[,FAULT...]. For
 * tests, and for operators who want to see what their program does then.
 *
 *     delay=MS      everything that the engine tells comes MS later (0..600000)
 *     jitter=MS     ... and up to so much more, at random, in order (0..600000)
 *     lose=P        a write takes effect, but its answer is lost: UNKNOWN (P: 0 to 1)
 *     drop=P        a write is lost on its way: it has no effect, and its answer is UNKNOWN
 *     renew=P       a renewal is lost on its way: UNKNOWN
 *     after=MS      nothing of this happens before the engine is MS old
 *     seed=N        of the chances (default: the process id)
 *
 * A guard's part is passed on as it is.
 */
#ifndef ENGINE_FAULTS_H
#define ENGINE_FAULTS_H

#include "baton/engine.h"

/* Are faults asked for? Then *ops becomes one that has them. 0, or -1 with err when BATON_FAULTS cannot be right. Safe
 * from any thread. */
int faults_maybe(const struct baton_engine_ops **ops, struct baton_error *err);

#endif
