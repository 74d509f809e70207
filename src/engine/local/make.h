/* make.h: makes a new database. A process that is killed meanwhile leaves nothing under the name baton.db. */
#ifndef LOCAL_MAKE_H
#define LOCAL_MAKE_H

#include <sqlite3.h>

#include "engine/local/folder.h"

#define APPLICATION_ID 0x6261746e /* "batn" */
#define SCHEMA_VERSION 1

/* With the writer's lock held, and no baton.db there. 0; or -1: then SQLite has failed, and *ret is its connection,
 * which tells how, for the caller to close; or it is NULL, and err tells. */
int make_database(const struct folder *folder, sqlite3 **ret, struct baton_error *err);

#endif
