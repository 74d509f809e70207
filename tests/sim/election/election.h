/* election.h: worlds in which the nodes want to lead. */
#ifndef SIM_ELECTION_ELECTION_H
#define SIM_ELECTION_ELECTION_H

#include "kind.h"

#define DECISION_KEY "elections/" SIM_NAME "/leader"

struct election_part {
    uint64_t highest_term; /* of any decision, ever */
    char **cids;           /* of every candidate that was ever there */
    size_t cid_count, cid_room;
    /* of a quiet phase */
    int leader; /* once there is one; -1: none yet */
    uint64_t leader_term;
};

static inline struct election_part *election_part(const struct world *world)
{
    return world->part;
}

/* checkers.c: see kind.h */
void election_check_stored(struct world *world, const struct baton_write *write);
void election_check_instant(struct world *world);
void election_check_quiet_begins(struct world *world);
void election_check_quiet_ends(struct world *world);

#endif
