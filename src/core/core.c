/* core.c: one step: time first, then what happened, then every election that it touches. */
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

/* What was to be told about an election that is gone has nobody to go to. */
static void untell(struct update *todo, const struct election *election)
{
    size_t kept = 0;
    for (size_t i = 0; i < todo->count; i++) {
        if (todo->actions[i].kind == ACTION_TELL && todo->actions[i].election == election)
            free(todo->actions[i].text);
        else
            todo->actions[kept++] = todo->actions[i];
    }
    todo->count = kept;
}

static void election_free(struct core *core, struct election *election)
{
    if (core->todo != NULL)
        untell(core->todo, election);
    timer_remove(core, election);
    for (size_t i = 0; i < core->dirty_count; i++)
        if (core->dirty[i] == election)
            core->dirty[i] = NULL;
    core->elections[election->index] = NULL;
    roster_release(&election->roster);
    view_release(&election->view);
    free(election->name);
    free(election);
}

void core_free(struct core *core)
{
    if (core == NULL)
        return;
    for (size_t i = 0; i < core->election_count; i++)
        if (core->elections[i] != NULL)
            election_free(core, core->elections[i]);
    for (size_t i = 0; i < core->request_count; i++) {
        free(core->requests[i].text);
        free(core->requests[i].leader_id);
    }
    free(core->requests);
    free(core->elections);
    free(core->timers);
    free(core->dirty);
    free((char *)core->options.id);
    free((char *)core->options.address);
    free((char *)core->options.host);
    free(core);
}

uint64_t ticket_new(struct core *core, uint32_t owner)
{
    return (uint64_t)++core->next_sequence << 32 | owner;
}

/* ---- elections come and go ---- */

struct election *core_observe(struct core *core, const char *name, void *user, struct baton_error *err)
{
    size_t index = 0;
    if (core->election_room > core->election_count)
        index = core->election_count;
    else
        while (index < core->election_count && core->elections[index] != NULL)
            index++;
    if (index >= ELECTIONS_MAX) {
        error_set(err, BATON_FULL, "one client can stand in or observe %d elections, not more", ELECTIONS_MAX);
        return NULL;
    }
    if (index == core->election_room) {
        core->election_room = core->election_room > 0 ? 2 * core->election_room : 4;
        core->elections = mem_grow(core->elections, core->election_room * sizeof(*core->elections));
    }
    if (index == core->election_count)
        core->election_count++;
    struct election *election = core->elections[index] = mem_new(sizeof(*election));
    election->name = mem_text(name);
    election->index = (uint32_t)index;
    election->user = user;
    election->wake_ms = NEVER_MS;
    view_init(&election->view);
    election_mark(core, election);
    return election;
}

int core_stand(struct core *core, struct election *election, const struct stand_options *options,
               struct baton_error *err)
{
    if (election->name == NULL)
        return error_set(err, BATON_INVALID, "cannot stand in every election at once");
    if (election->standing)
        return error_set(err, BATON_CONFLICT, "this client already stands in the election '%s'", election->name);
    election->standing = true;
    election->resigning = false;
    election->options = *options;
    core->standing_count++;
    if (options->stop_ms > core->stop_max_ms)
        core->stop_max_ms = options->stop_ms;
    election_mark(core, election);
    return 0;
}

void core_forget(struct core *core, struct election *election)
{
    election->forgotten = true;
    requests_forget(core, election);
    election_mark(core, election);
}

/* A forgotten election goes when nothing of it can come to life any more: it does not stand, and a presence whose
 * creation was never answered cannot appear behind its back (it could while the session lives). */
static void election_sweep(struct core *core, struct election *election)
{
    if (!election->forgotten)
        return;
    if (election->standing) {
        election_resign(core, election);
        return;
    }
    if (session_valid(core) && (election->presence.ticket != 0 || election->presence.unknown))
        return;
    if (election->watch != 0)
        todo_add(core, ACTION_UNWATCH)->watch = election->watch;
    void *user = election->user;
    election_free(core, election);
    todo_tell(core, TELL_GONE, NULL, "%s", "")->user = user;
}

void election_mark(struct core *core, struct election *election)
{
    if (election->dirty)
        return;
    election->dirty = true;
    if (core->dirty_count == core->dirty_room) {
        core->dirty_room = core->dirty_room > 0 ? 2 * core->dirty_room : 16;
        core->dirty = mem_grow(core->dirty, core->dirty_room * sizeof(*core->dirty));
    }
    core->dirty[core->dirty_count++] = election;
}

void elections_mark_all(struct core *core)
{
    for (size_t i = 0; i < core->election_count; i++)
        if (core->elections[i] != NULL)
            election_mark(core, core->elections[i]);
}

/* ---- the step ---- */

/* A view that shows what was answered is no reason to wait any more. */
static void attempt_seen(struct attempt *attempt, const struct view *view)
{
    if (attempt->revision > 0 && view->revision >= attempt->revision)
        attempt->retry_ms = 0;
}

static void changed(struct core *core, const struct event *happened)
{
    size_t index = (uint32_t)happened->watch;
    struct election *election = index < core->election_count ? core->elections[index] : NULL;
    if (election == NULL || election->watch != happened->watch)
        return; /* of a watch that is closed */
    if (!rule(core, RULE_VIEW_IN_ORDER) && happened->batch->revision < election->view.revision)
        election->view.revision = 0;
    if (!view_apply(&election->view, happened->batch)) {
        if (election->view.overflown)
            todo_tell(core, TELL_TROUBLE, election, "more than %d records under one prefix: not looked at",
                      VIEW_RECORDS_MAX)
                ->code = BATON_FULL;
        return;
    }
    if (election->name != NULL)
        roster_read(&election->roster, &election->view, election->name);
    attempt_seen(&election->presence, &election->view);
    attempt_seen(&election->decision, &election->view);
    todo_tell(core, TELL_CHANGED, election, "%s", "");
    election_mark(core, election);
}

static void written(struct core *core, const struct event *happened)
{
    uint32_t owner = ticket_owner(happened->ticket);
    if (owner >= TICKET_REQUEST) {
        struct request *request = request_of_ticket(core, happened->ticket);
        if (request != NULL)
            request_answered(core, request, happened->reply);
        return;
    }
    struct election *election = owner < core->election_count ? core->elections[owner] : NULL;
    if (election == NULL)
        return;
    if (election->presence.ticket == happened->ticket)
        attempt_answered(core, &election->presence, happened->reply);
    else if (election->decision.ticket == happened->ticket)
        attempt_answered(core, &election->decision, happened->reply);
    else
        return;
    /* The view may have moved before the answer came. */
    attempt_seen(&election->presence, &election->view);
    attempt_seen(&election->decision, &election->view);
    election_mark(core, election);
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
    case EVENT_STOPPED:
        election_stopped(core, happened->election);
        return;
    case EVENT_RESIGN:
        election_resign(core, happened->election);
        return;
    }
    IMPOSSIBLE("event %d", (int)happened->kind);
}

static void watch(struct core *core, struct election *election)
{
    if (election->watch != 0)
        return;
    struct action *action = todo_add(core, ACTION_WATCH);
    action->watch = election->watch = ticket_new(core, election->index);
    action->write.key = election->name != NULL ? key_prefix(election->name) : mem_text(ELECTIONS_PREFIX);
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
        elections_mark_all(core);
    while (core->timer_count > 0 && core->timers[0]->wake_ms <= core->now_ms) {
        struct election *due = core->timers[0];
        timer_remove(core, due);
        election_mark(core, due);
    }
    for (size_t i = 0; i < core->dirty_count; i++) {
        struct election *election = core->dirty[i];
        if (election == NULL)
            continue;
        election->dirty = false;
        watch(core, election);
        election_step(core, election);
        election_sweep(core, election);
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

void *election_user(const struct election *election)
{
    return election->user;
}

const char *election_name(const struct election *election)
{
    return election->name;
}

const struct view *election_view(const struct election *election)
{
    return &election->view;
}

const struct roster *election_roster(const struct election *election)
{
    return &election->roster;
}

bool election_standing(const struct election *election)
{
    return election->standing;
}

const char *election_cid(const struct election *election)
{
    return election->cid;
}

uint64_t election_leads(const struct core *core, const struct election *election, int64_t now_ms)
{
    if (election->role != ROLE_LEADING)
        return 0;
    if (rule(core, RULE_VALID_AT_EACH_USE) &&
        (core->session.state != SESSION_VALID || now_ms >= core->session.deadline_ms))
        return 0;
    return election->term;
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
