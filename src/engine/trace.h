/* trace.h: an engine that writes down what passes between another one and its owner: BATON_TRACE=engine (to stderr), or
 * BATON_TRACE=engine:FILE (appended). For operators and for tests.
 *
 *     1234 +0.482 > write #3 put elections/db/leader if 17 {"v":1,...
 *     1234 +1.913 < write #3 done at 18, after 1.431 ms
 *
 * The process, milliseconds since its trace began, towards the engine (>) or from it (<). One line is one write(2), so
 * processes may share a file. What nobody reads is left out, and the number is told; but a file on a disk that hangs
 * makes the client's thread hang: this is for the search of faults, not for every day. No URL's parameters are shown,
 * and of a value only its beginning.
 */
#ifndef ENGINE_TRACE_H
#define ENGINE_TRACE_H

#include "baton/engine.h"

/* Is a trace asked for? Then *ops becomes one that traces it. 0, or -1 with err when BATON_TRACE cannot be right or the
 * file cannot be opened. Safe from any thread. */
int trace_maybe(const struct baton_engine_ops **ops, struct baton_error *err);

#endif
