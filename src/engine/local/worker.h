/* worker.h: the one thread of an engine that touches the disk.
 *
 * Jobs go in and outcomes come out, in order. What has queued up is done in one transaction; after it, everything that
 * has changed since the last look is read, in one state, so that views move by whole states only.
 */
#ifndef LOCAL_WORKER_H
#define LOCAL_WORKER_H

#include <stdint.h>

#include "engine/local/db.h"
#include "engine/local/pulse.h"

enum job_kind {
    JOB_LOOK,    /* look for changes: the bell has rung */
    JOB_LISTEN,  /* listen_to, keys: what to be woken by from now on */
    JOB_WATCH,   /* watch, text: the prefix */
    JOB_WRITE,   /* ticket, write */
    JOB_OPEN,    /* ticket, ttl_ms */
    JOB_END,     /* session */
    JOB_REAP,    /* session, slot: end it, if its process is dead or its heartbeat too old */
    JOB_ANSWER,  /* nothing to do: the outcome is ready (a renewal) */
    JOB_CHANGES, /* outcome only: batch, for every watch */
    JOB_RESET,   /* outcome only: every watch is asked for again */
    JOB_OTHERS,  /* outcome only: the sessions there are */
    JOB_RUNG,    /* outcome only: the bell has rung */
    JOB_REMOVED, /* outcome only: the directory is another one now (pulse_look): nothing in it counts any more */
    JOB_TROUBLE  /* outcome only: reply.error: reading failed; OK: it works again */
};

struct job {
    struct job *next;
    enum job_kind kind;
    uint64_t ticket, watch, session;
    uint32_t ttl_ms;
    int slot;
    char *text, *value;
    struct baton_write write;
    bool asked; /* by the loop, and counted there */
    enum { LISTEN_TO_ALL, LISTEN_TO_KEYS, LISTEN_TO_NOTHING } listen_to;
    unsigned keys[EAR_BELLS_MAX];
    size_t key_count;
    /* the outcome */
    struct baton_reply reply;
    struct baton_batch batch;
    int fd;    /* of a new session's lock */
    bool idle; /* of JOB_REAP: it was over already */
    bool done; /* of JOB_REAP: it has ended; of JOB_WATCH, JOB_LOOK: it was read */
    struct db_session *sessions;
    size_t session_count;
};

struct worker;

/* Opens the database in the caller's thread; `wake(ctx)` is called from the worker's thread when there are outcomes.
 * The worker hears the bell itself: a change of another process is read without a detour by the loop. */
struct worker *worker_start(struct pulse *pulse, void (*wake)(void *ctx), void *ctx, struct baton_error *err);
/* Waits for the job that is being done; the rest is dropped. A worker that waits for the writer's lock (its holder is
 * stopped in the middle of a write) is given up after STOP_LIMIT_MS. */
void worker_stop(struct worker *worker);

struct job *job_new(enum job_kind kind);
void job_free(struct job *job);
void worker_add(struct worker *worker, struct job *job);
/* Add an outcome that the loop itself has made, after those that are there. */
void worker_answer(struct worker *worker, struct job *job);
/* Since when the worker waits for its turn to write; 0: it does not. Any thread may ask. */
int64_t worker_waits_ms(const struct worker *worker);
/* All outcomes, in order; the caller frees each. */
struct job *worker_take(struct worker *worker);

#endif
