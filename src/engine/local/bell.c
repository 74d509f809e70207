/* bell.c: see bell.h. */
#include "engine/local/bell.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

uint32_t bell_ring(bell_word *bell)
{
    uint32_t before = atomic_fetch_add(bell, 1);
    (void)syscall(SYS_futex, bell, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    return before;
}

uint32_t bell_ring_own(bell_word *own)
{
    uint32_t before = atomic_fetch_add(own, 1);
    (void)syscall(SYS_futex, own, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
    return before;
}

static long wait_once(bell_word *bell, uint32_t heard, bell_word *own, uint32_t own_heard, const struct timespec *until)
{
    struct futex_waitv both[] = {
        {.uaddr = (uintptr_t)bell, .val = heard, .flags = FUTEX_32},
        {.uaddr = (uintptr_t)own, .val = own_heard, .flags = FUTEX_32 | FUTEX_PRIVATE_FLAG},
    };
    return syscall(SYS_futex_waitv, both, 2, 0, until, CLOCK_MONOTONIC);
}

enum bell_answer bell_wait(bell_word *bell, uint32_t heard, bell_word *own, uint32_t own_heard, int limit_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += limit_ms / 1000;
    until.tv_nsec += limit_ms % 1000 * 1000000L;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    while (atomic_load(bell) == heard && atomic_load(own) == own_heard) {
        if (wait_once(bell, heard, own, own_heard, limit_ms >= 0 ? &until : NULL) >= 0)
            continue;
        if (errno == ETIMEDOUT)
            return BELL_SILENT;
        if (errno != EAGAIN && errno != EINTR)
            return BELL_BROKEN;
    }
    return BELL_RUNG;
}

bool bell_can_wait(bell_word *bell, bell_word *own, uint32_t own_before)
{
    return wait_once(bell, atomic_load(bell), own, own_before, NULL) >= 0 || errno == EAGAIN || errno == EINTR;
}
