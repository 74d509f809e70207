/* bell.h: words in the shared mapping that tell the processes of a namespace that something has changed.
 *
 * The bell rings for each change. Each of the KEY_BELLS rings for a change of the keys that share it (by their hash): a
 * client that waits for some keys only is not woken by the changes of all others. To ring is an addition and a futex
 * wake-up; to wait is to sleep in the kernel. (ARCHITECTURE.md says why this is not inotify.)
 *
 * What the key bells buy (bench/writes.py --candidates 300, 300 processes on one election, in turns): without them a
 * takeover takes 16 times as long at the median (94 ms, not 6), and 3 to 8 times at the 99th percentile.
 */
#ifndef LOCAL_BELL_H
#define LOCAL_BELL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef _Atomic uint32_t bell_word;

/* Wake all threads that wait for the word: of all processes, or (own) of this one. Returns the word before. */
uint32_t bell_ring(bell_word *bell);
uint32_t bell_ring_own(bell_word *own);

#define KEY_BELLS 1024
/* The bell of a key, below KEY_BELLS. */
unsigned bell_of_key(const char *key);

/* An ear: the bells that a client listens to, and how far each was heard. */
#define EAR_BELLS_MAX 32
struct ear {
    bell_word *bells[EAR_BELLS_MAX];
    uint32_t heard[EAR_BELLS_MAX];
    size_t count;
};

/* Listen to this bell, too (EAR_BELLS_MAX at most); its rings so far count as heard. */
void ear_add(struct ear *ear, bell_word *bell);
/* Has one of the bells rung since it was heard? Then that counts as heard now. */
bool ear_listen(struct ear *ear);
/* The listener itself has rung this bell, which was at `before`: that is no news, unless others have rung it, too. */
void ear_ignore(struct ear *ear, const bell_word *bell, uint32_t before);

/* Sleep until one of the bells was rung, or the own word is not `own_heard`. false: the kernel cannot wait (errno). */
bool ear_wait(const struct ear *ear, bell_word *own, uint32_t own_heard);

/* Can the kernel wait like that (futex_waitv(2), Linux 5.16)? `own` must differ from `own_before`, so that this does
 * not sleep. */
bool bell_can_wait(bell_word *bell, bell_word *own, uint32_t own_before);

#endif
