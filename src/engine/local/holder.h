/* holder.h: who keeps others from writing to the database? For the words of a message: what is found may be over. */
#ifndef LOCAL_HOLDER_H
#define LOCAL_HOLDER_H

#include <stddef.h>

#include "engine/local/pulse.h"

/* "process 4711 (sqlite3)", with ", which is stopped" where it is; or "another process". */
void holder_describe(const struct pulse *pulse, char *text, size_t size);

#endif
