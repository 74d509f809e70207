/* election.h: stand for an election, lead it, resign; observe one; what an operator asks of one.
 *
 * A program is told BATON_LEAD, then BATON_STOP, which it answers by baton_stopped(), then BATON_FOLLOW. It may write
 * as the leader while baton_leads() is true, with the term, which grows from leader to leader.
 */
#ifndef BATON_ELECTION_H
#define BATON_ELECTION_H

#include "baton/client.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BATON_TERMS_KEPT 16 /* terms that an election's history keeps */

struct baton_stand_options {
    int32_t priority; /* -1000..1000, default 0; at a vacancy the highest goes first */
    bool preempt;     /* ask a live leader of lower priority to hand over to this one */
    /* What a stop may take, in ms. 0: the program only asks baton_leads() before each thing it does as the leader,
     * and needs no time. Otherwise it answers BATON_STOP by baton_stopped() within this time; a program that does
     * not has its session end. When renewals fail, STOP comes this long before the deadline. At most ttl/2. */
    uint32_t stop_ms;
    /* The candidate wants every change at once, wherever it stands. Without this, one that has some others ahead (a
     * candidate that is not about to lead) may be told of a new leader only when its session is renewed, up to ttl/3
     * later: so an election with a thousand candidates does not wake all of them for each change. (An observer is
     * always told at once.) */
    bool attentive;
};
BATON_API void baton_stand_options_init(struct baton_stand_options *options);

/* Stand for the election `name` (1..BATON_NAME_MAX of A-Z a-z 0-9 . _ - : @ +, beginning with a letter or digit).
 * options NULL: defaults. A client stands at most once in an election (BATON_CONFLICT). Returns 0 and *ret (until
 * baton_election_free, or close), or -1 with BATON_INVALID, BATON_CONFLICT, BATON_FULL. */
BATON_API int baton_stand(struct baton *b, const char *name, const struct baton_stand_options *options,
                          struct baton_election **ret, struct baton_error *err);

/* Observe without standing. name NULL: every election of the namespace (one handle; see baton_status). */
BATON_API int baton_observe(struct baton *b, const char *name, struct baton_election **ret, struct baton_error *err);

/* Does this instance lead, now? True only while the newest decision known names it, its session is valid at this very
 * moment, and it was not told to stop. *ret_term (may be NULL) is the term, untouched on false. Takes no lock, sends
 * nothing, costs about one clock_gettime; safe from any thread and signal handler. */
BATON_API bool baton_leads(const struct baton_election *e, uint64_t *ret_term);

/* The answer to BATON_STOP: what was done as the leader is over, for good, in every thread and child of the program.
 * Without a stop under way it does nothing. A program that has stopped already when it resigns calls this right after
 * baton_resign(): then the handover waits for nothing. */
BATON_API void baton_stopped(struct baton_election *e);

/* The stop takes longer than was said: "not over yet, keep my place, for up to `ms` more from now". It may be said
 * again and again until baton_stopped(), and best before the time that is left is over: a program that hangs passes its
 * place on when that is. baton_leads() stays false. The place is kept as long as the session can be renewed: when
 * renewals fail, BATON_STOP comes once more, with the session's deadline as its `until_ms`, and the place is gone then,
 * unless one of them succeeds (and this is said again, if it must be). For what cannot be interrupted, so that nobody
 * else leads beside it. false: no stop is under way, or the place is gone already. */
BATON_API bool baton_stop_takes(struct baton_election *e, uint32_t ms);

/* End the candidacy: stop (two-sided), hand over, withdraw; BATON_RESIGNED follows. Twice is once. */
BATON_API void baton_resign(struct baton_election *e);

/* Free the handle. A candidacy is resigned first, in the background; no event of it comes any more, so if it leads, it
 * passes on when its stop_ms is over. Until then its name cannot be stood for again. NULL allowed. */
BATON_API void baton_election_free(struct baton_election *e);

BATON_API const char *baton_election_name(const struct baton_election *e); /* "" for "every election" */

/* ---- elections: what an operator asks ---- */

/* Ask the leader to hand over to `to_id` (NULL: to whoever is next). The answer is a BATON_REPLY with the returned
 * number in `request` (never 0, but in a forked child; it arrives after at most timeout_ms): BATON_OK (it has stopped,
 * and another one leads), BATON_LOST (another one leads, but the session of the leader has ended without its answer:
 * whether it has stopped is not known), BATON_NOT_FOUND (nobody else stands, no such candidate, no leader),
 * BATON_CONFLICT (it leads already; another transfer is under way; the election is on hold), BATON_TIMEOUT (the
 * leader has not), BATON_UNAVAILABLE or what troubles the engine (nobody can tell). `e` may be a candidacy or an
 * observation of that election. */
BATON_API uint64_t baton_transfer(struct baton_election *e, const char *to_id, uint32_t timeout_ms);

/* Put the election on hold: its leader stops and nobody leads, until the release. Answered by a BATON_REPLY when it is
 * stored: BATON_OK, or BATON_CONFLICT (on hold already; not on hold), or the engine's error. `why` is kept for people
 * (NULL or up to 200 bytes). */
BATON_API uint64_t baton_hold(struct baton_election *e, const char *why, uint32_t timeout_ms);
BATON_API uint64_t baton_release(struct baton_election *e, uint32_t timeout_ms);

/* What is known of an election: one state that the namespace really had. */
struct baton_candidate {
    const char *id, *address, *host;
    int32_t priority;
    bool preempt;
    bool leads; /* the decision names it */
    int64_t since_wall_ms;
};
struct baton_term {
    uint64_t term;
    const char *id;     /* the leader's; "" for nobody */
    const char *reason; /* "claim", "handover", "transfer", "preempt", "resign", "hold", "death" */
    int64_t since_wall_ms;
};
struct baton_status {
    const char *name;
    bool known;         /* a view has arrived; while false, all below is empty */
    uint64_t revision;  /* of the view */
    uint64_t term;      /* of the decision; 0: there never was one */
    const char *leader; /* id; NULL: nobody leads now */
    int64_t since_wall_ms;
    bool held; /* on hold for maintenance */
    const char *held_why, *held_by;
    const struct baton_candidate *candidates; /* in the order in which they would claim */
    size_t candidate_count;
    const struct baton_term *terms; /* newest first */
    size_t term_count;
    const char *trouble; /* a record that cannot be used, and why; NULL: all can */
};

/* A copy of what is known; free with baton_status_free. With an observation of every election: *ret has one entry an
 * election, *ret_count of them, in the order of their names; else exactly one. */
BATON_API int baton_status(const struct baton_election *e, struct baton_status **ret, size_t *ret_count,
                           struct baton_error *err);
BATON_API void baton_status_free(struct baton_status *status, size_t count);

#ifdef __cplusplus
}
#endif

#endif
