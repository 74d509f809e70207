/* deadman.h: a child hears at once that the thread which has forked it is dead.
 *
 * By a robust mutex in shared memory that this thread holds (pthread_mutexattr_setrobust(3)): the kernel gives it up as
 * the first thing when a thread dies. A pidfd, a parent-death signal, or the end of a socket come later, if that thread
 * is the last one of its process: then its memory is given back first, which takes longer than all that is to be done
 * about its death. (do_exit(): exit_mm_release comes before mmput, and that before exit_files and exit_notify.)
 */
#ifndef PROCESS_DEADMAN_H
#define PROCESS_DEADMAN_H

struct deadman;

/* Held by the calling thread until it is dead. NULL: errno says why. */
struct deadman *deadman_new(void);
/* By that thread. NULL is allowed. */
void deadman_free(struct deadman *deadman);
/* In the child: `died` is called when that thread is dead, by a thread that is made for it, and then the descriptor is
 * readable. -1: errno. */
int deadman_watch(struct deadman *deadman, void (*died)(void *ctx), void *ctx);

#endif
