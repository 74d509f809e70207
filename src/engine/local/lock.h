/* lock.h: open file description locks (fcntl(2), F_OFD_SETLK) on single bytes.
 *
 * They belong to the open file description, not to the process: a duplicate of the descriptor in another process (a
 * guard's) holds the lock as well, the kernel frees it when the last duplicate is closed, and a lock that one process
 * unlocks is unlocked for all that share the description. A forked child shares it too.
 */
#ifndef LOCAL_LOCK_H
#define LOCAL_LOCK_H

#include <stdbool.h>
#include <stdint.h>

/* Take it if it is free. 0, or an errno (EAGAIN: it is taken). */
int lock_try(int fd, uint64_t byte);
/* Wait for it, fairly and without a limit. 0 or an errno. */
int lock_wait(int fd, uint64_t byte);
/* Wait for at most timeout_ms. 0, ETIMEDOUT or another errno. */
int lock_wait_within(int fd, uint64_t byte, uint32_t timeout_ms);
void lock_free(int fd, uint64_t byte);
/* Does another description than fd's hold it? When the kernel cannot say, it is taken to be held. */
bool lock_held(int fd, uint64_t byte);

#endif
