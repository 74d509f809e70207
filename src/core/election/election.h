/* election.h: what a client does with an election, besides core_observe and core_stand.
 *
 *     elections/NAME/candidates/CID   presence of a candidate (bound)
 *     elections/NAME/leader           the decision: who leads (lasting)
 *     elections/NAME/hold             nobody may lead now (lasting)
 *     elections/NAME/transfer         an operator asks for a handover (bound to the operator's session)
 */
#ifndef CORE_ELECTION_ELECTION_H
#define CORE_ELECTION_ELECTION_H

#include "core/core.h"
#include "core/leadership/roster.h"

#define ELECTIONS_PREFIX "elections/"

extern const struct record_kinds election_records;

char *election_prefix(const char *name);                              /* on the heap */
const struct roster *election_roster(const struct contest *election); /* of a single one */

/* Operator's requests; the answer is a TELL_REPLY with `request`, the caller's number. */
void core_transfer(struct core *core, struct contest *election, uint64_t request, const char *to_id, int64_t until_ms);
void core_hold(struct core *core, struct contest *election, uint64_t request, const char *why, int64_t until_ms);
void core_release(struct core *core, struct contest *election, uint64_t request, int64_t until_ms);

/* The testament of a leader: the handover that its guard may write when the process is dead and all that it did as
 * the leader is over. The same write as its own handover would be now: it names the next candidate that this view
 * shows, and is compared with the decision that this view shows. Its reason is that of a stop under way, else "death".
 * false: there is none (it is no election, it does not lead, nobody is next, a hold). ret->key and ret->value are the
 * caller's to free. */
bool election_testament(const struct core *core, const struct contest *election, struct baton_write *ret);

#endif
