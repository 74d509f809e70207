/* db.c: see db.h. */
#include "engine/local/db.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "engine/local/bell.h"
#include "engine/local/folder.h"
#include "engine/local/header.h"
#include "engine/local/make.h"

#define LOG_REVISIONS 10000 /* changes are kept for so many revisions; who is further behind begins again */
#define LOG_PRUNE_EVERY 512
#define WAL_INDEX_BYTES 32768  /* of its first part (sqlite.org/walformat.html) */
#define WAL_PAGES 500          /* after so many pages SQLite begins again at the WAL's beginning */
#define WAL_BYTES (33 * 65536) /* a little more than these pages, with their headers */
#define BUSY_MS 5000           /* writers wait for the writer's lock, not for this; only recovery may need it */

/* Statements that are kept. */
enum statement {
    GET,
    GET_SESSION,
    PUT,
    REMOVE,
    LOG,
    PRUNE,
    META_GET,
    META_ALL,
    META_SET,
    SESSION_ADD,
    SESSION_GET,
    SESSION_REMOVE,
    SESSIONS,
    BOUND,
    BOUND_REMOVE,
    IN_QUEUE,
    LAST_CHANGE,
    LAST_REVISION,
    VERSION,
    CHANGES,
    SNAPSHOT,
    BEGIN_READ,
    BEGIN_WRITE,
    COMMIT,
    ROLLBACK,
    STATEMENTS
};
static const char *const sql[STATEMENTS] = {
    [GET] = "SELECT revision, created FROM records WHERE key = ?",
    [GET_SESSION] = "SELECT session FROM records WHERE key = ?",
    [PUT] = "INSERT INTO records(key, value, revision, created, session) VALUES(?1, ?2, ?3, ?4, ?5)"
            " ON CONFLICT(key) DO UPDATE SET value = ?2, revision = ?3, session = ?5",
    [REMOVE] = "DELETE FROM records WHERE key = ?",
    [LOG] = "INSERT INTO changes(revision, kind, key, value, created, session) VALUES(?, ?, ?, ?, ?, ?)",
    [PRUNE] = "DELETE FROM changes WHERE revision < ?",
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
    [LAST_CHANGE] = "SELECT max(rowid) FROM changes",
    [LAST_REVISION] = "SELECT max(revision) FROM changes",
    [VERSION] = "PRAGMA data_version",
    [CHANGES] = "SELECT revision, kind, key, value, created, session FROM changes WHERE revision > ?"
                " ORDER BY revision, rowid",
    [SNAPSHOT] = "SELECT revision, 0, key, value, created, session FROM records WHERE key >= ?1 AND key < ?2"
                 " ORDER BY key",
    [BEGIN_READ] = "BEGIN",
    [BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
};

struct db {
    sqlite3 *handle;
    sqlite3_stmt *statements[STATEMENTS];
    char *path;
    int writer_fd;
    bool durable;   /* the present setting of synchronous */
    bool found_wal; /* there was one before we came */
    uint64_t revision, sessions_version, last_session;
    int64_t warm_version;                      /* db_warm_end has read as of this one */
    bool wrote, moved_sessions, added_session; /* in this transaction */
    uint64_t changed[KEY_BELLS / 64];          /* ... the bells of what was */
    struct latch_changes latches;              /* ... */
};

/* ---- errors and statements ---- */

static int db_error(struct db *db, const char *what, struct baton_error *err)
{
    int code = sqlite3_extended_errcode(db->handle);
    const char *words = sqlite3_errmsg(db->handle);
    if ((code & 0xff) == SQLITE_IOERR && sqlite3_system_errno(db->handle) == ENOSPC)
        code = SQLITE_FULL;
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
    case SQLITE_CANTOPEN:
        return error_set(err, BATON_DENIED, "local: cannot open %s: %s", db->path, words);
    default:
        return error_set(err, BATON_SYSTEM, "local: cannot %s in %s: %s (%d)", what, db->path, words, code);
    }
}

static sqlite3_stmt *get(struct db *db, enum statement which)
{
    sqlite3_stmt **kept = &db->statements[which];
    if (*kept == NULL &&
        sqlite3_prepare_v3(db->handle, sql[which], -1, SQLITE_PREPARE_PERSISTENT, kept, NULL) != SQLITE_OK)
        return NULL;
    return *kept;
}

/* Run a statement that gives no rows. */
static int run(struct db *db, enum statement which, struct baton_error *err)
{
    sqlite3_stmt *statement = get(db, which);
    int code = statement != NULL ? sqlite3_step(statement) : SQLITE_ERROR;
    int result = code == SQLITE_DONE ? 0 : db_error(db, "write", err);
    if (statement != NULL)
        sqlite3_reset(statement);
    return result;
}

static void bind_number(struct db *db, enum statement which, int at, uint64_t number)
{
    sqlite3_stmt *statement = get(db, which);
    if (statement != NULL)
        sqlite3_bind_int64(statement, at, (sqlite3_int64)number);
}

static void bind_text(struct db *db, enum statement which, int at, const char *text)
{
    sqlite3_stmt *statement = get(db, which);
    if (statement != NULL)
        sqlite3_bind_text(statement, at, text, -1, SQLITE_STATIC);
}

static int execute(struct db *db, const char *text, struct baton_error *err)
{
    if (sqlite3_exec(db->handle, text, NULL, NULL, NULL) != SQLITE_OK)
        return db_error(db, "prepare", err);
    return 0;
}

static int meta_get(struct db *db, const char *name, uint64_t *ret, struct baton_error *err)
{
    sqlite3_stmt *statement = get(db, META_GET);
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

static int meta_set(struct db *db, const char *name, uint64_t value, struct baton_error *err)
{
    bind_text(db, META_SET, 1, name);
    bind_number(db, META_SET, 2, value);
    return run(db, META_SET, err);
}

/* ---- opening ---- */

/* Write the WAL full of zeros, once: it is overwritten from its beginning, and fdatasync(2) of a file that does not
 * grow need not wait for the file system's journal. SQLite takes zeros for an empty WAL (fileformat2.html,
 * section 4.1). Only speed depends on it. */
static void fill_wal(struct db *db)
{
    char *path = mem_format("%s-wal", db->path);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    free(path);
    if (fd < 0)
        return;
    static const char zeros[65536];
    bool full = false;
    for (off_t at = 0; at < WAL_BYTES && !full; at += (off_t)sizeof(zeros))
        full = pwrite(fd, zeros, sizeof(zeros), at) != (ssize_t)sizeof(zeros);
    if (full) /* a small disk has better uses for its space */
        (void)!ftruncate(fd, 0);
    (void)fsync(fd);
    close(fd);
}

static int load_meta(struct db *db, struct baton_error *err)
{
    const struct {
        const char *name;
        uint64_t *to;
    } numbers[] = {
        {"revision", &db->revision}, {"sessions_version", &db->sessions_version}, {"last_session", &db->last_session}};
    sqlite3_stmt *statement = get(db, META_ALL);
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

static int drop_all_sessions(struct db *db, struct baton_error *err)
{
    struct db_session *sessions = NULL;
    size_t count = 0;
    uint64_t version = UINT64_MAX;
    int result = db_sessions(db, &version, &sessions, &count, err) < 0 ? -1 : 0;
    for (size_t i = 0; i < count && result == 0; i++) {
        int slot;
        result = db_session_end(db, sessions[i].id, &slot, err);
    }
    free(sessions);
    return result;
}

/* The first to open after a boot: nobody of before is alive. That is not taken on trust from a number that differs: a
 * container may have another boot_id, or another clock, than those who lead. The writer's lock is held. */
static int after_boot(struct db *db, const struct pulse *pulse, struct baton_error *err)
{
    uint64_t stored = 0, boot = pulse->boot;
    if (load_meta(db, err) < 0 || meta_get(db, "boot", &stored, err) < 0)
        return -1;
    if (!pulse_current(pulse))
        return error_set(err, BATON_UNAVAILABLE, "local: the heartbeats in %s were removed just now; try again",
                         pulse->folder);
    if (stored == boot)
        return 0;
    if (pulse_strangers(pulse))
        return stored != 0 ? pulse_refuse_strangers(pulse, err)
                           : error_set(err, BATON_UNAVAILABLE,
                                       "local: %s is new, but processes that used an earlier one are alive; end them, "
                                       "then try again",
                                       db->path);
    if (execute(db, "PRAGMA synchronous = FULL; BEGIN IMMEDIATE", err) < 0)
        return -1;
    bool first = stored == 0;
    if (!first) {
        /* SQLite syncs the WAL at each checkpoint, which is after 1000 pages: fewer revisions than that are lost. */
        db->revision += BATON_REVISION_LEAP;
        db->last_session += BATON_REVISION_LEAP;
    }
    if (drop_all_sessions(db, err) < 0 || meta_set(db, "boot", boot, err) < 0 ||
        meta_set(db, "last_session", db->last_session, err) < 0 ||
        meta_set(db, "sessions_version", db->sessions_version + 1, err) < 0 ||
        meta_set(db, "revision", db->revision, err) < 0 || run(db, COMMIT, err) < 0) {
        sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
        return -1;
    }
    char *heartbeats = first ? NULL : mem_format("%s/heartbeats.%08x", pulse->folder, (unsigned)stored);
    if (heartbeats != NULL)
        (void)unlink(heartbeats);
    free(heartbeats);
    return 0;
}

static int quick_check(struct db *db, struct baton_error *err)
{
    sqlite3_stmt *statement = NULL;
    int result = -1;
    if (sqlite3_prepare_v2(db->handle, "PRAGMA quick_check(1)", -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW)
        db_error(db, "read", err);
    else if (strcmp((const char *)sqlite3_column_text(statement, 0), "ok") != 0)
        error_set(err, BATON_CORRUPT,
                  "local: %s is damaged (%.120s); nothing was changed; move it away, or restore it from a copy",
                  db->path, (const char *)sqlite3_column_text(statement, 0));
    else
        result = 0;
    sqlite3_finalize(statement);
    return result;
}

static int set_durable(struct db *db, bool durable, struct baton_error *err)
{
    if (durable == db->durable)
        return 0;
    db->durable = durable;
    return execute(db, durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL", err);
}

/* `again`: a process that is alive has it open. */
static int open_locked(struct db *db, const char *folder, const struct pulse *pulse, bool again,
                       struct baton_error *err)
{
    bool empty;
    if (header_check(db->path, &empty, err) < 0)
        return -1;
    if (empty && again)
        return error_set(err, BATON_UNAVAILABLE, "local: %s was removed", db->path);
    char *wal = mem_format("%s-wal", db->path);
    db->found_wal = access(wal, F_OK) == 0;
    free(wal);
    if (empty && make_database(folder, db->path, &db->handle) < 0)
        return db->handle != NULL ? db_error(db, "write", err)
                                  : error_errno(err, errno, "local: cannot make %s", db->path);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(db->path, &db->handle, flags, NULL) != SQLITE_OK)
        return db->handle != NULL ? db_error(db, "open", err) : error_set(err, BATON_SYSTEM, "local: out of memory");
    sqlite3_extended_result_codes(db->handle, 1);
    sqlite3_busy_timeout(db->handle, BUSY_MS);
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (empty && execute(db, "PRAGMA synchronous = FULL; SELECT count(*) FROM meta", err) < 0)
        return -1;
    if (empty) /* now there is a WAL */
        fill_wal(db);
    if (execute(db, "PRAGMA cache_size = -256; PRAGMA temp_store = MEMORY;", err) < 0)
        return -1;
    sqlite3_wal_autocheckpoint(db->handle, WAL_PAGES);
    if (again ? load_meta(db, err) < 0 : (!empty && quick_check(db, err) < 0) || after_boot(db, pulse, err) < 0)
        return -1;
    /* Now, not when a takeover waits for it. */
    for (int which = 0; which < STATEMENTS; which++)
        if (get(db, which) == NULL)
            return db_error(db, "prepare", err);
    return set_durable(db, false, err); /* as most writes are */
}

/* Each write moves the first part of the WAL's index. */
static void warm_index(struct db *db)
{
    sqlite3_file *file = NULL;
    volatile void *index = NULL;
    if (sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_FILE_POINTER, &file) == SQLITE_OK && file != NULL &&
        file->pMethods != NULL && file->pMethods->iVersion >= 2 &&
        file->pMethods->xShmMap(file, 0, WAL_INDEX_BYTES, 0, &index) == SQLITE_OK && index != NULL)
        mem_warm(index, WAL_INDEX_BYTES);
}

/* SQLite syncs the directory with the first sync of a WAL that it has opened. */
void db_warm(struct db *db)
{
    sqlite3_file *wal = NULL;
    warm_index(db);
    if (sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal) == SQLITE_OK && wal != NULL &&
        wal->pMethods != NULL)
        (void)wal->pMethods->xSync(wal, SQLITE_SYNC_NORMAL);
}

static struct db *open_for(const char *folder, int writer_fd, const struct pulse *pulse, bool again,
                           struct baton_error *err)
{
    struct db *db = mem_new(sizeof(*db));
    db->path = mem_format("%s/baton.db", folder);
    db->writer_fd = writer_fd;
    db->durable = true;
    db->latches.latches = pulse->latches;
    /* Who only opens it again changes nothing, and may be stopped meanwhile: it must not keep others from writing. */
    int result = again ? 0 : writer_lock(writer_fd, err);
    if (result == 0) {
        result = open_locked(db, folder, pulse, again, err);
        if (!again)
            writer_unlock(writer_fd);
    }
    if (result == 0)
        return db;
    if (db->handle != NULL && !db->found_wal) /* with a checkpoint, of nothing, the WAL goes as it came */
        sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    db_close(db);
    return NULL;
}

struct db *db_open(const char *folder, int writer_fd, const struct pulse *pulse, struct baton_error *err)
{
    return open_for(folder, writer_fd, pulse, false, err);
}

struct db *db_open_again(const char *folder, int writer_fd, const struct pulse *pulse, struct baton_error *err)
{
    return open_for(folder, writer_fd, pulse, true, err);
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

void db_close(struct db *db)
{
    if (db == NULL)
        return;
    for (size_t i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(db->statements[i]);
    sqlite3_close(db->handle);
    latches_release(&db->latches);
    free(db->path);
    free(db);
}

/* ---- transactions ---- */

/* Under the writer's lock, which is given up when it fails. */
static int begin(struct db *db, bool durable, struct baton_error *err)
{
    if (set_durable(db, durable, err) < 0)
        goto fail;
    db->wrote = db->moved_sessions = db->added_session = false;
    memset(db->changed, 0, sizeof(db->changed));
    if (run(db, BEGIN_WRITE, err) < 0)
        goto fail;
    if (load_meta(db, err) == 0)
        return 0;
    run(db, ROLLBACK, NULL);
fail:
    writer_unlock(db->writer_fd);
    return -1;
}

int db_begin(struct db *db, bool durable, struct baton_error *err)
{
    return writer_lock(db->writer_fd, err) < 0 ? -1 : begin(db, durable, err);
}

int db_commit(struct db *db, struct baton_error *err)
{
    int result = 0;
    if (db->wrote)
        result = meta_set(db, "revision", db->revision, err);
    if (result == 0 && db->moved_sessions)
        result = meta_set(db, "sessions_version", ++db->sessions_version, err);
    if (result == 0 && db->added_session)
        result = meta_set(db, "last_session", db->last_session, err);
    if (result == 0 && db->wrote && db->revision % LOG_PRUNE_EVERY == 0 && db->revision > LOG_REVISIONS) {
        bind_number(db, PRUNE, 1, db->revision - LOG_REVISIONS);
        result = run(db, PRUNE, err);
    }
    if (result == 0)
        result = run(db, COMMIT, err);
    if (result < 0) {
        db_rollback(db);
        return -1;
    }
    latches_commit(&db->latches);
    writer_unlock(db->writer_fd);
    return 0;
}

void db_rollback(struct db *db)
{
    if (!sqlite3_get_autocommit(db->handle))
        run(db, ROLLBACK, NULL);
    latches_rollback(&db->latches);
    writer_unlock(db->writer_fd);
}

uint64_t db_revision(struct db *db)
{
    return db->revision;
}

/* ---- writing ---- */

static int log_change(struct db *db, enum baton_change_kind kind, const struct baton_record *record,
                      struct baton_error *err)
{
    sqlite3_stmt *statement = get(db, LOG);
    if (statement == NULL)
        return db_error(db, "write", err);
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)record->revision);
    sqlite3_bind_int(statement, 2, (int)kind);
    sqlite3_bind_text(statement, 3, record->key, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 4, record->value, -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 5, (sqlite3_int64)record->created);
    sqlite3_bind_int64(statement, 6, (sqlite3_int64)record->session);
    db->wrote = true;
    unsigned bell = bell_of_key(record->key);
    db->changed[bell / 64] |= UINT64_C(1) << (bell % 64);
    return run(db, LOG, err);
}

static int session_alive(struct db *db, uint64_t session, bool *ret, int *ret_slot, struct baton_error *err)
{
    bind_number(db, SESSION_GET, 1, session);
    sqlite3_stmt *statement = get(db, SESSION_GET);
    int code = statement != NULL ? sqlite3_step(statement) : SQLITE_ERROR;
    *ret = code == SQLITE_ROW;
    *ret_slot = *ret ? sqlite3_column_int(statement, 0) : -1;
    int result = code == SQLITE_ROW || code == SQLITE_DONE ? 0 : db_error(db, "read", err);
    if (statement != NULL)
        sqlite3_reset(statement);
    return result;
}

int db_session_exists(struct db *db, uint64_t session, struct baton_error *err)
{
    bool alive;
    int slot;
    return session_alive(db, session, &alive, &slot, err) < 0 ? -1 : alive;
}

bool db_is_bound(struct db *db, const char *key)
{
    bind_text(db, GET_SESSION, 1, key);
    sqlite3_stmt *statement = get(db, GET_SESSION);
    bool bound = statement != NULL && sqlite3_step(statement) == SQLITE_ROW && sqlite3_column_int64(statement, 0) != 0;
    if (statement != NULL)
        sqlite3_reset(statement);
    return bound;
}

bool db_changed(const struct db *db)
{
    return db->wrote || db->moved_sessions;
}

const uint64_t *db_changed_keys(const struct db *db)
{
    return db->changed;
}

static bool illegal(const struct baton_write *write, struct baton_reply *ret)
{
    size_t length = strlen(write->key);
    if (length == 0 || length > BATON_KEY_MAX)
        error_set(&ret->error, BATON_INVALID, "local: a key has 1 to %d bytes, not %zu", BATON_KEY_MAX, length);
    else if (write->kind == BATON_WRITE_PUT && strlen(write->value) > BATON_VALUE_MAX)
        error_set(&ret->error, BATON_INVALID, "local: the value of %.100s is longer than %d bytes", write->key,
                  BATON_VALUE_MAX);
    else
        return false;
    ret->answer = BATON_ANSWER_REFUSED;
    return true;
}

static int present_revision(struct db *db, const char *key, uint64_t *ret_revision, uint64_t *ret_created,
                            struct baton_error *err)
{
    bind_text(db, GET, 1, key);
    sqlite3_stmt *statement = get(db, GET);
    int code = statement != NULL ? sqlite3_step(statement) : SQLITE_ERROR;
    *ret_revision = code == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(statement, 0) : 0;
    *ret_created = code == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(statement, 1) : 0;
    int result = code == SQLITE_ROW || code == SQLITE_DONE ? 0 : db_error(db, "read", err);
    if (statement != NULL)
        sqlite3_reset(statement);
    return result;
}

static int put(struct db *db, const struct baton_record *record, struct baton_error *err)
{
    bind_text(db, PUT, 1, record->key);
    bind_text(db, PUT, 2, record->value);
    bind_number(db, PUT, 3, record->revision);
    bind_number(db, PUT, 4, record->created);
    bind_number(db, PUT, 5, record->session);
    return run(db, PUT, err) < 0 ? -1 : log_change(db, BATON_CHANGE_PUT, record, err);
}

/* What is created from now on is above the last token of a latch that was closed. */
static void rise_above(struct db *db, uint64_t word)
{
    if (latch_last_token(word) > db->revision)
        db->revision = latch_last_token(word);
}

/* It is removed at the present revision. */
static int remove_record(struct db *db, const char *key, uint64_t created, struct baton_error *err)
{
    struct baton_record record = {.key = key, .revision = db->revision};
    uint64_t word = latches_end(&db->latches, key, created);
    bind_text(db, REMOVE, 1, key);
    if (run(db, REMOVE, err) < 0 || log_change(db, BATON_CHANGE_REMOVE, &record, err) < 0)
        return -1;
    rise_above(db, word);
    return 0;
}

/* Something is going to be put in this queue: what has its latch, and has freed it, is removed. */
static int stand_beside(struct db *db, const char *key, struct baton_error *err)
{
    uint64_t word = latches_want(&db->latches, key);
    rise_above(db, word);
    if (latch_state(word) != LATCH_GONE)
        return 0;
    char *first = mem_format("%.*s", (int)queue_length(key), key), *after = mem_text(first), *found = NULL;
    after[strlen(after) - 1]++;
    bind_text(db, IN_QUEUE, 1, first);
    bind_text(db, IN_QUEUE, 2, after);
    bind_number(db, IN_QUEUE, 3, latch_created(word));
    sqlite3_stmt *statement = get(db, IN_QUEUE);
    int code = statement != NULL ? sqlite3_step(statement) : SQLITE_ERROR;
    int result = code == SQLITE_ROW || code == SQLITE_DONE ? 0 : db_error(db, "read", err);
    if (code == SQLITE_ROW)
        found = mem_text((const char *)sqlite3_column_text(statement, 0));
    if (statement != NULL)
        sqlite3_reset(statement);
    if (found != NULL) {
        db->revision++;
        result = remove_record(db, found, latch_created(word), err);
    }
    free(found);
    free(after);
    free(first);
    return result;
}

/* The place of a latch may be held by somebody who was killed before the place was given back. */
static void begin_latch(struct db *db, const struct baton_record *record)
{
    uint64_t by = record->session != 0 ? latches_taken(&db->latches, record->key) : UINT64_MAX;
    if (by == 0 || (by != UINT64_MAX && db_session_exists(db, by, NULL) == 0))
        latches_begin(&db->latches, record->key, record->session, record->created);
}

int db_write(struct db *db, const struct baton_write *write, struct baton_reply *ret, struct baton_error *err)
{
    *ret = (struct baton_reply){.revision = db->revision};
    if (illegal(write, ret))
        return 0;
    if (write->kind == BATON_WRITE_PUT && write->session != 0) {
        bool alive;
        int slot;
        if (session_alive(db, write->session, &alive, &slot, err) < 0)
            return -1;
        if (!alive) {
            ret->answer = BATON_ANSWER_REFUSED;
            error_set(&ret->error, BATON_LOST, "local: session %llu is over", (unsigned long long)write->session);
            return 0;
        }
    }
    uint64_t present, created;
    if (present_revision(db, write->key, &present, &created, err) < 0)
        return -1;
    if (write->if_revision != BATON_REVISION_ANY && write->if_revision != present) {
        ret->answer = BATON_ANSWER_CONFLICT;
        return 0;
    }
    ret->answer = BATON_ANSWER_DONE;
    if (write->kind == BATON_WRITE_REMOVE && present == 0)
        return 0;
    bool comes = write->latched && write->kind == BATON_WRITE_PUT && present == 0;
    if (comes && stand_beside(db, write->key, err) < 0)
        return -1;
    ret->revision = ++db->revision;
    struct baton_record record = {.key = write->key,
                                  .value = write->value,
                                  .revision = db->revision,
                                  .created = present != 0 ? created : db->revision,
                                  .session = write->session};
    if (comes)
        begin_latch(db, &record);
    if (write->kind == BATON_WRITE_PUT)
        return put(db, &record, err);
    return remove_record(db, write->key, created, err);
}

/* ---- sessions ---- */

uint64_t db_session_new(struct db *db)
{
    db->moved_sessions = db->added_session = true;
    return ++db->last_session;
}

int db_session_add(struct db *db, uint64_t session, int slot, int pid, uint64_t pid_start, uint64_t pid_namespace,
                   struct baton_error *err)
{
    bind_number(db, SESSION_ADD, 1, session);
    bind_number(db, SESSION_ADD, 2, (uint64_t)slot);
    bind_number(db, SESSION_ADD, 3, (uint64_t)pid);
    bind_number(db, SESSION_ADD, 4, pid_start);
    bind_number(db, SESSION_ADD, 5, pid_namespace);
    return run(db, SESSION_ADD, err);
}

static int remove_bound(struct db *db, uint64_t session, struct baton_error *err)
{
    bind_number(db, BOUND, 1, session);
    sqlite3_stmt *statement = get(db, BOUND);
    if (statement == NULL)
        return db_error(db, "read", err);
    int result = 0, code;
    uint64_t revision = db->revision + 1, last = 0;
    while (result == 0 && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        struct baton_record record = {.key = (const char *)sqlite3_column_text(statement, 0), .revision = revision};
        uint64_t word = latches_end(&db->latches, record.key, (uint64_t)sqlite3_column_int64(statement, 1));
        last = latch_last_token(word) > last ? latch_last_token(word) : last;
        db->revision = revision;
        result = log_change(db, BATON_CHANGE_REMOVE, &record, err);
    }
    db->revision = last > db->revision ? last : db->revision;
    if (result == 0 && code != SQLITE_DONE)
        result = db_error(db, "read", err);
    sqlite3_reset(statement);
    bind_number(db, BOUND_REMOVE, 1, session);
    return result < 0 ? -1 : run(db, BOUND_REMOVE, err);
}

int db_session_end(struct db *db, uint64_t session, int *ret_slot, struct baton_error *err)
{
    bool alive;
    if (session_alive(db, session, &alive, ret_slot, err) < 0)
        return -1;
    if (!alive)
        return 0;
    db->moved_sessions = true;
    bind_number(db, SESSION_REMOVE, 1, session);
    return run(db, SESSION_REMOVE, err) < 0 ? -1 : remove_bound(db, session, err);
}

/* It is another one when another connection has written (sqlite.org/pragma.html). 0: it cannot be read. */
static int64_t data_version(struct db *db)
{
    sqlite3_stmt *statement = get(db, VERSION);
    int64_t version = 0;
    if (statement != NULL && sqlite3_step(statement) == SQLITE_ROW)
        version = sqlite3_column_int64(statement, 0);
    if (statement != NULL)
        sqlite3_reset(statement);
    return version;
}

static void look_at(struct db *db, enum statement which)
{
    sqlite3_stmt *statement = get(db, which);
    if (statement == NULL)
        return;
    while (sqlite3_step(statement) == SQLITE_ROW)
        if (which == BOUND)
            (void)latches_taken(&db->latches, (const char *)sqlite3_column_text(statement, 0));
    sqlite3_reset(statement);
}

void db_warm_end(struct db *db, uint64_t session, const char *key)
{
    int64_t version = data_version(db);
    if (version == db->warm_version || db_read_begin(db, NULL) < 0)
        return;
    db->warm_version = version;
    mem_warm_heap();
    bind_text(db, GET, 1, key);
    bind_number(db, SESSION_GET, 1, session);
    bind_number(db, BOUND, 1, session);
    static const enum statement touch[] = {GET, SESSION_GET, BOUND, LAST_CHANGE, LAST_REVISION};
    for (size_t i = 0; i < COUNT_OF(touch); i++)
        look_at(db, touch[i]);
    db_read_end(db);
}

int db_sessions(struct db *db, uint64_t *version, struct db_session **ret, size_t *ret_count, struct baton_error *err)
{
    if (*version == db->sessions_version)
        return 0;
    sqlite3_stmt *statement = get(db, SESSIONS);
    if (statement == NULL)
        return db_error(db, "read", err);
    size_t count = 0, room = 0;
    struct db_session *sessions = NULL;
    int code;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        if (count == room) {
            room = room > 0 ? 2 * room : 8;
            sessions = mem_grow(sessions, room * sizeof(*sessions));
        }
        sessions[count++] = (struct db_session){.id = (uint64_t)sqlite3_column_int64(statement, 0),
                                                .slot = sqlite3_column_int(statement, 1),
                                                .pid = sqlite3_column_int(statement, 2),
                                                .pid_start = (uint64_t)sqlite3_column_int64(statement, 3),
                                                .pid_namespace = (uint64_t)sqlite3_column_int64(statement, 4)};
    }
    sqlite3_reset(statement);
    if (code != SQLITE_DONE) {
        free(sessions);
        return db_error(db, "read", err);
    }
    *version = db->sessions_version;
    *ret = sessions;
    *ret_count = count;
    return 1;
}

/* ---- reading ---- */

int db_read_begin(struct db *db, struct baton_error *err)
{
    if (run(db, BEGIN_READ, err) < 0)
        return -1;
    if (load_meta(db, err) == 0)
        return 0;
    run(db, ROLLBACK, NULL);
    return -1;
}

void db_read_end(struct db *db)
{
    run(db, COMMIT, NULL);
}

static int collect(struct db *db, enum statement which, struct baton_batch *ret, struct baton_error *err)
{
    sqlite3_stmt *statement = get(db, which);
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
    /* Each revision that wrote is in the log until it is pruned; a boot leaves a gap, but nobody is there to see it. */
    if (after + LOG_REVISIONS < db->revision)
        return 1;
    bind_number(db, CHANGES, 1, after);
    return collect(db, CHANGES, ret, err);
}

int db_snapshot(struct db *db, const char *prefix, struct baton_batch *ret, struct baton_error *err)
{
    /* The first key after all that begin with prefix: its last byte, one up. Keys are text, so 0xff does not occur. */
    char *after = mem_text(prefix);
    size_t length = strlen(after);
    if (length > 0)
        after[length - 1]++;
    bind_text(db, SNAPSHOT, 1, prefix);
    bind_text(db, SNAPSHOT, 2, length > 0 ? after : "\xff");
    int result = collect(db, SNAPSHOT, ret, err);
    free(after);
    ret->reset = true;
    return result;
}
