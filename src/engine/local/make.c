/* make.c: see make.h. A process may be killed at any point of this, and half a database would be taken for one that is
 * damaged, for ever. So it is made under another name, until it is whole. */
#include "engine/local/make.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"

/* The end is for others, who look at the header in the file before they open it: it must not be in the WAL only. */
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

/* 0, or -1 with the connection, if there is one. */
static int fill(const char *path, mode_t mode, sqlite3 **ret)
{
    int code = sqlite3_open_v2(path, ret, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (code != SQLITE_OK)
        return -1;
    sqlite3_extended_result_codes(*ret, 1);
    (void)chmod(path, mode); /* -wal and -shm follow it */
    for (size_t i = 0; i < COUNT_OF(statements); i++)
        if (sqlite3_exec(*ret, statements[i], NULL, NULL, NULL) != SQLITE_OK)
            return -1;
    return 0;
}

static void remove_all(const char *path)
{
    static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        char *name = mem_format("%s%s", path, ends[i]);
        (void)unlink(name);
        free(name);
    }
}

/* The name is on the disk, too. */
static void sync_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)fsync(fd);
    close(fd);
}

int make_database(const char *folder, const char *path, sqlite3 **ret)
{
    struct stat about;
    mode_t mode = 0600;
    if (stat(folder, &about) == 0)
        mode |= about.st_mode & 0060;
    char *new = mem_format("%s.new", path);
    remove_all(new); /* of one who was killed */
    *ret = NULL;
    errno = ENOMEM; /* without a connection that is what it was */
    int result = fill(new, mode, ret);
    if (result == 0) {
        sqlite3_close(*ret); /* takes its WAL away */
        *ret = NULL;
        result = rename(new, path);
    }
    if (result < 0) {
        int error = errno;
        remove_all(new);
        errno = error;
    }
    free(new);
    if (result == 0)
        sync_folder(folder);
    return result;
}
