/* others.h: the other sessions of the namespace, and how the death of one is noticed.
 *
 *  - a pidfd on its process is readable the moment it dies (pidfd_open(2)). If its kernel lock is free then, the
 * session is over. If a guard still holds the lock, the guard ends the session when the last descendant is gone; should
 * the guard be killed, too, the lock is free: it is looked at again, in growing steps, until the heartbeat decides;
 *  - where there can be no pidfd (another pid namespace), its lock is looked at each time the bell rings;
 *  - its heartbeat is too old: a timer for the first that could be.
 *
 * Sessions stand in a ring, in the order of their numbers, and each is watched by the few that come after it: so a
 * thousand of them cost each process a few descriptors, and a death wakes a few processes, not all. The next one after
 * the dead one ends its session, the others a little later if it is still there. Who sees a death looks for others that
 * came with it: of one process, of one machine's OOM killer. If all that watch a session stand still, its heartbeat
 * decides. A client without a session, which only looks, has no place in the ring: it watches the oldest ones, after
 * all others.
 */
#ifndef LOCAL_OTHERS_H
#define LOCAL_OTHERS_H

#include "engine/local/db.h"
#include "engine/local/pulse.h"

#define OTHERS_NEIGHBOURS 4 /* how many watch a session */
#define OTHERS_OBSERVED 64  /* how many a client without a session watches */

struct other {
    struct db_session session;
    size_t distance; /* how many stand between it and our own session; see others_set */
    int pidfd;       /* -1: none */
    bool orphaned;   /* its process is dead */
    int64_t look_ms; /* when to look at it again; NEVER_MS */
    int64_t pause_ms;
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

/* A session of this client begins (at most as many as there is room for in `own`), or ends. */
void others_own(struct others *others, uint64_t session, bool open);
/* These are the sessions now. */
void others_set(struct others *others, const struct db_session *sessions, size_t count);
/* One of the pidfds is readable. */
void others_died(struct others *others, int64_t now_ms);
/* The bell has rung. */
void others_rung(struct others *others, int64_t now_ms);
/* The next session that should be ended, as far as can be told without the writer's lock; NULL: none. Each is given
 * once, and again later if it is still there. */
const struct db_session *others_next(struct others *others, int64_t now_ms);
/* When to call others_next again. */
int64_t others_wake_ms(const struct others *others, int64_t now_ms);

#endif
