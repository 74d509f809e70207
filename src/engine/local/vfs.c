/* vfs.c: a copy of SQLite's VFS for Unix with two functions replaced (sqlite.org/vfs.html). */
#include "engine/local/vfs.h"

#include <pthread.h>
#include <string.h>

#include "base/base.h"

static const char name[] = "baton-by-descriptor";
static int registered;
static int (*access_of_unix)(sqlite3_vfs *vfs, const char *path, int what, int *ret);

/* SQLite's own would follow every symbolic link of the path here, and go by the path from then on. */
static int take_as_it_is(sqlite3_vfs *vfs, const char *path, int size, char *ret)
{
    return text_copy(ret, (size_t)size, path) ? SQLITE_OK : SQLITE_CANTOPEN;
}

/* No journal is left behind for baton.db: it has a WAL from its beginning. One that lies there is somebody else's;
 * SQLite would change the database by it, and remove the file that it names (fileformat2.html, section 3,
 * "super-journal"). */
static int no_journals(sqlite3_vfs *vfs, const char *path, int what, int *ret)
{
    static const char end[] = "-journal";
    size_t length = strlen(path), end_length = sizeof(end) - 1;
    if (length < end_length || strcmp(path + length - end_length, end) != 0)
        return access_of_unix(vfs, path, what, ret);
    *ret = 0;
    return SQLITE_OK;
}

static void make(void)
{
    const sqlite3_vfs *own = sqlite3_vfs_find("unix");
    if (own == NULL)
        return;
    /* SQLite keeps it in a list for as long as the process lives, also when this library is unloaded. */
    sqlite3_vfs *vfs = mem_new(sizeof(*vfs));
    *vfs = *own;
    vfs->zName = mem_text(name);
    vfs->pNext = NULL;
    access_of_unix = own->xAccess;
    vfs->xAccess = no_journals;
    vfs->xFullPathname = take_as_it_is;
    registered = sqlite3_vfs_register(vfs, 0) == SQLITE_OK;
}

const char *vfs_by_descriptor(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)sqlite3_initialize(); /* or there are none to be found */
    pthread_once(&once, make);
    return registered ? name : NULL;
}
