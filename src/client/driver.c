/* driver.c: the loop between the core and the engine. What happens becomes an event, the core takes a step, and what it
 * asks for is done. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "client/client.h"

/* What is touched of it is what it costs. */
#define STACK_BYTES (2 * 1024 * 1024)

#define ACTIONS_KEPT 1024 /* room for actions that is kept from step to step; many elections at once need more */

static _Thread_local const struct baton *driven; /* whose engine this thread may call; NULL: nobody's */

bool driver_is_here(const struct baton *b)
{
    return driven == b;
}

/* ---- a step ---- */

void driver_publish_term(struct handle *handle, uint64_t term)
{
    struct baton *b = handle->client;
    assert(client_is_locked(b));
    uint64_t before = atomic_exchange(&handle->term, term);
    assert(term == 0 || before == 0); /* the order on which publish() relies: a term is cleared before the next one */
    assert(b->led >= (before != 0));
    b->led = b->led + (term != 0) - (before != 0);
    b->guard.moved = true;
}

/* What baton_leads() reads. The order is what makes it safe without a lock: first no election claims a term that it was
 * told to stop, then the deadline moves (perhaps to that of a new session), then new terms are there.
 *
 * A reader loads the term, the deadline, and the term again, and believes them if both terms are the same. A term
 * belongs to one session and never comes back once it was cleared. So the deadline is not of a later session: its
 * store (release) comes after the clearing of the term, and the second load, after the load of that deadline (acquire),
 * would have seen it cleared. Nor is it of an earlier session: the store of the term (release), which the first load
 * (acquire) has read, comes after the store of its own session's deadline. */
static void publish(struct baton *b, int64_t now_ms)
{
    for (size_t i = 0; i < b->todo.count; i++) {
        const struct action *action = &b->todo.actions[i];
        if (action->kind == ACTION_TELL && (action->tell == TELL_STOP || action->tell == TELL_FOLLOW))
            driver_publish_term(contest_user(action->contest), 0);
    }
    int64_t deadline_ms = 0;
    uint32_t ttl_ms;
    if (core_session(b->core, &deadline_ms, &ttl_ms) == 0)
        deadline_ms = 0;
    atomic_store(&b->page->deadline_ms, deadline_ms);
    for (size_t i = 0; i < b->todo.count; i++) {
        const struct action *action = &b->todo.actions[i];
        if (action->kind == ACTION_TELL && action->tell == TELL_LEAD)
            driver_publish_term(contest_user(action->contest), contest_leads(b->core, action->contest, 0, now_ms));
    }
}

/* Of the client: told once until it is another one, and so is its end. */
static void tell_trouble(struct baton *b, enum baton_code code, const char *text)
{
    assert(code != BATON_OK);
    if (strcmp(b->trouble, text) == 0)
        return;
    text_copy(b->trouble, sizeof(b->trouble), text);
    queue_add(b, BATON_TROUBLE, NULL, text)->code = code;
}

static void maybe_recovered(struct baton *b)
{
    if (b->trouble[0] == '\0' || b->engine_troubled || b->refused)
        return;
    b->trouble[0] = '\0';
    queue_add(b, BATON_RECOVERED, NULL, "");
}

static void told_trouble(struct baton *b, struct handle *handle, const struct action *tell)
{
    if (handle == NULL) {
        b->refused = true;
        tell_trouble(b, tell->code, tell->text);
    } else if (!handle->troubled && !handle->freed) {
        handle->troubled = true;
        queue_add(b, BATON_TROUBLE, handle, tell->text)->code = tell->code;
    }
}

/* A stop that nobody can answer any more: the program has given the handle back, or closes the client. It is over when
 * its time is, which is what the program was told. */
static bool is_orphan(const struct baton *b, const struct handle *handle)
{
    return handle->stopping && (handle->freed || b->state != CLIENT_OPEN);
}

/* What the program is told of a handle, or of the client (`handle` is NULL). BATON_NONE: nothing. A stop need not be
 * told to a program that has stopped already. */
static enum baton_event_kind event_of(const struct handle *handle, enum tell_kind tell)
{
    switch (tell) {
    case TELL_LEAD:
        return handle_kind(handle)->lead;
    case TELL_STOP:
        return handle->unlocked ? BATON_NONE : BATON_STOP;
    case TELL_FOLLOW:
        return handle_kind(handle)->follow;
    case TELL_RESIGNED:
        return handle->outcome_told ? BATON_NONE : handle_kind(handle)->resigned;
    case TELL_OUTCOME:
        return handle_kind(handle)->outcome;
    case TELL_CHANGED:
        return BATON_CHANGED;
    case TELL_DUPLICATE:
        return BATON_DUPLICATE;
    case TELL_REPLY:
        return BATON_REPLY;
    case TELL_SESSION:
        return BATON_SESSION;
    case TELL_RENEWED:
        return BATON_RENEWED;
    case TELL_SESSION_LOST:
        return BATON_LOST_SESSION;
    case TELL_TROUBLE:
    case TELL_GONE:
        break;
    }
    IMPOSSIBLE("there is no event for tell %d", (int)tell);
}

static void told(struct baton *b, const struct action *tell)
{
    assert(client_is_locked(b) && driver_is_here(b));
    struct handle *handle = tell->contest != NULL ? contest_user(tell->contest) : NULL;
    assert(handle == NULL || (handle->client == b && handle->core == tell->contest));
    switch (tell->tell) {
    case TELL_GONE:
        handle_gone(tell->user);
        return;
    case TELL_TROUBLE:
        told_trouble(b, handle, tell);
        return;
    case TELL_RENEWED:
        if (!b->options.renewals)
            return;
        break;
    case TELL_STOP:
        assert(handle != NULL);
        handle->stopping = true;
        handle->stop_until_ms = tell->until_ms;
        if (is_orphan(b, handle) && tell->until_ms < b->orphan_ms)
            b->orphan_ms = tell->until_ms;
        break;
    case TELL_FOLLOW:
        assert(handle != NULL);
        handle->stopping = false;
        break;
    case TELL_OUTCOME:
        assert(handle != NULL);
        handle->unlocked = true; /* what is left of it may go with the session */
        handle->recording = false;
        handle->outcome_told = handle_kind(handle)->ends_by_outcome;
        if (handle->outcome_told)
            handle_withdrawn(handle);
        break;
    case TELL_RESIGNED:
        assert(handle != NULL);
        handle_withdrawn(handle);
        break;
    case TELL_CHANGED:
        assert(handle != NULL);
        handle->troubled = false;
        b->guard.moved = true;
        break;
    case TELL_REPLY:
        assert(handle != NULL);
        assert(handle->requests > 0 && b->requests > 0);
        handle->requests--;
        b->requests--;
        break;
    default:
        break;
    }
    if (handle != NULL && handle->freed)
        return;
    enum baton_event_kind kind = event_of(handle, tell->tell);
    if (kind == BATON_NONE)
        return;
    struct queued *event = queue_add(b, kind, handle, tell->text);
    event->term = tell->term;
    event->session = tell->session;
    event->until_ms = tell->until_ms;
    event->request = tell->request;
    event->code = tell->code;
}

static void set_due(struct baton *b, int64_t at_ms)
{
    struct itimerspec when = {0};
    b->due_ms = at_ms;
    if (at_ms != NEVER_MS) {
        /* 0 would disarm it. */
        when.it_value.tv_sec = at_ms > 0 ? at_ms / 1000 : 0;
        when.it_value.tv_nsec = at_ms > 0 ? at_ms % 1000 * 1000000 + 1 : 1;
    }
    timerfd_settime(b->due_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

void driver_step_by(struct baton *b, int64_t at_ms)
{
    assert(client_is_locked(b));
    if (at_ms < b->due_ms)
        set_due(b, at_ms);
}

/* What a lock is held by may have a latch, so that it can be released and taken back without a write. */
static void find_latch(struct baton *b, struct contest *lock)
{
    if (b->ops->latch == NULL || contest_kind(lock) != CONTEST_LOCK)
        return;
    uint64_t created;
    client_lock(b);
    char *key = core_latch_key(lock, &created);
    client_unlock(b);
    struct baton_latch *latch = key != NULL ? b->ops->latch(b->engine, key, created) : NULL;
    free(key);
    client_lock(b);
    core_latch(b->core, lock, latch);
    client_unlock(b);
}

static void perform(struct baton *b, const struct action *action)
{
    assert(driver_is_here(b) && !client_is_locked(b) && b->engine != NULL);
    switch (action->kind) {
    case ACTION_SESSION_OPEN:
        b->ops->session_open(b->engine, action->ticket, action->ttl_ms);
        return;
    case ACTION_SESSION_RENEW:
        b->ops->session_renew(b->engine, action->ticket, action->session);
        return;
    case ACTION_SESSION_END:
        b->ending = action->session;
        b->ops->session_end(b->engine, action->session);
        return;
    case ACTION_WATCH:
        b->ops->watch(b->engine, action->watch, action->write.key);
        return;
    case ACTION_UNWATCH:
        b->ops->unwatch(b->engine, action->watch);
        return;
    case ACTION_REST:
        if (b->ops->rest != NULL)
            b->ops->rest(b->engine, action->watch,
                         &(struct baton_rest){.keys = (const char *const *)action->keys,
                                              .count = action->key_count,
                                              .slow = action->write.key});
        return;
    case ACTION_WRITE:
        b->ops->write(b->engine, action->ticket, &action->write);
        return;
    case ACTION_TELL:
        if (action->tell == TELL_LEAD)
            find_latch(b, action->contest);
        return;
    }
    IMPOSSIBLE("action %d", (int)action->kind);
}

/* A handle that is stopping stands, so the core has not freed its contest. */
static void answer_for_orphans(struct baton *b, const struct event *event)
{
    if (event->now_ms < b->orphan_ms)
        return;
    b->orphan_ms = NEVER_MS;
    for (struct handle *handle = b->handles; handle != NULL; handle = handle->next) {
        if (!is_orphan(b, handle))
            continue;
        assert(handle->core != NULL);
        struct event stopped = {
            .kind = EVENT_STOPPED, .now_ms = event->now_ms, .wall_ms = event->wall_ms, .contest = handle->core};
        if (event->now_ms >= handle->stop_until_ms)
            core_step(b->core, &stopped, &b->todo);
        else if (handle->stop_until_ms < b->orphan_ms)
            b->orphan_ms = handle->stop_until_ms;
    }
}

static void step(struct baton *b, struct event *event)
{
    assert(driver_is_here(b));
    if (b->engine == NULL)
        return;
    client_lock(b);
    if (b->state >= CLIENT_ENDING) {
        client_unlock(b);
        return;
    }
    event->now_ms = clock_now_ms();
    event->wall_ms = clock_wall_ms();
    update_clear(&b->todo);
    /* The event first: a step may free the election that it is about. */
    core_step(b->core, event, &b->todo);
    if (atomic_exchange(&b->alive_asked, false)) {
        struct event alive = {.kind = EVENT_ALIVE, .now_ms = event->now_ms, .wall_ms = event->wall_ms};
        core_step(b->core, &alive, &b->todo);
    }
    answer_for_orphans(b, event);
    publish(b, event->now_ms);
    for (size_t i = 0; i < b->todo.count; i++)
        if (b->todo.actions[i].kind == ACTION_TELL)
            told(b, &b->todo.actions[i]);
    set_due(b, b->orphan_ms < b->todo.deadline_ms ? b->orphan_ms : b->todo.deadline_ms);
    /* Only this thread steps, so the list stays as it is while the engine is called without the mutex. */
    client_unlock(b);
    for (size_t i = 0; i < b->todo.count; i++)
        perform(b, &b->todo.actions[i]);
    if (b->todo.room > ACTIONS_KEPT)
        update_release(&b->todo);
    client_guard_follow(b);
}

/* ---- what the engine says ---- */

/* The engine has done something for us: what was refused before may be done again. */
static void done(struct baton *b)
{
    client_lock(b);
    b->refused = false;
    maybe_recovered(b);
    client_unlock(b);
}

static void on_session_opened(void *ctx, uint64_t ticket, uint64_t session, uint32_t ttl_ms,
                              const struct baton_error *err)
{
    struct baton_reply reply = {.answer = BATON_ANSWER_DONE};
    if (session != 0)
        done(ctx);
    else if (err != NULL)
        reply = (struct baton_reply){.answer = BATON_ANSWER_REFUSED, .error = *err};
    step(ctx,
         &(struct event){
             .kind = EVENT_SESSION_OPENED, .ticket = ticket, .session = session, .ttl_ms = ttl_ms, .reply = &reply});
    queue_ring(ctx);
}

static void on_session_renewed(void *ctx, uint64_t ticket, const struct baton_reply *reply)
{
    step(ctx, &(struct event){.kind = EVENT_SESSION_RENEWED, .ticket = ticket, .reply = reply});
    queue_ring(ctx);
}

/* The end of each callback. The program is woken last: all writes that follow from the event are under way by then. */
static void finish(struct baton *b)
{
    queue_ring(b);
    closing_follow(b);
}

static void on_session_ended(void *ctx, uint64_t session)
{
    struct baton *b = ctx;
    step(b, &(struct event){.kind = EVENT_SESSION_ENDED, .session = session});
    /* Also if the core has answered by asking for its end: an end is told once. */
    if (b->ending == session) {
        b->ending = 0;
        b->ended = session;
    }
    finish(b);
}

static void on_written(void *ctx, uint64_t ticket, const struct baton_reply *reply)
{
    if (reply->answer == BATON_ANSWER_DONE)
        done(ctx);
    step(ctx, &(struct event){.kind = EVENT_WRITTEN, .ticket = ticket, .reply = reply});
    finish(ctx);
}

static void on_changed(void *ctx, uint64_t watch, const struct baton_batch *batch)
{
    step(ctx, &(struct event){.kind = EVENT_CHANGED, .watch = watch, .batch = batch});
    finish(ctx);
}

static void on_trouble(void *ctx, const struct baton_error *err)
{
    struct baton *b = ctx;
    client_lock(b);
    b->engine_troubled = err != NULL;
    if (err != NULL)
        tell_trouble(b, err->code, err->text);
    else
        maybe_recovered(b);
    client_unlock(b);
    struct baton_reply reply = {.error = err != NULL ? *err : (struct baton_error){.code = BATON_OK}};
    step(b, &(struct event){.kind = EVENT_TROUBLE, .reply = &reply});
    finish(b);
}

static void on_closed(void *ctx)
{
    struct baton *b = ctx;
    assert(driver_is_here(b) && b->engine == NULL);
    int64_t deadline_ms;
    uint32_t ttl_ms;
    uint64_t session = core_session(b->core, &deadline_ms, &ttl_ms);
    client_guard_leave(b, session == 0 || session == b->ended);
    uv_close((uv_handle_t *)&b->asked, NULL);
    uv_close((uv_handle_t *)&b->due, NULL);
}

/* ---- what the program asks ---- */

/* The next wish, or false. A resignation first: it frees no handle that is told to stop, so that the answer finds the
 * handle. */
static bool next_wish(struct baton *b, struct event *ret)
{
    assert(driver_is_here(b));
    client_lock(b);
    struct handle *handle = b->asking;
    if (handle != NULL) {
        assert(handle->asking && (handle->want_resign || handle->want_stopped));
        bool *want = handle->want_resign ? &handle->want_resign : &handle->want_stopped;
        *ret = (struct event){.kind = handle->want_resign ? EVENT_RESIGN : EVENT_STOPPED, .contest = handle->core};
        *want = false;
        if (!handle->want_stopped) {
            b->asking = handle->asking_next;
            handle->asking = false;
        }
    }
    client_unlock(b);
    return handle != NULL;
}

static void take_wishes(struct baton *b)
{
    struct event event;
    while (next_wish(b, &event))
        step(b, &event);
}

static void take_calls(struct baton *b)
{
    assert(driver_is_here(b));
    client_lock(b);
    while (b->calls != NULL) {
        struct call *call = b->calls;
        b->calls = call->next;
        client_unlock(b);
        call->run(b, call->arg);
        client_lock(b);
        call->done = true;
        pthread_cond_broadcast(&b->moved);
    }
    client_unlock(b);
}

int driver_call(struct baton *b, void (*run)(struct baton *b, void *arg), void *arg, struct baton_error *err)
{
    assert(!driver_is_here(b)); /* the loop would wait for itself */
    struct call call = {.run = run, .arg = arg};
    client_lock(b);
    if (client_check_open(b, err) < 0) {
        client_unlock(b);
        return -1;
    }
    call.next = b->calls;
    b->calls = &call;
    client_wake(b);
    while (!call.done)
        client_wait_moved(b, NULL);
    client_unlock(b);
    return 0;
}

static void on_asked(uv_async_t *handle)
{
    struct baton *b = handle->data;
    take_wishes(b);
    take_calls(b);
    step(b, &(struct event){.kind = EVENT_TICK});
    finish(b);
}

static void on_due(uv_poll_t *handle, int status, int events)
{
    struct baton *b = handle->data;
    uint64_t times;
    (void)!read(b->due_fd, &times, sizeof(times));
    step(b, &(struct event){.kind = EVENT_TICK});
    finish(b);
}

/* ---- the thread ---- */

/* Until every handle is closed. */
static void stop_loop(struct baton *b)
{
    uv_run(&b->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&b->loop) != 0)
        IMPOSSIBLE("the engine '%s' has left handles open", b->ops->scheme);
}

static void *run(void *context)
{
    struct baton *b = context;
    driven = b;
    stop_loop(b);
    assert(b->engine == NULL);
    take_calls(b); /* from threads that called just before the end */
    client_lock(b);
    closing_move(b, CLOSING_OVER);
    pthread_cond_broadcast(&b->moved);
    client_unlock(b);
    return NULL;
}

static int start_thread(struct baton *b, struct baton_error *err)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int error = pthread_create(&b->thread, &attributes, run, b);
    pthread_attr_destroy(&attributes);
    if (error != 0)
        return error_errno(err, error, "cannot start a thread");
    pthread_setname_np(b->thread, "baton");
    return 0;
}

static const struct baton_engine_callbacks callbacks = {
    .session_opened = on_session_opened,
    .session_renewed = on_session_renewed,
    .session_ended = on_session_ended,
    .written = on_written,
    .changed = on_changed,
    .trouble = on_trouble,
    .closed = on_closed,
};

static int start_loop(struct baton *b, struct baton_error *err)
{
    int error = uv_loop_init(&b->loop);
    if (error != 0)
        return error_set(err, error_code_of_errno(-error), "cannot make an event loop: %s", uv_strerror(error));
    error = uv_async_init(&b->loop, &b->asked, on_asked);
    if (error != 0) {
        uv_loop_close(&b->loop);
        return error_set(err, error_code_of_errno(-error), "cannot wake an event loop: %s", uv_strerror(error));
    }
    /* A timerfd can always be polled: these two cannot fail. */
    uv_poll_init(&b->loop, &b->due, b->due_fd);
    uv_poll_start(&b->due, UV_READABLE, on_due);
    b->asked.data = b->due.data = b;
    client_guard_init(b);
    return 0;
}

static int start(struct baton *b, struct baton_error *err)
{
    if (start_loop(b, err) < 0)
        return -1;
    if (b->ops->open(b->url, b->options.create, &b->loop, &callbacks, b, &b->engine, err) < 0) {
        on_closed(b);
        stop_loop(b);
        return -1;
    }
    if (start_thread(b, err) == 0)
        return 0;
    struct baton_engine *engine = b->engine;
    b->engine = NULL;
    b->ops->close(engine);
    stop_loop(b);
    return -1;
}

int driver_start(struct baton *b, struct baton_error *err)
{
    b->due_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (b->due_fd < 0)
        return error_errno(err, errno, "cannot make a timer");
    /* Neither this thread nor any that the engine starts takes a signal that is meant for the program. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    driven = b;
    int result = start(b, err);
    driven = NULL;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
}
