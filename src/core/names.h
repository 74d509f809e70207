/* names.h: what a name may be. */
#ifndef CORE_NAMES_H
#define CORE_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "baton/records.h"

#define NAME_MAX_BYTES 128
#define CID_MAX_BYTES 160

/* Legal names and ids: 1..NAME_MAX_BYTES of A-Z a-z 0-9 . _ - : @ +, beginning with a letter or a digit. No slash:
 * a name is one level of a key, so that no election's prefix contains another's. 0, or -1 with words. */
int name_check(const char *what, const char *name, struct baton_error *err);

/* May the character stand in a name? (As the first one, only a letter or a digit.) */
bool name_may_hold(char c);

/* As name_check, of one level of a key, which ends at the length; false: it is not legal. */
bool name_of_path(char name[NAME_MAX_BYTES + 1], const char *path, size_t length);

#endif
