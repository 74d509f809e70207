/* core.c: one step: time first, then what happened, then every contest that it touches. */
#include "core/core.h"

#include <stdlib.h>
#include <string.h>

#include "core/state.h"

struct core *core_new(const struct core_options *options)
{
    struct core *core = mem_new(sizeof(*core));
    core->options = *options;
    core->options.id = mem_text(options->id);
    core->options.address = mem_text(options->address != NULL ? options->address : "");
    core->options.host = mem_text(options->host != NULL ? options->host : "");
    return core;
}

/* What was to be told about an contest that is gone has nobody to go to. */
static void untell(struct update *todo, const struct contest *contest)
{
    size_t kept = 0;
    for (size_t i = 0; i < todo->count; i++) {
        if (todo->actions[i].kind == ACTION_TELL && todo->actions[i].contest == contest)
            free(todo->actions[i].text);
        else
            todo->actions[kept++] = todo->actions[i];
    }
    todo->count = kept;
}

static void contest_free(struct core *core, struct contest *contest)
{
    if (contest->parked_ms != 0)
        contest_unpark(core, contest, NULL);
    if (core->todo != NULL)
        untell(core->todo, contest);
    timer_remove(core, contest);
    for (size_t i = 0; i < core->dirty_count; i++)
        if (core->dirty[i] == contest)
            core->dirty[i] = NULL;
    core->contests[contest->index] = NULL;
    if (contest->protocol->release != NULL)
        contest->protocol->release(contest);
    free(contest->part);
    free(contest->end_text);
    free(contest->tenure);
    view_release(&contest->view);
    free(contest->name);
    free(contest);
}

void core_free(struct core *core)
{
    if (core == NULL)
        return;
    for (size_t i = 0; i < core->contest_count; i++)
        if (core->contests[i] != NULL)
            contest_free(core, core->contests[i]);
    requests_free(core);
    free(core->contests);
    free(core->timers);
    free(core->dirty);
    free((char *)core->options.id);
    free((char *)core->options.address);
    free((char *)core->options.host);
    free(core);
}

/* ---- contests come and go ---- */

struct contest *core_observe(struct core *core, enum contest_kind kind, const char *name, void *user,
                             struct baton_error *err)
{
    size_t index = 0;
    struct contest *parked = contest_take_parked(core, kind, name, user);
    assert(parked == NULL || (parked->parked_ms == 0 && !parked->standing));
    if (parked != NULL)
        return parked;
    if (core->contest_room > core->contest_count)
        index = core->contest_count;
    else
        while (index < core->contest_count && core->contests[index] != NULL)
            index++;
    if (index >= CONTESTS_MAX) {
        error_set(err, BATON_FULL, "one client can stand in or observe %d elections, locks and tasks, not more",
                  CONTESTS_MAX);
        return NULL;
    }
    if (index == core->contest_room) {
        core->contest_room = core->contest_room > 0 ? 2 * core->contest_room : 4;
        core->contests = mem_grow(core->contests, core->contest_room * sizeof(*core->contests));
    }
    if (index == core->contest_count)
        core->contest_count++;
    struct contest *contest = core->contests[index] = mem_new(sizeof(*contest));
    contest->protocol = protocol_of(kind);
    contest->name = mem_text(name);
    contest->index = (uint32_t)index;
    contest->user = user;
    contest->wake_ms = NEVER_MS;
    contest->tenure = mem_new(sizeof(*contest->tenure));
    contest->tenure_count = 1;
    contest->part = mem_new(contest->protocol->part_size);
    if (contest->protocol->init != NULL)
        contest->protocol->init(contest);
    view_init(&contest->view, contest->protocol->records);
    contest_mark(core, contest);
    return contest;
}

void core_forget(struct core *core, struct contest *contest)
{
    contest->forgotten = true;
    requests_forget(core, contest);
    contest_mark(core, contest);
}

/* A forgotten contest goes when nothing of it can come to life any more: it does not stand, what it has left is
 * removed, and a presence whose creation was never answered cannot appear behind its back (it could while the session
 * lives). */
static void contest_sweep(struct core *core, struct contest *contest)
{
    if (!contest->forgotten)
        return;
    if (contest->standing) {
        if (!contest->released) /* that goes by itself */
            contest_resign(core, contest);
        return;
    }
    if (session_valid(core) && contest_is_haunted(core, contest))
        return;
    if (contest->parked_ms == 0) {
        untell(core->todo, contest);
        todo_tell(core, TELL_GONE, NULL, "%s", "")->user = contest->user;
        contest->user = NULL;
    }
    if (contest_stays_parked(core, contest))
        return;
    if (contest->watch != 0)
        todo_add(core, ACTION_UNWATCH)->watch = contest->watch;
    contest_free(core, contest);
}

/* ---- the step ---- */

static void changed(struct core *core, const struct event *happened)
{
    struct contest *contest = contest_of_ticket(core, happened->watch);
    if (contest == NULL || contest->watch != happened->watch)
        return; /* of a watch that is closed */
    if (!rule(core, RULE_VIEW_IN_ORDER) && happened->batch->revision < contest->view.revision)
        contest->view.revision = 0;
    bool overflown = contest->view.overflown;
    if (!view_apply(&contest->view, happened->batch))
        return;
    if (contest->view.overflown && !overflown && contest->parked_ms == 0)
        todo_tell(core, TELL_TROUBLE, contest, "more than %d records under one prefix: not looked at", VIEW_RECORDS_MAX)
            ->code = BATON_FULL;
    contest->resting = false;
    if (contest->name != NULL)
        contest->protocol->read(core, contest);
    writes_seen(contest);
    if (contest->parked_ms == 0)
        todo_tell(core, TELL_CHANGED, contest, "%s", "");
    contest_mark(core, contest);
}

static void written(struct core *core, const struct event *happened)
{
    bool is_request = ticket_owner(happened->ticket) >= TICKET_REQUEST;
    struct request *request = is_request ? request_of_ticket(core, happened->ticket) : NULL;
    struct contest *contest = is_request ? NULL : contest_of_ticket(core, happened->ticket);
    struct attempt *attempt = contest != NULL ? write_of_ticket(contest, happened->ticket) : NULL;
    bool lost = request != NULL   ? request_answered(core, request, happened->reply)
                : attempt != NULL ? attempt_answered(core, attempt, happened->reply)
                                  : false;
    if (lost)
        session_over(core, happened->reply->error.text);
    if (attempt != NULL)
        contest_answered(core, contest, happened->reply);
}

static void take_in(struct core *core, const struct event *happened)
{
    switch (happened->kind) {
    case EVENT_TICK:
        return;
    case EVENT_SESSION_OPENED:
    case EVENT_SESSION_RENEWED:
    case EVENT_SESSION_ENDED:
        session_event(core, happened);
        return;
    case EVENT_WRITTEN:
        written(core, happened);
        return;
    case EVENT_CHANGED:
        changed(core, happened);
        return;
    case EVENT_ALIVE:
        core->session.alive_ms = core->now_ms;
        return;
    case EVENT_TROUBLE:
        core->away = happened->reply->error;
        contests_mark_all(core);
        return;
    case EVENT_STOPPED:
        contest_stopped(core, happened->contest, happened->part);
        return;
    case EVENT_RESIGN:
        contest_resign(core, happened->contest);
        return;
    }
    IMPOSSIBLE("event %d", (int)happened->kind);
}

static void watch(struct core *core, struct contest *contest)
{
    if (contest->watch != 0)
        return;
    struct action *action = todo_add(core, ACTION_WATCH);
    action->watch = contest->watch = ticket_new(core, write_owner(contest, 0));
    action->write.key =
        contest->name != NULL ? contest->protocol->prefix(contest->name) : mem_text(contest->protocol->records->root);
}

void core_step(struct core *core, const struct event *happened, struct update *todo)
{
    core->todo = todo;
    if (core->now_ms == 0)
        core->session.alive_ms = happened->now_ms;
    if (happened->now_ms > core->now_ms)
        core->now_ms = happened->now_ms;
    core->wall_ms = happened->wall_ms;
    /* When the clock has jumped: first stop claiming to lead, then look. */
    bool fading = core->now_ms + core->stop_max_ms >= core->session.deadline_ms;
    session_check(core);
    take_in(core, happened);
    session_step(core);
    if (fading && core->session.state == SESSION_VALID)
        contests_mark_all(core);
    while (core->timer_count > 0 && core->timers[0]->wake_ms <= core->now_ms) {
        struct contest *due = core->timers[0];
        timer_remove(core, due);
        contest_mark(core, due);
    }
    for (size_t i = 0; i < core->dirty_count; i++) {
        struct contest *contest = core->dirty[i];
        if (contest == NULL)
            continue;
        contest->dirty = false;
        watch(core, contest);
        if (contest->retell && contest->view.ready)
            todo_tell(core, TELL_CHANGED, contest, "%s", "");
        contest->retell = false;
        contest_step(core, contest);
        contest_rest(core, contest);
        contest_sweep(core, contest);
    }
    core->dirty_count = 0;
    requests_step(core);
    session_step(core); /* the last candidacy may have ended, or the first begun */
    int64_t wake = session_wake(core);
    if (core->timer_count > 0 && core->timers[0]->wake_ms < wake)
        wake = core->timers[0]->wake_ms;
    if (requests_wake(core) < wake)
        wake = requests_wake(core);
    todo->deadline_ms = wake;
    core->todo = NULL;
}

/* ---- what is asked of the core ---- */

void *contest_user(const struct contest *contest)
{
    return contest->user;
}

const char *contest_name(const struct contest *contest)
{
    return contest->name;
}

const struct view *contest_view(const struct contest *contest)
{
    return &contest->view;
}

enum contest_kind contest_kind(const struct contest *contest)
{
    return contest->protocol->kind;
}

bool contest_standing(const struct contest *contest)
{
    return contest->standing;
}

const char *contest_cid(const struct contest *contest)
{
    return contest->cid;
}

size_t core_standing(const struct core *core)
{
    return core->standing_count;
}

uint64_t core_session(const struct core *core, int64_t *ret_deadline_ms, uint32_t *ret_ttl_ms)
{
    const struct session *session = &core->session;
    if (session->state != SESSION_VALID)
        return 0;
    *ret_deadline_ms = session->deadline_ms;
    *ret_ttl_ms = session->ttl_ms;
    return session->id;
}
