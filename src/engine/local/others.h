/* others.h: the other sessions of the namespace, and how a client notices that one has died.
 *
 * Three things can tell. Each only says "look again"; the worker then decides, under the writer's lock:
 *  - the pidfd of the session's process is readable the moment the process dies (pidfd_open(2)). If nobody holds the
 *    session's byte of `sessions` then, the session is over. If its guard holds the byte, the guard ends the session
 *    when the last descendant is gone; in case the guard dies, too, the byte is looked at again in growing steps;
 *  - for a process of another pid namespace there is no pidfd: its byte is looked at each time the bell rings;
 *  - its heartbeat is too old: a timer runs for the first one that could be.
 *
 * Sessions stand in a ring, in the order of their numbers. Each is watched by the OTHERS_NEIGHBOURS that come after it,
 * so a thousand sessions cost each process a few descriptors, and a death wakes a few processes. The `distance` of a
 * session is how many stand between it and our own. With six sessions, of which 5 dies:
 *
 *       +----> 2 ----> 5 ----> 8 ----> 11 ----> 14 ----> 17 ----+       8: distance 0, ends the session at once
 *       |              x                                        |      11: distance 1, 4 ms later, if it is still there
 *       +-------------------------------------------------------+      14: distance 2, 8 ms later
 *                                                                      17: distance 3, 12 ms later
 *                                                                       2: distance 4, does not watch it
 *
 * Deaths come in groups (several sessions of one process, the OOM killer): after one, a client looks at the byte of
 * every session. When all that watch a session stand still, its heartbeat decides. A client without a session (it only
 * looks) has no place in the ring: it watches the OTHERS_OBSERVED oldest sessions, and acts after all others.
 */
#ifndef LOCAL_OTHERS_H
#define LOCAL_OTHERS_H

#include "engine/local/db.h"
#include "engine/local/pulse.h"

#define OTHERS_NEIGHBOURS 4 /* sessions that watch one */
#define OTHERS_OBSERVED 64  /* sessions that a client without one watches */

struct other {
    struct db_session session;
    size_t distance;  /* see above; without an own session: its place in the list */
    int pidfd;        /* -1: none */
    bool orphaned;    /* its process is dead; it has no pidfd any more */
    int64_t look_ms;  /* when to look at it again; NEVER_MS */
    int64_t pause_ms; /* from then to the next time; doubles */
};

struct others {
    struct pulse *pulse;
    int poll_fd; /* an epoll of the pidfds: readable when one of them dies */
    struct other *list;
    size_t count; /* in the order of their numbers */
    bool in_ring; /* this client has a session */
    uint64_t pid_namespace, pid_start;
    int pid;
    uint64_t own[64]; /* sessions of this client */
    size_t own_count;
};

int others_init(struct others *others, struct pulse *pulse, struct baton_error *err);
void others_release(struct others *others);

/* A session of this client begins (`open`; there must be room in `own`), or ends. */
void others_own(struct others *others, uint64_t session, bool open);
/* These are the sessions now, in the order of their numbers. */
void others_set(struct others *others, const struct db_session *sessions, size_t count);
/* To be called when poll_fd is readable. */
void others_died(struct others *others, int64_t now_ms);
/* To be called when the bell has rung. */
void others_rung(struct others *others, int64_t now_ms);
/* The next session that seems to be over: the caller must ask the worker to end it (JOB_REAP), which looks again under
 * the writer's lock. NULL: none now. A session that is still there is given again later, in growing steps. */
const struct db_session *others_next(struct others *others, int64_t now_ms);
/* When others_next must be called again; in the future. */
int64_t others_wake_ms(const struct others *others, int64_t now_ms);

#endif
