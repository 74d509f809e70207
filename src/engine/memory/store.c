/* store.c: records in a sorted array, changes in a log. Simple on purpose: other engines are compared with it. */
#include "engine/memory/store.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "baton/latch.h"

#define HISTORY_MAX 4096 /* changes kept; a watcher further behind begins again */

/* One for each queue that ever had one: its owner has its address. */
struct latch {
    struct latch *next;
    char *queue; /* the keys' common part, with the last slash */
    struct baton_latch latch;
};

struct store {
    struct latch *latches;
    bool latches_broken;
    uint64_t revision;
    uint64_t last_session;
    uint64_t *sessions; /* alive, in the order of their opening */
    size_t session_count, session_room;
    struct baton_record *records; /* by key */
    size_t record_count, record_room;
    struct baton_change *history; /* by revision; owns its text */
    size_t history_count, history_room;
    uint64_t compacted;         /* the history holds every change after this revision */
    struct baton_change *batch; /* the last answer of store_read; borrows its text */
    size_t batch_room;
    struct baton_record *synced; /* the lasting records, as of store_sync; owns its text */
    size_t synced_count;
    uint64_t synced_revision;
};

#define GROW(array, count, room)                                                                                       \
    do {                                                                                                               \
        if ((count) == (room)) {                                                                                       \
            (room) = (room) > 0 ? 2 * (room) : 16;                                                                     \
            (array) = mem_grow((array), (room) * sizeof(*(array)));                                                    \
        }                                                                                                              \
    } while (0)

struct store *store_new(void)
{
    return mem_new(sizeof(struct store));
}

static void change_release(struct baton_change *change)
{
    free((char *)change->record.key);
    free((char *)change->record.value);
}

static void records_release(struct baton_record *records, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free((char *)records[i].key);
        free((char *)records[i].value);
    }
    free(records);
}

void store_free(struct store *store)
{
    if (store == NULL)
        return;
    records_release(store->records, store->record_count);
    records_release(store->synced, store->synced_count);
    for (size_t i = 0; i < store->history_count; i++)
        change_release(&store->history[i]);
    for (struct latch *latch = store->latches, *next; latch != NULL; latch = next) {
        next = latch->next;
        free(latch->queue);
        free(latch);
    }
    free(store->sessions);
    free(store->history);
    free(store->batch);
    free(store);
}

uint64_t store_revision(const struct store *store)
{
    return store->revision;
}

uint64_t store_session_open(struct store *store)
{
    assert(store->session_count <= store->last_session);
    GROW(store->sessions, store->session_count, store->session_room);
    store->sessions[store->session_count++] = ++store->last_session;
    return store->last_session;
}

bool store_session_alive(const struct store *store, uint64_t session)
{
    for (size_t i = 0; i < store->session_count; i++)
        if (store->sessions[i] == session)
            return true;
    return false;
}

/* The place of key, or where it would be. */
static size_t place_of(const struct store *store, const char *key, bool *ret_found)
{
    size_t low = 0, high = store->record_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(store->records[middle].key, key);
        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_found = false;
    return low;
}

const struct baton_record *store_get(const struct store *store, const char *key)
{
    bool found;
    size_t place = place_of(store, key, &found);
    return found ? &store->records[place] : NULL;
}

static void history_add(struct store *store, enum baton_change_kind kind, const struct baton_record *record)
{
    assert(record->revision == store->revision && record->created <= record->revision);
    assert(store->history_count == 0 || /* in the order of revisions */
           store->history[store->history_count - 1].record.revision <= record->revision);
    if (store->history_count >= HISTORY_MAX) {
        size_t drop = HISTORY_MAX / 2;
        uint64_t upto = store->history[drop - 1].record.revision;
        while (drop < store->history_count && store->history[drop].record.revision == upto)
            drop++;
        for (size_t i = 0; i < drop; i++)
            change_release(&store->history[i]);
        memmove(store->history, store->history + drop, (store->history_count - drop) * sizeof(*store->history));
        store->history_count -= drop;
        store->compacted = upto;
    }
    GROW(store->history, store->history_count, store->history_room);
    struct baton_change *change = &store->history[store->history_count++];
    change->kind = kind;
    change->record = *record;
    change->record.key = mem_text(record->key);
    change->record.value = kind == BATON_CHANGE_PUT ? mem_text(record->value) : NULL;
}

/* ---- latches ---- */

static struct latch *latch_of_queue(const struct store *store, const char *key)
{
    size_t length = (size_t)(strrchr(key, '/') - key) + 1;
    struct latch *latch = store->latches;
    while (latch != NULL && (strlen(latch->queue) != length || strncmp(latch->queue, key, length) != 0))
        latch = latch->next;
    return latch;
}

struct baton_latch *store_latch(const struct store *store, const char *key, uint64_t created)
{
    struct latch *latch = store->latches != NULL && strchr(key, '/') != NULL ? latch_of_queue(store, key) : NULL;
    return latch != NULL && baton_latch_created(atomic_load(&latch->latch.word)) == created ? &latch->latch : NULL;
}

void store_break_latches(struct store *store)
{
    store->latches_broken = true;
}

/* Records that are created from now on have revisions above the last token of a latch that was closed. */
static void rise_above(struct store *store, uint64_t word)
{
    if (baton_latch_last_token(word) > store->revision)
        store->revision = baton_latch_last_token(word);
}

static void record_remove(struct store *store, size_t place);

/* A record is going to be put in this queue: if the entry that has the latch has freed it, that entry is removed. */
static void stand_beside(struct store *store, const char *key)
{
    struct latch *latch = store->latches != NULL && strchr(key, '/') != NULL ? latch_of_queue(store, key) : NULL;
    if (latch == NULL ||
        (store->latches_broken && baton_latch_state(atomic_load(&latch->latch.word)) == BATON_LATCH_USED))
        return;
    uint64_t word = baton_latch_want(&latch->latch);
    rise_above(store, word);
    for (size_t place = 0; place < store->record_count && baton_latch_state(word) == BATON_LATCH_GONE; place++) {
        const struct baton_record *record = &store->records[place];
        if (record->created != baton_latch_created(word) || !text_starts(record->key, latch->queue))
            continue;
        store->revision++;
        record_remove(store, place);
        return;
    }
}

static void latch_begin(struct store *store, const struct baton_record *record)
{
    if (record->session == 0 || record->created > BATON_LATCH_CREATED_MAX || strchr(record->key, '/') == NULL)
        return;
    struct latch *latch = latch_of_queue(store, record->key);
    if (latch == NULL) {
        latch = mem_new(sizeof(*latch));
        latch->queue = mem_text(record->key);
        strrchr(latch->queue, '/')[1] = '\0';
        latch->next = store->latches;
        store->latches = latch;
    }
    assert(record->created > 0);
    if (atomic_load(&latch->latch.word) == 0)
        atomic_store(&latch->latch.word, baton_latch_word(record->created, 0, BATON_LATCH_USED));
}

/* The record is going to be removed. The word of its latch; 0: it has none. */
static uint64_t latch_end(struct store *store, const struct baton_record *record)
{
    struct baton_latch *latch = store_latch(store, record->key, record->created);
    uint64_t word = latch != NULL ? baton_latch_close(latch) : 0;
    if (latch != NULL)
        atomic_store(&latch->word, 0);
    return word;
}

/* Remove the record at `place` at the present revision. */
static void record_remove(struct store *store, size_t place)
{
    assert(place < store->record_count);
    struct baton_record *record = &store->records[place];
    uint64_t word = latch_end(store, record);
    record->revision = store->revision;
    history_add(store, BATON_CHANGE_REMOVE, record);
    free((char *)record->key);
    free((char *)record->value);
    store->record_count--;
    memmove(record, record + 1, (store->record_count - place) * sizeof(*record));
    rise_above(store, word);
}

bool store_session_end(struct store *store, uint64_t session)
{
    size_t i = 0;
    while (i < store->session_count && store->sessions[i] != session)
        i++;
    if (i == store->session_count)
        return false;
    store->session_count--;
    memmove(&store->sessions[i], &store->sessions[i + 1], (store->session_count - i) * sizeof(*store->sessions));
    uint64_t revision = store->revision + 1, last = store->revision;
    for (size_t place = 0; place < store->record_count;) {
        if (store->records[place].session != session) {
            place++;
            continue;
        }
        store->revision = revision; /* of all */
        record_remove(store, place);
        last = store->revision > last ? store->revision : last;
    }
    assert(last >= store->revision && !store_session_alive(store, session));
    store->revision = last;
    return true;
}

static bool refuse_if_illegal(const struct store *store, const struct baton_write *write, struct baton_reply *ret)
{
    size_t length = strlen(write->key);
    ret->answer = BATON_ANSWER_REFUSED;
    if (length == 0 || length > BATON_KEY_MAX) {
        error_set(&ret->error, BATON_INVALID, "memory: a key has 1 to %d bytes, not %zu", BATON_KEY_MAX, length);
        return true;
    }
    if (write->kind == BATON_WRITE_PUT && strlen(write->value) > BATON_VALUE_MAX) {
        error_set(&ret->error, BATON_INVALID, "memory: the value of %s is longer than %d bytes", write->key,
                  BATON_VALUE_MAX);
        return true;
    }
    if (write->kind == BATON_WRITE_PUT && write->session != 0 && !store_session_alive(store, write->session)) {
        error_set(&ret->error, BATON_LOST, "memory: session %llu is over", (unsigned long long)write->session);
        return true;
    }
    return false;
}

void store_write(struct store *store, const struct baton_write *write, struct baton_reply *ret)
{
    assert(write->kind == BATON_WRITE_PUT || write->kind == BATON_WRITE_REMOVE);
    memset(ret, 0, sizeof(*ret));
    if (refuse_if_illegal(store, write, ret))
        return;
    bool found;
    size_t place = place_of(store, write->key, &found);
    uint64_t present = found ? store->records[place].revision : 0;
    ret->revision = store->revision;
    if (write->if_revision != BATON_REVISION_ANY && write->if_revision != present) {
        ret->answer = BATON_ANSWER_CONFLICT;
        return;
    }
    ret->answer = BATON_ANSWER_DONE;
    if (write->kind == BATON_WRITE_REMOVE) {
        if (found) {
            ret->revision = ++store->revision;
            record_remove(store, place);
        }
        return;
    }
    if (write->latched && !found) {
        stand_beside(store, write->key);
        place = place_of(store, write->key, &found);
    }
    ret->revision = ++store->revision;
    if (!found) {
        GROW(store->records, store->record_count, store->record_room);
        struct baton_record *at = &store->records[place];
        assert(place == 0 || strcmp(at[-1].key, write->key) < 0); /* sorted, each key once */
        assert(place == store->record_count || strcmp(write->key, at->key) < 0);
        memmove(at + 1, at, (store->record_count - place) * sizeof(*at));
        store->record_count++;
        *at = (struct baton_record){.key = mem_text(write->key), .created = store->revision};
    }
    struct baton_record *record = &store->records[place];
    free((char *)record->value);
    record->value = mem_text(write->value);
    record->revision = store->revision;
    record->session = write->session;
    if (write->latched && record->created == store->revision)
        latch_begin(store, record);
    history_add(store, BATON_CHANGE_PUT, record);
}

static void batch_add(struct store *store, struct baton_batch *batch, enum baton_change_kind kind,
                      const struct baton_record *record)
{
    GROW(store->batch, batch->count, store->batch_room);
    store->batch[batch->count++] = (struct baton_change){.kind = kind, .record = *record};
    batch->changes = store->batch;
}

bool store_read(struct store *store, const char *prefix, uint64_t after, uint64_t upto, struct baton_batch *ret)
{
    assert(after <= store->revision && upto <= store->revision); /* nobody is ahead of the store */
    assert(store->compacted <= store->revision);
    *ret = (struct baton_batch){.revision = upto > 0 ? upto : store->revision};
    if (after == 0 || after < store->compacted) {
        ret->reset = true;
        ret->revision = store->revision;
        bool found;
        for (size_t i = place_of(store, prefix, &found); i < store->record_count; i++) {
            if (!text_starts(store->records[i].key, prefix))
                break;
            batch_add(store, ret, BATON_CHANGE_PUT, &store->records[i]);
        }
        return true;
    }
    size_t low = 0, high = store->history_count; /* the first change after `after` */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (store->history[middle].record.revision <= after)
            low = middle + 1;
        else
            high = middle;
    }
    for (size_t i = low; i < store->history_count; i++) {
        const struct baton_change *change = &store->history[i];
        if (change->record.revision > ret->revision)
            break;
        if (text_starts(change->record.key, prefix))
            batch_add(store, ret, change->kind, &change->record);
    }
    return ret->count > 0;
}

void store_sync(struct store *store)
{
    records_release(store->synced, store->synced_count);
    store->synced = mem_new((store->record_count + 1) * sizeof(*store->synced));
    store->synced_count = 0;
    for (size_t i = 0; i < store->record_count; i++) {
        struct baton_record record = store->records[i];
        if (record.session != 0)
            continue;
        record.key = mem_text(record.key);
        record.value = mem_text(record.value);
        store->synced[store->synced_count++] = record;
    }
    store->synced_revision = store->revision;
}

void store_lose_power(struct store *store)
{
    assert(store->synced_revision <= store->revision);
    records_release(store->records, store->record_count);
    store->records = store->synced;
    store->record_count = store->record_room = store->synced_count;
    store->synced = NULL;
    store->synced_count = 0;
    store->session_count = 0;
    for (struct latch *latch = store->latches; latch != NULL; latch = latch->next)
        atomic_store(&latch->latch.word, 0); /* nobody is there to use it */
    store->last_session += BATON_REVISION_LEAP;
    store->revision = store->synced_revision + BATON_REVISION_LEAP;
    store_compact(store);
    store_sync(store);
}

void store_compact(struct store *store)
{
    for (size_t i = 0; i < store->history_count; i++)
        change_release(&store->history[i]);
    store->history_count = 0;
    store->compacted = store->revision;
}
