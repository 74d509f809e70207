/* fuzz_plan.c: whatever group there is, its plan gives shards only to members that may have them, and carried out it is
 * the plan again. The input is bytes: how many members, four for each, and the rest are shards of four each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "core/group/plan.h"

#define MEMBERS_MAX 24

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    struct plan_member members[MEMBERS_MAX];
    char ids[MEMBERS_MAX][4];
    uint32_t member_count, shard_count;
    struct plan_shard *shards;
};

/* Numbers out of range, too: those are refused. */
static void read_members(struct input *input, const uint8_t **data, size_t *size)
{
    input->member_count = *size > 0 ? **data % (MEMBERS_MAX + 1) : 0;
    *data += *size > 0;
    *size -= *size > 0;
    if (input->member_count > *size / 4)
        input->member_count = (uint32_t)(*size / 4);
    for (uint32_t i = 0; i < input->member_count; i++, *data += 4, *size -= 4) {
        snprintf(input->ids[i], sizeof(input->ids[i]), "%u", i);
        input->members[i] = (struct plan_member){.id = input->ids[i],
                                                 .state = (enum plan_state)((*data)[0] % (PLAN_FAILED + 1)),
                                                 .weight = (*data)[1],
                                                 .max = (*data)[2] / 2,
                                                 .tags = (*data)[3],
                                                 .away_since = (*data)[0]};
    }
}

static uint32_t member_of(const struct input *input, uint8_t byte)
{
    return byte > 250 ? byte : byte % 32 < input->member_count ? byte % 32 : PLAN_NOBODY;
}

static void read_shards(struct input *input, const uint8_t *data, size_t size)
{
    input->shard_count = (uint32_t)(size / 4);
    input->shards = mem_new((size / 4 + 1) * sizeof(*input->shards));
    for (uint32_t i = 0; i < input->shard_count; i++, data += 4)
        input->shards[i] = (struct plan_shard){.gone = data[0] > 250,
                                               .weight = data[0],
                                               .tags = data[1],
                                               .owner = member_of(input, data[2]),
                                               .pin = data[3] < 128 ? PLAN_NOBODY : member_of(input, data[3])};
}

static void check_owner(const struct input *input, const struct plan *plan, uint32_t i)
{
    const struct plan_shard *shard = &input->shards[i];
    uint32_t owner = plan->owners[i];
    if (owner == PLAN_NOBODY) {
        assert(shard->gone || plan_why_is_unplaced(plan->whys[i]));
        return;
    }
    assert(owner < input->member_count && !shard->gone && !plan_why_is_unplaced(plan->whys[i]));
    const struct plan_member *member = &input->members[owner];
    assert(member->state <= PLAN_AWAY);
    assert(member->state <= PLAN_STANDBY || shard->owner == owner);
    assert(member->state == PLAN_AWAY || (shard->tags & ~member->tags) == 0);
    assert((shard->owner == owner) == (plan->whys[i] == PLAN_STAYS || plan->whys[i] == PLAN_KEPT));
}

static void check(struct input *input, struct plan *plan)
{
    uint32_t counts[MEMBERS_MAX] = {0}, unplaced = 0, moves = 0;
    for (uint32_t i = 0; i < plan->count; i++) {
        check_owner(input, plan, i);
        unplaced += plan_why_is_unplaced(plan->whys[i]);
        moves += plan->owners[i] != PLAN_NOBODY && plan->owners[i] != input->shards[i].owner;
        if (plan->owners[i] != PLAN_NOBODY)
            counts[plan->owners[i]]++;
        input->shards[i].owner = plan->owners[i];
    }
    assert(unplaced == plan->unplaced && moves == plan->moves);
    for (uint32_t i = 0; i < input->member_count; i++)
        assert(input->members[i].max == 0 || input->members[i].state == PLAN_AWAY ||
               counts[i] <= input->members[i].max);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {0};
    struct plan plan = {0}, again = {0};
    struct baton_error err = {0};
    read_members(&input, &data, &size);
    read_shards(&input, data, size);
    if (plan_make(&plan, input.members, input.member_count, input.shards, input.shard_count, &err) == 0) {
        check(&input, &plan);
        int result = plan_make(&again, input.members, input.member_count, input.shards, input.shard_count, &err);
        assert(result == 0 && again.moves == 0);
        assert(memcmp(again.owners, plan.owners, plan.count * sizeof(*plan.owners)) == 0);
    } else {
        assert(plan.owners == NULL && err.text[0] != '\0');
    }
    plan_release(&plan);
    plan_release(&again);
    free(input.shards);
    return 0;
}
