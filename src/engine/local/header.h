/* header.h: looks at the header of baton.db before SQLite does anything with the file: a file of another program must
 * not be touched. */
#ifndef LOCAL_HEADER_H
#define LOCAL_HEADER_H

#include "engine/local/folder.h"

enum header {
    HEADER_EMPTY,      /* there is nothing in the file yet, or no file */
    HEADER_OURS,       /* it is baton's, of this version or an older one */
    HEADER_WITHOUT_WAL /* it is baton's, but not in WAL mode: some tools that copy databases leave it so */
};

/* Look at DIR/baton.db. 0, or -1 with err: CORRUPT, NEWER, DENIED. */
int header_check(const struct folder *folder, enum header *ret, struct baton_error *err);

#endif
