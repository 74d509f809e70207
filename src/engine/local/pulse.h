/* pulse.h: says whether a session is alive: it is while a process holds its byte of `sessions`, and its heartbeat is
 * fresh. Also the mapping that all processes share: the bells, the heartbeats and the latches.
 *
 * A heartbeat is a word in that mapping: CLOCK_BOOTTIME of the last renewal, which is one clock for all. To renew is a
 * compare-and-swap, and so is to find it dead: a renewal either comes before the finding, or is refused (heartbeat.h).
 */
#ifndef LOCAL_PULSE_H
#define LOCAL_PULSE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "baton/error.h"
#include "engine/local/bell.h"
#include "engine/local/folder.h"
#include "engine/local/heartbeat.h"
#include "engine/local/latches.h"

#define PULSE_SLOTS 8192 /* sessions alive in one namespace */
/* Another number for each change of what is in the mapping: processes with different ones refuse each other. */
#define PULSE_LAYOUT 2

/* At the beginning of the mapping. */
struct pulse_header {
    bell_word bell;
    uint32_t unused;
    _Atomic uint64_t magic;  /* PULSE_MAGIC with the layout; 0: the file is new */
    _Atomic uint64_t writer; /* the process that has the lock `writer`: its pid, and its pid namespace above; 0: none */
    uint32_t reserved[10];
};

struct pulse {
    struct pulse_header *header;
    bell_word *key_bells; /* KEY_BELLS */
    struct heartbeat *slots;
    struct latch_place *latches; /* LATCHES */
    int lock_fd;                 /* for looking at locks; locks nothing but the byte of the boot */
    struct folder *folder;       /* the caller's */
    char name[24];               /* of the mapping's file */
    uint64_t boot, self;         /* self: as in header->writer */
};

/* Open the mapping of this boot. As long as the pulse is open, a byte of `sessions` for this boot is locked, shared. 0,
 * or -1 with err; UNSUPPORTED: see pulse_strangers. */
int pulse_open(struct pulse *pulse, struct folder *folder, struct baton_error *err);
void pulse_close(struct pulse *pulse);
/* The name of the file of a boot. */
void pulse_name(uint64_t boot, char name[24]);

/* Ring the bell, and each key bell whose bit is set in `keys`. The caller's own ear (`own`, may be NULL) ignores these
 * rings. */
void pulse_ring(struct pulse *pulse, const uint64_t keys[KEY_BELLS / 64], struct ear *own);

/* Is the directory still the one that its path leads to (folder_look), and the mapping whole? 0, or -1 with err: then
 * nothing in it counts any more, and the mapping must not be touched: where a file was shortened, there is no memory
 * behind it, which ends the process (SIGBUS). */
int pulse_look(const struct pulse *pulse, struct baton_error *err);

/* Does a process have this directory open that counts another boot, has another clock, or is of a version whose mapping
 * has another layout? Then no heartbeat means the same to both. (A container may have a boot_id of its own, or a time
 * namespace.) */
bool pulse_strangers(const struct pulse *pulse);
int pulse_refuse_strangers(const struct pulse *pulse, struct baton_error *err); /* -1, in words */

/* Take a free slot for a new session, and lock its byte; the caller must hold the writer's lock. *ret_fd is a
 * descriptor of the lock's open file description: the byte is locked until pulse_unlock, or until no descriptor of it
 * is open. The slot's number, or -1 with err. */
int pulse_begin(struct pulse *pulse, uint64_t session, uint32_t ttl_ms, int *ret_fd, struct baton_error *err);
/* Give the slot back, if it is still this session's. */
void pulse_end(struct pulse *pulse, int slot, uint64_t session);

/* false: the session is over. */
bool pulse_renew(struct pulse *pulse, int slot, uint64_t session, int64_t now_ms);

/* Note in the mapping that this process has the writer's lock, or has it no more: for the messages of those that wait.
 */
void pulse_writes(struct pulse *pulse, bool writes);

/* Does no process hold the session's byte? */
bool pulse_unlocked(const struct pulse *pulse, uint64_t session);
/* When the session's heartbeat will be too old; a time in the past if it is dead, or not there. */
int64_t pulse_expires_ms(const struct pulse *pulse, int slot, uint64_t session);
/* If the heartbeat is too old at now_ms, mark it dead for good: true; also if it is dead already, or not there. */
bool pulse_expire(struct pulse *pulse, int slot, uint64_t session, int64_t now_ms);

/* Unlock a session's byte, for every process that has a descriptor of the lock. */
void pulse_unlock(int fd, uint64_t session);

#endif
