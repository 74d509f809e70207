/* faults.h: an engine in front of another one that makes it slow and lossy, as far as the contract allows:
 * BATON_FAULTS=FAULT[,FAULT...]. For tests, and for operators who want to see what their program does then.
 *
 *     delay=MS      everything that the engine tells comes MS later (0..600000)
 *     jitter=MS     up to MS more than `delay`, at random; the order stays (0..600000)
 *     lose=P        a write takes effect, but its answer is lost: UNKNOWN (P: 0 to 1)
 *     drop=P        a write is lost on its way: it has no effect, and its answer is UNKNOWN
 *     renew=P       a renewal is lost on its way: UNKNOWN
 *     after=MS      no fault happens in the first MS after the engine was opened
 *     seed=N        begins the random numbers (default: the process id)
 *
 * The guard's functions are those of the engine behind it.
 */
#ifndef ENGINE_FAULTS_H
#define ENGINE_FAULTS_H

#include "baton/engine.h"

/* If BATON_FAULTS is set, *ops becomes a table with faults in front of the old one. 0, or -1 with err when its value
 * cannot be read. Safe from any thread. */
int faults_maybe(const struct baton_engine_ops **ops, struct baton_error *err);

#endif
