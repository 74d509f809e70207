/* heartbeat.h: a session's slot in the shared mapping: when it was last renewed.
 *
 * A process may stand still between any two instructions, and a slot is used again by other sessions. A process that
 * comes late must not change the heartbeat of a session that has begun since, so:
 *
 *  - a heartbeat is one word: the time of the renewal in ms, and the low bits of the session's number. It changes by
 *    compare-and-swap only, from a word that was read while the slot was this session's (heartbeat_read: the word
 *    first, then whose slot it is). A session that has the slot later began later: its word has a later time; or, in
 *    the same millisecond, other low bits, since no 65,536 sessions begin in a millisecond;
 *  - the slot's session changes by compare-and-swap from its own number, which is never used again;
 *  - a session that begins (one at a time, with the writer's lock) has its number written last.
 */
#ifndef LOCAL_HEARTBEAT_H
#define LOCAL_HEARTBEAT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define HEARTBEAT_DEAD 0 /* the word of a session that was found dead, or has ended */

struct heartbeat {
    _Atomic uint64_t session; /* 0: free */
    _Atomic uint64_t word;
    _Atomic uint32_t ttl_ms;
    uint32_t unused;
};

/* A heartbeat as it was read while the slot was a session's. */
struct heartbeat_seen {
    uint64_t word;
    uint32_t ttl_ms;
};

/* false: the slot is not this session's (any more). */
bool heartbeat_read(struct heartbeat *at, uint64_t session, struct heartbeat_seen *ret);
/* The two halves of each change: false, and nothing has changed, if the word is not what was seen. */
bool heartbeat_replace(struct heartbeat *at, const struct heartbeat_seen *seen, uint64_t word);
uint64_t heartbeat_word(uint64_t session, int64_t now_ms);

/* With the writer's lock; the slot is free, or was left behind. */
void heartbeat_begin(struct heartbeat *at, uint64_t session, uint32_t ttl_ms, int64_t now_ms);
/* false: the session is over. */
bool heartbeat_renew(struct heartbeat *at, uint64_t session, int64_t now_ms);
/* When the heartbeat will be too old; 0: it is dead, or not there. */
int64_t heartbeat_expires_ms(struct heartbeat *at, uint64_t session);
/* If the heartbeat is too old at now_ms, mark it dead for good: true; also if it is dead already, or not there. */
bool heartbeat_expire(struct heartbeat *at, uint64_t session, int64_t now_ms);
/* Give the slot back, if it is still this session's. */
void heartbeat_end(struct heartbeat *at, uint64_t session);

#endif
