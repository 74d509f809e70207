/* pulse.c: see pulse.h. Locks are those of open file descriptions (F_OFD_SETLK, fcntl(2)): they belong to the
 * description, so a guard that has a copy of the descriptor holds the lock, too. */
#include "engine/local/pulse.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "engine/local/folder.h"

#define PULSE_BYTES                                                                                                    \
    (sizeof(struct pulse_header) + KEY_BELLS * sizeof(bell_word) + PULSE_SLOTS * sizeof(struct pulse_slot) +           \
     LATCHES * sizeof(struct latch_place))
#define BOOT_BYTES ((off_t)1 << 62) /* of `sessions`, above all sessions: one a boot */

/* ---- the boot ---- */

static off_t boot_byte(const struct pulse *pulse)
{
    return BOOT_BYTES + (off_t)(uint32_t)pulse->boot;
}

static char *heartbeats(const struct pulse *pulse)
{
    return mem_format("%s/heartbeats.%08x", pulse->folder, (unsigned)pulse->boot);
}

static int enter_boot(struct pulse *pulse, struct baton_error *err)
{
    if (boot_number(&pulse->boot, err) < 0 || (pulse->lock_fd = folder_file(pulse->folder, "sessions", err)) < 0)
        return -1;
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = boot_byte(pulse), .l_len = 1};
    if (fcntl(pulse->lock_fd, F_OFD_SETLK, &lock) < 0)
        return error_errno(err, errno, "local: cannot lock a byte of %s/sessions", pulse->folder);
    /* The first of this boot leaves nothing behind if it is the wrong one. */
    char *path = heartbeats(pulse);
    bool strange = access(path, F_OK) < 0 && pulse_strangers(pulse);
    free(path);
    return strange ? pulse_refuse_strangers(pulse, err) : 0;
}

static bool locked(const struct pulse *pulse, off_t start, off_t length)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    return fcntl(pulse->lock_fd, F_OFD_GETLK, &lock) < 0 || lock.l_type != F_UNLCK;
}

bool pulse_strangers(const struct pulse *pulse)
{
    off_t own = boot_byte(pulse);
    return locked(pulse, 0, own) || locked(pulse, own + 1, 0);
}

int pulse_refuse_strangers(const struct pulse *pulse, struct baton_error *err)
{
    return error_set(err, BATON_UNSUPPORTED,
                     "local: %s is in use by processes with another boot id or boot clock than here (a container may "
                     "have its own), so nobody could tell who is alive; nothing was changed; give each side a "
                     "directory of its own, or use an engine such as etcd",
                     pulse->folder);
}

bool pulse_current(const struct pulse *pulse)
{
    struct stat about;
    char *path = heartbeats(pulse);
    bool current = stat(path, &about) == 0 && about.st_ino == pulse->file;
    free(path);
    return current;
}

/* ---- the mapping ---- */

int pulse_open(struct pulse *pulse, const char *folder, struct baton_error *err)
{
    *pulse = (struct pulse){.lock_fd = -1, .folder = mem_text(folder)};
    int fd = -1;
    if (enter_boot(pulse, err) < 0)
        goto fail;
    char name[32];
    snprintf(name, sizeof(name), "heartbeats.%08x", (unsigned)pulse->boot);
    fd = folder_file(folder, name, err);
    if (fd < 0)
        goto fail;
    struct stat about;
    /* Space is taken now: a mapping without space behind it would kill the process when the disk is full. */
    int error = fstat(fd, &about) < 0 ? errno : 0;
    if (error == 0 && about.st_size < (off_t)PULSE_BYTES)
        error = posix_fallocate(fd, 0, PULSE_BYTES);
    if (error != 0) {
        error_errno(err, error, "local: cannot make %s/%s %zu KiB long", folder, name, PULSE_BYTES / 1024);
        goto fail;
    }
    void *memory = mmap(NULL, PULSE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        error_errno(err, errno, "local: cannot map %s/%s", folder, name);
        goto fail;
    }
    pulse->header = memory;
    pulse->key_bells = (bell_word *)(void *)(pulse->header + 1);
    pulse->slots = (struct pulse_slot *)(void *)(pulse->key_bells + KEY_BELLS);
    pulse->latches = (struct latch_place *)(void *)(pulse->slots + PULSE_SLOTS);
    pulse->file = about.st_ino;
    close(fd);
    return 0;
fail:
    if (fd >= 0)
        close(fd);
    pulse_close(pulse);
    return -1;
}

void pulse_close(struct pulse *pulse)
{
    if (pulse->header != NULL)
        munmap(pulse->header, PULSE_BYTES);
    if (pulse->lock_fd >= 0)
        close(pulse->lock_fd);
    free(pulse->folder);
    *pulse = (struct pulse){.lock_fd = -1};
}

void pulse_ring(struct pulse *pulse, const uint64_t keys[KEY_BELLS / 64], struct ear *own)
{
    for (unsigned bell = 0; bell < KEY_BELLS; bell++) {
        if (keys[bell / 64] == 0) {
            bell += 63;
            continue;
        }
        if ((keys[bell / 64] >> (bell % 64) & 1) == 0)
            continue;
        uint32_t before = bell_ring(&pulse->key_bells[bell]);
        if (own != NULL)
            ear_ignore(own, &pulse->key_bells[bell], before);
    }
    uint32_t before = bell_ring(&pulse->header->bell);
    if (own != NULL)
        ear_ignore(own, &pulse->header->bell, before);
}

bool pulse_removed(const struct pulse *pulse)
{
    struct stat about;
    return fstat(pulse->lock_fd, &about) == 0 && about.st_nlink == 0;
}

static struct flock lock_of(uint64_t session, short type)
{
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)session, .l_len = 1};
}

static struct pulse_slot *slot_of(const struct pulse *pulse, int slot, uint64_t session)
{
    if (slot < 0 || slot >= PULSE_SLOTS || atomic_load(&pulse->slots[slot].session) != session)
        return NULL;
    return &pulse->slots[slot];
}

void pulse_warm(struct pulse *pulse, int slot, uint64_t session)
{
    const struct pulse_slot *at = slot_of(pulse, slot, session);
    mem_warm(pulse->header, sizeof(*pulse->header) + KEY_BELLS * sizeof(bell_word));
    if (at != NULL)
        mem_warm(at, sizeof(*at));
}

void pulse_end(struct pulse *pulse, int slot, uint64_t session)
{
    struct pulse_slot *at = slot_of(pulse, slot, session);
    if (at == NULL)
        return;
    atomic_store(&at->beat_ms, PULSE_DEAD);
    atomic_store(&at->session, 0);
}

bool pulse_renew(struct pulse *pulse, int slot, uint64_t session, int64_t now_ms)
{
    struct pulse_slot *at = slot_of(pulse, slot, session);
    if (at == NULL)
        return false;
    int64_t was_ms = atomic_load(&at->beat_ms);
    while (was_ms != PULSE_DEAD)
        if (atomic_compare_exchange_weak(&at->beat_ms, &was_ms, now_ms))
            return true;
    return false;
}

bool pulse_unlocked(const struct pulse *pulse, uint64_t session)
{
    struct flock lock = lock_of(session, F_WRLCK);
    return fcntl(pulse->lock_fd, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_UNLCK;
}

int64_t pulse_expires_ms(const struct pulse *pulse, int slot, uint64_t session)
{
    const struct pulse_slot *at = slot_of(pulse, slot, session);
    if (at == NULL)
        return 0;
    int64_t beat_ms = atomic_load(&((struct pulse_slot *)at)->beat_ms);
    return beat_ms == PULSE_DEAD ? 0 : beat_ms + atomic_load(&((struct pulse_slot *)at)->ttl_ms);
}

/* Free, or left behind by a process that was killed between taking it and storing its session. */
static int free_slot(const struct pulse *pulse)
{
    int slot = 0;
    while (slot < PULSE_SLOTS && atomic_load(&pulse->slots[slot].session) != 0)
        slot++;
    if (slot < PULSE_SLOTS)
        return slot;
    int64_t now_ms = clock_now_ms();
    for (slot = 0; slot < PULSE_SLOTS; slot++) {
        uint64_t session = atomic_load(&pulse->slots[slot].session);
        if (pulse_expires_ms(pulse, slot, session) < now_ms && pulse_unlocked(pulse, session))
            break;
    }
    return slot;
}

int pulse_begin(struct pulse *pulse, uint64_t session, uint32_t ttl_ms, int *ret_fd, struct baton_error *err)
{
    int slot = free_slot(pulse);
    if (slot == PULSE_SLOTS)
        return error_set(err, BATON_FULL, "local: %s has %d sessions, and room for no more", pulse->folder,
                         PULSE_SLOTS);
    int fd = folder_file(pulse->folder, "sessions", err);
    if (fd < 0)
        return -1;
    struct flock lock = lock_of(session, F_WRLCK);
    if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
        error_errno(err, errno, "local: cannot lock byte %llu of %s/sessions", (unsigned long long)session,
                    pulse->folder);
        close(fd);
        return -1;
    }
    atomic_store(&pulse->slots[slot].ttl_ms, ttl_ms);
    atomic_store(&pulse->slots[slot].beat_ms, clock_now_ms());
    atomic_store(&pulse->slots[slot].session, session);
    *ret_fd = fd;
    return slot;
}

bool pulse_expire(struct pulse *pulse, int slot, uint64_t session, int64_t now_ms)
{
    struct pulse_slot *at = slot_of(pulse, slot, session);
    if (at == NULL)
        return true;
    int64_t beat_ms = atomic_load(&at->beat_ms);
    if (beat_ms == PULSE_DEAD)
        return true;
    if (now_ms < beat_ms + (int64_t)atomic_load(&at->ttl_ms))
        return false;
    return atomic_compare_exchange_strong(&at->beat_ms, &beat_ms, PULSE_DEAD);
}

void pulse_unlock(int fd, uint64_t session)
{
    struct flock lock = lock_of(session, F_UNLCK);
    (void)fcntl(fd, F_OFD_SETLK, &lock);
}
