/* candidate.c: see candidate.h. */
#include "cli/candidate.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

#include "base/base.h"
#include "base/clock.h"
#include "cli/present.h"

void candidate_init(struct candidate *candidate)
{
    *candidate = (struct candidate){.ttl_ms = BATON_TTL_DEFAULT_MS, .grace_ms = UINT32_MAX, .slack_ms = UINT32_MAX};
}

int candidate_fit(struct candidate *candidate, const char *command)
{
    char grace[32], ttl[32], sum[32], slack[32], half[32];
    uint32_t ttl_ms = candidate->ttl_ms;
    bool slack_given = candidate->slack_ms != UINT32_MAX;
    if (!slack_given)
        candidate->slack_ms = ttl_ms / 10 < CANDIDATE_SLACK_MS ? ttl_ms / 10 : CANDIDATE_SLACK_MS;
    if (candidate->grace_ms == UINT32_MAX)
        candidate->grace_ms = ttl_ms / 3 < CANDIDATE_GRACE_MS ? ttl_ms / 3 : CANDIDATE_GRACE_MS;
    uint64_t sum_ms = (uint64_t)candidate->grace_ms + candidate->slack_ms;
    if (sum_ms <= ttl_ms / 2)
        return CLI_GO;
    return cli_usage_error(command,
                           "--grace %s and %s for the kill make %s; --ttl %s leaves %s for a stop: choose a "
                           "longer --ttl or a shorter --grace%s",
                           cli_duration_text(candidate->grace_ms, grace), cli_duration_text(candidate->slack_ms, slack),
                           cli_duration_text((int64_t)sum_ms, sum), cli_duration_text(ttl_ms, ttl),
                           cli_duration_text(ttl_ms / 2, half), slack_given ? " or --slack" : "");
}

int candidate_open(const struct candidate *candidate, bool supervised, struct baton **ret, struct baton_error *err)
{
    struct baton_options options;
    baton_options_init(&options);
    options.url = candidate->url;
    options.id = candidate->id;
    options.address = candidate->address;
    options.ttl_ms = candidate->ttl_ms;
    options.renewals = supervised;
    options.watchdog_ms = supervised ? (uint32_t)((uint64_t)candidate->ttl_ms * 2 / 3) : 0;
    options.guard = supervised ? BATON_GUARD_OFF : BATON_GUARD_AUTO; /* the supervisor has one */
    return baton_open(&options, ret, err);
}

int candidate_stand(const struct candidate *candidate, struct baton *client, const char *name, bool needs_time,
                    struct baton_election **ret, struct baton_error *err)
{
    struct baton_stand_options stand;
    baton_stand_options_init(&stand);
    stand.priority = candidate->priority;
    stand.preempt = candidate->preempt;
    stand.attentive = candidate->attentive;
    stand.stop_ms = needs_time ? candidate->grace_ms + candidate->slack_ms : 0;
    return baton_stand(client, name, &stand, ret, err);
}

int64_t candidate_limit_ms(const struct candidate *candidate, int64_t until_ms)
{
    int64_t limit_ms = until_ms - candidate->slack_ms / 2, now_ms = baton_now_ms();
    /* Too late already: all of us stood still, and the guard has only just heard of it. */
    return limit_ms > now_ms ? limit_ms : now_ms + CANDIDATE_SLACK_MS;
}

static bool is_ignored(int number)
{
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 && (action.sa_flags & SA_SIGINFO) == 0 && action.sa_handler == SIG_IGN;
}

void candidate_inherited(struct guard_signals *ret)
{
    sigprocmask(SIG_SETMASK, NULL, &ret->blocked);
    sigemptyset(&ret->ignored);
    for (int number = 1; number <= SIGRTMAX; number++)
        if (is_ignored(number))
            sigaddset(&ret->ignored, number);
}

int candidate_signals(const int *numbers, size_t count)
{
    sigset_t set;
    sigemptyset(&set);
    signal(SIGCHLD, SIG_DFL);
    if (is_ignored(SIGTERM))
        signal(SIGTERM, SIG_DFL);
    for (size_t i = 0; i < count; i++)
        if (!is_ignored(numbers[i]))
            sigaddset(&set, numbers[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        cli_error("cannot make a signalfd: %s", strerror(errno));
    return fd;
}

json_t *candidate_event(const char *event, const char *name, const char *id, uint64_t term, const char *text)
{
    json_t *object = json_object();
    json_object_set_new(object, "time", present_time(clock_wall_ms()));
    json_object_set_new(object, "event", present_text(event));
    json_object_set_new(object, "name", present_text(name));
    if (id != NULL)
        json_object_set_new(object, "id", present_text(id));
    if (term != 0)
        json_object_set_new(object, "term", json_integer((json_int_t)term));
    if (text[0] != '\0')
        json_object_set_new(object, "text", present_text(text));
    return object;
}
