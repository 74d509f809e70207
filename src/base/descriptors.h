/* descriptors.h: file descriptors that must be there, and must not be taken for others. */
#ifndef BASE_DESCRIPTORS_H
#define BASE_DESCRIPTORS_H

#include "baton/error.h"

/* Where standard input, output or errors are closed, open /dev/null, so that no other file gets their number and is
 * read or written as if it were them. A program that is executed later finds them closed, as they were. 0, or -1 with
 * err. */
int descriptors_standard(struct baton_error *err);
/* Could `count` more be open? libuv, and others, stop the whole process when they get none. 0, or -1 with err. */
int descriptors_room(unsigned count, struct baton_error *err);

#endif
