/* bell.h: the word in the shared mapping that tells all processes of a namespace that something has changed.
 *
 * A ring is an addition and a futex wake-up; who waits sleeps in the kernel. (inotify would do, too, but the kernel
 * takes up to tens of milliseconds to close such a descriptor, and until then a process that was killed is not seen
 * as dead.)
 */
#ifndef LOCAL_BELL_H
#define LOCAL_BELL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef _Atomic uint32_t bell_word;

/* Wake everybody who waits for the word: in all processes, or (own) in this one. Returns the word before. */
uint32_t bell_ring(bell_word *bell);
uint32_t bell_ring_own(bell_word *own);

/* Sleep until the shared word is not `heard`, or the own one not `own_heard`, or limit_ms (-1: none) are over. BROKEN:
 * the kernel cannot (ENOSYS: it needs Linux 5.16, futex_waitv(2)); errno says why. */
enum bell_answer { BELL_RUNG, BELL_SILENT, BELL_BROKEN };
enum bell_answer bell_wait(bell_word *bell, uint32_t heard, bell_word *own, uint32_t own_heard, int limit_ms);

/* Can the kernel do that? `own` must not be `own_before` any more: this does not sleep. */
bool bell_can_wait(bell_word *bell, bell_word *own, uint32_t own_before);

#endif
