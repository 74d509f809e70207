/* bell.c: futexes, several at once (futex_waitv(2)). */
#include "engine/local/bell.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "base/hash.h"

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

unsigned bell_of_key(const char *key)
{
    return (unsigned)(hash_text(HASH_BEGIN, key) % KEY_BELLS);
}

void ear_add(struct ear *ear, bell_word *bell)
{
    assert(ear->count < EAR_BELLS_MAX);
    ear->bells[ear->count] = bell;
    ear->heard[ear->count++] = atomic_load(bell);
}

bool ear_listen(struct ear *ear)
{
    bool rung = false;
    for (size_t i = 0; i < ear->count; i++) {
        uint32_t rings = atomic_load(ear->bells[i]);
        rung = rung || rings != ear->heard[i];
        ear->heard[i] = rings;
    }
    return rung;
}

void ear_ignore(struct ear *ear, const bell_word *bell, uint32_t before)
{
    for (size_t i = 0; i < ear->count; i++)
        if (ear->bells[i] == bell && ear->heard[i] == before)
            ear->heard[i]++;
}

static bool is_silent(const struct ear *ear)
{
    for (size_t i = 0; i < ear->count; i++)
        if (atomic_load(ear->bells[i]) != ear->heard[i])
            return false;
    return true;
}

static long wait_once(const struct ear *ear, bell_word *own, uint32_t own_heard)
{
    assert(ear->count <= EAR_BELLS_MAX);
    struct futex_waitv all[EAR_BELLS_MAX + 1] = {
        {.uaddr = (uintptr_t)own, .val = own_heard, .flags = FUTEX_32 | FUTEX_PRIVATE_FLAG}};
    for (size_t i = 0; i < ear->count; i++)
        all[i + 1] = (struct futex_waitv){.uaddr = (uintptr_t)ear->bells[i], .val = ear->heard[i], .flags = FUTEX_32};
    return syscall(SYS_futex_waitv, all, ear->count + 1, 0, NULL, CLOCK_MONOTONIC);
}

bool ear_wait(const struct ear *ear, bell_word *own, uint32_t own_heard)
{
    /* The own word first: the bells may have lost their memory since (pulse_look). */
    while (atomic_load(own) == own_heard && is_silent(ear))
        if (wait_once(ear, own, own_heard) < 0 && errno != EAGAIN && errno != EINTR)
            return false;
    return true;
}

bool bell_can_wait(bell_word *bell, bell_word *own, uint32_t own_before)
{
    struct ear ear = {0};
    assert(atomic_load(own) != own_before);
    ear_add(&ear, bell);
    return wait_once(&ear, own, own_before) >= 0 || errno == EAGAIN || errno == EINTR;
}
