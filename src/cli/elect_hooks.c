/* elect_hooks.c: the hooks of `baton elect`.
 *
 * Hooks run one at a time, in order. States that came and went while a hook ran are left out, but never the last one.
 * The place is handed over when --on-follow has ended: until then this instance counts as the leader for others, and
 * not for itself. A hook that overruns the stop is killed, and nothing is handed over: the session ends by itself.
 *
 * The guard is told of each hook before it begins. When this process is dead or hangs, the guard kills the hook, runs
 * --on-follow, and then ends the session.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/base.h"
#include "cli/cli.h"
#include "cli/elect.h"

extern char **environ;

/* After the start: how long to wait for a leader to be known. A candidate that is alone leads within that time. */
#define SETTLE_MS 1000

/* ---- the guard ---- */

void elect_hooks_init(struct elect *elect)
{
    shell_init(&elect->hook);
    elect->hook_limit_ms = elect->settle_ms = elect->deadline_ms = NEVER_MS;
}

/* The guard's hook may take as long as the grace of the others, but not longer than half the lease less that grace. */
int elect_hooks_begin(struct elect *elect, struct baton_error *err)
{
    const struct candidate *candidate = &elect->candidate;
    uint32_t left_ms = candidate->ttl_ms / 2 - candidate->slack_ms - candidate->grace_ms;
    elect->guard_ms = left_ms < candidate->grace_ms ? left_ms : candidate->grace_ms;
    if (elect->on_follow == NULL)
        elect->guard_ms = 0;
    struct guard_options options = {.verb = "elect",
                                    .name = elect->name,
                                    .end_hook = elect->on_follow,
                                    .end_hook_ms = candidate->grace_ms,
                                    .grace_ms = elect->guard_ms,
                                    .slack_ms = candidate->slack_ms,
                                    .signals = elect->inherited};
    return guard_start(&elect->guard, &options, err);
}

static void arm(struct elect *elect)
{
    struct guard_environment environment = {.term = elect->term};
    text_copy(environment.name, sizeof(environment.name), elect->name);
    text_copy(environment.id, sizeof(environment.id), baton_id(elect->client));
    text_copy(environment.url, sizeof(environment.url), baton_url(elect->client));
    guard_spawn(&elect->guard, &environment, elect->deadline_ms);
    elect->armed = true;
}

void elect_hooks_session(struct elect *elect, int64_t deadline_ms, bool begun)
{
    struct baton_lifeline lifeline;
    struct baton_error err;
    elect->deadline_ms = deadline_ms;
    guard_deadline(&elect->guard, deadline_ms);
    if (!begun && !elect->armed && elect->hook_for == ELECT_HOOK_LEAD && elect->leading)
        arm(elect);
    if (!begun)
        return;
    if (baton_lifeline(elect->client, &lifeline, &err) == 0)
        guard_lifeline(&elect->guard, &lifeline);
    else if (err.code != BATON_LOST)
        cli_error("%s: the guard cannot end the session when it must: %s", elect->name, err.text);
}

/* ---- one hook ---- */

static bool is_ours(const char *entry)
{
    static const char *const names[] = {"BATON_NAME=", "BATON_ID=", "BATON_URL=", "BATON_TERM=", "BATON_STATE="};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (text_starts(entry, names[i]))
            return true;
    return false;
}

/* A new one: threads of the library may be reading that of this process. Ends with NULL; the first *ret_own entries are
 * on the heap. */
static char **environment_of(const struct elect *elect, bool leads, size_t *ret_own)
{
    size_t count = 0, own = 0;
    while (environ[count] != NULL)
        count++;
    char **entries = mem_new((count + 6) * sizeof(*entries));
    entries[own++] = mem_format("BATON_NAME=%s", elect->name);
    entries[own++] = mem_format("BATON_ID=%s", baton_id(elect->client));
    entries[own++] = mem_format("BATON_URL=%s", baton_url(elect->client));
    entries[own++] = mem_format("BATON_STATE=%s", leads ? "lead" : "follow");
    if (elect->term != 0)
        entries[own++] = mem_format("BATON_TERM=%" PRIu64, elect->term);
    *ret_own = own;
    for (size_t i = 0; i < count; i++)
        if (!is_ours(environ[i]))
            entries[own++] = environ[i];
    return entries;
}

static void start_hook(struct elect *elect, const char *command, bool leads)
{
    size_t own;
    const struct candidate *candidate = &elect->candidate;
    char **environment = environment_of(elect, leads, &own);
    if (shell_prepare(&elect->hook, command, environment)) {
        guard_hook(&elect->guard, elect->hook.pid, elect->hook.pidfd);
        bool late = leads && elect->deadline_ms != NEVER_MS;
        shell_go(&elect->hook, late ? elect->deadline_ms - candidate->slack_ms - elect->guard_ms : NEVER_MS);
    } else {
        cli_error("%s: cannot run the hook '%s': %s", elect->name, command, strerror(errno));
    }
    for (size_t i = 0; i < own; i++)
        free(environment[i]);
    free(environment);
}

/* ---- which hook ---- */

static enum elect_hook wanted(const struct elect *elect)
{
    if (!elect->leading)
        return elect->hook_for == ELECT_HOOK_NONE ? ELECT_HOOK_NONE : ELECT_HOOK_FOLLOW;
    /* It was told to lead, but the guard, or the time, was faster: a stop is on its way. */
    if (elect->term == elect->down_term || !baton_leads(elect->election, NULL))
        return elect->hook_for;
    return ELECT_HOOK_LEAD;
}

bool elect_hooks_are_done(const struct elect *elect)
{
    return elect->hook.pid == 0 && elect->hook_for != ELECT_HOOK_LEAD;
}

static void answer_stop(struct elect *elect)
{
    bool in_time = !elect->overrun || elect->lost;
    if (elect->stopping && in_time && elect_hooks_are_done(elect))
        baton_stopped(elect->election);
}

void elect_hooks_run(struct elect *elect)
{
    while (elect->hook.pid == 0 && elect->hook_for != wanted(elect) && !elect->left_to_guard) {
        elect->hook_for = wanted(elect);
        bool leads = elect->hook_for == ELECT_HOOK_LEAD;
        if (leads)
            arm(elect);
        const char *command = leads ? elect->on_lead : elect->on_follow;
        if (command != NULL)
            start_hook(elect, command, leads);
    }
    if (elect->armed && elect_hooks_are_done(elect)) {
        guard_down(&elect->guard);
        elect->armed = false;
    }
    answer_stop(elect);
}

void elect_hooks_on_end(struct elect *elect)
{
    int status;
    if (!shell_ended(&elect->hook, &status))
        return;
    guard_hook(&elect->guard, 0, -1);
    if (!elect->stopping)
        elect->hook_limit_ms = NEVER_MS;
    if (WIFSIGNALED(status) || WEXITSTATUS(status) != 0)
        cli_error("%s: the hook for '%s' has ended with status %d", elect->name,
                  elect->hook_for == ELECT_HOOK_LEAD ? "lead" : "follow",
                  WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
    elect_hooks_run(elect);
}

/* ---- the start ---- */

/* Of an id that was not given, HOST-PID-RANDOM, the host counts. */
static size_t own_length(const struct elect *elect)
{
    const char *id = baton_id(elect->client), *end = id + strlen(id);
    for (int dashes = 0; elect->candidate.id == NULL && dashes < 2 && end > id;)
        if (*--end == '-')
            dashes++;
    return (size_t)(end - id);
}

static const char *host_of(const struct baton_status *status, const char *id)
{
    for (size_t i = 0; i < status->candidate_count; i++)
        if (strcmp(status->candidates[i].id, id) == 0)
            return status->candidates[i].host;
    return "";
}

/* May something be up on this host that an earlier instance of this id has set up as the leader? So it is if that one
 * has led, and another instance has claimed the place since: then neither the earlier instance nor its guard had the
 * time to hand over. If the present leader is on this host, what is up here belongs to that leader. */
static bool may_be_up(const struct elect *elect, const struct baton_status *status)
{
    const char *id = baton_id(elect->client);
    size_t length = own_length(elect);
    bool given = elect->candidate.id != NULL;
    if (status->leader != NULL && strcmp(host_of(status, status->leader), host_of(status, id)) == 0)
        return false;
    for (size_t i = 0; i < status->term_count; i++) {
        const char *led = status->terms[i].id;
        if (strncmp(led, id, length) == 0 && (given ? led[length] == '\0' : led[length] == '-'))
            return i == 0 || strcmp(status->terms[i - 1].reason, "claim") == 0;
    }
    return false;
}

void elect_hooks_follow_first(struct elect *elect, const struct baton_status *status)
{
    int64_t now_ms = baton_now_ms();
    bool named = status->leader != NULL && strcmp(status->leader, baton_id(elect->client)) == 0; /* told in a moment */
    if (!status->known)
        return;
    if (elect->hook_for != ELECT_HOOK_NONE || elect->leading || elect->leaving || named) {
        elect->settle_ms = NEVER_MS; /* it need not be woken any more */
        return;
    }
    if (elect->settle_ms == NEVER_MS)
        elect->settle_ms = now_ms + SETTLE_MS;
    if (status->leader == NULL && !status->held && now_ms < elect->settle_ms)
        return;
    elect->settle_ms = NEVER_MS;
    elect->hook_for = ELECT_HOOK_FOLLOW;
    if (elect->on_follow == NULL || !may_be_up(elect, status))
        return;
    elect->hook_limit_ms = now_ms + elect->candidate.grace_ms;
    start_hook(elect, elect->on_follow, false);
}

/* ---- the stop ---- */

/* The hooks of a stop must have ended before `until_ms`. If that is over already, there is nothing left to save for
 * others, but what the hooks have set up must still be taken down: they get the whole grace. */
void elect_hooks_stop(struct elect *elect, int64_t until_ms)
{
    int64_t limit_ms = until_ms - elect->candidate.slack_ms - elect->guard_ms, now_ms = baton_now_ms();
    elect->stopping = true;
    elect->leading = false;
    /* Two at once would both take down, the later one perhaps what the next leader has set up here. */
    int64_t guard_at_ms = elect->deadline_ms - elect->candidate.slack_ms - elect->guard_ms;
    elect->left_to_guard = elect->armed && !elect->guard_gone && now_ms >= guard_at_ms;
    elect->hook_limit_ms = limit_ms > now_ms ? limit_ms : now_ms + elect->candidate.grace_ms;
    elect_hooks_run(elect);
}

static void overrun(struct elect *elect)
{
    cli_error("%s: the hook for '%s' has not ended in time: it is killed%s", elect->name,
              elect->hook_for == ELECT_HOOK_LEAD ? "lead" : "follow", elect->stopping ? ", and the session ends" : "");
    elect->overrun = elect->stopping;
    elect->hook_limit_ms = baton_now_ms() + elect->candidate.grace_ms;
    shell_end(&elect->hook); /* --on-follow comes even so, if this one was --on-lead: when it is gone */
}

int64_t elect_hooks_wake_ms(const struct elect *elect)
{
    int64_t wake_ms = elect->hook.pid > 0 ? elect->hook_limit_ms : NEVER_MS;
    int64_t guard_ms = elect->guard_gone ? NEVER_MS : guard_wake_ms(&elect->guard);
    wake_ms = guard_ms < wake_ms ? guard_ms : wake_ms;
    return elect->settle_ms < wake_ms ? elect->settle_ms : wake_ms;
}

void elect_hooks_on_time(struct elect *elect, int64_t now_ms)
{
    if (!elect->guard_gone)
        guard_on_time(&elect->guard, now_ms);
    if (elect->hook.pid > 0 && now_ms >= elect->hook_limit_ms)
        overrun(elect);
}

/* ---- what the guard says ---- */

/* It has not waited: what was set up is taken down, and the session is over. */
static void taken_down(struct elect *elect)
{
    cli_error("%s: this instance did not renew in time, and its guard has ended the session%s", elect->name,
              elect->on_follow != NULL ? ", after the hook for 'follow'" : "");
    shell_end(&elect->hook);
    elect->armed = elect->left_to_guard = false;
    elect->down_term = elect->term;
    elect->hook_for = ELECT_HOOK_FOLLOW;
    elect_hooks_run(elect);
}

void elect_hooks_on_guard(struct elect *elect)
{
    struct guard_message message;
    enum guard_news news;
    if (elect->guard_gone)
        return;
    while ((news = guard_next(&elect->guard, &message)) != GUARD_NOTHING) {
        if (news == GUARD_GONE && message.by_guard)
            taken_down(elect);
        if (news == GUARD_REFUSED)
            elect->armed = false; /* again at the next renewal */
        if (news == GUARD_TROUBLE || news == GUARD_STUCK)
            cli_error("%s: %s", elect->name, message.text);
        if (news == GUARD_DEAD) {
            cli_error("%s: the guard is gone: the place is given up", elect->name);
            elect->guard_gone = true; /* (guard_next would kill all that is left now, the hooks too) */
            elect->left_to_guard = false;
            elect_hooks_run(elect);
            elect_leave(elect, EX_SOFTWARE);
            return;
        }
    }
}
