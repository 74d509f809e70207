/* store.h: the reference of the engine contract, as a data structure.
 *
 * It holds the records of one namespace, all sessions, and a history of every change, and does what engine.h
 * promises: compare-and-set, one revision a write, all bound records of a session gone at one revision, session ids
 * that are never used again. It has no clock, no loop and no threads: its owner says when a session ends. The
 * memory engine puts it on a loop; the simulation puts delays, losses and stale views in front of it.
 */
#ifndef ENGINE_MEMORY_STORE_H
#define ENGINE_MEMORY_STORE_H

#include "baton/records.h"

struct store;

struct store *store_new(void);
void store_free(struct store *store);

uint64_t store_revision(const struct store *store);

/* A new session; never 0, never one that was. */
uint64_t store_session_open(struct store *store);
bool store_session_alive(const struct store *store, uint64_t session);
/* All its bound records vanish at one revision (none is spent if there are none). false: it was over already. */
bool store_session_end(struct store *store, uint64_t session);

/* Do the write. Fills `ret`; never BATON_ANSWER_UNKNOWN. */
void store_write(struct store *store, const struct baton_write *write, struct baton_reply *ret);

/* The latch of a record that was put with `latched` (engine.h); NULL: it has none. Good until store_free. */
struct baton_latch *store_latch(const struct store *store, const char *key, uint64_t created);
/* Simulation only: an entry that comes to stand beside one in use does not mark it as wanted. */
void store_break_latches(struct store *store);

/* The record at key as it is now, or NULL. Valid until the next change. */
const struct baton_record *store_get(const struct store *store, const char *key);

/* What a watcher of `prefix` that is at revision `after` needs to be at `upto` (at most the present revision; 0: the
 * present one). If `after` is 0, or the history no longer reaches back to it, the batch is a reset with everything as
 * of the present revision. The batch and its text are valid until the next call on this store; false: nothing under
 * the prefix changed in between (the batch then only carries the revision). */
bool store_read(struct store *store, const char *prefix, uint64_t after, uint64_t upto, struct baton_batch *ret);

/* The lasting records are on the disk now: a loss of power does not undo them any more. */
void store_sync(struct store *store);
/* The power is lost: all sessions are over, the lasting records are as they were at the last store_sync, and revisions
 * go on above all that were lost. A watcher begins again. */
void store_lose_power(struct store *store);

/* Forget the history up to the present revision, so that a watcher that is behind begins again. */
void store_compact(struct store *store);

#endif
