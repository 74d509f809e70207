/* descriptors.h: file descriptors that must be there, and must not be taken for others. */
#ifndef BASE_DESCRIPTORS_H
#define BASE_DESCRIPTORS_H

#include <sys/types.h>

#include "baton/error.h"

/* Where standard input, output or errors are closed, open /dev/null, so that no other file gets their number and is
 * read or written as if it were them. A program that is executed later finds them closed, as they were. 0, or -1 with
 * err. */
int descriptors_standard(struct baton_error *err);
/* Could `count` more be open? libuv, and others, stop the whole process when they get none. 0, or -1 with err. */
int descriptors_room(unsigned count, struct baton_error *err);

/* Send one message through a socket that keeps messages apart (SOCK_SEQPACKET), and the descriptor `fd` with it; -1:
 * none. The caller keeps `fd`. Never waits, and raises no SIGPIPE. The count of bytes, or -1 with errno. */
ssize_t descriptor_send(int socket, const void *bytes, size_t size, int fd);
/* Receive one message; what does not fit is lost. The caller must close *ret_fd; -1: none came, or it found no place in
 * this process (RLIMIT_NOFILE). Never waits. The count of bytes, 0 when the other end is closed, or -1 with errno. */
ssize_t descriptor_receive(int socket, void *bytes, size_t size, int *ret_fd);

#endif
