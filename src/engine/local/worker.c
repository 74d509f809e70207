/* worker.c: the worker's loop: take the jobs, write, read, hand out the outcomes, sleep. */
#include "engine/local/worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "engine/local/folder.h"
#include "engine/local/process.h"

#define STACK_BYTES (256 * 1024)
#define STOP_LIMIT_MS 2000

struct queue {
    struct job *first, **last;
};

struct worker {
    struct db *db;
    struct pulse *pulse;
    int writer_fd;
    bell_word work; /* rung when there are jobs */
    void (*wake)(void *ctx);
    void *ctx;
    pthread_t thread;
    pthread_mutex_t mutex;
    struct queue jobs, outcomes; /* under the mutex */
    bool quit, ended;
    _Atomic bool hurry;       /* it is to quit */
    _Atomic int64_t waits_ms; /* since when it waits for its turn to write; 0: it does not */
    pthread_cond_t moved;     /* it has ended */
    /* the worker's own */
    struct job *held; /* while it may be cancelled: worker_free frees them then */
    uint64_t seen;    /* every watch has been told up to this revision */
    bool seen_any, troubled;
    bool removed;   /* the directory was, or is another one now */
    struct ear ear; /* the bell, or the bells of some keys */
    uint64_t sessions_version;
    int pid;
    uint64_t pid_start, pid_namespace;
};

/* ---- queues ---- */

static void queue_init(struct queue *queue)
{
    queue->first = NULL;
    queue->last = &queue->first;
}

static void queue_add(struct queue *queue, struct job *job)
{
    assert(*queue->last == NULL); /* it is the last one's `next` */
    job->next = NULL;
    *queue->last = job;
    queue->last = &job->next;
}

static void queue_add_all(struct queue *queue, struct job *jobs)
{
    for (struct job *job = jobs, *next; job != NULL; job = next) {
        next = job->next;
        queue_add(queue, job);
    }
}

static struct job *queue_take(struct queue *queue)
{
    struct job *jobs = queue->first;
    assert(*queue->last == NULL);
    queue_init(queue);
    return jobs;
}

struct job *job_new(enum job_kind kind)
{
    assert(kind < JOB_KINDS);
    struct job *job = mem_new(sizeof(*job));
    job->kind = kind;
    if (kind == JOB_OPEN)
        job->of.open.fd = -1;
    return job;
}

void job_free(struct job *job)
{
    if (job->kind == JOB_OPEN && job->of.open.fd >= 0)
        close(job->of.open.fd);
    if (job->kind == JOB_WATCH)
        free(job->of.watch.prefix);
    if (job->kind == JOB_OTHERS)
        free(job->of.others.list);
    if (job->kind == JOB_WRITE) {
        free((char *)job->of.write.write.key);
        free((char *)job->of.write.write.value);
    }
    db_batch_release(&job->outcome.batch);
    free(job);
}

struct job_listen *job_listen(struct job *job)
{
    assert(job->kind == JOB_LISTEN);
    return &job->of.listen;
}

struct job_watch *job_watch(struct job *job)
{
    assert(job->kind == JOB_WATCH);
    return &job->of.watch;
}

struct job_write *job_write(struct job *job)
{
    assert(job->kind == JOB_WRITE);
    return &job->of.write;
}

struct job_open *job_open(struct job *job)
{
    assert(job->kind == JOB_OPEN);
    return &job->of.open;
}

struct job_end *job_end(struct job *job)
{
    assert(job->kind == JOB_END || job->kind == JOB_REAP);
    return &job->of.end;
}

struct job_renewed *job_renewed(struct job *job)
{
    assert(job->kind == JOB_RENEWED);
    return &job->of.renewed;
}

struct job_others *job_others(struct job *job)
{
    assert(job->kind == JOB_OTHERS);
    return &job->of.others;
}

static void jobs_free(struct job *jobs)
{
    for (struct job *job = jobs, *next; job != NULL; job = next) {
        next = job->next;
        job_free(job);
    }
}

static void wake_worker(struct worker *worker)
{
    (void)bell_ring_own(&worker->work);
}

void worker_add(struct worker *worker, struct job *job)
{
    assert(job->kind <= JOB_REAP); /* the others are outcomes only */
    pthread_mutex_lock(&worker->mutex);
    bool first = worker->jobs.first == NULL;
    queue_add(&worker->jobs, job);
    pthread_mutex_unlock(&worker->mutex);
    if (first)
        wake_worker(worker);
}

void worker_answer(struct worker *worker, struct job *job)
{
    assert(job->kind == JOB_RENEWED);
    pthread_mutex_lock(&worker->mutex);
    queue_add(&worker->outcomes, job);
    pthread_mutex_unlock(&worker->mutex);
    worker->wake(worker->ctx);
}

struct job *worker_take(struct worker *worker)
{
    pthread_mutex_lock(&worker->mutex);
    struct job *outcomes = queue_take(&worker->outcomes);
    pthread_mutex_unlock(&worker->mutex);
    return outcomes;
}

int64_t worker_waits_ms(const struct worker *worker)
{
    return atomic_load(&((struct worker *)worker)->waits_ms); /* (C11's atomic_load takes no const) */
}

/* ---- writing ---- */

static bool writes(const struct job *job)
{
    return job->kind == JOB_WRITE || job->kind == JOB_OPEN || job->kind == JOB_END ||
           (job->kind == JOB_REAP && !job->of.end.idle);
}

/* A session that somebody else has ended already is no reason to take the writer's lock. */
static void skip_idle(struct worker *worker, struct job *jobs)
{
    for (struct job *job = jobs; job != NULL; job = job->next)
        if (job->kind == JOB_REAP)
            job_end(job)->idle = db_session_exists(worker->db, job_end(job)->session, NULL) == 0;
}

/* Must this job be on the disk before it is answered? A lasting record must, unless its writer can bear the loss.
 * Presences and sessions need not: the first opener after a boot drops them all. */
static bool durable(const struct worker *worker, struct job *job)
{
    if (job->kind != JOB_WRITE)
        return false;
    const struct baton_write *write = &job_write(job)->write;
    if (write->may_be_lost || (write->kind == BATON_WRITE_PUT && write->session != 0))
        return false;
    return write->kind == BATON_WRITE_PUT || !db_is_bound(worker->db, write->key);
}

static int open_session(struct worker *worker, struct job_open *open, struct baton_error *err)
{
    assert(open->session == 0 && open->fd < 0 && open->ttl_ms > 0);
    open->session = db_session_new(worker->db);
    open->slot = pulse_begin(worker->pulse, open->session, open->ttl_ms, &open->fd, err);
    if (open->slot < 0)
        return -1;
    if (db_session_add(worker->db, open->session, open->slot, worker->pid, worker->pid_start, worker->pid_namespace,
                       err) == 0)
        return 0;
    pulse_end(worker->pulse, open->slot, open->session);
    return -1;
}

static int end_session(struct worker *worker, struct job *job, struct baton_error *err)
{
    if (db_session_end(worker->db, job_end(job)->session, &job_end(job)->slot, err) < 0)
        return -1;
    job->outcome.done = true;
    return 0;
}

static int reap(struct worker *worker, struct job *job, struct baton_error *err)
{
    /* Proof, looked at again under the writer's lock: its processes are gone, or its heartbeat is too old. */
    if (!pulse_unlocked(worker->pulse, job_end(job)->session) &&
        !pulse_expire(worker->pulse, job_end(job)->slot, job_end(job)->session, clock_now_ms()))
        return 0;
    return end_session(worker, job, err);
}

static int do_write(struct worker *worker, struct job *job, struct baton_error *err)
{
    switch (job->kind) {
    case JOB_WRITE:
        return db_write(worker->db, &job_write(job)->write, &job->outcome.reply, err);
    case JOB_OPEN:
        return open_session(worker, job_open(job), err);
    case JOB_END:
        return end_session(worker, job, err);
    case JOB_REAP:
        return reap(worker, job, err);
    default:
        IMPOSSIBLE("job %d writes nothing", (int)job->kind);
    }
}

/* The session did not come about: its slot and its lock are given back. */
static void fail_open(struct worker *worker, struct job_open *open)
{
    if (open->fd >= 0) {
        pulse_end(worker->pulse, open->slot, open->session);
        close(open->fd);
        open->fd = -1;
    }
    open->session = 0;
}

/* None of the jobs took effect (or, if unknown, perhaps): tell each. */
static void fail_writes(struct worker *worker, struct job *jobs, enum baton_answer answer,
                        const struct baton_error *err)
{
    assert(answer != BATON_ANSWER_DONE && err->code != BATON_OK);
    for (struct job *job = jobs; job != NULL; job = job->next) {
        if (!writes(job))
            continue;
        if (job->kind == JOB_OPEN)
            fail_open(worker, job_open(job));
        job->outcome.done = false;
        job->outcome.reply = (struct baton_reply){.answer = answer, .error = *err};
    }
}

/* All that is to be written, in one transaction. true: something was, and others should look. */
static bool do_writes(struct worker *worker, struct job *jobs)
{
    bool any = false, to_disk = false;
    skip_idle(worker, jobs);
    for (struct job *job = jobs; job != NULL; job = job->next) {
        any = any || writes(job);
        to_disk = to_disk || durable(worker, job);
    }
    if (!any)
        return false;
    struct baton_error err = {0};
    atomic_store(&worker->waits_ms, clock_now_ms());
    worker->held = jobs;
    assert(worker->waits_ms > 0);
    int begun = db_begin(worker->db, to_disk, &err);
    worker->held = NULL;
    atomic_store(&worker->waits_ms, 0);
    if (begun < 0) {
        fail_writes(worker, jobs, BATON_ANSWER_REFUSED, &err);
        return false;
    }
    for (struct job *job = jobs; job != NULL; job = job->next) {
        if (!writes(job) || do_write(worker, job, &err) == 0)
            continue;
        db_rollback(worker->db);
        fail_writes(worker, jobs, BATON_ANSWER_REFUSED, &err);
        return false;
    }
    if (db_commit(worker->db, &err) < 0) {
        /* A full disk rolls back for sure; after an I/O error nobody knows what the disk will show. */
        fail_writes(worker, jobs, err.code == BATON_SYSTEM ? BATON_ANSWER_UNKNOWN : BATON_ANSWER_REFUSED, &err);
        return false;
    }
    for (struct job *job = jobs; job != NULL; job = job->next)
        if ((job->kind == JOB_END || job->kind == JOB_REAP) && job->outcome.done)
            pulse_end(worker->pulse, job_end(job)->slot, job_end(job)->session);
    return db_changed(worker->db);
}

/* These are outcomes now. */
static void hand_out(struct worker *worker, struct queue *out)
{
    if (out->first == NULL)
        return;
    pthread_mutex_lock(&worker->mutex);
    queue_add_all(&worker->outcomes, out->first);
    pthread_mutex_unlock(&worker->mutex);
    worker->wake(worker->ctx);
}

/* The directory is another one now: a process that opens it begins a namespace of its own, so nothing of this one may
 * count any more. */
static void refuse(struct worker *worker, struct job *jobs, const struct baton_error *err)
{
    struct queue out;
    queue_init(&out);
    fail_writes(worker, jobs, BATON_ANSWER_REFUSED, err);
    assert(err->code != BATON_OK);
    if (!worker->removed) { /* told once */
        struct job *removed = job_new(JOB_REMOVED);
        removed->outcome.reply.error = *err;
        queue_add(&out, removed);
    }
    worker->removed = worker->troubled = true;
    queue_add_all(&out, jobs);
    hand_out(worker, &out);
}

/* ---- reading ---- */

static int read_changes(struct worker *worker, struct queue *out, struct baton_error *err)
{
    struct job *outcome = job_new(JOB_CHANGES);
    int result = 0;
    if (!worker->seen_any) {
        worker->seen = db_revision(worker->db);
        worker->seen_any = true;
    } else if (worker->seen != db_revision(worker->db)) {
        result = db_changes(worker->db, worker->seen, &outcome->outcome.batch, err);
    }
    if (result == 1)
        outcome->kind = JOB_RESET;
    if (result >= 0)
        worker->seen = db_revision(worker->db);
    if (result == 1 || outcome->outcome.batch.count > 0)
        queue_add(out, outcome);
    else
        job_free(outcome);
    return result < 0 ? -1 : 0;
}

static int read_others(struct worker *worker, struct queue *out, struct baton_error *err)
{
    struct job *outcome = job_new(JOB_OTHERS);
    struct job_others *others = job_others(outcome);
    int result = db_sessions(worker->db, &worker->sessions_version, &others->list, &others->count, err);
    if (result == 1)
        queue_add(out, outcome);
    else
        job_free(outcome);
    return result;
}

static int read_all(struct worker *worker, struct job *jobs, struct queue *out, struct baton_error *err)
{
    if (db_read_begin(worker->db, err) < 0)
        return -1;
    int result = read_changes(worker, out, err);
    if (result == 0)
        result = read_others(worker, out, err);
    for (struct job *job = jobs; job != NULL && result >= 0; job = job->next)
        if (job->kind == JOB_WATCH)
            result = db_snapshot(worker->db, job_watch(job)->prefix, &job->outcome.batch, err);
    db_read_end(worker->db);
    return result < 0 ? -1 : 0;
}

static void tell_trouble(struct worker *worker, struct queue *out, const struct baton_error *err)
{
    if (err == NULL && !worker->troubled)
        return;
    worker->troubled = err != NULL;
    struct job *outcome = job_new(JOB_TROUBLE);
    if (err != NULL)
        outcome->outcome.reply.error = *err;
    queue_add(out, outcome);
}

static void listen_to_what_was_asked(struct worker *worker, struct job *jobs)
{
    for (struct job *job = jobs; job != NULL; job = job->next) {
        if (job->kind != JOB_LISTEN)
            continue;
        const struct job_listen *listen = job_listen(job);
        assert((listen->to == LISTEN_TO_KEYS) == (listen->count > 0));
        worker->ear.count = 0;
        for (size_t i = 0; i < listen->count; i++)
            ear_add(&worker->ear, &worker->pulse->key_bells[listen->bells[i]]);
        if (listen->to == LISTEN_TO_ALL)
            ear_add(&worker->ear, &worker->pulse->header->bell);
    }
}

static void work(struct worker *worker, struct job *jobs, bool rung)
{
    worker->removed = false;
    if (do_writes(worker, jobs))
        pulse_ring(worker->pulse, db_changed_keys(worker->db), &worker->ear);
    listen_to_what_was_asked(worker, jobs); /* before the look: so nothing falls in between */
    struct queue read, out;
    queue_init(&read);
    queue_init(&out);
    struct baton_error err = {0};
    bool readable = read_all(worker, jobs, &read, &err) == 0;
    tell_trouble(worker, &out, readable ? NULL : &err);
    /* Changes before the new watches' first states, which are as of the same revision. */
    queue_add_all(&out, queue_take(&read));
    for (struct job *job = jobs; job != NULL; job = job->next)
        if (job->kind == JOB_WATCH || job->kind == JOB_LOOK)
            job->outcome.done = readable;
    queue_add_all(&out, jobs);
    if (rung)
        queue_add(&out, job_new(JOB_RUNG));
    hand_out(worker, &out);
}

/* Sessions that died while nobody looked are ended before the first view is shown: it would name a dead leader. */
static void reap_unseen(struct worker *worker)
{
    struct db_session *sessions = NULL;
    size_t count = 0;
    uint64_t version = UINT64_MAX;
    struct job *jobs = NULL;
    if (db_read_begin(worker->db, NULL) < 0)
        return;
    (void)db_sessions(worker->db, &version, &sessions, &count, NULL);
    db_read_end(worker->db);
    for (size_t i = 0; i < count; i++) {
        if (!pulse_unlocked(worker->pulse, sessions[i].id) &&
            pulse_expires_ms(worker->pulse, sessions[i].slot, sessions[i].id) > clock_now_ms())
            continue;
        struct job *job = job_new(JOB_REAP);
        *job_end(job) = (struct job_end){.session = sessions[i].id, .slot = sessions[i].slot};
        job->next = jobs;
        jobs = job;
    }
    free(sessions);
    if (do_writes(worker, jobs))
        pulse_ring(worker->pulse, db_changed_keys(worker->db), NULL);
    jobs_free(jobs);
}

/* Sleep until there is something to do. Without the mapping (see pulse_look) no bell is listened to. */
static void sleep_until_rung(struct worker *worker, uint32_t works, bool whole)
{
    static const struct ear none;
    (void)ear_wait(whole ? &worker->ear : &none, &worker->work, works);
}

/* NULL and true: it is to quit. */
static struct job *take_jobs(struct worker *worker, bool *ret_quit)
{
    pthread_mutex_lock(&worker->mutex);
    bool quit = worker->quit;
    struct job *jobs = quit ? NULL : queue_take(&worker->jobs);
    worker->ended = quit;
    if (quit)
        pthread_cond_signal(&worker->moved);
    pthread_mutex_unlock(&worker->mutex);
    *ret_quit = quit;
    return jobs;
}

static void *run(void *context)
{
    struct worker *worker = context;
    struct baton_error err;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL); /* but while it waits for the writer's lock */
    if (pulse_look(worker->pulse, &err) == 0)
        reap_unseen(worker);
    for (;;) {
        /* The bell is heard before the records are read: a ring in between is for the next round. */
        bool whole = pulse_look(worker->pulse, &err) == 0, quit;
        bool rung = whole && ear_listen(&worker->ear);
        uint32_t works = atomic_load(&worker->work);
        struct job *jobs = take_jobs(worker, &quit);
        if (quit)
            return NULL;
        if (!whole && (jobs != NULL || !worker->removed))
            refuse(worker, jobs, &err);
        else if (jobs == NULL && !rung)
            sleep_until_rung(worker, works, whole);
        else
            work(worker, jobs, rung);
    }
}

/* ---- life ---- */

static void worker_free(struct worker *worker)
{
    db_close(worker->db);
    if (worker->writer_fd >= 0)
        close(worker->writer_fd);
    jobs_free(worker->held);
    jobs_free(worker->jobs.first);
    jobs_free(worker->outcomes.first);
    free(worker);
}

static int start_thread(struct worker *worker, struct baton_error *err)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_mutex_init(&worker->mutex, NULL);
    pthread_cond_init(&worker->moved, NULL);
    sigfillset(&all); /* signals are the program's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&worker->thread, &attributes, run, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return error == 0 ? 0 : error_errno(err, error, "local: cannot start a thread");
}

static int begin(struct worker *worker, struct baton_error *err)
{
    db_wait_until(worker->db, &worker->hurry);
    return start_thread(worker, err);
}

/* Wait for what has happened already: it returns at once, unless the kernel cannot wait for two words. */
static int check_kernel(struct worker *worker, struct baton_error *err)
{
    bell_word *bell = &worker->pulse->header->bell;
    uint32_t works = atomic_load(&worker->work);
    wake_worker(worker);
    if (!bell_can_wait(bell, &worker->work, works))
        return error_errno(err, errno,
                           "local: the kernel cannot wait for the bell (futex_waitv, Linux 5.16, is needed)");
    return 0;
}

struct worker *worker_start(struct pulse *pulse, void (*wake)(void *ctx), void *ctx, struct baton_error *err)
{
    struct worker *worker = mem_new(sizeof(*worker));
    worker->pulse = pulse;
    worker->wake = wake;
    worker->ctx = ctx;
    ear_add(&worker->ear, &pulse->header->bell);
    worker->sessions_version = UINT64_MAX;
    queue_init(&worker->jobs);
    queue_init(&worker->outcomes);
    worker->pid = getpid();
    worker->pid_start = process_start(worker->pid);
    worker->pid_namespace = process_namespace();
    worker->writer_fd = folder_file(pulse->folder, "writer", err);
    if (worker->writer_fd < 0 || check_kernel(worker, err) < 0 ||
        (worker->db = db_open(worker->writer_fd, pulse, err)) == NULL || begin(worker, err) < 0) {
        worker_free(worker);
        return NULL;
    }
    return worker;
}

void worker_stop(struct worker *worker)
{
    pthread_mutex_lock(&worker->mutex);
    assert(!worker->quit);
    worker->quit = true;
    atomic_store(&worker->hurry, true);
    wake_worker(worker);
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += STOP_LIMIT_MS / 1000;
    int late = 0;
    while (!worker->ended && late == 0)
        late = pthread_cond_clockwait(&worker->moved, &worker->mutex, CLOCK_MONOTONIC, &until);
    if (!worker->ended)
        pthread_cancel(worker->thread);
    pthread_mutex_unlock(&worker->mutex);
    pthread_join(worker->thread, NULL);
    pthread_mutex_destroy(&worker->mutex);
    pthread_cond_destroy(&worker->moved);
    worker_free(worker);
}
