/* latches.c: the changes of a transaction lie over the shared words until it is committed. */
#include "engine/local/latches.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/hash.h"

struct latch_change {
    struct latch_place *place;
    uint64_t queue, session;
    uint64_t word; /* 0: it is nobody's */
};

size_t queue_length(const char *key)
{
    const char *slash = strrchr(key, '/');
    return slash != NULL ? (size_t)(slash - key) + 1 : 0;
}

static struct latch_place *place_of(struct latch_place *latches, const char *key, uint64_t *ret_queue)
{
    size_t length = queue_length(key);
    uint64_t hash = HASH_BEGIN;
    for (size_t i = 0; i < length; i++)
        hash = hash_byte(hash, key[i]);
    *ret_queue = hash;
    return length > 0 ? &latches[(hash ^ hash >> 32) % LATCHES] : NULL;
}

/* Is it this queue's? */
static bool is_of(const struct latch_place *place, uint64_t queue)
{
    struct latch_place *at = (struct latch_place *)place; /* (C11's atomic_load takes no const) */
    return atomic_load(&at->latch.word) != 0 && atomic_load(&at->queue) == queue;
}

struct baton_latch *latches_find(struct latch_place *latches, const char *key, uint64_t created)
{
    uint64_t queue;
    struct latch_place *place = place_of(latches, key, &queue);
    if (place == NULL || !is_of(place, queue) || baton_latch_created(atomic_load(&place->latch.word)) != created)
        return NULL;
    return &place->latch;
}

/* The change that this transaction has made of the place so far; NULL: none. */
static struct latch_change *change_of(const struct latch_changes *changes, const struct latch_place *place)
{
    for (size_t i = 0; i < changes->count; i++)
        if (changes->list[i].place == place)
            return &changes->list[i];
    return NULL;
}

static void change(struct latch_changes *changes, struct latch_place *place, uint64_t queue, uint64_t session,
                   uint64_t word)
{
    struct latch_change *at = change_of(changes, place);
    assert(place >= changes->latches && place < changes->latches + LATCHES);
    assert(word == 0 || session != 0); /* an entry's, which is bound */
    if (at == NULL && changes->count == changes->room) {
        changes->room = changes->room > 0 ? 2 * changes->room : 4;
        changes->list = mem_grow(changes->list, changes->room * sizeof(*changes->list));
    }
    if (at == NULL)
        at = &changes->list[changes->count++];
    *at = (struct latch_change){.place = place, .queue = queue, .session = session, .word = word};
}

enum latches_wanted latches_want(struct latch_changes *changes, const char *key, uint64_t *ret_created,
                                 uint64_t *ret_token)
{
    uint64_t queue;
    *ret_created = *ret_token = 0;
    struct latch_place *place = place_of(changes->latches, key, &queue);
    struct latch_change *made = place != NULL ? change_of(changes, place) : NULL;
    if (made != NULL) {
        if (made->word != 0 && made->queue == queue)
            made->word = baton_latch_word(baton_latch_created(made->word), 0, BATON_LATCH_WANTED);
        return LATCHES_NOTHING;
    }
    if (place == NULL || !is_of(place, queue))
        return LATCHES_NOTHING;
    uint64_t word = baton_latch_want(&place->latch);
    bool in_use = baton_latch_state(word) == BATON_LATCH_WANTED,
         removable = baton_latch_state(word) == BATON_LATCH_GONE;
    if (!in_use && !removable) /* somebody has overwritten it */
        return LATCHES_NOTHING;
    *ret_created = baton_latch_created(word);
    *ret_token = baton_latch_last_token(word);
    if (removable)
        change(changes, place, queue, 0, 0);
    return removable ? LATCHES_REMOVE : LATCHES_IN_USE;
}

uint64_t latches_taken(const struct latch_changes *changes, const char *key)
{
    uint64_t queue;
    struct latch_place *place = place_of(changes->latches, key, &queue);
    const struct latch_change *made = place != NULL ? change_of(changes, place) : NULL;
    if (made != NULL)
        return made->word != 0 ? made->session : 0;
    return place != NULL && atomic_load(&place->latch.word) != 0 ? atomic_load(&place->session) : 0;
}

void latches_begin(struct latch_changes *changes, const char *key, uint64_t session, uint64_t created)
{
    uint64_t queue;
    struct latch_place *place = place_of(changes->latches, key, &queue);
    assert(session != 0 && created > 0);
    if (place != NULL && created <= BATON_LATCH_CREATED_MAX)
        change(changes, place, queue, session, baton_latch_word(created, 0, BATON_LATCH_USED));
}

uint64_t latches_end(struct latch_changes *changes, const char *key, uint64_t created)
{
    uint64_t queue;
    struct latch_place *place = place_of(changes->latches, key, &queue);
    struct latch_change *made = place != NULL ? change_of(changes, place) : NULL;
    if (made != NULL) {
        if (made->queue == queue && baton_latch_created(made->word) == created)
            made->word = 0;
        return 0;
    }
    struct baton_latch *latch = latches_find(changes->latches, key, created);
    if (latch == NULL)
        return 0;
    uint64_t token = baton_latch_last_token(baton_latch_close(latch));
    change(changes, place, queue, 0, 0);
    return token;
}

void latches_commit(struct latch_changes *changes)
{
    for (size_t i = 0; i < changes->count; i++) {
        const struct latch_change *made = &changes->list[i];
        atomic_store(&made->place->latch.word, 0); /* so that nobody takes the new numbers for the old latch's */
        atomic_store(&made->place->queue, made->queue);
        atomic_store(&made->place->session, made->session);
        atomic_store(&made->place->latch.word, made->word);
    }
    changes->count = 0;
}

void latches_rollback(struct latch_changes *changes)
{
    changes->count = 0;
}

void latches_release(struct latch_changes *changes)
{
    assert(changes->count == 0); /* committed, or rolled back */
    free(changes->list);
    *changes = (struct latch_changes){0};
}
