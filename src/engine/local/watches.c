/* watches.c: a hash table of prefixes. For a change, each beginning of its key that ends with a slash is looked up; so
 * a prefix must end with a slash ("elections/a/"), or be empty. */
#include "engine/local/watches.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/hash.h"

static struct watch **bucket_of(const struct watches *watches, const char *prefix)
{
    return &watches->buckets[hash_text(HASH_BEGIN, prefix) & (watches->bucket_count - 1)];
}

void watches_init(struct watches *watches)
{
    *watches = (struct watches){.bucket_count = 16, .rest_moves = 1};
    watches->buckets = mem_new(watches->bucket_count * sizeof(struct watch *));
}

void watches_rest(struct watches *watches, struct watch *watch, const struct baton_rest *rest)
{
    if (watch->rest.count == 0 && (rest == NULL || rest->count == 0))
        return;
    watches->rest_moves++;
    watches->resting -= watch->rest.count > 0;
    if (rest != NULL)
        rest_begin(&watch->rest, rest);
    else
        rest_end(&watch->rest);
    watches->resting += watch->rest.count > 0;
    assert(watches->resting <= watches->count);
}

static void watch_free(struct watch *watch)
{
    rest_end(&watch->rest);
    free(watch->prefix);
    free(watch->picked);
    free(watch);
}

void watches_release(struct watches *watches)
{
    for (size_t i = 0; i < watches->bucket_count; i++) {
        for (struct watch *watch = watches->buckets[i], *next; watch != NULL; watch = next) {
            next = watch->next;
            watch_free(watch);
        }
    }
    free(watches->buckets);
    *watches = (struct watches){0};
}

static void grow(struct watches *watches)
{
    size_t count = 2 * watches->bucket_count;
    struct watch **buckets = mem_new(count * sizeof(struct watch *));
    for (size_t i = 0; i < watches->bucket_count; i++) {
        for (struct watch *watch = watches->buckets[i], *next; watch != NULL; watch = next) {
            next = watch->next;
            struct watch **bucket = &buckets[hash_text(HASH_BEGIN, watch->prefix) & (count - 1)];
            watch->next = *bucket;
            *bucket = watch;
        }
    }
    free(watches->buckets);
    watches->buckets = buckets;
    watches->bucket_count = count;
}

struct watch *watches_add(struct watches *watches, uint64_t id, const char *prefix)
{
    size_t length = strlen(prefix);
    assert(length == 0 || prefix[length - 1] == '/'); /* else it would never be found by a key */
    assert(watches_find(watches, id, prefix) == NULL);
    if (watches->count >= watches->bucket_count)
        grow(watches);
    struct watch *watch = mem_new(sizeof(*watch));
    watch->id = id;
    watch->prefix = mem_text(prefix);
    struct watch **bucket = bucket_of(watches, prefix);
    watch->next = *bucket;
    *bucket = watch;
    watches->rest_moves += watches->count == 0;
    watches->count++;
    return watch;
}

struct watch *watches_find(const struct watches *watches, uint64_t id, const char *prefix)
{
    struct watch *watch = *bucket_of(watches, prefix);
    while (watch != NULL && watch->id != id)
        watch = watch->next;
    return watch;
}

struct watch *watches_by_id(const struct watches *watches, uint64_t id)
{
    for (size_t i = 0; i < watches->bucket_count; i++)
        for (struct watch *watch = watches->buckets[i]; watch != NULL; watch = watch->next)
            if (watch->id == id)
                return watch;
    return NULL;
}

void watches_remove(struct watches *watches, uint64_t id)
{
    for (size_t i = 0; i < watches->bucket_count; i++) {
        for (struct watch **at = &watches->buckets[i]; *at != NULL; at = &(*at)->next) {
            if ((*at)->id != id)
                continue;
            struct watch *watch = *at;
            *at = watch->next;
            watches_rest(watches, watch, NULL);
            watch_free(watch);
            watches->count--;
            watches->rest_moves += watches->count == 0;
            return;
        }
    }
}

struct touched {
    struct watch **watches;
    size_t count, room;
};

static void pick(struct watches *watches, uint64_t hash, const char *key, size_t length, size_t change,
                 struct touched *touched)
{
    struct watch *watch = watches->buckets[hash & (watches->bucket_count - 1)];
    for (; watch != NULL; watch = watch->next) {
        if (!watch->ready || strlen(watch->prefix) != length || memcmp(watch->prefix, key, length) != 0)
            continue;
        if (watch->picked_count == watch->picked_room) {
            watch->picked_room = watch->picked_room > 0 ? 2 * watch->picked_room : 4;
            watch->picked = mem_grow(watch->picked, watch->picked_room * sizeof(size_t));
        }
        if (watch->picked_count == 0) {
            if (touched->count == touched->room) {
                touched->room = touched->room > 0 ? 2 * touched->room : 8;
                touched->watches = mem_grow(touched->watches, touched->room * sizeof(struct watch *));
            }
            touched->watches[touched->count++] = watch;
        }
        watch->picked[watch->picked_count++] = change;
    }
}

void watches_tell(struct watches *watches, const struct baton_batch *batch,
                  const struct baton_engine_callbacks *callbacks, void *ctx)
{
    struct touched touched = {0};
    assert(!batch->reset); /* that is for one watch, not for all */
    for (size_t i = 0; i < batch->count; i++) {
        const char *key = batch->changes[i].record.key;
        uint64_t hash = HASH_BEGIN;
        pick(watches, hash, key, 0, i, &touched);
        for (size_t at = 0; key[at] != '\0'; at++) {
            hash = hash_byte(hash, key[at]);
            if (key[at] == '/')
                pick(watches, hash, key, at + 1, i, &touched);
        }
    }
    /* Collect before telling: a watch may be closed by what it is told. */
    struct {
        uint64_t id;
        struct baton_change *changes;
        size_t count;
    } *parts = mem_new((touched.count + 1) * sizeof(*parts));
    for (size_t i = 0; i < touched.count; i++) {
        struct watch *watch = touched.watches[i];
        assert(watch->ready && watch->picked_count > 0);
        parts[i].id = watch->id;
        parts[i].count = watch->picked_count;
        parts[i].changes = mem_new(watch->picked_count * sizeof(struct baton_change));
        for (size_t j = 0; j < watch->picked_count; j++)
            parts[i].changes[j] = batch->changes[watch->picked[j]];
        watch->picked_count = 0;
        watches_rest(watches, watch, NULL);
    }
    for (size_t i = 0; i < touched.count; i++) {
        struct baton_batch part = {.revision = batch->revision, .changes = parts[i].changes, .count = parts[i].count};
        callbacks->changed(ctx, parts[i].id, &part);
        free(parts[i].changes);
    }
    free(parts);
    free(touched.watches);
}
