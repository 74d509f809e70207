/* make.c: the new database has another name until it is whole: the next process would take half a database for a
 * damaged one, and refuse it for ever. */
#include "engine/local/make.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/base.h"
#include "engine/local/vfs.h"

/* The checkpoint at the end is for other processes, which look at the header before they open the database: it must not
 * be in the WAL only. */
static const char *const statements[] = {
    "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;",
    "BEGIN IMMEDIATE",
    "PRAGMA application_id = 1650553966;" /* APPLICATION_ID */
    "PRAGMA user_version = 1;",
    "CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;"
    "CREATE TABLE records(key TEXT PRIMARY KEY, value TEXT NOT NULL, revision INTEGER NOT NULL,"
    " created INTEGER NOT NULL, session INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX records_session ON records(session) WHERE session != 0;"
    "CREATE TABLE sessions(id INTEGER PRIMARY KEY, slot INTEGER NOT NULL, pid INTEGER NOT NULL,"
    " pid_start INTEGER NOT NULL, pid_namespace INTEGER NOT NULL);"
    "CREATE TABLE changes(revision INTEGER NOT NULL, kind INTEGER NOT NULL, key TEXT NOT NULL, value TEXT,"
    " created INTEGER NOT NULL, session INTEGER NOT NULL);"
    "CREATE INDEX changes_revision ON changes(revision);",
    "COMMIT",
    "PRAGMA wal_checkpoint(TRUNCATE)",
};

#define NEW "baton.db.new"

/* 0, or -1 with the connection, if there is one. */
static int fill(const struct folder *folder, sqlite3 **ret)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d/" NEW, folder->fd);
    int code = sqlite3_open_v2(path, ret, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, vfs_by_descriptor());
    if (code != SQLITE_OK)
        return -1;
    sqlite3_extended_result_codes(*ret, 1);
    for (size_t i = 0; i < COUNT_OF(statements); i++)
        if (sqlite3_exec(*ret, statements[i], NULL, NULL, NULL) != SQLITE_OK)
            return -1;
    return 0;
}

static void remove_all(const struct folder *folder)
{
    static const char *const names[] = {NEW, NEW "-wal", NEW "-shm", NEW "-journal"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        (void)unlinkat(folder->fd, names[i], 0);
}

/* The name is on the disk, too. */
static void sync_folder(const struct folder *folder)
{
    int fd = openat(folder->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)fsync(fd);
    close(fd);
}

int make_database(const struct folder *folder, sqlite3 **ret, struct baton_error *err)
{
    *ret = NULL;
    remove_all(folder);                    /* of one who was killed */
    int fd = folder_new(folder, NEW, err); /* its WAL gets the same mode and owner */
    if (fd < 0)
        return -1;
    close(fd);
    int result = fill(folder, ret);
    if (result == 0) {
        sqlite3_close(*ret); /* takes its WAL away */
        *ret = NULL;
        if (renameat(folder->fd, NEW, folder->fd, "baton.db") < 0)
            result = error_errno(err, errno, "local: cannot make %s/baton.db", folder->path);
    } else if (*ret == NULL) {
        error_set(err, BATON_SYSTEM, "local: out of memory");
    }
    if (result == 0)
        sync_folder(folder);
    else
        remove_all(folder);
    return result;
}
