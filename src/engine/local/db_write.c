/* db_write.c: writes records and sessions. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "engine/local/bell.h"
#include "engine/local/db_inner.h"

/* ---- writing ---- */

static int log_change(struct db *db, enum baton_change_kind kind, const struct baton_record *record,
                      struct baton_error *err)
{
    sqlite3_stmt *statement = db_get(db, LOG);
    assert(db->state == DB_WRITING);
    assert(record->revision == db->revision && record->revision > 0);
    assert((kind == BATON_CHANGE_PUT) == (record->value != NULL));
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
    if (db_run(db, LOG, err) < 0)
        return -1;
    db->last_row = sqlite3_last_insert_rowid(db->handle);
    if (db->first_row == 0)
        db->first_row = db->last_row - 1; /* the one before this transaction */
    return 0;
}

static int session_alive(struct db *db, uint64_t session, bool *ret, int *ret_slot, struct baton_error *err)
{
    db_bind_number(db, SESSION_GET, 1, session);
    sqlite3_stmt *statement = db_get(db, SESSION_GET);
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
    db_bind_text(db, GET_SESSION, 1, key);
    sqlite3_stmt *statement = db_get(db, GET_SESSION);
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
    db_bind_text(db, GET, 1, key);
    sqlite3_stmt *statement = db_get(db, GET);
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
    db_bind_text(db, PUT, 1, record->key);
    db_bind_text(db, PUT, 2, record->value);
    db_bind_number(db, PUT, 3, record->revision);
    db_bind_number(db, PUT, 4, record->created);
    db_bind_number(db, PUT, 5, record->session);
    return db_run(db, PUT, err) < 0 ? -1 : log_change(db, BATON_CHANGE_PUT, record, err);
}

/* Records that are created from now on have revisions above the last token of a latch that was closed. */
static void rise_above(struct db *db, uint64_t token)
{
    if (token > db->revision)
        db->revision = token;
}

/* It is removed at the present revision. */
static int remove_record(struct db *db, const char *key, uint64_t created, struct baton_error *err)
{
    struct baton_record record = {.key = key, .revision = db->revision};
    uint64_t token = latches_end(&db->latches, key, created);
    db_bind_text(db, REMOVE, 1, key);
    if (db_run(db, REMOVE, err) < 0 || log_change(db, BATON_CHANGE_REMOVE, &record, err) < 0)
        return -1;
    rise_above(db, token);
    return 0;
}

/* A record is going to be put in this queue: if the entry that has the latch has freed it, that entry is removed. */
static int stand_beside(struct db *db, const char *key, struct baton_error *err)
{
    uint64_t created, token;
    enum latches_wanted wanted = latches_want(&db->latches, key, &created, &token);
    rise_above(db, token);
    if (wanted != LATCHES_REMOVE)
        return 0;
    char *first = mem_format("%.*s", (int)queue_length(key), key), *after = mem_text(first), *found = NULL;
    after[strlen(after) - 1]++;
    db_bind_text(db, IN_QUEUE, 1, first);
    db_bind_text(db, IN_QUEUE, 2, after);
    db_bind_number(db, IN_QUEUE, 3, created);
    sqlite3_stmt *statement = db_get(db, IN_QUEUE);
    int code = statement != NULL ? sqlite3_step(statement) : SQLITE_ERROR;
    int result = code == SQLITE_ROW || code == SQLITE_DONE ? 0 : db_error(db, "read", err);
    if (code == SQLITE_ROW)
        found = mem_text((const char *)sqlite3_column_text(statement, 0));
    if (statement != NULL)
        sqlite3_reset(statement);
    if (found != NULL) {
        db->revision++;
        result = remove_record(db, found, created, err);
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
    assert(db->state == DB_WRITING);
    assert(write->kind == BATON_WRITE_PUT || write->kind == BATON_WRITE_REMOVE);
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
    assert(db->state == DB_WRITING);
    db->moved_sessions = db->added_session = true;
    return ++db->last_session;
}

int db_session_add(struct db *db, uint64_t session, int slot, int pid, uint64_t pid_start, uint64_t pid_namespace,
                   struct baton_error *err)
{
    assert(db->added_session && session == db->last_session); /* of db_session_new */
    assert(slot >= 0 && slot < PULSE_SLOTS);
    db_bind_number(db, SESSION_ADD, 1, session);
    db_bind_number(db, SESSION_ADD, 2, (uint64_t)slot);
    db_bind_number(db, SESSION_ADD, 3, (uint64_t)pid);
    db_bind_number(db, SESSION_ADD, 4, pid_start);
    db_bind_number(db, SESSION_ADD, 5, pid_namespace);
    return db_run(db, SESSION_ADD, err);
}

static int remove_bound(struct db *db, uint64_t session, struct baton_error *err)
{
    db_bind_number(db, BOUND, 1, session);
    sqlite3_stmt *statement = db_get(db, BOUND);
    if (statement == NULL)
        return db_error(db, "read", err);
    int result = 0, code;
    uint64_t revision = db->revision + 1, last = 0;
    while (result == 0 && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        struct baton_record record = {.key = (const char *)sqlite3_column_text(statement, 0), .revision = revision};
        uint64_t token = latches_end(&db->latches, record.key, (uint64_t)sqlite3_column_int64(statement, 1));
        last = token > last ? token : last;
        db->revision = revision;
        result = log_change(db, BATON_CHANGE_REMOVE, &record, err);
    }
    db->revision = last > db->revision ? last : db->revision;
    if (result == 0 && code != SQLITE_DONE)
        result = db_error(db, "read", err);
    sqlite3_reset(statement);
    db_bind_number(db, BOUND_REMOVE, 1, session);
    return result < 0 ? -1 : db_run(db, BOUND_REMOVE, err);
}

int db_session_end(struct db *db, uint64_t session, int *ret_slot, struct baton_error *err)
{
    bool alive;
    assert(db->state == DB_WRITING);
    if (session_alive(db, session, &alive, ret_slot, err) < 0)
        return -1;
    if (!alive)
        return 0;
    db->moved_sessions = true;
    db_bind_number(db, SESSION_REMOVE, 1, session);
    return db_run(db, SESSION_REMOVE, err) < 0 ? -1 : remove_bound(db, session, err);
}

int db_sessions(struct db *db, uint64_t *version, struct db_session **ret, size_t *ret_count, struct baton_error *err)
{
    assert(db->state != DB_IDLE);
    if (*version == db->sessions_version)
        return 0;
    sqlite3_stmt *statement = db_get(db, SESSIONS);
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
