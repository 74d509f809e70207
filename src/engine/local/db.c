/* db.c: the statements of the database, its transactions, and reading. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "engine/local/bell.h"
#include "engine/local/db_inner.h"

#define LOG_ROWS 10000 /* changes that are kept; a view that is further behind begins again */
#define LOG_PRUNE_EVERY 512
#define LOG_PRUNE_MOST 4096 /* at once: others wait for it */

static const char *const sql[STATEMENTS] = {
    [GET] = "SELECT revision, created FROM records WHERE key = ?",
    [GET_SESSION] = "SELECT session FROM records WHERE key = ?",
    [PUT] = "INSERT INTO records(key, value, revision, created, session) VALUES(?1, ?2, ?3, ?4, ?5)"
            " ON CONFLICT(key) DO UPDATE SET value = ?2, revision = ?3, session = ?5",
    [REMOVE] = "DELETE FROM records WHERE key = ?",
    [LOG] = "INSERT INTO changes(revision, kind, key, value, created, session) VALUES(?, ?, ?, ?, ?, ?)",
    [PRUNE] = "DELETE FROM changes WHERE rowid <= ?",
    [OLDEST] = "SELECT rowid, revision FROM changes ORDER BY rowid LIMIT 1",
    [META_ALL] = "SELECT name, value FROM meta",
    [META_GET] = "SELECT value FROM meta WHERE name = ?",
    [META_SET] = "INSERT INTO meta(name, value) VALUES(?1, ?2) ON CONFLICT(name) DO UPDATE SET value = ?2",
    [SESSION_ADD] = "INSERT INTO sessions(id, slot, pid, pid_start, pid_namespace) VALUES(?, ?, ?, ?, ?)",
    [SESSION_GET] = "SELECT slot FROM sessions WHERE id = ?",
    [SESSION_REMOVE] = "DELETE FROM sessions WHERE id = ?",
    [SESSIONS] = "SELECT id, slot, pid, pid_start, pid_namespace FROM sessions ORDER BY id",
    [BOUND] = "SELECT key, created FROM records WHERE session = ? AND session != 0",
    [BOUND_REMOVE] = "DELETE FROM records WHERE session = ? AND session != 0",
    [IN_QUEUE] = "SELECT key FROM records WHERE key >= ?1 AND key < ?2 AND created = ?3",
    [CHANGES] = "SELECT revision, kind, key, value, created, session FROM changes WHERE revision > ?"
                " ORDER BY revision, rowid",
    [SNAPSHOT] = "SELECT revision, 0, key, value, created, session FROM records WHERE key >= ?1 AND key < ?2"
                 " ORDER BY key",
    [BEGIN_READ] = "BEGIN",
    [BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
};

void db_set_state(struct db *db, enum db_state state)
{
    assert((db->state == DB_IDLE) != (state == DB_IDLE));
    db->state = state;
}

/* ---- errors and statements ---- */

int db_error(struct db *db, const char *what, struct baton_error *err)
{
    int code = sqlite3_extended_errcode(db->handle);
    const char *words = sqlite3_errmsg(db->handle);
    if ((code & 0xff) == SQLITE_IOERR && sqlite3_system_errno(db->handle) == ENOSPC)
        code = SQLITE_FULL;
    if (code == SQLITE_IOERR_SHORT_READ)
        return error_set(err, BATON_CORRUPT,
                         "local: cannot %s in %s: it, or the log beside it, was shortened while it is used; end what "
                         "uses the directory, and restore its files from a copy, or move them away",
                         what, db->path);
    switch (code & 0xff) {
    case SQLITE_FULL:
        return error_set(err, BATON_FULL, "local: cannot %s in %s: the disk is full; free some space", what, db->path);
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return error_set(err, BATON_DENIED, "local: cannot %s in %s: %s", what, db->path, words);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return error_set(err, BATON_CORRUPT,
                         "local: %s is damaged (%s); nothing was changed; move it away, or restore it from a copy",
                         db->path, words);
    case SQLITE_BUSY:
        return error_set(err, BATON_UNAVAILABLE, "local: cannot %s in %s: it is locked by another program", what,
                         db->path);
    case SQLITE_CANTOPEN: {
        int error = sqlite3_system_errno(db->handle);
        if (error != 0)
            return error_errno(err, error, "local: cannot open %s, or a file beside it", db->path);
        return error_set(err, BATON_DENIED, "local: cannot open %s: %s", db->path, words);
    }
    default:
        return error_set(err, BATON_SYSTEM, "local: cannot %s in %s: %s (%d)", what, db->path, words, code);
    }
}

sqlite3_stmt *db_get(struct db *db, enum statement which)
{
    assert(which < STATEMENTS);
    sqlite3_stmt **kept = &db->statements[which];
    if (*kept == NULL &&
        sqlite3_prepare_v3(db->handle, sql[which], -1, SQLITE_PREPARE_PERSISTENT, kept, NULL) != SQLITE_OK)
        return NULL;
    return *kept;
}

/* Run a statement that gives no rows. */
int db_run(struct db *db, enum statement which, struct baton_error *err)
{
    sqlite3_stmt *statement = db_get(db, which);
    int code = statement != NULL ? sqlite3_step(statement) : SQLITE_ERROR;
    int result = code == SQLITE_DONE ? 0 : db_error(db, "write", err);
    if (statement != NULL)
        sqlite3_reset(statement);
    return result;
}

void db_bind_number(struct db *db, enum statement which, int at, uint64_t number)
{
    sqlite3_stmt *statement = db_get(db, which);
    if (statement != NULL)
        sqlite3_bind_int64(statement, at, (sqlite3_int64)number);
}

void db_bind_text(struct db *db, enum statement which, int at, const char *text)
{
    sqlite3_stmt *statement = db_get(db, which);
    if (statement != NULL)
        sqlite3_bind_text(statement, at, text, -1, SQLITE_STATIC);
}

int db_execute(struct db *db, const char *text, struct baton_error *err)
{
    if (sqlite3_exec(db->handle, text, NULL, NULL, NULL) != SQLITE_OK)
        return db_error(db, "prepare", err);
    return 0;
}

int db_meta_get(struct db *db, const char *name, uint64_t *ret, struct baton_error *err)
{
    sqlite3_stmt *statement = db_get(db, META_GET);
    if (statement == NULL)
        return db_error(db, "read", err);
    sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        *ret = (uint64_t)sqlite3_column_int64(statement, 0);
    int result = code == SQLITE_ROW || code == SQLITE_DONE ? 0 : db_error(db, "read", err);
    sqlite3_reset(statement);
    return result;
}

int db_meta_set(struct db *db, const char *name, uint64_t value, struct baton_error *err)
{
    db_bind_text(db, META_SET, 1, name);
    db_bind_number(db, META_SET, 2, value);
    return db_run(db, META_SET, err);
}

int db_meta_load(struct db *db, struct baton_error *err)
{
    const struct {
        const char *name;
        uint64_t *to;
    } numbers[] = {
        {"revision", &db->revision}, {"sessions_version", &db->sessions_version}, {"last_session", &db->last_session}};
    sqlite3_stmt *statement = db_get(db, META_ALL);
    int code = SQLITE_ERROR;
    while (statement != NULL && (code = sqlite3_step(statement)) == SQLITE_ROW)
        for (size_t i = 0; i < COUNT_OF(numbers); i++)
            if (strcmp((const char *)sqlite3_column_text(statement, 0), numbers[i].name) == 0)
                *numbers[i].to = (uint64_t)sqlite3_column_int64(statement, 1);
    int result = code == SQLITE_DONE ? 0 : db_error(db, "read", err);
    if (statement != NULL)
        sqlite3_reset(statement);
    return result;
}

int db_set_durable(struct db *db, bool durable, struct baton_error *err)
{
    if (durable == db->durable)
        return 0;
    db->durable = durable;
    return db_execute(db, durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL", err);
}

/* ---- transactions ---- */

static void let_others(struct db *db)
{
    pulse_writes(db->pulse, false);
    writer_unlock(db->writer_fd);
}

/* Under the writer's lock, which is given up when it fails. */
static int begin(struct db *db, bool durable, struct baton_error *err)
{
    assert(db->latches.count == 0); /* a transaction leaves no change of a latch behind */
    db_set_state(db, DB_WRITING);
    pulse_writes(db->pulse, true);
    if (db_set_durable(db, durable, err) < 0)
        goto fail;
    db->wrote = db->moved_sessions = db->added_session = false;
    db->first_row = db->last_row = 0;
    memset(db->changed, 0, sizeof(db->changed));
    if (db_run(db, BEGIN_WRITE, err) < 0)
        goto fail;
    if (db_meta_load(db, err) == 0)
        return 0;
    db_run(db, ROLLBACK, NULL);
fail:
    db_set_state(db, DB_IDLE);
    let_others(db);
    return -1;
}

int db_begin(struct db *db, bool durable, struct baton_error *err)
{
    return writer_lock(db->writer_fd, err) < 0 ? -1 : begin(db, durable, err);
}

/* The oldest change that is kept. 1: there is none. */
static int oldest(struct db *db, int64_t *ret_row, uint64_t *ret_revision, struct baton_error *err)
{
    sqlite3_stmt *statement = db_get(db, OLDEST);
    int code = statement != NULL ? sqlite3_step(statement) : SQLITE_ERROR;
    if (code == SQLITE_ROW) {
        *ret_row = sqlite3_column_int64(statement, 0);
        *ret_revision = (uint64_t)sqlite3_column_int64(statement, 1);
    }
    int result = code == SQLITE_ROW ? 0 : code == SQLITE_DONE ? 1 : db_error(db, "read", err);
    if (statement != NULL)
        sqlite3_reset(statement);
    return result;
}

/* Changes are numbered by their rows, without a gap. Their revisions are not: one revision may have many changes,
 * and they leap. */
static int prune(struct db *db, struct baton_error *err)
{
    int64_t row = 0;
    uint64_t revision;
    if (db->first_row / LOG_PRUNE_EVERY == db->last_row / LOG_PRUNE_EVERY || db->last_row <= LOG_ROWS)
        return 0;
    int result = oldest(db, &row, &revision, err);
    if (result != 0)
        return result < 0 ? -1 : 0;
    int64_t to = db->last_row - LOG_ROWS, most = row + LOG_PRUNE_MOST;
    db_bind_number(db, PRUNE, 1, (uint64_t)(to < most ? to : most));
    return db_run(db, PRUNE, err);
}

int db_commit(struct db *db, struct baton_error *err)
{
    int result = 0;
    assert(db->state == DB_WRITING);
    assert(db->wrote || db->latches.count == 0); /* a latch changes with its record */
    assert(db->moved_sessions || !db->added_session);
    if (db->wrote)
        result = db_meta_set(db, "revision", db->revision, err);
    if (result == 0 && db->moved_sessions)
        result = db_meta_set(db, "sessions_version", ++db->sessions_version, err);
    if (result == 0 && db->added_session)
        result = db_meta_set(db, "last_session", db->last_session, err);
    if (result == 0 && db->wrote)
        result = prune(db, err);
    if (result == 0)
        result = db_run(db, COMMIT, err);
    if (result < 0) {
        db_rollback(db);
        return -1;
    }
    latches_commit(&db->latches);
    db_set_state(db, DB_IDLE);
    let_others(db);
    return 0;
}

void db_rollback(struct db *db)
{
    if (!sqlite3_get_autocommit(db->handle))
        db_run(db, ROLLBACK, NULL);
    latches_rollback(&db->latches);
    db_set_state(db, DB_IDLE);
    let_others(db);
}

uint64_t db_revision(struct db *db)
{
    return db->revision;
}

/* ---- reading ---- */

int db_read_begin(struct db *db, struct baton_error *err)
{
    db_set_state(db, DB_READING);
    if (db_run(db, BEGIN_READ, err) == 0) {
        if (db_meta_load(db, err) == 0)
            return 0;
        db_run(db, ROLLBACK, NULL);
    }
    db_set_state(db, DB_IDLE);
    return -1;
}

void db_read_end(struct db *db)
{
    assert(db->state == DB_READING);
    db_set_state(db, DB_IDLE);
    db_run(db, COMMIT, NULL);
}

static int collect(struct db *db, enum statement which, struct baton_batch *ret, struct baton_error *err)
{
    sqlite3_stmt *statement = db_get(db, which);
    if (statement == NULL)
        return db_error(db, "read", err);
    struct baton_change *changes = NULL;
    size_t count = 0, room = 0;
    int code;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        if (count == room) {
            room = room > 0 ? 2 * room : 4;
            changes = mem_grow(changes, room * sizeof(*changes));
        }
        changes[count++] =
            (struct baton_change){.kind = (enum baton_change_kind)sqlite3_column_int(statement, 1),
                                  .record = {.key = mem_text((const char *)sqlite3_column_text(statement, 2)),
                                             .value = mem_text((const char *)sqlite3_column_text(statement, 3)),
                                             .revision = (uint64_t)sqlite3_column_int64(statement, 0),
                                             .created = (uint64_t)sqlite3_column_int64(statement, 4),
                                             .session = (uint64_t)sqlite3_column_int64(statement, 5)}};
    }
    sqlite3_reset(statement);
    *ret = (struct baton_batch){.revision = db->revision, .changes = changes, .count = count};
    if (code == SQLITE_DONE)
        return 0;
    db_batch_release(ret);
    return db_error(db, "read", err);
}

int db_changes(struct db *db, uint64_t after, struct baton_batch *ret, struct baton_error *err)
{
    int64_t row = 0;
    uint64_t revision = 0;
    assert(db->state == DB_READING);
    int result = oldest(db, &row, &revision, err);
    if (result != 0)
        return result;
    /* Pruned changes were not later than the oldest that is left. A boot leaves a gap, but nobody is there to see it.
     */
    if (row > 1 && after < revision)
        return 1;
    db_bind_number(db, CHANGES, 1, after);
    return collect(db, CHANGES, ret, err);
}

int db_snapshot(struct db *db, const char *prefix, struct baton_batch *ret, struct baton_error *err)
{
    /* The first key after all that begin with prefix: its last byte, one up. Keys are text, so 0xff does not occur. */
    char *after = mem_text(prefix);
    size_t length = strlen(after);
    assert(db->state == DB_READING);
    assert(length == 0 || prefix[length - 1] == '/');
    if (length > 0)
        after[length - 1]++;
    db_bind_text(db, SNAPSHOT, 1, prefix);
    db_bind_text(db, SNAPSHOT, 2, length > 0 ? after : "\xff");
    int result = collect(db, SNAPSHOT, ret, err);
    free(after);
    ret->reset = true;
    return result;
}

void db_batch_release(struct baton_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        free((char *)batch->changes[i].record.key);
        free((char *)batch->changes[i].record.value);
    }
    free((struct baton_change *)batch->changes);
    *batch = (struct baton_batch){0};
}
