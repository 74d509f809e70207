/* folder.h: the directory of a local namespace: where it is, whether it can be used, and the files in it.
 *
 *     baton.db     SQLite, WAL: records, sessions, the log of changes
 *     heartbeats.* a shared mapping: the bell, and one slot a session; the number is the boot's, so that no slot
 * outlives it
 *     sessions     one byte a session, locked by its processes (open file description lock); and one byte a boot
 *     writer       locked by who writes to baton.db
 */
#ifndef LOCAL_FOLDER_H
#define LOCAL_FOLDER_H

#include <stdint.h>

#include "baton/error.h"

/* The directory that a URL means, on the heap; it may not be there. NULL with err. */
char *folder_name(const char *url, struct baton_error *err);

/* The directory that a URL means, on the heap: "local:" is the user's state directory (root: /var/lib/baton; others:
 * $XDG_STATE_HOME/baton or ~/.local/state/baton), "local:/path" or "local:///path" is that path. It is created if only
 * the last part of the path is missing (for "local:", all of it). NULL with err. */
char *folder_find(const char *url, struct baton_error *err);

/* Open a file of the folder for reading and writing, created if it is missing; its mode follows the folder's: what a
 * group may do there, it may do with the file. A descriptor (close-on-exec), or -1 with err. */
int folder_file(const char *folder, const char *name, struct baton_error *err);

/* A number, not 0, for the present boot of the machine, from its boot_id, and for the clock that counts it: processes
 * in time namespaces with different offsets of CLOCK_BOOTTIME (time_namespaces(7)) have different ones. 0, or -1 with
 * err.
 */
int boot_number(uint64_t *ret, struct baton_error *err);

/* Take and give back the writer's lock: an open file description lock on the whole file, waited for in the kernel. */
int writer_lock(int fd, struct baton_error *err);
void writer_unlock(int fd);

#endif
