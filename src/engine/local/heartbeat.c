/* heartbeat.c: each change of a heartbeat is a compare-and-swap from what was seen of the same session. */
#include "engine/local/heartbeat.h"

#include "base/base.h"

#define SESSION_BITS 16

uint64_t heartbeat_word(uint64_t session, int64_t now_ms)
{
    assert(now_ms > 0 && now_ms < INT64_C(1) << (63 - SESSION_BITS));
    return (uint64_t)now_ms << SESSION_BITS | (session & ((1U << SESSION_BITS) - 1));
}

static int64_t time_of(uint64_t word)
{
    return (int64_t)(word >> SESSION_BITS);
}

bool heartbeat_read(struct heartbeat *at, uint64_t session, struct heartbeat_seen *ret)
{
    ret->word = atomic_load(&at->word);
    ret->ttl_ms = atomic_load(&at->ttl_ms);
    return atomic_load(&at->session) == session;
}

bool heartbeat_replace(struct heartbeat *at, const struct heartbeat_seen *seen, uint64_t word)
{
    assert(seen->word != HEARTBEAT_DEAD); /* a dead one stays dead */
    uint64_t expected = seen->word;
    return atomic_compare_exchange_strong(&at->word, &expected, word);
}

void heartbeat_begin(struct heartbeat *at, uint64_t session, uint32_t ttl_ms, int64_t now_ms)
{
    atomic_store(&at->session, 0);
    atomic_store(&at->ttl_ms, ttl_ms);
    atomic_store(&at->word, heartbeat_word(session, now_ms));
    atomic_store(&at->session, session);
}

bool heartbeat_renew(struct heartbeat *at, uint64_t session, int64_t now_ms)
{
    struct heartbeat_seen seen;
    while (heartbeat_read(at, session, &seen) && seen.word != HEARTBEAT_DEAD)
        if (heartbeat_replace(at, &seen, heartbeat_word(session, now_ms)))
            return true;
    return false;
}

int64_t heartbeat_expires_ms(struct heartbeat *at, uint64_t session)
{
    struct heartbeat_seen seen;
    if (!heartbeat_read(at, session, &seen) || seen.word == HEARTBEAT_DEAD)
        return 0;
    return time_of(seen.word) + seen.ttl_ms;
}

bool heartbeat_expire(struct heartbeat *at, uint64_t session, int64_t now_ms)
{
    struct heartbeat_seen seen;
    if (!heartbeat_read(at, session, &seen) || seen.word == HEARTBEAT_DEAD)
        return true;
    return now_ms >= time_of(seen.word) + seen.ttl_ms && heartbeat_replace(at, &seen, HEARTBEAT_DEAD);
}

void heartbeat_end(struct heartbeat *at, uint64_t session)
{
    struct heartbeat_seen seen;
    do
        if (!heartbeat_read(at, session, &seen))
            return;
    while (seen.word != HEARTBEAT_DEAD && !heartbeat_replace(at, &seen, HEARTBEAT_DEAD));
    atomic_compare_exchange_strong(&at->session, &session, 0);
}
