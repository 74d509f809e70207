/* plan_cup.h: a tournament of seats: which one is the first to give a shard, or to be given one. After a change of one
 * seat that is known again in log(seats) steps. */
#ifndef CORE_GROUP_PLAN_CUP_H
#define CORE_GROUP_PLAN_CUP_H

#include "core/group/plan_board.h"

struct cup {
    const struct board *board;
    bool gives;        /* the fullest is the first; else the emptiest. Of equals the one with the least id */
    uint32_t leaves;   /* a power of two */
    uint32_t *winners; /* [1] is the first of all; [n] the better one of [2n] and [2n + 1]; PLAN_NOBODY: none of both */
};

/* Nobody takes part yet. */
void cup_init(struct cup *cup, const struct board *board, bool gives);
void cup_release(struct cup *cup);

/* The seat takes part, or not. `later`: many are told before the first one is wanted, and cup_play is called once. */
void cup_set(struct cup *cup, uint32_t seat, bool takes_part);
void cup_set_later(struct cup *cup, uint32_t seat, bool takes_part);
void cup_play(struct cup *cup);

/* The first of all, or PLAN_NOBODY. */
uint32_t cup_first(const struct cup *cup);

#endif
