/* vfs.h: lets SQLite open a database by the descriptor of its directory, not by a path. */
#ifndef LOCAL_VFS_H
#define LOCAL_VFS_H

#include <sqlite3.h>

/* SQLite's own for Unix, but a path is taken as it is: /proc/self/fd/7/baton.db is the file baton.db of the directory
 * that is open as 7, and so are those beside it (-wal, -shm), whatever has become of the directory's path. SQLite opens
 * them with O_NOFOLLOW. No journal is looked for beside the database (its WAL is). Its name for sqlite3_open_v2; NULL:
 * there is no memory. */
const char *vfs_by_descriptor(void);

#endif
