/* baton.h: leader election for a program.
 *
 *     struct baton_options options;
 *     baton_options_init(&options);
 *     struct baton *b;
 *     struct baton_error err;
 *     if (baton_open(&options, &b, &err) < 0) { fprintf(stderr, "%s\n", err.text); ... }
 *     struct baton_election *e;
 *     baton_stand(b, "db-writer", NULL, &e, &err);
 *     ... if (baton_leads(e, &term)) write_row(term, ...);
 *     baton_close(b);
 *
 * Threads: a client runs one thread of its own, which blocks all signals and calls nothing of the program's. Every
 * function here may be called from any thread, but not from a signal handler (except baton_leads). There are no
 * callbacks: what happened is taken from a queue (baton_next) until that is empty, and baton_fd() is readable until
 * then.
 *
 * Fork: a forked child does not lead: baton_leads() is false there, and every other call fails with BATON_CLOSED.
 * The child may call baton_close() to free its copy; nothing of the parent's is touched. While a child lives that has
 * not called exec, the place of a parent that died passes on after the ttl, not at once (local engine).
 *
 * Time: all times are milliseconds of CLOCK_BOOTTIME (clock_gettime(2)), which counts suspend; `wall_ms` fields are
 * milliseconds since the epoch, for people.
 *
 * Memory: small allocations that fail stop the process (its places pass on); see ARCHITECTURE.md.
 *
 * A page for each thing: client.h (options, open, close, the queue of events), election.h, lock.h, task.h, and guard.h
 * for programs that supervise others. error.h has the codes.
 */
#ifndef BATON_BATON_H
#define BATON_BATON_H

#include "baton/client.h"
#include "baton/election.h"
#include "baton/guard.h"
#include "baton/lock.h"
#include "baton/task.h"

#endif
