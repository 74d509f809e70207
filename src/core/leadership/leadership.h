/* leadership.h: who leads, below one prefix: a candidate claims, leads, stops, and hands over.
 *
 * It is a part of a contest that has one: an election is nothing else. The presence of the contest is the candidacy,
 * PREFIX FOLDER CID ("elections/NAME/candidates/CID"); the decision is PREFIXleader.
 */
#ifndef CORE_LEADERSHIP_LEADERSHIP_H
#define CORE_LEADERSHIP_LEADERSHIP_H

#include "core/leadership/roster.h"
#include "core/state.h"

struct leadership {
    struct contest *contest; /* whose presence and session it is */
    char *prefix;            /* "elections/NAME/" */
    const char *folder;      /* "candidates/": where the presences are */
    uint32_t part;           /* its tenure */
    unsigned which;          /* its write */
    struct attempt decision;
    struct roster roster;
    bool duplicate_told, vacant;
    uint64_t vacant_revision; /* of the decision that was found vacant */
    int64_t vacant_since_ms;
    char transfer_to[NAME_MAX_BYTES + 1];
    const char *stop_reason;
    int64_t leave_ms; /* the presence is not removed before this */
};

/* `prefix` is taken over, `folder` is constant. */
void leadership_init(struct leadership *leadership, struct contest *contest, char *prefix, const char *folder,
                     uint32_t part, unsigned which);
void leadership_release(struct leadership *leadership);

/* As the functions of a protocol (protocol.h) are called. */
char *leadership_presence_key(const struct leadership *leadership);
char *leadership_presence_value(const struct core *core, const struct leadership *leadership);
void leadership_read(struct leadership *leadership);
void leadership_act(struct core *core, struct leadership *leadership);
/* It resigns, has stopped, and nobody is there to be named: its presence may go before the decision is written. */
bool leadership_leaves_nobody(const struct leadership *leadership);
bool leadership_may_leave(struct core *core, const struct leadership *leadership);
void leadership_forget_candidacy(struct leadership *leadership);
bool leadership_rests(const struct core *core, const struct leadership *leadership, struct rest_keys *keys);

/* See election_testament. */
bool leadership_testament(const struct core *core, const struct leadership *leadership, struct baton_write *ret);

#endif
