/* header.h: is a database ours? Looked at before SQLite does anything with it: what is not ours is not touched. */
#ifndef LOCAL_HEADER_H
#define LOCAL_HEADER_H

#include <stdbool.h>

#include "baton/error.h"

/* *ret_empty: there is nothing in the file yet, or no file. 0, or -1 with err: CORRUPT, NEWER. */
int header_check(const char *path, bool *ret_empty, struct baton_error *err);
/* The same of DIR/baton.db, before anything is made in DIR. */
int header_look(const char *folder, struct baton_error *err);

#endif
