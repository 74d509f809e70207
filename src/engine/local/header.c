/* header.c: see header.h. What the header says is in sqlite.org/fileformat2.html, section 1.3. */
#include "engine/local/header.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "engine/local/folder.h"
#include "engine/local/make.h"

static uint32_t big_endian(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* Through SQLite's own file: to open and close the file besides it would drop the locks that another connection of
 * this process has on it (sqlite.org/howtocorrupt.html, section 2.2). 0; 1: the file is shorter; -1. */
static int read_header(const char *path, unsigned char *header, int size, struct baton_error *err)
{
    sqlite3 *handle = NULL;
    sqlite3_file *file = NULL;
    int result = -1;
    if (sqlite3_open_v2(path, &handle, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK ||
        sqlite3_file_control(handle, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK) {
        error_errno(err, handle != NULL ? sqlite3_system_errno(handle) : ENOMEM, "local: cannot open %s", path);
        goto out;
    }
    int code = file->pMethods->xRead(file, header, size, 0);
    if (code == SQLITE_OK || code == SQLITE_IOERR_SHORT_READ)
        result = code == SQLITE_OK ? 0 : 1;
    else
        error_set(err, BATON_SYSTEM, "local: cannot read %s: %s", path, sqlite3_errstr(code));
out:
    sqlite3_close(handle);
    return result;
}

int header_check(const char *path, bool *ret_empty, struct baton_error *err)
{
    unsigned char header[100];
    struct stat about;
    *ret_empty = true;
    if (stat(path, &about) < 0)
        return errno == ENOENT ? 0 : error_errno(err, errno, "local: cannot look at %s", path);
    if (about.st_size == 0)
        return 0;
    *ret_empty = false;
    int code = read_header(path, header, sizeof(header), err);
    if (code < 0)
        return -1;
    if (code > 0 || memcmp(header, "SQLite format 3", 16) != 0 || big_endian(header + 68) != APPLICATION_ID)
        return error_set(err, BATON_CORRUPT,
                         "local: %s is damaged, or is not baton's; nothing was changed; move it away, or restore it "
                         "from a copy",
                         path);
    if (big_endian(header + 60) > SCHEMA_VERSION)
        return error_set(err, BATON_NEWER,
                         "local: %s was written by a newer baton (its version is %u, this one knows %d); nothing was "
                         "changed; use that one",
                         path, big_endian(header + 60), SCHEMA_VERSION);
    return 0;
}

int header_look(const char *folder, struct baton_error *err)
{
    char *path = mem_format("%s/baton.db", folder), *writer = mem_format("%s/writer", folder);
    bool empty, again;
    int result;
    do {
        /* Who makes a database holds this lock until its header is there; without the file, nobody of us makes one. */
        int fd = open(writer, O_RDWR | O_CLOEXEC);
        again = fd < 0 && errno == ENOENT;
        result = fd < 0 || writer_lock(fd, err) == 0 ? header_check(path, &empty, err) : -1;
        again = again && result < 0 && access(writer, F_OK) == 0;
        if (fd >= 0)
            close(fd);
    } while (again);
    free(path);
    free(writer);
    return result;
}
