/* guard.h: for supervisors: how another process ends the session of a dead one, or keeps it while something of the
 * dead one is left. A program that supervises nothing needs none of this: its client has a guard of its own (enum
 * baton_guard_use in client.h).
 */
#ifndef BATON_GUARD_H
#define BATON_GUARD_H

#include "baton/client.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What another process of this host needs to end the session when this one cannot: text and a descriptor
 * (close-on-exec, the caller's; -1: none is needed). For a supervisor's guard; see baton_guard_open. */
#define BATON_LIFELINE_MAX 1024
struct baton_lifeline {
    uint64_t session;
    char text[BATON_LIFELINE_MAX];
    int fd;
};
BATON_API int baton_lifeline(struct baton *b, struct baton_lifeline *ret, struct baton_error *err);

/* The guard's side, in the other process: synchronous, needs no client. `open` takes over the descriptor and prepares,
 * `end` ends the session (an ended one is ended, too), `free` frees. */
struct baton_guard;
BATON_API int baton_guard_open(const struct baton_lifeline *lifeline, struct baton_guard **ret,
                               struct baton_error *err);
BATON_API int baton_guard_end(struct baton_guard *guard, uint32_t timeout_ms, struct baton_error *err);
BATON_API void baton_guard_free(struct baton_guard *guard);

/* The testament of a leader: the handover to the next candidate, which its guard may write when this process is dead
 * and everything that it did as the leader is over; then nobody has to claim. It changes with the candidates: take it
 * again after BATON_LEAD, BATON_CHANGED, BATON_STOP and BATON_FOLLOW. One that is old does no harm, it has no effect.
 * After BATON_STOP it is the handover that was asked for.
 * Text; "" when there is none (it does not lead, nobody is next, it is too long, or the engine sees deaths itself, as
 * the local engine does: then the next one claims as soon). */
#define BATON_TESTAMENT_MAX 8192
BATON_API void baton_testament(const struct baton_election *e, char text[BATON_TESTAMENT_MAX]);
/* The guard's side: what baton_guard_end writes first; "" takes it back. Only for a process that is dead. 0, or -1 with
 * BATON_INVALID, or BATON_UNSUPPORTED (guards of this engine write none). */
BATON_API int baton_guard_testament(struct baton_guard *guard, const char *text, struct baton_error *err);
/* The guard's side: renew the session, when the process is dead or hangs and something of it is left that cannot be
 * ended: so the place does not pass on. 0, and *ret_deadline_ms, by when it must be renewed again; -1 with BATON_LOST
 * (the session is over), BATON_UNSUPPORTED (this engine's guards cannot), or another code: it is not known, so try
 * again until the last deadline. Blocks for at most timeout_ms. A process that goes on after that has lost its place
 * all the same (BATON_STOP); its session is ended when it has said baton_stopped(), or by its guard. */
BATON_API int baton_guard_renew(struct baton_guard *guard, uint32_t timeout_ms, int64_t *ret_deadline_ms,
                                struct baton_error *err);

#ifdef __cplusplus
}
#endif

#endif
