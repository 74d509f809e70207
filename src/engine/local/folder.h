/* folder.h: the directory of a local namespace: where it is, whether it can be used, and the files in it.
 *
 *     baton.db     SQLite, WAL: records, sessions, the log of changes
 *     heartbeats.* a shared mapping: the bell, and one slot a session; the number is the boot's, so that no slot
 *                  outlives it
 *     sessions     one byte a session, locked by its processes (open file description lock); and one byte a boot
 *     writer       locked by the process that writes to baton.db
 *
 * The directory is opened once, and everything in it is opened by that descriptor. Whoever may write the directory may
 * be hostile (docs/security.md): a file is used only if it is a regular file with one name, reached without a symbolic
 * link, that nobody else may write; so nobody can make another user write outside of the directory. A directory that
 * everybody may write, or that belongs to a stranger, is refused.
 */
#ifndef LOCAL_FOLDER_H
#define LOCAL_FOLDER_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "baton/error.h"

#define FOLDER_FILES_MAX 8

struct folder {
    char *path; /* as it was given */
    bool again; /* it is in use, by this process or another one: its files are there, and none is made */
    int fd;
    /* For folder_look: the directory that was opened, and the root directory in which the path was looked up. */
    dev_t device, root_device;
    ino_t inode, root_inode;
    uid_t owner;
    mode_t group_bits; /* of its mode: the rights of its group */
    struct folder_known {
        char name[24];
        ino_t inode;
        off_t size; /* at least; 0: any */
    } known[FOLDER_FILES_MAX];
    size_t known_count;
};

/* The directory that a URL means, on the heap; it may not be there. NULL with err. */
char *folder_name(const char *url, struct baton_error *err);

/* Open the directory that a URL means: "local:" is the user's state directory (root: /var/lib/baton; others:
 * $XDG_STATE_HOME/baton or ~/.local/state/baton), "local:/path" or "local:///path" is that path. `create`: it is made
 * if only the last part of the path is missing (for "local:", all of it); else there must be a namespace in it.
 * 0, or -1 with err: INVALID, NOT_FOUND, DENIED (also: not safe), UNSUPPORTED. */
int folder_open(struct folder *folder, const char *url, bool create, struct baton_error *err);
/* Open the directory `path`, which a process that is alive has open. */
int folder_open_again(struct folder *folder, const char *path, struct baton_error *err);
void folder_close(struct folder *folder);

/* Open a file of the folder for reading and writing, created if it is missing; its mode follows the folder's: what a
 * group may do there, it may do with the file. folder_look knows it from now on. A descriptor (close-on-exec), or -1
 * with err. */
int folder_file(struct folder *folder, const char *name, struct baton_error *err);
/* The same of one that must be there: -1 with errno ENOENT, and err untouched, if it is not. */
int folder_existing(const struct folder *folder, const char *name, struct baton_error *err);
/* Make a new file of this name, in place of what has the name; the caller must rename it when it is whole. A
 * descriptor, or -1 with err. */
int folder_new(const struct folder *folder, const char *name, struct baton_error *err);
/* May this file be used, which SQLite is going to open by itself? 0: it may; 1: there is none; -1 with err. */
int folder_check(const struct folder *folder, const char *name, struct stat *ret, struct baton_error *err);
/* From now on, folder_look expects the file that has this name now, with at least `size` bytes. 0, or -1 with err. */
int folder_know(struct folder *folder, const char *name, off_t size, struct baton_error *err);

/* Does the path still lead to this directory, and do the names in it still mean the files that are open? If not,
 * a process that opens the path now gets another namespace, and nothing in this one may count any more. 0, or -1 with
 * err: UNAVAILABLE. Any thread. */
int folder_look(const struct folder *folder, struct baton_error *err);

/* Take and give back the writer's lock: an open file description lock on the whole file, waited for in the kernel. */
int writer_lock(int fd, struct baton_error *err);
void writer_unlock(int fd);

#endif
