/* linger.h: the memory of this process outlives it by a moment.
 *
 * The kernel gives back the memory of a dead process on the core where it died, and does nothing else there meanwhile:
 * a third of a millisecond for a supervisor, in which the guard, or the next leader, may wait for that very core. So a
 * child shares the memory (clone(2) with CLONE_VM), sleeps, and holds nothing else; when its parent is dead, it waits
 * until nobody is in a hurry, and then gives the memory back. QEMU's asynchronous teardown is the same idea. Only speed
 * depends on it.
 */
#ifndef PROCESS_LINGER_H
#define PROCESS_LINGER_H

/* By the main thread, once; where it cannot be done, it is not. */
void linger_start(void);
/* Nobody waits for the death of this process any more: the child is gone when this returns. */
void linger_end(void);

#endif
