/* db.h: the records of a namespace in SQLite. Synchronous; used by one thread at a time (the worker, or a guard).
 *
 * Durability: a lasting record is on the disk before its write is answered (synchronous=FULL), unless the write says
 * that it may be lost. Bound records and sessions do not outlive a boot, and nobody waits for the disk for them. The
 * first process that opens the namespace after a boot drops them, and moves the revision and the session ids on by more
 * than can have been lost.
 */
#ifndef LOCAL_DB_H
#define LOCAL_DB_H

#include "baton/records.h"
#include "engine/local/pulse.h"

struct db;

/* Open DIR/baton.db, created if it is missing. `writer_fd` is the descriptor of the writer's lock; `pulse`, of the same
 * DIR, tells which boot it is, and is good for as long. Errors: DENIED, FULL, CORRUPT or NEWER (nothing is touched),
 * UNSUPPORTED (in use by strangers), SYSTEM. */
struct db *db_open(int writer_fd, struct pulse *pulse, struct baton_error *err);
/* The same, for a caller which knows that a process that is alive has the database open. */
struct db *db_open_again(int writer_fd, struct pulse *pulse, struct baton_error *err);
void db_close(struct db *db);
/* From now on, wait for other programs that have locked the database for as long as `*hurry` is false, not for BUSY_MS
 * only. */
void db_wait_until(struct db *db, const _Atomic bool *hurry);

/* A transaction that writes: takes the writer's lock. db_commit or db_rollback gives it back. `durable`: wait for the
 * disk. 0 or -1 with err. */
int db_begin(struct db *db, bool durable, struct baton_error *err);
int db_commit(struct db *db, struct baton_error *err);
void db_rollback(struct db *db);

uint64_t db_revision(struct db *db); /* as of the transaction, or the last db_read_begin */

/* Inside a transaction. -1: the transaction cannot go on (disk full, ...). A conflict or a refusal is a reply. */
int db_write(struct db *db, const struct baton_write *write, struct baton_reply *ret, struct baton_error *err);
uint64_t db_session_new(struct db *db); /* an id that was never used; then db_session_add */
int db_session_add(struct db *db, uint64_t session, int slot, int pid, uint64_t pid_start, uint64_t pid_namespace,
                   struct baton_error *err);
/* End a session: its bound records vanish at one revision. *ret_slot: where its heartbeat was; -1: the session was over
 * already. */
int db_session_end(struct db *db, uint64_t session, int *ret_slot, struct baton_error *err);

/* Is there such a session? 1, 0, or -1 with err. */
int db_session_exists(struct db *db, uint64_t session, struct baton_error *err);
/* Is there a record of this key that is bound to a session? */
bool db_is_bound(struct db *db, const char *key);
/* Did the last transaction change a record, or which sessions there are? */
bool db_changed(const struct db *db);
/* The key bells of the records that the last transaction changed: a bit for each bell. */
const uint64_t *db_changed_keys(const struct db *db);

/* Between these two, everything that is read is as of one revision. 0, or -1 with err (then there is nothing to end).
 */
int db_read_begin(struct db *db, struct baton_error *err);
void db_read_end(struct db *db);
/* Every change after the revision `after`. 0; 1: the log does not reach back so far; -1 with err. The batch is the
 * caller's: db_batch_release. */
int db_changes(struct db *db, uint64_t after, struct baton_batch *ret, struct baton_error *err);
/* Everything under `prefix` (empty, or ending with a slash), as a reset. The batch is the caller's. */
int db_snapshot(struct db *db, const char *prefix, struct baton_batch *ret, struct baton_error *err);

void db_batch_release(struct baton_batch *batch);

struct db_session {
    uint64_t id, pid_start, pid_namespace;
    int slot, pid;
};
/* The sessions, if they have changed since *version (then it is moved). *ret is the caller's to free; 0: unchanged,
 * 1: *ret and *ret_count are filled, -1. */
int db_sessions(struct db *db, uint64_t *version, struct db_session **ret, size_t *ret_count, struct baton_error *err);

#endif
