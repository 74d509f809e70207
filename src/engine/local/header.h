/* header.h: is a database ours? Looked at before SQLite does anything with it: what is not ours is not touched. */
#ifndef LOCAL_HEADER_H
#define LOCAL_HEADER_H

#include "engine/local/folder.h"

enum header {
    HEADER_EMPTY,      /* there is nothing in the file yet, or no file */
    HEADER_OURS,       /* it is baton's, of this version or an older one */
    HEADER_WITHOUT_WAL /* the same, as some tools leave it that copy databases */
};

/* Look at DIR/baton.db. 0, or -1 with err: CORRUPT, NEWER, DENIED. */
int header_check(const struct folder *folder, enum header *ret, struct baton_error *err);

#endif
