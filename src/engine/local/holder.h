/* holder.h: names the process that keeps others from writing to the database. For messages only: the answer may be old
 * already. */
#ifndef LOCAL_HOLDER_H
#define LOCAL_HOLDER_H

#include <stddef.h>

#include "engine/local/pulse.h"

/* "process 4711 (sqlite3)", with ", which is stopped" where it is; or "another process". */
void holder_describe(const struct pulse *pulse, char *text, size_t size);

#endif
