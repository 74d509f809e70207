/* local.c: the engine of one machine: no server, any number of processes, one directory.
 *
 * The parts: folder (where), db (records), pulse (is a session alive), others (who has died), watches (what concerns
 * whom), worker (the one thread that touches the disk). Here they meet on the client's loop. Nothing polls: the loop
 * wakes for a death (pidfd), for the worker's outcomes (the worker hears the bell), and for the first heartbeat that
 * could be too old.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "engine/engine.h"
#include "engine/local/folder.h"
#include "engine/local/guard.h"
#include "engine/local/header.h"
#include "engine/local/holder.h"
#include "engine/local/others.h"
#include "engine/local/watches.h"
#include "engine/local/worker.h"

#define TTL_MIN_MS 500 /* below it, a busy machine's scheduler would decide who leads */
#define TTL_MAX_MS 86400000
#define STEP_MS 30 /* candidates stagger their claims by this */
#define TROUBLE_RETRY_MS 1000
#define STUCK_MS 1000 /* a client that waits so long for others to have written says so */

struct own_session {
    uint64_t id;
    int slot, fd;
};

struct baton_engine {
    const struct baton_engine_ops *ops;
    struct baton_engine_callbacks callbacks;
    void *ctx;
    struct folder folder;
    struct pulse pulse;
    struct others others;
    struct watches watches;
    struct worker *worker;
    struct own_session own[COUNT_OF(((struct others *)0)->own)];
    uv_async_t outcome;
    uv_poll_t death, due;
    int due_fd;
    bool looking;        /* a JOB_LOOK is under way */
    bool telling;        /* outcomes are being told */
    uint64_t followed;   /* watches.rest_moves */
    int listens_to;      /* the worker: enum in job_listen */
    uint32_t looked;     /* the bell, when it was last asked to look */
    int closing;         /* handles that are still to close */
    int64_t retry_ms;    /* look again after trouble */
    bool gone;           /* the directory is another one now: the mapping is not touched */
    size_t asked;        /* jobs of the worker's without an outcome */
    int64_t ask_ms;      /* when to ask whether the worker waits for others; NEVER_MS */
    bool stuck;          /* ... and it was told that it does */
    int64_t armed_ms;    /* the timer */
    struct job *rewatch; /* watches that could not be read */
};

/* ---- when to wake ---- */

static void arm(struct baton_engine *engine, int64_t wake_ms)
{
    struct itimerspec when = {0};
    if (wake_ms != NEVER_MS) {
        when.it_value.tv_sec = wake_ms / 1000;
        when.it_value.tv_nsec = wake_ms % 1000 * 1000000;
    }
    timerfd_settime(engine->due_fd, TFD_TIMER_ABSTIME, &when, NULL);
    engine->armed_ms = wake_ms;
}

static void set_due(struct baton_engine *engine, int64_t now_ms)
{
    int64_t wake_ms = engine->gone ? NEVER_MS : others_wake_ms(&engine->others, now_ms);
    if (engine->retry_ms < wake_ms)
        wake_ms = engine->retry_ms;
    if (engine->ask_ms < wake_ms)
        wake_ms = engine->ask_ms;
    arm(engine, wake_ms);
}

/* Give the worker something to do. If it takes long, somebody may keep it from writing. */
static void ask(struct baton_engine *engine, struct job *job)
{
    assert(engine->closing == 0 && !job->asked);
    job->asked = true;
    if (engine->asked++ == 0) {
        engine->ask_ms = clock_now_ms() + STUCK_MS;
        if (engine->ask_ms < engine->armed_ms)
            arm(engine, engine->ask_ms);
    }
    worker_add(engine->worker, job);
}

static void answered(struct baton_engine *engine, const struct job *job)
{
    assert(!job->asked || engine->asked > 0); /* each is answered once */
    if (!job->asked || --engine->asked > 0)
        return;
    engine->ask_ms = NEVER_MS;
    if (engine->stuck && !engine->gone)
        engine->callbacks.trouble(engine->ctx, NULL);
    engine->stuck = false;
}

static void tell_if_stuck(struct baton_engine *engine, int64_t now_ms)
{
    char who[128];
    struct baton_error err;
    int64_t since_ms = worker_waits_ms(engine->worker);
    if (engine->ask_ms > now_ms)
        return;
    engine->ask_ms = now_ms + STUCK_MS;
    if (engine->stuck || engine->gone || since_ms == 0 || now_ms - since_ms < STUCK_MS / 2)
        return;
    engine->stuck = true;
    holder_describe(&engine->pulse, who, sizeof(who));
    error_set(&err, BATON_UNAVAILABLE,
              "local: nothing can be written in %s: %s holds a lock on the database; end it, or let it go on",
              engine->folder.path, who);
    engine->callbacks.trouble(engine->ctx, &err);
}

static void look(struct baton_engine *engine)
{
    if (engine->looking)
        return;
    engine->looking = true;
    ask(engine, job_new(JOB_LOOK));
}

/* Looked at each time before the mapping is touched. */
static bool is_gone(struct baton_engine *engine)
{
    if (!engine->gone && pulse_look(&engine->pulse, NULL) < 0) {
        engine->gone = true;
        look(engine); /* the worker finds it, too, and tells */
    }
    return engine->gone;
}

static void reap_all(struct baton_engine *engine)
{
    int64_t now_ms = clock_now_ms();
    const struct db_session *session;
    bool gone = is_gone(engine);
    while (!gone && (session = others_next(&engine->others, now_ms)) != NULL) {
        struct job *job = job_new(JOB_REAP);
        *job_end(job) = (struct job_end){.session = session->id, .slot = session->slot};
        ask(engine, job);
    }
    set_due(engine, now_ms);
}

static void on_due(uv_poll_t *handle, int status, int events)
{
    struct baton_engine *engine = handle->data;
    uint64_t times;
    (void)!read(engine->due_fd, &times, sizeof(times));
    engine->armed_ms = NEVER_MS;
    int64_t now_ms = clock_now_ms();
    tell_if_stuck(engine, now_ms);
    if (engine->retry_ms <= now_ms) {
        engine->retry_ms = NEVER_MS;
        for (struct job *job = engine->rewatch, *next; job != NULL; job = next) {
            next = job->next;
            ask(engine, job);
        }
        engine->rewatch = NULL;
        look(engine);
    }
    reap_all(engine);
}

static void on_death(uv_poll_t *handle, int status, int events)
{
    struct baton_engine *engine = handle->data;
    others_died(&engine->others, clock_now_ms());
    reap_all(engine);
}

/* ---- rest ---- */

#define RESTING_MAX 8 /* views of a client; if it has more, none rests */

/* The bells of all keys that the views wait for, each once; 0: not all of them rest, or there are too many. */
static size_t bells_of_rest(const struct baton_engine *engine, unsigned bells[EAR_BELLS_MAX])
{
    const struct watches *watches = &engine->watches;
    size_t count = 0;
    if (watches->count > RESTING_MAX || watches->resting < watches->count)
        return 0;
    for (size_t i = 0; i < watches->bucket_count; i++) {
        for (const struct watch *watch = watches->buckets[i]; watch != NULL; watch = watch->next) {
            for (size_t k = 0; k < watch->rest.count; k++) {
                unsigned bell = bell_of_key(watch->rest.keys[k]);
                size_t at = 0;
                while (at < count && bells[at] != bell)
                    at++;
                if (at == EAR_BELLS_MAX)
                    return 0;
                bells[at] = bell;
                count += at == count;
                assert(bell < KEY_BELLS && count <= EAR_BELLS_MAX);
            }
        }
    }
    return count;
}

/* The worker listens to what the views want to hear. */
static void follow_rest(struct baton_engine *engine)
{
    if (engine->telling || engine->followed == engine->watches.rest_moves)
        return;
    engine->followed = engine->watches.rest_moves;
    struct job *job = job_new(JOB_LISTEN);
    struct job_listen *listen = job_listen(job);
    listen->count = bells_of_rest(engine, listen->bells);
    listen->to = engine->watches.count == 0 ? LISTEN_TO_NOTHING : listen->count > 0 ? LISTEN_TO_KEYS : LISTEN_TO_ALL;
    if (listen->to == LISTEN_TO_ALL && engine->listens_to == LISTEN_TO_ALL) {
        job_free(job);
        return;
    }
    engine->listens_to = listen->to;
    ask(engine, job);
}

static bool is_looked_at(const struct watches *watches)
{
    for (size_t i = 0; i < watches->bucket_count; i++)
        for (const struct watch *watch = watches->buckets[i]; watch != NULL; watch = watch->next)
            if (watch->rest.slow != NULL)
                return true;
    return false;
}

/* At a renewal: has anything happened? */
static void look_while_resting(struct baton_engine *engine)
{
    if (engine->gone)
        return;
    uint32_t rings = atomic_load(&engine->pulse.header->bell);
    if (engine->listens_to != LISTEN_TO_KEYS || rings == engine->looked || !is_looked_at(&engine->watches))
        return;
    engine->looked = rings;
    look(engine);
}

/* ---- outcomes ---- */

static struct own_session *own_session(struct baton_engine *engine, uint64_t id)
{
    for (size_t i = 0; i < COUNT_OF(engine->own); i++)
        if (engine->own[i].id == id)
            return &engine->own[i];
    return NULL;
}

static void forget_own(struct baton_engine *engine, uint64_t id)
{
    struct own_session *own = own_session(engine, id);
    if (id == 0 || own == NULL)
        return;
    assert(own->fd >= 0 && own->slot >= 0);
    pulse_unlock(own->fd, id);
    close(own->fd);
    *own = (struct own_session){.fd = -1};
    others_own(&engine->others, id, false);
}

static void session_opened(struct baton_engine *engine, struct job *job)
{
    struct job_open *open = job_open(job);
    struct baton_error err = job->outcome.reply.error;
    struct own_session *own = open->session != 0 ? own_session(engine, 0) : NULL;
    assert((open->session != 0) == (open->fd >= 0));
    if (open->session != 0 && own == NULL) {
        /* Unused, it ends by itself: its lock is let go of with the job. */
        error_set(&err, BATON_FULL, "local: one client has at most %zu sessions", COUNT_OF(engine->own));
        pulse_unlock(open->fd, open->session);
    }
    if (own == NULL) {
        engine->callbacks.session_opened(engine->ctx, open->ticket, 0, 0, &err);
        return;
    }
    *own = (struct own_session){.id = open->session, .slot = open->slot, .fd = open->fd};
    open->fd = -1;
    others_own(&engine->others, own->id, true);
    engine->callbacks.session_opened(engine->ctx, open->ticket, own->id, open->ttl_ms, NULL);
}

static struct job *job_of_watch(uint64_t id, const char *prefix)
{
    struct job *job = job_new(JOB_WATCH);
    *job_watch(job) = (struct job_watch){.id = id, .prefix = mem_text(prefix)};
    return job;
}

static void watch_read(struct baton_engine *engine, struct job *job)
{
    const struct job_watch *asked = job_watch(job);
    struct watch *watch = watches_find(&engine->watches, asked->id, asked->prefix);
    if (watch == NULL)
        return; /* closed meanwhile */
    if (!job->outcome.done) {
        struct job *again = job_of_watch(asked->id, asked->prefix);
        again->next = engine->rewatch;
        engine->rewatch = again;
        return;
    }
    watch->ready = true;
    watches_rest(&engine->watches, watch, NULL);
    assert(job->outcome.batch.reset);
    engine->callbacks.changed(engine->ctx, asked->id, &job->outcome.batch);
}

static void rewatch_all(struct baton_engine *engine)
{
    for (size_t i = 0; i < engine->watches.bucket_count; i++) {
        for (struct watch *watch = engine->watches.buckets[i]; watch != NULL; watch = watch->next) {
            watch->ready = false;
            watches_rest(&engine->watches, watch, NULL);
            ask(engine, job_of_watch(watch->id, watch->prefix));
        }
    }
}

static void trouble(struct baton_engine *engine, const struct job *job)
{
    bool bad = job->outcome.reply.error.code != BATON_OK;
    engine->gone = engine->gone && bad;
    engine->retry_ms = bad ? clock_now_ms() + TROUBLE_RETRY_MS : NEVER_MS;
    engine->callbacks.trouble(engine->ctx, bad ? &job->outcome.reply.error : NULL);
}

static void removed(struct baton_engine *engine, const struct job *job)
{
    engine->gone = true;
    engine->retry_ms = clock_now_ms() + TROUBLE_RETRY_MS; /* it may be moved back */
    engine->callbacks.trouble(engine->ctx, &job->outcome.reply.error);
    for (size_t i = 0; i < COUNT_OF(engine->own); i++) {
        uint64_t id = engine->own[i].id;
        if (id == 0)
            continue;
        forget_own(engine, id);
        engine->callbacks.session_ended(engine->ctx, id);
    }
}

static void session_is_over(struct baton_engine *engine, struct job *job)
{
    uint64_t session = job_end(job)->session;
    bool first = job->outcome.done && session != 0 && own_session(engine, session) != NULL; /* it is told once */
    forget_own(engine, session);
    if (first)
        engine->callbacks.session_ended(engine->ctx, session);
}

static void tell(struct baton_engine *engine, struct job *job)
{
    switch (job->kind) {
    case JOB_LOOK:
        engine->looking = false;
        engine->gone = engine->gone && !job->outcome.done; /* it may have been moved back before the worker looked */
        return;
    case JOB_LISTEN:
        return;
    case JOB_WATCH:
        watch_read(engine, job);
        return;
    case JOB_WRITE:
        engine->callbacks.written(engine->ctx, job_write(job)->ticket, &job->outcome.reply);
        return;
    case JOB_OPEN:
        session_opened(engine, job);
        return;
    case JOB_END:
        session_is_over(engine, job);
        return;
    case JOB_REAP:
        return; /* if it is gone, JOB_OTHERS says so */
    case JOB_RENEWED:
        engine->callbacks.session_renewed(engine->ctx, job_renewed(job)->ticket, &job->outcome.reply);
        return;
    case JOB_CHANGES:
        watches_tell(&engine->watches, &job->outcome.batch, &engine->callbacks, engine->ctx);
        return;
    case JOB_RESET:
        rewatch_all(engine);
        return;
    case JOB_RUNG:
        if (!engine->gone)
            others_rung(&engine->others, clock_now_ms());
        return;
    case JOB_REMOVED:
        removed(engine, job);
        return;
    case JOB_OTHERS:
        others_set(&engine->others, job_others(job)->list, job_others(job)->count);
        return;
    case JOB_TROUBLE:
        trouble(engine, job);
        return;
    case JOB_KINDS:
        break;
    }
    IMPOSSIBLE("job %d", (int)job->kind);
}

static void on_outcome(uv_async_t *handle)
{
    struct baton_engine *engine = handle->data;
    struct job *next;
    engine->telling = true;
    for (struct job *job = worker_take(engine->worker); job != NULL; job = next) {
        next = job->next;
        if (engine->closing == 0)
            tell(engine, job);
        if (engine->closing == 0)
            answered(engine, job);
        job_free(job);
    }
    engine->telling = false;
    if (engine->closing > 0)
        return;
    follow_rest(engine);
    reap_all(engine);
}

static void wake(void *ctx)
{
    struct baton_engine *engine = ctx;
    uv_async_send(&engine->outcome);
}

/* ---- the contract ---- */

/* A session that was not ended keeps its lock as long as this process lives: whose lock is free counts as dead, and a
 * client that closes in the middle of a stop has still the time that its program was given. */
static void engine_free(struct baton_engine *engine)
{
    assert(engine->closing == 0);
    for (struct job *job = engine->rewatch, *next; job != NULL; job = next) {
        next = job->next;
        job_free(job);
    }
    if (engine->due_fd >= 0)
        close(engine->due_fd);
    watches_release(&engine->watches);
    others_release(&engine->others);
    pulse_close(&engine->pulse);
    folder_close(&engine->folder);
    free(engine);
}

static void start_handles(struct baton_engine *engine, uv_loop_t *loop)
{
    uv_poll_init(loop, &engine->death, engine->others.poll_fd);
    uv_poll_init(loop, &engine->due, engine->due_fd);
    engine->death.data = engine->due.data = engine;
    uv_poll_start(&engine->death, UV_READABLE, on_death);
    uv_poll_start(&engine->due, UV_READABLE, on_due);
}

static void on_closed(uv_handle_t *handle)
{
    struct baton_engine *engine = handle->data;
    if (--engine->closing > 0)
        return;
    struct baton_engine_callbacks callbacks = engine->callbacks;
    void *ctx = engine->ctx;
    engine_free(engine);
    callbacks.closed(ctx);
}

static void local_close(struct baton_engine *engine)
{
    assert(engine->closing == 0);
    engine->closing = 3;
    worker_stop(engine->worker);
    uv_close((uv_handle_t *)&engine->outcome, on_closed);
    uv_close((uv_handle_t *)&engine->death, on_closed);
    uv_close((uv_handle_t *)&engine->due, on_closed);
}

static char *local_full_url(const char *url)
{
    struct baton_error err;
    char *folder = strcmp(url, "local:") == 0 ? folder_name(url, &err) : NULL;
    if (folder == NULL)
        return NULL; /* it names a path; or the opening tells why there is none */
    char *full = mem_format("local:%s", folder);
    free(folder);
    return full;
}

static int local_open(const char *url, bool create, uv_loop_t *loop, const struct baton_engine_callbacks *callbacks,
                      void *ctx, struct baton_engine **ret, struct baton_error *err)
{
    struct baton_engine *engine = mem_new(sizeof(*engine));
    enum header header;
    engine->ops = &engine_local;
    engine->callbacks = *callbacks;
    engine->ctx = ctx;
    engine->due_fd = engine->others.poll_fd = engine->pulse.lock_fd = -1;
    engine->retry_ms = engine->ask_ms = engine->armed_ms = NEVER_MS;
    watches_init(&engine->watches);
    if (folder_open(&engine->folder, url, create, err) < 0 || header_check(&engine->folder, &header, err) < 0 ||
        pulse_open(&engine->pulse, &engine->folder, err) < 0 || others_init(&engine->others, &engine->pulse, err) < 0)
        goto fail;
    engine->due_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (engine->due_fd < 0) {
        error_errno(err, errno, "local: cannot make a timer");
        goto fail;
    }
    /* The async handle must be there before the worker can wake it. */
    uv_async_init(loop, &engine->outcome, on_outcome);
    engine->outcome.data = engine;
    engine->worker = worker_start(&engine->pulse, wake, engine, err);
    if (engine->worker == NULL)
        goto fail_async;
    engine->folder.again = true;
    start_handles(engine, loop);
    follow_rest(engine);
    look(engine);
    *ret = engine;
    return 0;
fail_async:
    uv_close((uv_handle_t *)&engine->outcome, NULL);
    uv_run(loop, UV_RUN_NOWAIT);
fail:
    engine_free(engine);
    return -1;
}

static void local_session_open(struct baton_engine *engine, uint64_t ticket, uint32_t ttl_ms)
{
    struct job *job = job_new(JOB_OPEN);
    job_open(job)->ticket = ticket;
    job_open(job)->ttl_ms = ttl_ms < TTL_MIN_MS ? TTL_MIN_MS : ttl_ms;
    ask(engine, job);
}

static void local_session_renew(struct baton_engine *engine, uint64_t ticket, uint64_t session)
{
    struct job *job = job_new(JOB_RENEWED);
    struct baton_reply *reply = &job->outcome.reply;
    job_renewed(job)->ticket = ticket;
    struct own_session *own = session != 0 ? own_session(engine, session) : NULL;
    if (is_gone(engine)) {
        reply->answer = BATON_ANSWER_REFUSED;
        error_set(&reply->error, BATON_LOST, "local: session %llu is over: the state directory is another one now",
                  (unsigned long long)session);
    } else if (own != NULL && pulse_renew(&engine->pulse, own->slot, session, clock_now_ms())) {
        reply->answer = BATON_ANSWER_DONE;
    } else {
        reply->answer = BATON_ANSWER_REFUSED;
        error_set(&reply->error, BATON_LOST, "local: session %llu is over: its heartbeat was too old",
                  (unsigned long long)session);
    }
    worker_answer(engine->worker, job);
    look_while_resting(engine);
}

static void local_session_end(struct baton_engine *engine, uint64_t session)
{
    struct job *job = job_new(JOB_END);
    *job_end(job) = (struct job_end){.session = session, .slot = -1};
    ask(engine, job);
}

static int local_session_export(struct baton_engine *engine, uint64_t session, char text[BATON_EXPORT_MAX], int *ret_fd,
                                struct baton_error *err)
{
    const struct own_session *own = session != 0 ? own_session(engine, session) : NULL;
    if (own == NULL)
        return error_set(err, BATON_LOST, "local: session %llu is over", (unsigned long long)session);
    int length =
        snprintf(text, BATON_EXPORT_MAX, "1 %llu %d %s", (unsigned long long)session, own->slot, engine->folder.path);
    if (length >= BATON_EXPORT_MAX)
        return error_set(err, BATON_INVALID, "local: the path of the directory is too long for a guard");
    int fd = fcntl(own->fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return error_errno(err, errno, "local: cannot copy a descriptor");
    *ret_fd = fd;
    return 0;
}

static void local_write(struct baton_engine *engine, uint64_t ticket, const struct baton_write *write)
{
    struct job *job = job_new(JOB_WRITE);
    struct job_write *asked = job_write(job);
    *asked = (struct job_write){.ticket = ticket, .write = *write};
    asked->write.key = mem_text(write->key);
    asked->write.value = mem_text(write->value);
    ask(engine, job);
}

static void local_watch(struct baton_engine *engine, uint64_t watch, const char *prefix)
{
    watches_add(&engine->watches, watch, prefix);
    follow_rest(engine);
    ask(engine, job_of_watch(watch, prefix));
}

static void local_unwatch(struct baton_engine *engine, uint64_t watch)
{
    watches_remove(&engine->watches, watch);
    follow_rest(engine);
}

static void local_rest(struct baton_engine *engine, uint64_t id, const struct baton_rest *rest)
{
    if (engine->watches.count > RESTING_MAX && (rest->count > 0 || engine->watches.resting == 0))
        return;
    struct watch *watch = watches_by_id(&engine->watches, id);
    if (watch != NULL && watch->ready)
        watches_rest(&engine->watches, watch, rest);
    follow_rest(engine);
}

static struct baton_latch *local_latch(struct baton_engine *engine, const char *key, uint64_t created)
{
    return latches_find(engine->pulse.latches, key, created);
}

const struct baton_engine_ops engine_local = {
    .abi = BATON_ENGINE_ABI,
    .scheme = "local",
    .ttl_min_ms = TTL_MIN_MS,
    .ttl_max_ms = TTL_MAX_MS,
    .step_ms = STEP_MS,
    .sees_deaths = true,
    .full_url = local_full_url,
    .open = local_open,
    .close = local_close,
    .session_open = local_session_open,
    .session_renew = local_session_renew,
    .session_end = local_session_end,
    .session_export = local_session_export,
    .write = local_write,
    .watch = local_watch,
    .unwatch = local_unwatch,
    .rest = local_rest,
    .latch = local_latch,
    .guard_open = local_guard_open,
    .guard_end = local_guard_end,
    .guard_close = local_guard_close,
    .guard_renew = local_guard_renew,
};
