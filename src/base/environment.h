/* environment.h: the environment is the caller's. A program that has more rights than its caller (set-uid, set-gid,
 * file capabilities; getauxval(3), AT_SECURE) believes none of it: for such a program, and for the guard that it
 * starts, the environment is empty. The library and its engines read it here only (scripts/check-layers).
 */
#ifndef BASE_ENVIRONMENT_H
#define BASE_ENVIRONMENT_H

#include <stdbool.h>

const char *environment_get(const char *name); /* NULL: it is not set, or not to be believed */
char *const *environment_all(void);            /* as environ(7) */
bool environment_is_believed(void);

#endif
