/* fuzz_pair.c: what is written is read back equal, for each kind of record, whatever its texts, bytes and numbers are.
 * The input is where they come from, so the unit test `pairs` runs this with inputs of its own making, too. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/base64.h"
#include "baton/records.h"
#include "core/group/record.h"
#include "core/json.h"
#include "core/leadership/record.h"
#include "core/queue/entry.h"
#include "core/task/claim.h"
#include "core/task/key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct source {
    const uint8_t *data;
    size_t left;
};

static unsigned take(struct source *from)
{
    if (from->left == 0)
        return 0;
    from->left--;
    return *from->data++;
}

static int64_t take_number(struct source *from)
{
    static const int64_t edges[] = {0,         1,          -1,          INT64_MAX,       INT64_MIN,        INT32_MAX,
                                    INT32_MIN, UINT32_MAX, WALL_MS_MAX, WALL_MS_MAX + 1, (int64_t)TERM_MAX};
    unsigned choice = take(from);
    if (choice < COUNT_OF(edges))
        return edges[choice];
    uint64_t number = 0;
    for (int i = 0; i < 8; i++)
        number = number << 8 | take(from);
    return (int64_t)(number >> (choice % 64));
}

static int64_t take_between(struct source *from, int64_t least, int64_t most)
{
    int64_t number = take_number(from);
    return number < least ? least : number > most ? most : number;
}

/* Up to `limit` bytes, often as many: from the input, then one of them over and over. */
static size_t take_bytes(struct source *from, char *to, size_t limit)
{
    size_t size = take(from) % 3 == 0 ? limit : (take(from) << 8 | take(from)) % (limit + 1);
    unsigned own = take(from) % 64;
    char last = 0;
    for (size_t i = 0; i < size; i++)
        to[i] = last = i < own ? (char)take(from) : last;
    return size;
}

/* `least` is 1 where it must not be empty. */
static char *take_text(struct source *from, size_t least, size_t limit)
{
    char *text = mem_new(limit + 1);
    (void)take_bytes(from, text, limit);
    if (strlen(text) < least)
        strcpy(text, "x");
    return text;
}

/* As it is stored. */
static void same_text(const char *read, const char *written)
{
    char *plain = json_plain(written);
    assert(strcmp(read, plain) == 0);
    free(plain);
}

static void pair_candidate(struct source *from)
{
    struct baton_error err;
    const struct candidate written = {.id = take_text(from, 1, NAME_MAX_BYTES),
                                      .address = take_text(from, 0, 255),
                                      .host = take_text(from, 0, 64),
                                      .priority = (int32_t)take_between(from, -1000, 1000),
                                      .preempt = take(from) % 2,
                                      .since_wall_ms = take_between(from, 0, WALL_MS_MAX)};
    char *value = candidate_write(&written);
    struct candidate *read = candidate_read(value, &err);
    assert(read != NULL && strlen(value) <= BATON_VALUE_MAX);
    same_text(read->id, written.id);
    same_text(read->address, written.address);
    same_text(read->host, written.host);
    assert(read->priority == written.priority && read->preempt == written.preempt);
    assert(read->since_wall_ms == written.since_wall_ms);
    candidate_free(read);
    free(value);
    free(written.id);
    free(written.address);
    free(written.host);
}

static void pair_entry(struct source *from)
{
    struct baton_error err;
    const struct lock_entry written = {.id = take_text(from, 1, NAME_MAX_BYTES),
                                       .host = take_text(from, 0, 64),
                                       .slots = take(from) % 4 == 0 ? SLOTS_SHARED
                                                                    : (uint32_t)take_between(from, 1, SLOTS_MAX),
                                       .since_wall_ms = take_between(from, 0, WALL_MS_MAX)};
    char *value = entry_write(&written);
    struct lock_entry *read = entry_read(value, &err);
    assert(read != NULL);
    same_text(read->id, written.id);
    same_text(read->host, written.host);
    assert(read->slots == written.slots && read->since_wall_ms == written.since_wall_ms);
    entry_free(read);
    free(value);
    free(written.id);
    free(written.host);
}

/* Term after term, each on top of the last: the history is kept, the newest first. */
static void pair_decision(struct source *from)
{
    struct baton_error err;
    char *value = decision_next(NULL, "", "", 0, "", 0), *ids[24];
    int64_t since[COUNT_OF(ids)];
    uint64_t term = (uint64_t)take_between(from, 1, (int64_t)TERM_MAX - (int64_t)COUNT_OF(ids));
    size_t count = 1 + take(from) % COUNT_OF(ids);
    for (size_t i = 0; i < count; i++) {
        char *before = value, *cid = take_text(from, 1, CID_MAX_BYTES - 1), *reason = take_text(from, 0, 16);
        ids[i] = take_text(from, 0, NAME_MAX_BYTES);
        since[i] = take_between(from, 0, WALL_MS_MAX);
        value = decision_next(before, cid, ids[i], term + i, reason, since[i]);
        struct decision *read = decision_read(value, &err);
        assert(read != NULL && strlen(value) <= BATON_VALUE_MAX);
        same_text(read->cid, cid);
        same_text(read->terms[0].reason, reason);
        assert(read->term == term + i && read->term_count == (i < TERMS_KEPT ? i + 1 : TERMS_KEPT));
        for (size_t k = 0; k < read->term_count; k++) {
            assert(read->terms[k].term == term + i - k && read->terms[k].since_wall_ms == since[i - k]);
            same_text(read->terms[k].id, ids[i - k]);
        }
        decision_free(read);
        free(before);
        free(cid);
        free(reason);
    }
    for (size_t i = 0; i < count; i++)
        free(ids[i]);
    free(value);
}

/* Some ranges, or so many single ones that base64 is shorter. */
static struct shards take_shards(struct source *from)
{
    struct shards shards = {0};
    for (size_t i = take(from) % 64; i > 0; i--) {
        uint32_t first = (uint32_t)take_between(from, 0, SHARDS_MAX - 1), length = take(from) % 4;
        shards_add_range(&shards, first, first + length < SHARDS_MAX ? first + length : first);
    }
    return shards;
}

static void pair_member(struct source *from)
{
    static char id[] = "web1-17", split[] = "count:100000", ssd[] = "ssd", eu[] = "eu-1";
    char *tags[] = {ssd, eu};
    struct baton_error err;
    const struct member written = {.candidate = {.id = id,
                                                 .address = take_text(from, 0, 255),
                                                 .host = take_text(from, 0, 64),
                                                 .since_wall_ms = take_between(from, 0, WALL_MS_MAX)},
                                   .weight = (uint32_t)take_between(from, 1, PLAN_MEMBER_WEIGHT_MAX),
                                   .max = (uint32_t)take_between(from, 0, SHARDS_MAX),
                                   .standby = take(from) % 2,
                                   .drain = take(from) % 2,
                                   .split = split,
                                   .tags = tags,
                                   .tag_count = take(from) % 3,
                                   .declares = take_shards(from)};
    char *first = member_write(NULL, &written), *value = member_write(first, &written); /* on top of the first */
    struct member *read = member_read(value, &err);
    assert(read != NULL && strlen(value) <= BATON_VALUE_MAX && strcmp(first, value) == 0);
    same_text(read->candidate.host, written.candidate.host);
    assert(read->weight == written.weight && read->max == written.max && read->standby == written.standby);
    assert(read->drain == written.drain && strcmp(read->split, written.split) == 0);
    assert(read->tag_count == written.tag_count && shards_equal(&read->declares, &written.declares));
    member_free(read);
    free(first);
    free(value);
    free(written.candidate.address);
    free(written.candidate.host);
    shards_release((struct shards *)&written.declares);
}

static void pair_plan_part(struct source *from)
{
    static char a[] = "a", b[] = "b";
    struct baton_error err;
    struct plan_owner owners[] = {{a, take_shards(from)}, {b, take_shards(from)}};
    shards_drop_all(&owners[1].shards, &owners[0].shards);
    const struct plan_part written = {
        .term = (uint64_t)take_between(from, 0, (int64_t)TERM_MAX), .owners = owners, .owner_count = 2};
    char *value = plan_part_write(NULL, &written);
    struct plan_part *read = plan_part_read(value, &err);
    assert(read != NULL && read->term == written.term);
    for (size_t i = 0, at = 0; i < 2; i++) {
        if (shards_empty(&owners[i].shards))
            continue; /* is left out */
        assert(strcmp(read->owners[at].id, owners[i].id) == 0);
        assert(shards_equal(&read->owners[at++].shards, &owners[i].shards));
    }
    plan_part_free(read);
    free(value);
    for (size_t i = 0; i < 2; i++)
        shards_release(&owners[i].shards);
}

static void pair_requests(struct source *from)
{
    struct baton_error err;
    const struct hold held = {.by = take_text(from, 0, NAME_MAX_BYTES),
                              .why = take_text(from, 0, 200),
                              .nonce = take_text(from, 0, CID_MAX_BYTES - 1),
                              .since_wall_ms = take_between(from, 0, WALL_MS_MAX)};
    const struct transfer asked = {
        .to = held.why, .by = held.by, .nonce = held.nonce, .term = (uint64_t)take_between(from, 1, INT64_MAX)};
    char *hold_value = hold_write(&held), *transfer_value = transfer_write(&asked);
    struct hold *hold = hold_read(hold_value, &err);
    struct transfer *transfer = transfer_read(transfer_value, &err);
    assert(hold != NULL && transfer != NULL);
    same_text(hold->by, held.by);
    same_text(hold->why, held.why);
    same_text(hold->nonce, held.nonce);
    same_text(transfer->to, asked.to);
    same_text(transfer->by, asked.by);
    same_text(transfer->nonce, asked.nonce);
    assert(hold->since_wall_ms == held.since_wall_ms && transfer->term == asked.term);
    hold_free(hold);
    transfer_free(transfer);
    free(hold_value);
    free(transfer_value);
    free(held.by);
    free(held.why);
    free(held.nonce);
}

static struct claim_output take_output(struct source *from)
{
    struct claim_output output = {0};
    if (take(from) % 4 == 0)
        return output;
    output.bytes = mem_new(CLAIM_OUTPUT_MAX + 1);
    output.size = take_bytes(from, output.bytes, CLAIM_OUTPUT_MAX);
    output.left_out = (uint64_t)take_number(from);
    return output;
}

static void same_output(const struct claim_output *read, const struct claim_output *written)
{
    assert((read->bytes == NULL) == (written->bytes == NULL) && read->size == written->size);
    assert(read->size == 0 || memcmp(read->bytes, written->bytes, read->size) == 0);
    assert(read->left_out == (written->left_out > INT64_MAX ? INT64_MAX : written->left_out));
}

static void pair_claim(struct source *from)
{
    struct baton_error err;
    char *before =
        take(from) % 2 == 0 ? mem_text("{\"v\":1,\"out\":\"old\",\"keep_ms\":7,\"new\":[1,\"\\u0000\"]}") : NULL;
    const struct claim written = {.state = (enum claim_state)(take(from) % 5),
                                  .cid = take_text(from, 0, CID_MAX_BYTES - 1),
                                  .id = take_text(from, 0, NAME_MAX_BYTES),
                                  .host = take_text(from, 0, 64),
                                  .what = take_text(from, 0, CLAIM_WHAT_MAX),
                                  .attempt = (uint32_t)take_between(from, 0, CLAIM_ATTEMPT_MAX),
                                  .again = take(from) % 2,
                                  .status = (int32_t)take_between(from, 0, INT32_MAX),
                                  .since_wall_ms = take_between(from, 0, WALL_MS_MAX),
                                  .ended_wall_ms = take_between(from, 0, WALL_MS_MAX),
                                  .keep_ms = take_between(from, 0, CLAIM_KEEP_MS_MAX),
                                  .out = take_output(from),
                                  .err = take_output(from)};
    char *value = claim_write(before, &written);
    struct claim *read = claim_read(value, &err);
    assert(read != NULL && strlen(value) <= BATON_VALUE_MAX);
    assert(before == NULL || strstr(value, "\"new\":[1,\"\\u0000\"]") != NULL);
    same_text(read->cid, written.cid);
    same_text(read->id, written.id);
    same_text(read->host, written.host);
    same_text(read->what, written.what);
    same_output(&read->out, &written.out);
    same_output(&read->err, &written.err);
    assert(read->state == written.state && read->attempt == written.attempt && read->again == written.again);
    assert(read->status == written.status && read->since_wall_ms == written.since_wall_ms);
    assert(read->ended_wall_ms == written.ended_wall_ms && read->keep_ms == written.keep_ms);
    (void)claim_expired(read, INT64_MAX);
    (void)claim_expired(read, INT64_MIN + WALL_MS_MAX);
    claim_free(read);
    free(value);
    free(before);
    free(written.cid);
    free(written.id);
    free(written.host);
    free(written.what);
    free(written.out.bytes);
    free(written.err.bytes);
}

/* A key has one path, and comes back from it; another path has no key, or is the one of its key. */
static void pair_key(struct source *from)
{
    char path[TASK_PATH_MAX + 1], key[NAME_MAX_BYTES + 1], *text = take_text(from, 1, NAME_MAX_BYTES);
    if (task_key_check(text, NULL) == 0) {
        task_path(path, text);
        assert(task_key_of_path(key, path, strlen(path)) && strcmp(key, text) == 0);
    }
    if (task_key_of_path(key, text, strlen(text))) {
        task_path(path, key);
        assert(strcmp(path, text) == 0);
    }
    free(text);
}

static void pair_base64(struct source *from)
{
    char bytes[100], text[BASE64_SIZE(sizeof(bytes)) + 1], again[sizeof(bytes) + 3];
    size_t size = take_bytes(from, bytes, sizeof(bytes)), got;
    base64_encode(text, bytes, size);
    assert(base64_decode(again, &got, text) && got == size && memcmp(again, bytes, size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const pairs[])(struct source *) = {pair_candidate, pair_entry,  pair_decision,
                                                     pair_requests,  pair_claim,  pair_key,
                                                     pair_base64,    pair_member, pair_plan_part};
    struct source from = {.data = data, .left = size};
    pairs[take(&from) % COUNT_OF(pairs)](&from);
    return 0;
}
