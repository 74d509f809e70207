/* trace.h: an engine in front of another one that writes down each call and each callback: BATON_TRACE=engine (to
 * stderr), or BATON_TRACE=engine:FILE (appended). For operators and for tests.
 *
 *     1234 +0.482 > write #3 put elections/db/leader if 17 {"v":1,...
 *     1234 +1.913 < write #3 done at 18, after 1.431 ms
 *
 * A line has the process, the milliseconds since its trace began, and the direction: to the engine (>) or from it (<).
 * One line is one write(2), so processes may share a file. Lines that a pipe or a terminal does not take at once are
 * left out and counted. A file on a disk that hangs makes the client's thread hang: this is for the search of faults,
 * not for every day. The parameters of a URL are not shown, and of a value only its beginning.
 */
#ifndef ENGINE_TRACE_H
#define ENGINE_TRACE_H

#include "baton/engine.h"

/* If BATON_TRACE is set, *ops becomes a table with a trace in front of the old one. 0, or -1 with err when its value
 * cannot be read, or the file cannot be opened. Safe from any thread. */
int trace_maybe(const struct baton_engine_ops **ops, struct baton_error *err);

#endif
