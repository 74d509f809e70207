/* hash.h: FNV-1a, 64 bits (datatracker.ietf.org/doc/html/draft-eastlake-fnv): to find things and to tell texts apart.
 * It protects nobody: two texts with the same hash are easily made. Records hold it (a task's command), so it must
 * never change. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stdint.h>

#define HASH_BEGIN 0xcbf29ce484222325ULL

static inline uint64_t hash_byte(uint64_t hash, char byte)
{
    return (hash ^ (unsigned char)byte) * 0x100000001b3ULL;
}

/* Without its final NUL. */
static inline uint64_t hash_text(uint64_t hash, const char *text)
{
    for (; *text != '\0'; text++)
        hash = hash_byte(hash, *text);
    return hash;
}

#endif
