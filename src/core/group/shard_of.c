/* shard_of.c: see shard_of.h. The names of the steps are those of the specification. */
#include "core/group/shard_of.h"

#include "base/base.h"

#define PRIME_1 0x9e3779b185ebca87ULL
#define PRIME_2 0xc2b2ae3d27d4eb4fULL
#define PRIME_3 0x165667b19e3779f9ULL
#define PRIME_4 0x85ebca77c2b2ae63ULL
#define PRIME_5 0x27d4eb2f165667c5ULL

#define STRIPE 32 /* bytes: a lane of eight for each of four accumulators */

/* Little-endian, from anywhere. */
static uint64_t number_of(const unsigned char *bytes, unsigned size)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < size; i++)
        number |= (uint64_t)bytes[i] << (8 * i);
    return number;
}

static uint64_t rotate(uint64_t word, unsigned bits)
{
    return word << bits | word >> (64 - bits);
}

static uint64_t round_of(uint64_t accumulator, uint64_t lane)
{
    return rotate(accumulator + lane * PRIME_2, 31) * PRIME_1;
}

static uint64_t merge(uint64_t accumulator, uint64_t with)
{
    return (accumulator ^ round_of(0, with)) * PRIME_1 + PRIME_4;
}

/* Steps 1 to 3: the whole stripes. Moves `bytes` to what is left. */
static uint64_t stripes(const unsigned char **bytes, size_t size)
{
    if (size < STRIPE)
        return PRIME_5;
    uint64_t a[4] = {PRIME_1 + PRIME_2, PRIME_2, 0, 0 - PRIME_1};
    for (; size >= STRIPE; size -= STRIPE, *bytes += STRIPE)
        for (unsigned i = 0; i < 4; i++)
            a[i] = round_of(a[i], number_of(*bytes + (size_t)8 * i, 8));
    uint64_t hash = rotate(a[0], 1) + rotate(a[1], 7) + rotate(a[2], 12) + rotate(a[3], 18);
    for (unsigned i = 0; i < 4; i++)
        hash = merge(hash, a[i]);
    return hash;
}

uint64_t shard_hash(const void *key, size_t size)
{
    const unsigned char *bytes = key;
    uint64_t hash = stripes(&bytes, size) + size;
    size_t left = size % STRIPE;
    for (; left >= 8; left -= 8, bytes += 8)
        hash = rotate(hash ^ round_of(0, number_of(bytes, 8)), 27) * PRIME_1 + PRIME_4;
    if (left >= 4) {
        hash = rotate(hash ^ number_of(bytes, 4) * PRIME_1, 23) * PRIME_2 + PRIME_3;
        left -= 4;
        bytes += 4;
    }
    for (; left > 0; left--, bytes++)
        hash = rotate(hash ^ *bytes * PRIME_5, 11) * PRIME_1;
    hash = (hash ^ hash >> 33) * PRIME_2;
    hash = (hash ^ hash >> 29) * PRIME_3;
    return hash ^ hash >> 32;
}

uint32_t shard_of(const void *key, size_t size, uint32_t count)
{
    assert(count > 0);
    return (uint32_t)(shard_hash(key, size) % count);
}
