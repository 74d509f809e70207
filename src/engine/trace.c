/* trace.c: each function of the table writes its line and passes the call on; each callback as well. */
#include "engine/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "base/environment.h"
#include "base/url.h"
#include "engine/wrap.h"

#define LINE_MAX_BYTES 1024
#define VALUE_SHOWN 120 /* bytes */
#define PENDING_MAX 256 /* requests whose time of sending is remembered */
#define KEYS_SHOWN 20   /* of one batch */

struct baton_engine {
    const struct baton_engine_ops *ops;
    const struct baton_engine_ops *inner_ops;
    struct baton_engine *inner;
    struct baton_engine_callbacks callbacks;
    void *ctx;
    struct {
        uint64_t ticket;
        double at_ms;
    } pending[PENDING_MAX];
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct wraps wraps = WRAPS_INIT;
static int trace_fd = -1;
static double began_ms;

/* ---- lines ---- */

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* A pipe or a terminal that takes nothing now is not waited for: this is the client's thread, or its program's. (A file
 * is, and so is a terminal that has room for a part of the line.) */
static void write_line(const char *line, size_t size)
{
    static atomic_uint left_out;
    char note[80];
    assert(trace_fd >= 0 && size > 0 && line[size - 1] == '\n');
    struct pollfd room = {.fd = trace_fd, .events = POLLOUT};
    if (poll(&room, 1, 0) <= 0) {
        atomic_fetch_add(&left_out, 1);
        return;
    }
    unsigned lost = atomic_exchange(&left_out, 0);
    if (lost > 0) {
        snprintf(note, sizeof(note), "%d (%u lines were left out: nobody read them)\n", (int)getpid(), lost);
        (void)!write(trace_fd, note, strlen(note));
    }
    (void)!write(trace_fd, line, size);
}

static void __attribute__((format(printf, 1, 2))) say(const char *format, ...)
{
    char line[LINE_MAX_BYTES];
    va_list args;
    int at = snprintf(line, sizeof(line), "%d +%.3f ", (int)getpid(), now_ms() - began_ms);
    va_start(args, format);
    int more = vsnprintf(line + at, sizeof(line) - (size_t)at - 1, format, args);
    va_end(args);
    at += more < (int)sizeof(line) - at - 2 ? more : (int)sizeof(line) - at - 2;
    line[at++] = '\n';
    write_line(line, (size_t)at);
}

static void sent(struct baton_engine *engine, uint64_t ticket)
{
    size_t place = (ticket ^ ticket >> 32) % PENDING_MAX;
    engine->pending[place].ticket = ticket;
    engine->pending[place].at_ms = now_ms();
}

/* ", after 1.234 ms", or nothing when it is not known any more. */
static const char *took(const struct baton_engine *engine, uint64_t ticket, char text[40])
{
    size_t place = (ticket ^ ticket >> 32) % PENDING_MAX;
    text[0] = '\0';
    if (engine->pending[place].ticket == ticket)
        snprintf(text, 40, ", after %.3f ms", now_ms() - engine->pending[place].at_ms);
    return text;
}

static void say_reply(const struct baton_engine *engine, const char *what, uint64_t ticket,
                      const struct baton_reply *reply)
{
    static const char *const answers[] = {[BATON_ANSWER_DONE] = "done",
                                          [BATON_ANSWER_CONFLICT] = "conflict",
                                          [BATON_ANSWER_UNKNOWN] = "unknown",
                                          [BATON_ANSWER_REFUSED] = "refused"};
    char text[40];
    assert((size_t)reply->answer < COUNT_OF(answers));
    bool bad = reply->answer == BATON_ANSWER_UNKNOWN || reply->answer == BATON_ANSWER_REFUSED;
    say("< %s #%llx %s at %llu%s%s%s", what, (unsigned long long)ticket, answers[reply->answer],
        (unsigned long long)reply->revision, took(engine, ticket, text), bad ? ": " : "", bad ? reply->error.text : "");
}

/* ---- from the engine ---- */

static void on_session_opened(void *ctx, uint64_t ticket, uint64_t session, uint32_t ttl_ms,
                              const struct baton_error *err)
{
    struct baton_engine *engine = ctx;
    char text[40];
    say("< session_open #%llx session %llx ttl %u ms%s%s%s", (unsigned long long)ticket, (unsigned long long)session,
        (unsigned)ttl_ms, took(engine, ticket, text), err != NULL ? ": " : "", err != NULL ? err->text : "");
    engine->callbacks.session_opened(engine->ctx, ticket, session, ttl_ms, err);
}

static void on_session_renewed(void *ctx, uint64_t ticket, const struct baton_reply *reply)
{
    struct baton_engine *engine = ctx;
    say_reply(engine, "session_renew", ticket, reply);
    engine->callbacks.session_renewed(engine->ctx, ticket, reply);
}

static void on_session_ended(void *ctx, uint64_t session)
{
    struct baton_engine *engine = ctx;
    say("< session %llx has ended", (unsigned long long)session);
    engine->callbacks.session_ended(engine->ctx, session);
}

static void on_written(void *ctx, uint64_t ticket, const struct baton_reply *reply)
{
    struct baton_engine *engine = ctx;
    say_reply(engine, "write", ticket, reply);
    engine->callbacks.written(engine->ctx, ticket, reply);
}

static void on_changed(void *ctx, uint64_t watch, const struct baton_batch *batch)
{
    struct baton_engine *engine = ctx;
    char keys[LINE_MAX_BYTES] = "";
    int at = 0;
    for (size_t i = 0; i < batch->count && i < KEYS_SHOWN && at < (int)sizeof(keys) - 40; i++) {
        const struct baton_change *change = &batch->changes[i];
        at += snprintf(keys + at, sizeof(keys) - (size_t)at, " %s%.200s@%llu",
                       change->kind == BATON_CHANGE_PUT ? "" : "-", change->record.key,
                       (unsigned long long)change->record.revision);
    }
    say("< watch %llx %s at %llu, %zu changes:%s", (unsigned long long)watch, batch->reset ? "begins" : "goes on",
        (unsigned long long)batch->revision, batch->count, keys);
    engine->callbacks.changed(engine->ctx, watch, batch);
}

static void on_trouble(void *ctx, const struct baton_error *err)
{
    struct baton_engine *engine = ctx;
    say("< %s%s", err != NULL ? "trouble: " : "no trouble any more", err != NULL ? err->text : "");
    engine->callbacks.trouble(engine->ctx, err);
}

static void on_closed(void *ctx)
{
    struct baton_engine *engine = ctx;
    void (*closed)(void *ctx) = engine->callbacks.closed;
    void *owner = engine->ctx;
    say("< closed");
    free(engine);
    closed(owner);
}

static const struct baton_engine_callbacks traced = {.session_opened = on_session_opened,
                                                     .session_renewed = on_session_renewed,
                                                     .session_ended = on_session_ended,
                                                     .written = on_written,
                                                     .changed = on_changed,
                                                     .trouble = on_trouble,
                                                     .closed = on_closed};

/* ---- to the engine ---- */

static int trace_open(const char *url, bool create, uv_loop_t *loop, const struct baton_engine_callbacks *callbacks,
                      void *ctx, struct baton_engine **ret, struct baton_error *err)
{
    struct baton_engine *engine = mem_new(sizeof(*engine));
    char shown[URL_SHOWN_MAX];
    engine->inner_ops = wraps_inner(&wraps, url);
    engine->callbacks = *callbacks;
    engine->ctx = ctx;
    say("> open %s", url_shown(url, shown));
    if (engine->inner_ops->open(url, create, loop, &traced, engine, &engine->inner, err) < 0) {
        free(engine);
        return -1;
    }
    *ret = engine;
    return 0;
}

static void trace_close(struct baton_engine *engine)
{
    say("> close");
    engine->inner_ops->close(engine->inner);
}

static void trace_session_open(struct baton_engine *engine, uint64_t ticket, uint32_t ttl_ms)
{
    say("> session_open #%llx ttl %u ms", (unsigned long long)ticket, (unsigned)ttl_ms);
    sent(engine, ticket);
    engine->inner_ops->session_open(engine->inner, ticket, ttl_ms);
}

static void trace_session_renew(struct baton_engine *engine, uint64_t ticket, uint64_t session)
{
    say("> session_renew #%llx session %llx", (unsigned long long)ticket, (unsigned long long)session);
    sent(engine, ticket);
    engine->inner_ops->session_renew(engine->inner, ticket, session);
}

static void trace_session_end(struct baton_engine *engine, uint64_t session)
{
    say("> session_end session %llx", (unsigned long long)session);
    engine->inner_ops->session_end(engine->inner, session);
}

static int trace_session_export(struct baton_engine *engine, uint64_t session, char text[BATON_EXPORT_MAX], int *ret_fd,
                                struct baton_error *err)
{
    say("> session_export session %llx", (unsigned long long)session);
    return engine->inner_ops->session_export(engine->inner, session, text, ret_fd, err);
}

static void trace_write(struct baton_engine *engine, uint64_t ticket, const struct baton_write *write)
{
    char condition[32] = "";
    if (write->if_revision != BATON_REVISION_ANY)
        snprintf(condition, sizeof(condition), " if %llu", (unsigned long long)write->if_revision);
    bool put = write->kind == BATON_WRITE_PUT;
    say("> write #%llx %s %.300s%s%s%.*s", (unsigned long long)ticket, put ? "put" : "remove", write->key, condition,
        put ? " " : "", VALUE_SHOWN, put ? write->value : "");
    sent(engine, ticket);
    engine->inner_ops->write(engine->inner, ticket, write);
}

static void trace_watch(struct baton_engine *engine, uint64_t watch, const char *prefix)
{
    say("> watch %llx %s", (unsigned long long)watch, prefix);
    engine->inner_ops->watch(engine->inner, watch, prefix);
}

static void trace_unwatch(struct baton_engine *engine, uint64_t watch)
{
    say("> unwatch %llx", (unsigned long long)watch);
    engine->inner_ops->unwatch(engine->inner, watch);
}

static void trace_rest(struct baton_engine *engine, uint64_t watch, const struct baton_rest *rest)
{
    char keys[KEYS_SHOWN * 40] = "";
    for (size_t i = 0; i < rest->count; i++)
        snprintf(keys + strlen(keys), sizeof(keys) - strlen(keys), " %s", rest->keys[i]);
    say("> rest %llx %s%s%s%s", (unsigned long long)watch, rest->count > 0 ? "until" : "no more", keys,
        rest->slow != NULL ? ", at times " : "", rest->slow != NULL ? rest->slow : "");
    engine->inner_ops->rest(engine->inner, watch, rest);
}

static struct baton_latch *trace_latch(struct baton_engine *engine, const char *key, uint64_t created)
{
    struct baton_latch *latch = engine->inner_ops->latch(engine->inner, key, created);
    say("> latch %s: %s", key, latch != NULL ? "there is one" : "none");
    return latch;
}

/* ---- wrapping ---- */

/* An open file description of our own, where there can be one: O_NONBLOCK is no matter of those who share stderr. */
static int open_stderr(void)
{
    struct stat about;
    int fd = -1;
    if (fstat(STDERR_FILENO, &about) == 0 && (S_ISFIFO(about.st_mode) || S_ISCHR(about.st_mode)))
        fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return fd >= 0 ? fd : STDERR_FILENO;
}

static int open_trace(const char *asked, struct baton_error *err)
{
    if (strcmp(asked, "engine") == 0)
        trace_fd = open_stderr();
    else if (text_starts(asked, "engine:") && asked[strlen("engine:")] != '\0')
        trace_fd = open(asked + strlen("engine:"), O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_CLOEXEC, 0600);
    else
        return error_set(err, BATON_INVALID, "BATON_TRACE is 'engine' or 'engine:FILE', not '%.100s'", asked);
    if (trace_fd < 0)
        return error_errno(err, errno, "BATON_TRACE: %.300s cannot be opened", asked + strlen("engine:"));
    began_ms = now_ms();
    return 0;
}

/* A guard's part is passed on as it is. */
static void fill(struct baton_engine_ops *ops)
{
    ops->open = trace_open;
    ops->close = trace_close;
    ops->session_open = trace_session_open;
    ops->session_renew = trace_session_renew;
    ops->session_end = trace_session_end;
    ops->session_export = trace_session_export;
    ops->write = trace_write;
    ops->watch = trace_watch;
    ops->unwatch = trace_unwatch;
    if (ops->rest != NULL)
        ops->rest = trace_rest;
    if (ops->latch != NULL)
        ops->latch = trace_latch;
}

int trace_maybe(const struct baton_engine_ops **ops, struct baton_error *err)
{
    const char *asked = environment_get("BATON_TRACE");
    if (asked == NULL || asked[0] == '\0')
        return 0;
    pthread_mutex_lock(&mutex);
    int result = trace_fd >= 0 ? 0 : open_trace(asked, err);
    pthread_mutex_unlock(&mutex);
    if (result == 0)
        *ops = wraps_add(&wraps, *ops, fill);
    return result;
}
