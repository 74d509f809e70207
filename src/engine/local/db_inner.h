/* db_inner.h: private to the files of the database: db.c (statements, transactions, reading), db_open.c, db_write.c. */
#ifndef LOCAL_DB_INNER_H
#define LOCAL_DB_INNER_H

#include <sqlite3.h>

#include "engine/local/db.h"

#define BUSY_MS 5000 /* how long to wait for other programs; processes of baton wait for the writer's lock instead */

/* Statements that are kept. */
enum statement {
    GET,
    GET_SESSION,
    PUT,
    REMOVE,
    LOG,
    PRUNE,
    OLDEST,
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
    CHANGES,
    SNAPSHOT,
    BEGIN_READ,
    BEGIN_WRITE,
    COMMIT,
    ROLLBACK,
    STATEMENTS
};

/* A connection's state. Each step begins or ends at DB_IDLE. */
enum db_state { DB_IDLE, DB_READING, DB_WRITING };

struct db {
    sqlite3 *handle;
    enum db_state state;
    sqlite3_stmt *statements[STATEMENTS];
    char *path;
    int writer_fd;
    struct pulse *pulse;
    _Atomic bool *hurry; /* see db_wait_until */
    int64_t busy_ms;     /* since when another program is waited for */
    bool durable;        /* the present setting of synchronous */
    bool found_wal;      /* baton.db-wal was there when it was opened */
    uint64_t revision, sessions_version, last_session;
    /* of this transaction, or the last one */
    bool wrote, moved_sessions, added_session;
    uint64_t changed[KEY_BELLS / 64]; /* the bells of the keys that it has changed */
    struct latch_changes latches;
    int64_t first_row, last_row; /* the row of the log before its first one, and its last; 0: none */
};

/* Begin to read or to write, or end it: any other step is a mistake. */
void db_set_state(struct db *db, enum db_state state);
/* The error that SQLite has told last, in words. -1. */
int db_error(struct db *db, const char *what, struct baton_error *err);
/* The statement, prepared; NULL: it cannot be. */
sqlite3_stmt *db_get(struct db *db, enum statement which);
/* Run a statement that gives no rows. */
int db_run(struct db *db, enum statement which, struct baton_error *err);
void db_bind_number(struct db *db, enum statement which, int at, uint64_t number);
void db_bind_text(struct db *db, enum statement which, int at, const char *text);
/* Run statements once, without keeping them prepared. */
int db_execute(struct db *db, const char *text, struct baton_error *err);
int db_set_durable(struct db *db, bool durable, struct baton_error *err);
/* A number of the table `meta`; untouched if it is not there. */
int db_meta_get(struct db *db, const char *name, uint64_t *ret, struct baton_error *err);
int db_meta_set(struct db *db, const char *name, uint64_t value, struct baton_error *err);
/* Read the numbers of `meta` that struct db keeps. */
int db_meta_load(struct db *db, struct baton_error *err);

#endif
