/* lock_name.h: a file's path as the name of a lock, for scripts that were written for flock(1). */
#ifndef CLI_LOCK_NAME_H
#define CLI_LOCK_NAME_H

#include "baton/baton.h"

/* "/var/lock/x" is "file:var:lock:x", from whatever folder and through whatever link it is called; a path without a
 * slash is one of the current folder. The file need not exist, its folder must. Two files never have one name.
 * BATON_NOT_FOUND, BATON_DENIED, or BATON_INVALID when it is too long. */
int lock_name_of_path(const char *path, char name[BATON_NAME_MAX + 1], struct baton_error *err);

#endif
