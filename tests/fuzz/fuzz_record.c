/* fuzz_record.c: any value is a record or an error; and what is written of a record is read back the same. The first
 * byte of the input chooses the kind. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "core/group/record.h"
#include "core/leadership/record.h"
#include "core/task/claim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_error(const struct baton_error *err)
{
    assert(err->code == BATON_CORRUPT || err->code == BATON_NEWER);
    assert(err->text[0] != '\0');
}

static void check_candidate(const char *value)
{
    struct baton_error err = {0};
    struct candidate *candidate = candidate_read(value, &err);
    if (candidate == NULL) {
        check_error(&err);
        return;
    }
    char *written = candidate_write(candidate);
    struct candidate *again = candidate_read(written, &err);
    assert(again != NULL && strcmp(again->id, candidate->id) == 0 && again->priority == candidate->priority);
    candidate_free(again);
    candidate_free(candidate);
    free(written);
}

static void check_decision(const char *value)
{
    struct baton_error err = {0};
    struct decision *decision = decision_read(value, &err);
    if (decision == NULL) {
        check_error(&err);
        return;
    }
    assert(decision->term <= TERM_MAX && decision->term_count <= TERMS_KEPT);
    if (decision->term < TERM_MAX) {
        char *next = decision_next(value, "7-1", "b", decision->term + 1, "claim", 1);
        struct decision *again = decision_read(next, &err);
        assert(again != NULL && again->term == decision->term + 1 && strcmp(again->cid, "7-1") == 0);
        decision_free(again);
        free(next);
    }
    decision_free(decision);
}

static void check_requests(const char *value)
{
    struct baton_error err = {0};
    struct hold *hold = hold_read(value, &err);
    if (hold != NULL) {
        char *written = hold_write(hold);
        struct hold *again = hold_read(written, &err);
        assert(again != NULL && strcmp(again->by, hold->by) == 0);
        hold_free(again);
        hold_free(hold);
        free(written);
    }
    struct transfer *transfer = transfer_read(value, &err);
    if (transfer != NULL) {
        char *written = transfer_write(transfer);
        struct transfer *again = transfer_read(written, &err);
        assert(again != NULL && again->term == transfer->term && strcmp(again->to, transfer->to) == 0);
        transfer_free(again);
        transfer_free(transfer);
        free(written);
    }
}

static void check_claim(const char *value)
{
    struct baton_error err = {0};
    struct claim *claim = claim_read(value, &err);
    if (claim == NULL) {
        check_error(&err);
        return;
    }
    char *written = claim_write(value, claim);
    struct claim *again = claim_read(written, &err);
    assert(again != NULL && again->state == claim->state && again->attempt == claim->attempt);
    assert(again->status == claim->status && again->again == claim->again && again->keep_ms == claim->keep_ms);
    assert(again->since_wall_ms == claim->since_wall_ms && again->ended_wall_ms == claim->ended_wall_ms);
    assert(again->out.left_out == claim->out.left_out && again->err.left_out == claim->err.left_out);
    assert(again->out.size == claim->out.size && again->err.size == claim->err.size);
    assert(again->out.size == 0 || memcmp(again->out.bytes, claim->out.bytes, claim->out.size) == 0);
    claim_free(again);
    claim_free(claim);
    free(written);
}

static void check_member(const char *value)
{
    struct baton_error err = {0};
    struct member *member = member_read(value, &err);
    if (member == NULL) {
        check_error(&err);
        return;
    }
    char *written = member_write(value, member);
    struct member *again = member_read(written, &err);
    assert(again != NULL && strcmp(again->candidate.id, member->candidate.id) == 0);
    assert(again->weight == member->weight && again->max == member->max && again->drain == member->drain);
    assert(again->tag_count == member->tag_count && shards_equal(&again->declares, &member->declares));
    member_free(again);
    member_free(member);
    free(written);
}

static void check_plan_part(const char *value)
{
    struct baton_error err = {0};
    struct plan_part *part = plan_part_read(value, &err);
    if (part == NULL) {
        check_error(&err);
        return;
    }
    struct shards taken = {0};
    for (size_t i = 0; i < part->owner_count; i++) {
        for (uint32_t shard = shards_next(&part->owners[i].shards, 0); shard != NO_SHARD;
             shard = shards_next(&part->owners[i].shards, shard + 1))
            assert(!shards_has(&taken, shard));
        shards_add_all(&taken, &part->owners[i].shards);
    }
    shards_release(&taken);
    plan_part_free(part);
}

static void check_split(const char *value)
{
    struct baton_error err = {0};
    struct split *split = split_read(value, &err);
    if (split == NULL) {
        check_error(&err);
        return;
    }
    assert(split->count >= 1 && split->count <= SHARDS_MAX && split->chunk >= 1 && split->chunk <= CHUNK_SHARDS);
    char *written = split_write(value, split);
    struct split *again = split_read(written, &err);
    assert(again != NULL && again->count == split->count && again->chunk == split->chunk);
    free(again);
    free(split);
    free(written);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    char *value = mem_text_n((const char *)data + 1, size - 1);
    switch (data[0] % 8) {
    case 0:
        check_candidate(value);
        break;
    case 1:
        check_decision(value);
        break;
    case 2:
        check_requests(value);
        break;
    case 4:
        check_member(value);
        break;
    case 5:
        check_plan_part(value);
        break;
    case 6:
        check_split(value);
        break;
    default:
        check_claim(value);
        break;
    }
    free(value);
    return 0;
}
