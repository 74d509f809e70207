/* rules.h: the rules that carry the safety, each with a name.
 *
 * All of them always hold in a build for use (rule() in state.h). The simulation's build breaks one at a time, to show
 * that its checkers would notice: a rule whose absence nobody can see is not a rule (sim --mutations).
 */
#ifndef CORE_RULES_H
#define CORE_RULES_H

#include <stdint.h>

#define CORE_RULES(RULE)                                                                                               \
    RULE(CLAIM_ON_ABSENCE, "claim only when the presence of the named leader is gone in the same view")                \
    RULE(CLAIM_AFTER_PRESENCE, "see one's own presence in the view before claiming")                                   \
    RULE(CLAIM_COMPARES, "claim by compare-and-set on the decision's revision")                                        \
    RULE(FIRST_CLAIM_COMPARES, "the first decision of all says: must not exist")                                       \
    RULE(STOP_BEFORE_HANDOVER, "the leader has stopped before it hands over")                                          \
    RULE(STOP_IS_FINAL, "a stop is not taken back when the answer to the handover is unknown")                         \
    RULE(STOP_HAS_AN_END, "the session of a program that has not stopped in its time is not renewed")                  \
    RULE(STOP_MAY_TAKE_LONGER, "a program that says that its stop takes longer keeps its session meanwhile")           \
    RULE(SESSION_OUTLASTS_STOP, "a client does not end the session of a program that has not stopped")                 \
    RULE(HANDOVER_TO_PRESENT, "the one handed to is present in the giver's own view")                                  \
    RULE(HANDOVER_COMPARES, "the handover is a compare-and-set on the decision's revision")                            \
    RULE(DEADLINE_FROM_SEND, "the deadline is counted from the sending of the renewal")                                \
    RULE(DEADLINE_NEEDS_ANSWER, "only an acknowledged renewal moves the deadline")                                     \
    RULE(DEADLINE_IS_FINAL, "a passed deadline is final, also when a late acknowledgement arrives")                    \
    RULE(VALID_AT_EACH_USE, "the validity of the session is checked at every use")                                     \
    RULE(CID_IS_FRESH, "a candidate's id is never used again")                                                         \
    RULE(TERM_GROWS, "a new decision has a larger term than the one before")                                           \
    RULE(FIRST_TERM_FROM_REVISION, "the first term is above the revision of the decision before it")                   \
    RULE(TERM_LEAPS, "where terms may have been lost with the power, the next one is above all of them")               \
    RULE(VIEW_IN_ORDER, "a view never goes back")                                                                      \
    RULE(REST_LOOKS, "a candidate that rests looks at the decision now and then")                                      \
    RULE(PRESENCE_IS_BOUND, "a presence vanishes with its session")                                                    \
    RULE(HOLD_BY_VIEW, "a lock is held by an entry that the view shows, not by an answer")                             \
    RULE(HOLD_BY_AGE, "entries stand in the order in which they were made")                                            \
    RULE(HOLD_BY_ALL_SLOTS, "an entry respects the slots of every entry ahead of it")                                  \
    RULE(STOP_BEFORE_REMOVAL, "the holder has stopped before its entry is removed")                                    \
    RULE(REST_BEHIND, "who lets its view rest does so only until those ahead go")                                      \
    RULE(GHOST_IS_REMOVED, "an entry that appears after it was given up is removed")                                   \
    RULE(TASK_CLAIM_AT_HEAD, "a task is claimed by the first in its queue only")                                       \
    RULE(TASK_CLAIM_COMPARES, "a task is claimed by compare-and-set on its claim's revision")                          \
    RULE(TASK_CLAIM_BEFORE_WORK, "no work before the view shows one's own claim")                                      \
    RULE(TASK_RESULT_COMPARES, "a result is recorded on top of one's own claim only")                                  \
    RULE(TASK_RESULT_IS_FINAL, "what is done is not done again")                                                       \
    RULE(TASK_AT_MOST_ONCE, "what was lost is begun again only if both workers allow it")                              \
    RULE(TASK_ENTRY_WORKS_ONCE, "an entry that has worked does not work again, also when its claim is forgotten")      \
    RULE(TASK_RESULT_BEFORE_REMOVAL, "the result is recorded before the worker's entry is removed")                    \
    RULE(TASK_FORGET_EXPIRED, "what is forgotten because its time is over has expired in the view that is compared")   \
    RULE(GROUP_BEGIN_ALONE, "a shard is begun only where nobody else declares it")                                     \
    RULE(GROUP_BEGIN_BY_VIEW, "a shard is begun by a view that shows one's own declaration, not by an answer")         \
    RULE(GROUP_STOP_BEFORE_TAKE_BACK, "a shard is stopped before a record without it is written")                      \
    RULE(GROUP_DECLARE_COMPARES, "a member's record is written by compare-and-set on the one that it sees")            \
    RULE(GROUP_TAKE_BACK_STANDS, "what one has offered to take back is begun only in a newer record")                  \
    RULE(GROUP_SPLITS_CONFLICT, "declarations under different numbers of shards conflict wholly")                      \
    RULE(GROUP_GRANT_GROWS, "the grant is the revision of the record by which a shard is begun")                       \
    RULE(GROUP_DECLARES_AT_ONCE, "a member declares what it is named for, also while another one works on it")         \
    RULE(GROUP_BEGIN_NAMED, "only what the plan still names is begun")                                                 \
    RULE(GROUP_TAKES_BACK, "what is neither begun nor named any more is taken back")                                   \
    RULE(GROUP_WORKS_ON, "a shard that moves is worked on until the one that is to have it has come for it")           \
    RULE(GROUP_RESENDS, "a record is written again until the view shows it")                                           \
    RULE(GROUP_YOUNGER_WAITS, "of two members with one id the younger declares nothing")                               \
    RULE(GROUP_PLAN_REPLACES, "the leader replaces owners that are gone")                                              \
    RULE(GROUP_PLAN_WHEN_NEEDED, "a part of the plan is written only when it must change")

enum core_rule {
#define RULE_NUMBER(name, text) RULE_##name,
    CORE_RULES(RULE_NUMBER)
#undef RULE_NUMBER
        RULE_COUNT,
    RULE_OWN /* the first rule of a protocol that lists its own: see tests/sim/kind.h */
};

#endif
