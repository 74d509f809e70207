/* shard_of.h: which shard a key belongs to, so that any program of any language can reach its owner.
 *
 *     shard = XXH64(key, seed 0) mod count
 *
 * XXH64 (github.com/Cyan4973/xxHash, doc/xxhash_spec.md) has a public definition that does not change and an
 * implementation in nearly every language: Python's `xxhash.xxh64_intdigest(key) % count`. The rest of a division is as
 * even as it need be: of 100,000 shards one has at most one in 10^14 more than its share of all hashes.
 *
 * It is fixed for good: records, clients and databases hold what follows from it. It is no protection from who chooses
 * keys that fall into one shard.
 */
#ifndef CORE_GROUP_SHARD_OF_H
#define CORE_GROUP_SHARD_OF_H

#include <stddef.h>
#include <stdint.h>

/* 0..count-1, of any bytes (`key` may be NULL if the size is 0). The count must be at least 1. */
uint32_t shard_of(const void *key, size_t size, uint32_t count);

/* The hash itself. */
uint64_t shard_hash(const void *key, size_t size);

#endif
