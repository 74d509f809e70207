/* db_open.c: opens the database, makes it if it is missing, and drops the sessions of an earlier boot. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "engine/local/db_inner.h"
#include "engine/local/header.h"
#include "engine/local/make.h"
#include "engine/local/vfs.h"

#define WAL_INDEX_BYTES 32768 /* of its first part (sqlite.org/walformat.html) */
#define WAL_PAGES 500         /* after so many pages SQLite begins again at the WAL's beginning */
#define BUSY_PAUSE_MS 100

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
    if (db_meta_load(db, err) < 0 || db_meta_get(db, "boot", &stored, err) < 0)
        return -1;
    if (folder_look(pulse->folder, err) < 0)
        return -1;
    if (stored == boot)
        return 0;
    if (pulse_strangers(pulse))
        return stored != 0 ? pulse_refuse_strangers(pulse, err)
                           : error_set(err, BATON_UNAVAILABLE,
                                       "local: %s is new, but processes that used an earlier one are alive; end them, "
                                       "then try again",
                                       db->path);
    if (db_execute(db, "PRAGMA synchronous = FULL; BEGIN IMMEDIATE", err) < 0)
        return -1;
    db_set_state(db, DB_WRITING);
    if (stored != 0) {
        /* SQLite syncs the WAL at each checkpoint, which is after 1000 pages: fewer revisions than that are lost. */
        db->revision += BATON_REVISION_LEAP;
        db->last_session += BATON_REVISION_LEAP;
    }
    if (drop_all_sessions(db, err) < 0 || db_meta_set(db, "boot", boot, err) < 0 ||
        db_meta_set(db, "last_session", db->last_session, err) < 0 ||
        db_meta_set(db, "sessions_version", db->sessions_version + 1, err) < 0 ||
        db_meta_set(db, "revision", db->revision, err) < 0 || db_run(db, COMMIT, err) < 0) {
        sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
        db_set_state(db, DB_IDLE);
        return -1;
    }
    latches_commit(&db->latches);
    db_set_state(db, DB_IDLE);
    char name[sizeof(pulse->name)];
    pulse_name(stored, name);
    if (stored != 0)
        (void)unlinkat(pulse->folder->fd, name, 0);
    return 0;
}

/* baton's databases have no triggers, views or functions in their schema; those of a hostile one must not run:
 * sqlite.org/security.html. */
static void trust_no_schema(sqlite3 *handle)
{
    sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
}

/* SQLite has no way to be woken: it is tried again, more and more seldom. */
static int wait_for_others(void *ctx, int times)
{
    const struct db *db = ctx;
    int64_t now_ms = clock_now_ms();
    if (times == 0)
        ((struct db *)ctx)->busy_ms = now_ms;
    bool go_on = db->hurry != NULL ? !atomic_load(db->hurry) : now_ms - db->busy_ms < BUSY_MS;
    int64_t pause_ms = times < 7 ? INT64_C(1) << times : BUSY_PAUSE_MS;
    if (go_on)
        nanosleep(&(struct timespec){.tv_nsec = pause_ms * 1000000}, NULL);
    return go_on;
}

static int connect_to(struct db *db, const struct folder *folder, struct baton_error *err)
{
    struct stat about;
    int wal = folder_check(folder, "baton.db-wal", &about, err);
    int index = wal < 0 ? -1 : folder_check(folder, "baton.db-shm", &about, err);
    if (wal < 0 || index < 0)
        return -1;
    if (folder->again && (wal > 0 || index > 0))
        return error_set(err, BATON_UNAVAILABLE, "local: %s%s was removed", db->path, wal > 0 ? "-wal" : "-shm");
    db->found_wal = wal == 0;
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d/baton.db", folder->fd);
    int code = sqlite3_open_v2(path, &db->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, vfs_by_descriptor());
    if (code != SQLITE_OK)
        return db->handle != NULL ? db_error(db, "open", err) : error_set(err, BATON_SYSTEM, "local: out of memory");
    sqlite3_extended_result_codes(db->handle, 1);
    sqlite3_busy_handler(db->handle, wait_for_others, db);
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    trust_no_schema(db->handle);
    sqlite3_wal_autocheckpoint(db->handle, WAL_PAGES);
    return db_execute(db, "PRAGMA cache_size = -256; PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON;", err);
}

static void disconnect(struct db *db)
{
    for (size_t i = 0; i < STATEMENTS; i++) {
        sqlite3_finalize(db->statements[i]);
        db->statements[i] = NULL;
    }
    sqlite3_close(db->handle);
    db->handle = NULL;
}

/* The usual case needs no lock, so that nobody who writes, or stands still while it does, keeps others from looking.
 * 1: it is missing, or has no WAL, or nobody has opened it since the boot: that is for open_locked. */
static int open_present(struct db *db, const struct pulse *pulse, struct baton_error *err)
{
    enum header header;
    uint64_t boot = 0;
    if (header_check(pulse->folder, &header, err) < 0)
        return -1;
    if (header != HEADER_OURS)
        return 1;
    if (connect_to(db, pulse->folder, err) < 0 || db_meta_get(db, "boot", &boot, err) < 0)
        return -1;
    if (boot != pulse->boot) {
        disconnect(db);
        return 1;
    }
    return db_meta_load(db, err);
}

/* SQLite would write the pages of a log that is left of another database into the new one. baton leaves none: a
 * database is whole, and has no log, when it gets its name. */
static int refuse_log_without_database(const struct db *db, const struct folder *folder, struct baton_error *err)
{
    struct stat about;
    int found = folder_check(folder, "baton.db-wal", &about, err);
    if (found != 0 || about.st_size == 0)
        return found < 0 ? -1 : 0;
    return error_set(
        err, BATON_CORRUPT,
        "local: %s was removed or emptied, but its log, %s-wal, is there; nothing was changed; restore both "
        "from a copy, or move the log away, too",
        db->path, db->path);
}

static int open_locked(struct db *db, const struct pulse *pulse, struct baton_error *err)
{
    enum header header;
    if (header_check(pulse->folder, &header, err) < 0)
        return -1;
    if (header == HEADER_EMPTY && refuse_log_without_database(db, pulse->folder, err) < 0)
        return -1;
    if (header == HEADER_EMPTY && make_database(pulse->folder, &db->handle, err) < 0)
        return db->handle != NULL ? db_error(db, "write", err) : -1;
    if (connect_to(db, pulse->folder, err) < 0)
        return -1;
    if (header == HEADER_WITHOUT_WAL && db_execute(db, "PRAGMA journal_mode = WAL", err) < 0)
        return -1;
    return after_boot(db, pulse, err);
}

/* Now, not when a takeover waits for it. */
static int prepare(struct db *db, struct folder *folder, struct baton_error *err)
{
    assert(db->state == DB_IDLE);
    for (int which = 0; which < STATEMENTS; which++)
        if (db_get(db, which) == NULL)
            return db_error(db, "prepare", err);
    if (folder_know(folder, "baton.db", 0, err) < 0 || folder_know(folder, "baton.db-wal", 0, err) < 0 ||
        folder_know(folder, "baton.db-shm", WAL_INDEX_BYTES, err) < 0)
        return -1;
    return db_set_durable(db, false, err); /* as most writes are */
}

static struct db *open_for(int writer_fd, struct pulse *pulse, bool again, struct baton_error *err)
{
    struct db *db = mem_new(sizeof(*db));
    db->path = mem_format("%s/baton.db", pulse->folder->path);
    db->pulse = pulse;
    db->writer_fd = writer_fd;
    db->durable = true;
    db->latches.latches = pulse->latches;
    int result = open_present(db, pulse, err);
    if (result > 0 && again) {
        result = error_set(err, BATON_UNAVAILABLE, "local: %s was removed", db->path);
    } else if (result > 0 && (result = writer_lock(writer_fd, err)) == 0) {
        result = open_locked(db, pulse, err);
        writer_unlock(writer_fd);
    }
    if (result == 0 && prepare(db, pulse->folder, err) == 0)
        return db;
    if (db->handle != NULL && !db->found_wal) /* with a checkpoint, of nothing, the WAL goes as it came */
        sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    db_close(db);
    return NULL;
}

struct db *db_open(int writer_fd, struct pulse *pulse, struct baton_error *err)
{
    return open_for(writer_fd, pulse, false, err);
}

struct db *db_open_again(int writer_fd, struct pulse *pulse, struct baton_error *err)
{
    return open_for(writer_fd, pulse, true, err);
}

void db_wait_until(struct db *db, const _Atomic bool *hurry)
{
    db->hurry = (_Atomic bool *)hurry;
}

void db_close(struct db *db)
{
    if (db == NULL)
        return;
    assert(db->state == DB_IDLE); /* else somebody would wait for the writer's lock */
    disconnect(db);
    latches_release(&db->latches);
    free(db->path);
    free(db);
}
