/* state.h: an election as a contest keeps it. Private to src/core. */
#ifndef CORE_ELECTION_STATE_H
#define CORE_ELECTION_STATE_H

#include "core/election/election.h"
#include "core/leadership/leadership.h"

static inline struct leadership *leadership_of(const struct contest *election)
{
    assert(election->protocol->kind == CONTEST_ELECTION);
    return election->part;
}

#endif
