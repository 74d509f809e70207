/* dir.h: the directory of a namespace, and the files in it.
 *
 *     baton.db         records, sessions, changes (SQLite)      sessions.lock   one byte a session, locked while it lives
 *     heartbeats       when each session was last renewed       write.lock      who writes, in turn
 *     bell             touched after each change
 *
 * People share a namespace by sharing the directory: each file is given the directory's group, and is as readable and
 * writable for group and others as the directory is. So `install -d -m 2770 -g ops /var/lib/baton/prod` is all it takes.
 */
#ifndef LOCAL_DIR_H
#define LOCAL_DIR_H

#include <stdbool.h>
#include <stdint.h>

#include "baton/error.h"

#define DIR_PATH_MAX 900 /* bytes: it must fit into what session_export writes */

struct dir {
    char path[DIR_PATH_MAX + 1];
    int fd;          /* O_PATH */
    unsigned mode;   /* what a file in it is given */
    unsigned gid;
};

/* "local:", "local:/abs", "local:///abs": the directory, made if it is not there (its parent must be; the default's
 * parents are made). Errors: BATON_INVALID, BATON_NOT_FOUND (no parent), BATON_UNSUPPORTED (a network file system),
 * BATON_DENIED, BATON_FULL, BATON_SYSTEM. dir->fd is the caller's to close. */
int dir_open(const char *url, struct dir *dir, struct baton_error *err);
/* The same for a path that dir_open gave. Nothing is made. */
int dir_open_path(const char *path, struct dir *dir, struct baton_error *err);
void dir_close(struct dir *dir);

/* Open (read and write, close-on-exec) the file `name`, made if it is not there. The descriptor, or -1. */
int dir_file(const struct dir *dir, const char *name, struct baton_error *err);

/* Why a file system of this type (statfs(2), f_type) cannot hold a namespace: its name; NULL: it can. */
const char *dir_network_file_system(uint64_t type);

#endif
