/* plan_cup.c: see plan_cup.h. */
#include "core/group/plan_cup.h"

#include <stdlib.h>

#include "base/base.h"

void cup_init(struct cup *cup, const struct board *board, bool gives)
{
    uint32_t leaves = 1;
    while (leaves < board->seat_count)
        leaves *= 2;
    *cup = (struct cup){.board = board, .gives = gives, .leaves = leaves};
    cup->winners = mem_new((size_t)2 * leaves * sizeof(*cup->winners));
    for (uint32_t i = 0; i < 2 * leaves; i++)
        cup->winners[i] = PLAN_NOBODY;
}

void cup_release(struct cup *cup)
{
    free(cup->winners);
    *cup = (struct cup){0};
}

static void play(struct cup *cup, uint32_t at)
{
    uint32_t left = cup->winners[2 * at], right = cup->winners[2 * at + 1];
    cup->winners[at] = left;
    if (left == PLAN_NOBODY) {
        cup->winners[at] = right;
    } else if (right != PLAN_NOBODY) {
        int order = seat_compare(cup->board, &cup->board->seats[left], &cup->board->seats[right], cup->gives);
        if (cup->gives ? order < 0 : order > 0)
            cup->winners[at] = right;
    }
}

void cup_set_later(struct cup *cup, uint32_t seat, bool takes_part)
{
    cup->winners[cup->leaves + seat] = takes_part ? seat : PLAN_NOBODY;
}

void cup_play(struct cup *cup)
{
    for (uint32_t at = cup->leaves - 1; at > 0; at--)
        play(cup, at);
}

void cup_set(struct cup *cup, uint32_t seat, bool takes_part)
{
    cup_set_later(cup, seat, takes_part);
    for (uint32_t at = (cup->leaves + seat) / 2; at > 0; at /= 2)
        play(cup, at);
}

uint32_t cup_first(const struct cup *cup)
{
    return cup->winners[1];
}
