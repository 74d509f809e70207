/* header.c: reads the header of a database (sqlite.org/fileformat2.html, section 1.3). */
#include "engine/local/header.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "engine/local/make.h"
#include "engine/local/vfs.h"

static uint32_t big_endian(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* Through SQLite's own file: to open and close the file besides it would drop the locks that another connection of
 * this process has on it (sqlite.org/howtocorrupt.html, section 2.2). 0; 1: the file is shorter; -1. */
static int read_header(const struct folder *folder, unsigned char *header, int size, struct baton_error *err)
{
    sqlite3 *handle = NULL;
    sqlite3_file *file = NULL;
    char path[64];
    int result = -1;
    snprintf(path, sizeof(path), "/proc/self/fd/%d/baton.db", folder->fd);
    if (sqlite3_open_v2(path, &handle, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, vfs_by_descriptor()) != SQLITE_OK ||
        sqlite3_file_control(handle, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK) {
        int error = handle != NULL ? sqlite3_system_errno(handle) : ENOMEM;
        error_errno(err, error != 0 ? error : EIO, "local: cannot open %s/baton.db", folder->path);
        goto out;
    }
    int code = file->pMethods->xRead(file, header, size, 0);
    if (code == SQLITE_OK || code == SQLITE_IOERR_SHORT_READ)
        result = code == SQLITE_OK ? 0 : 1;
    else
        error_set(err, BATON_SYSTEM, "local: cannot read %s/baton.db: %s", folder->path, sqlite3_errstr(code));
out:
    sqlite3_close(handle);
    return result;
}

int header_check(const struct folder *folder, enum header *ret, struct baton_error *err)
{
    unsigned char header[100];
    struct stat about;
    int found = folder_check(folder, "baton.db", &about, err);
    *ret = HEADER_EMPTY;
    if (found != 0 || about.st_size == 0)
        return found < 0 ? -1 : 0;
    int code = read_header(folder, header, sizeof(header), err);
    if (code < 0)
        return -1;
    bool ours = code == 0 && memcmp(header, "SQLite format 3", 16) == 0 && big_endian(header + 68) == APPLICATION_ID;
    if (ours && big_endian(header + 60) > SCHEMA_VERSION)
        return error_set(err, BATON_NEWER,
                         "local: %s/baton.db was written by a newer baton (its version is %u, this one knows %d); "
                         "nothing was changed; use that one",
                         folder->path, big_endian(header + 60), SCHEMA_VERSION);
    if (!ours)
        return error_set(err, BATON_CORRUPT,
                         "local: %s/baton.db is damaged, or is not baton's; nothing was changed; move it away, or "
                         "restore it from a copy",
                         folder->path);
    *ret = header[18] == 2 && header[19] == 2 ? HEADER_OURS : HEADER_WITHOUT_WAL;
    return 0;
}
