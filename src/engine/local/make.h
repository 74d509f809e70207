/* make.h: a new database: there is all of it under its name, or nothing. */
#ifndef LOCAL_MAKE_H
#define LOCAL_MAKE_H

#include <sqlite3.h>

#define APPLICATION_ID 0x6261746e /* "batn" */
#define SCHEMA_VERSION 1

/* With the writer's lock held. 0; or -1: then SQLite has failed, and *ret is its connection, which tells how, for the
 * caller to close; or it is NULL, and errno tells. */
int make_database(const char *folder, const char *path, sqlite3 **ret);

#endif
