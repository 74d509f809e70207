/* worker.h: the one thread of an engine that touches the disk.
 *
 * Jobs go in, and come out as outcomes, in order; outcomes that no job asked for come in between. All jobs that wait
 * are done in one transaction. After it the worker reads everything that has changed since it last read, as of one
 * revision: so views move by whole states only.
 */
#ifndef LOCAL_WORKER_H
#define LOCAL_WORKER_H

#include <stdint.h>

#include "engine/local/db.h"
#include "engine/local/pulse.h"

enum job_kind {
    /* The loop asks for these; each comes back as an outcome. */
    JOB_LOOK,   /* read what has changed */
    JOB_LISTEN, /* listen: which bells wake the worker from now on */
    JOB_WATCH,  /* watch */
    JOB_WRITE,  /* write */
    JOB_OPEN,   /* open */
    JOB_END,    /* end */
    JOB_REAP,   /* end: if its process is dead, or its heartbeat too old */
    /* Outcomes only. */
    JOB_RENEWED, /* renewed; the loop itself makes it (worker_answer) */
    JOB_CHANGES, /* outcome.batch, for every watch */
    JOB_RESET,   /* every watch must be asked for again */
    JOB_OTHERS,  /* others: the sessions there are */
    JOB_RUNG,    /* the bell has rung */
    JOB_REMOVED, /* the directory is another one now (pulse_look): nothing in it counts any more */
    JOB_TROUBLE, /* outcome.reply.error: reading failed; BATON_OK: it works again */
    JOB_KINDS
};

struct job_listen {
    enum { LISTEN_TO_ALL, LISTEN_TO_KEYS, LISTEN_TO_NOTHING } to;
    unsigned bells[EAR_BELLS_MAX]; /* with LISTEN_TO_KEYS */
    size_t count;
};

struct job_watch {
    uint64_t id;
    char *prefix; /* the job's */
};

struct job_write {
    uint64_t ticket;
    struct baton_write write; /* key and value are the job's */
};

struct job_open {
    uint64_t ticket;
    uint32_t ttl_ms;
    uint64_t session; /* the outcome; 0: there is none, see outcome.reply */
    int slot, fd;     /* fd: of its lock, the job's; -1: none */
};

struct job_end {
    uint64_t session;
    int slot;
    bool idle; /* JOB_REAP: somebody else has ended it already */
};

struct job_renewed {
    uint64_t ticket;
};

struct job_others {
    struct db_session *list; /* the job's */
    size_t count;
};

struct job {
    struct job *next;
    enum job_kind kind;
    bool asked; /* by the loop, which counts it */
    union {     /* by the kind; use the functions below */
        struct job_listen listen;
        struct job_watch watch;
        struct job_write write;
        struct job_open open;
        struct job_end end;
        struct job_renewed renewed;
        struct job_others others;
    } of;
    struct {
        bool done; /* JOB_END, JOB_REAP: the session has ended by it; JOB_WATCH, JOB_LOOK: it was read */
        struct baton_reply reply;
        struct baton_batch batch; /* JOB_WATCH, JOB_CHANGES; the job's */
    } outcome;
};

/* The part of a job of this kind; another kind is a mistake. */
struct job_listen *job_listen(struct job *job);
struct job_watch *job_watch(struct job *job);
struct job_write *job_write(struct job *job);
struct job_open *job_open(struct job *job);
struct job_end *job_end(struct job *job); /* JOB_END, JOB_REAP */
struct job_renewed *job_renewed(struct job *job);
struct job_others *job_others(struct job *job);

struct worker;

/* Open the database, in the caller's thread, and start the worker. It calls `wake(ctx)` from its own thread when there
 * are outcomes. It hears the bell itself: a change of another process is read without a detour by the loop. NULL with
 * err. */
struct worker *worker_start(struct pulse *pulse, void (*wake)(void *ctx), void *ctx, struct baton_error *err);
/* Wait for the job that is being done; those behind it are dropped. A worker that waits for the writer's lock (its
 * holder is stopped in the middle of a write) is given up after 2 s. */
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
