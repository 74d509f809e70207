/* pulse.c: the mapping, and the bytes of `sessions`. Their locks are those of open file descriptions (F_OFD_SETLK,
 * fcntl(2)): a guard that has a copy of the descriptor holds the lock, too. */
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
#include "engine/local/boot.h"
#include "engine/local/process.h"

#define PULSE_BYTES                                                                                                    \
    (sizeof(struct pulse_header) + KEY_BELLS * sizeof(bell_word) + PULSE_SLOTS * sizeof(struct heartbeat) +            \
     LATCHES * sizeof(struct latch_place))
#define PULSE_MAGIC (UINT64_C(0x6261746f6e620000) | PULSE_LAYOUT) /* "batonb" */
#define BOOT_BYTES ((off_t)1 << 62)                               /* of `sessions`, above all sessions: one a boot */

/* ---- the boot ---- */

static off_t boot_byte(const struct pulse *pulse)
{
    return BOOT_BYTES + (off_t)(uint32_t)pulse->boot;
}

void pulse_name(uint64_t boot, char name[24])
{
    snprintf(name, 24, "heartbeats.%08x", (unsigned)boot);
}

static int missing(const struct folder *folder, const char *name, bool *ret, struct baton_error *err)
{
    struct stat about;
    int found = folder_check(folder, name, &about, err);
    *ret = found > 0;
    return found < 0 ? -1 : 0;
}

static int enter_boot(struct pulse *pulse, struct baton_error *err)
{
    bool no_mapping, no_sessions;
    if (boot_number(PULSE_LAYOUT, &pulse->boot, err) < 0)
        return -1;
    pulse_name(pulse->boot, pulse->name);
    if (missing(pulse->folder, "sessions", &no_sessions, err) < 0 ||
        missing(pulse->folder, pulse->name, &no_mapping, err) < 0)
        return -1;
    if (no_sessions && !no_mapping) /* a new one would show everybody as dead */
        return error_set(err, BATON_UNAVAILABLE,
                         "local: %s/sessions was removed, by which it is told who is alive; end what uses the "
                         "directory, then remove %s, too",
                         pulse->folder->path, pulse->name);
    pulse->lock_fd = folder_file(pulse->folder, "sessions", err);
    if (pulse->lock_fd < 0)
        return -1;
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = boot_byte(pulse), .l_len = 1};
    if (fcntl(pulse->lock_fd, F_OFD_SETLK, &lock) < 0)
        return error_errno(err, errno, "local: cannot lock a byte of %s/sessions", pulse->folder->path);
    /* The first of this boot leaves nothing behind if it is the wrong one. */
    return no_mapping && pulse_strangers(pulse) ? pulse_refuse_strangers(pulse, err) : 0;
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
                     "have its own), or of a version of baton that shares memory in another way, so nobody could tell "
                     "who is alive; nothing was changed; give each side a "
                     "directory of its own, or use an engine such as etcd",
                     pulse->folder->path);
}

/* ---- the mapping ---- */

/* Space is taken now: a mapping without space behind it would kill the process when the disk is full. */
static int fill(int fd)
{
    const struct pulse_header header = {.magic = PULSE_MAGIC};
    int error = posix_fallocate(fd, 0, PULSE_BYTES);
    if (error == 0 && pwrite(fd, &header, sizeof(header), 0) != (ssize_t)sizeof(header))
        error = EIO;
    return error;
}

/* It gets its name when it is whole: one that is too short was shortened. With the writer's lock. */
static int make(struct pulse *pulse, struct baton_error *err)
{
    assert(pulse->name[0] != '\0' && pulse->header == NULL);
    static const char new[] = "heartbeats.new";
    struct stat about;
    int folder = pulse->folder->fd;
    if (folder_check(pulse->folder, pulse->name, &about, err) <= 0)
        return 0; /* somebody else was first, or it is told when it is opened */
    int fd = folder_new(pulse->folder, new, err);
    if (fd < 0)
        return -1;
    int error = fill(fd);
    close(fd);
    if (error == 0 && renameat(folder, new, folder, pulse->name) < 0)
        error = errno;
    if (error == 0)
        return 0;
    (void)unlinkat(folder, new, 0);
    return error_errno(err, error, "local: cannot make %s/%s, of %zu KiB", pulse->folder->path, pulse->name,
                       PULSE_BYTES / 1024);
}

static int make_locked(struct pulse *pulse, struct baton_error *err)
{
    int fd = folder_file(pulse->folder, "writer", err);
    if (fd < 0)
        return -1;
    int result = writer_lock(fd, err) < 0 ? -1 : make(pulse, err);
    close(fd); /* and unlock */
    return result;
}

static int map(struct pulse *pulse, int fd, struct baton_error *err)
{
    struct stat about;
    const char *folder = pulse->folder->path;
    if (fstat(fd, &about) < 0)
        return error_errno(err, errno, "local: cannot look at %s/%s", folder, pulse->name);
    void *memory = MAP_FAILED;
    if (about.st_size == (off_t)PULSE_BYTES) {
        memory = mmap(NULL, PULSE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (memory == MAP_FAILED)
            return error_errno(err, errno, "local: cannot map %s/%s", folder, pulse->name);
        pulse->header = memory;
    }
    if (memory == MAP_FAILED || atomic_load(&pulse->header->magic) != PULSE_MAGIC)
        return error_set(err, BATON_CORRUPT,
                         "local: %s/%s is damaged, or is not baton's; nothing was changed; end what uses the "
                         "directory, then remove this file",
                         folder, pulse->name);
    pulse->key_bells = (bell_word *)(void *)(pulse->header + 1);
    pulse->slots = (struct heartbeat *)(void *)(pulse->key_bells + KEY_BELLS);
    pulse->latches = (struct latch_place *)(void *)(pulse->slots + PULSE_SLOTS);
    return folder_know(pulse->folder, pulse->name, PULSE_BYTES, err);
}

int pulse_open(struct pulse *pulse, struct folder *folder, struct baton_error *err)
{
    assert(folder->fd >= 0);
    *pulse = (struct pulse){.lock_fd = -1, .folder = folder, .self = process_namespace() << 32 | (uint32_t)getpid()};
    int fd = -1, result = enter_boot(pulse, err);
    if (result == 0) {
        fd = folder_existing(folder, pulse->name, err);
        if (fd < 0 && errno == ENOENT && make_locked(pulse, err) == 0)
            fd = folder_file(folder, pulse->name, err);
        result = fd >= 0 ? map(pulse, fd, err) : -1;
    }
    if (fd >= 0)
        close(fd);
    if (result < 0)
        pulse_close(pulse);
    return result;
}

void pulse_close(struct pulse *pulse)
{
    if (pulse->header != NULL)
        munmap(pulse->header, PULSE_BYTES);
    if (pulse->lock_fd >= 0)
        close(pulse->lock_fd);
    *pulse = (struct pulse){.lock_fd = -1};
}

void pulse_ring(struct pulse *pulse, const uint64_t keys[KEY_BELLS / 64], struct ear *own)
{
    assert(pulse->header != NULL);
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

int pulse_look(const struct pulse *pulse, struct baton_error *err)
{
    assert(pulse->header != NULL);
    if (folder_look(pulse->folder, err) < 0)
        return -1;
    if (atomic_load(&pulse->header->magic) == PULSE_MAGIC)
        return 0;
    return error_set(err, BATON_UNAVAILABLE,
                     "local: the file %s of the state directory %s was overwritten; restart what uses it", pulse->name,
                     pulse->folder->path);
}

static struct flock lock_of(uint64_t session, short type)
{
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)session, .l_len = 1};
}

static struct heartbeat *slot_of(const struct pulse *pulse, int slot)
{
    static struct heartbeat nobodys; /* session 0 */
    return slot >= 0 && slot < PULSE_SLOTS ? &pulse->slots[slot] : &nobodys;
}

void pulse_end(struct pulse *pulse, int slot, uint64_t session)
{
    heartbeat_end(slot_of(pulse, slot), session);
}

bool pulse_renew(struct pulse *pulse, int slot, uint64_t session, int64_t now_ms)
{
    return heartbeat_renew(slot_of(pulse, slot), session, now_ms);
}

void pulse_writes(struct pulse *pulse, bool writes)
{
    atomic_store_explicit(&pulse->header->writer, writes ? pulse->self : 0, memory_order_relaxed);
}

bool pulse_unlocked(const struct pulse *pulse, uint64_t session)
{
    struct flock lock = lock_of(session, F_WRLCK);
    return fcntl(pulse->lock_fd, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_UNLCK;
}

int64_t pulse_expires_ms(const struct pulse *pulse, int slot, uint64_t session)
{
    return heartbeat_expires_ms(slot_of(pulse, slot), session);
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
    assert(session != 0 && ttl_ms > 0);
    int slot = free_slot(pulse);
    if (slot == PULSE_SLOTS)
        return error_set(err, BATON_FULL, "local: %s has %d sessions, and room for no more", pulse->folder->path,
                         PULSE_SLOTS);
    int fd = folder_file(pulse->folder, "sessions", err);
    if (fd < 0)
        return -1;
    struct flock lock = lock_of(session, F_WRLCK);
    if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
        error_errno(err, errno, "local: cannot lock byte %llu of %s/sessions", (unsigned long long)session,
                    pulse->folder->path);
        close(fd);
        return -1;
    }
    heartbeat_begin(&pulse->slots[slot], session, ttl_ms, clock_now_ms());
    *ret_fd = fd;
    return slot;
}

bool pulse_expire(struct pulse *pulse, int slot, uint64_t session, int64_t now_ms)
{
    return heartbeat_expire(slot_of(pulse, slot), session, now_ms);
}

void pulse_unlock(int fd, uint64_t session)
{
    assert(fd >= 0 && session != 0);
    struct flock lock = lock_of(session, F_UNLCK);
    (void)fcntl(fd, F_OFD_SETLK, &lock);
}
