/* elect.c: `baton elect NAME`: hold a candidacy, print each change, run hooks (elect_hooks.c). */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "cli/elect.h"
#include "cli/present.h"
#include "process/notify.h"
#include "process/orphans.h"

/* Of one that leaves: how long the engine may take to hear of it. Then its guard ends the session as that of a dead
 * one. */
#define END_MS 5000

/* ---- print ---- */

static void print(struct elect *elect, const char *event, const char *id, uint64_t term, const char *text)
{
    char when[32], line[BATON_ERROR_TEXT + 200];
    if (elect->candidate.json) {
        present_line(candidate_event(event, elect->name, id, term, text));
        return;
    }
    snprintf(line, sizeof(line), "%s  %s  %s", cli_time_text(clock_wall_ms(), when), elect->name, text);
    cli_line(stdout, cli_printable(line));
}

/* The leader, when it is another one than was told last; and at the start, whether this instance follows. */
static void look(struct elect *elect)
{
    struct baton_status *status;
    size_t count;
    char text[BATON_ID_MAX + 80];
    if (baton_status(elect->election, &status, &count, NULL) < 0)
        return;
    if (!elect->ready && status->known) {
        elect->ready = true;
        notify_say("READY=1");
        print(elect, "stand", baton_id(elect->client), 0, "this instance stands");
    }
    bool vacant = status->leader == NULL;
    if (vacant && !elect->told_vacant && elect->told_term != 0)
        print(elect, "vacant", NULL, status->term, "nobody leads");
    if (!vacant && status->term != elect->told_term) {
        snprintf(text, sizeof(text), "%s leads, term %" PRIu64, status->leader, status->term);
        print(elect, "leader", status->leader, status->term, text);
        elect->told_term = status->term;
    }
    elect->told_vacant = vacant;
    elect_hooks_follow_first(elect, status);
    baton_status_free(status, count);
}

/* ---- events ---- */

void elect_leave(struct elect *elect, int status)
{
    if (elect->leaving)
        return;
    elect->leaving = true;
    elect->status = status;
    notify_say("STOPPING=1");
    baton_resign(elect->election);
}

static void on_trouble(struct elect *elect, const struct baton_event *event)
{
    char text[TROUBLE_TEXT];
    const char *words = event->text;
    if (event->election == NULL)
        words = trouble_event(&elect->trouble, baton_url(elect->client), event, text);
    if (words != NULL)
        cli_error("%s: %s", elect->name, words);
}

/* Tell the guard the testament that it must write if this process is dead. */
static void tell_testament(struct elect *elect)
{
    char testament[BATON_TESTAMENT_MAX];
    baton_testament(elect->election, testament);
    if (strcmp(testament, elect->testament) == 0)
        return;
    text_copy(elect->testament, sizeof(elect->testament), testament);
    guard_testament(&elect->guard, testament);
}

static void on_lead(struct elect *elect, const struct baton_event *event)
{
    char text[80];
    elect->term = event->term;
    elect->leading = true;
    snprintf(text, sizeof(text), "this instance leads, term %" PRIu64, event->term);
    print(elect, "lead", baton_id(elect->client), event->term, text);
    notify_say("STATUS=leads");
    elect_hooks_run(elect);
}

static void on_stop(struct elect *elect, const struct baton_event *event)
{
    char text[80];
    snprintf(text, sizeof(text), "this instance stops: %.50s", event->text);
    print(elect, "stop", baton_id(elect->client), event->term, text);
    elect_hooks_stop(elect, event->until_ms);
}

static void on_event(struct elect *elect, const struct baton_event *event)
{
    if (event->kind == BATON_STOP)
        elect_hooks_on_guard(elect); /* first: it may have taken down what is told to stop */
    switch (event->kind) {
    case BATON_SESSION:
    case BATON_RENEWED:
        elect_hooks_session(elect, event->until_ms, event->kind == BATON_SESSION);
        return;
    case BATON_LEAD:
        on_lead(elect, event);
        return;
    case BATON_STOP:
        on_stop(elect, event);
        return;
    case BATON_FOLLOW:
        elect->stopping = elect->overrun = elect->lost = false;
        print(elect, "follow", baton_id(elect->client), event->term, "this instance follows");
        notify_say("STATUS=follows");
        return;
    case BATON_CHANGED:
        look(elect);
        return;
    case BATON_LOST_SESSION:
        print(elect, "lost", NULL, 0, "the session is over");
        elect->lost = elect->stopping;
        elect_hooks_run(elect);
        return;
    case BATON_TROUBLE:
    case BATON_RECOVERED:
        on_trouble(elect, event);
        return;
    case BATON_DUPLICATE:
        cli_error("%s: %s", elect->name, event->text);
        return;
    case BATON_RESIGNED:
        elect->resigned = true;
        return;
    default:
        return;
    }
}

static void on_baton(struct elect *elect)
{
    struct baton_event event;
    bool any = false;
    while (!elect->resigned && baton_next(elect->client, &event)) {
        on_event(elect, &event);
        any = true;
    }
    if (any && !elect->resigned)
        tell_testament(elect);
}

/* Nobody reads what is printed any more, or it cannot be written: hand over and end. */
static void check_output(struct elect *elect, bool reader_gone)
{
    enum cli_out out = cli_flush();
    if (out != CLI_OUT_OK || reader_gone)
        elect_leave(elect, out == CLI_OUT_FAILED ? EX_IOERR : 0);
}

static void on_signals(struct elect *elect, bool *ret_children)
{
    struct signalfd_siginfo info;
    while (read(elect->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGCHLD) {
            *ret_children = true;
            continue;
        }
        elect->hurried = elect->stop_signal != 0;
        elect->stop_signal = (int)info.ssi_signo;
        elect_leave(elect, 0);
    }
}

/* A process that a hook has left behind is a child of this process, which is a subreaper because of its guard. */
static void collect_orphans(const struct elect *elect)
{
    const pid_t known[] = {elect->guard.pid, elect->hook.pid};
    orphans_collect(known, COUNT_OF(known));
}

/* ---- time ---- */

static int wait_ms(const struct elect *elect)
{
    /* The library renews only while this loop turns; a renewal makes it turn, so this is for when there is none. */
    int64_t now_ms = baton_now_ms(), wake_ms = now_ms + (int64_t)elect->candidate.ttl_ms * 3 / 8;
    if (elect_hooks_wake_ms(elect) < wake_ms)
        wake_ms = elect_hooks_wake_ms(elect);
    if (trouble_wake_ms(&elect->trouble) < wake_ms)
        wake_ms = trouble_wake_ms(&elect->trouble);
    if (elect->end_ms < wake_ms)
        wake_ms = elect->end_ms;
    return wake_ms <= now_ms ? 0 : wake_ms - now_ms > 60000 ? 60000 : (int)(wake_ms - now_ms);
}

static void on_time(struct elect *elect)
{
    char text[TROUBLE_TEXT];
    int64_t now_ms = baton_now_ms();
    const char *still = trouble_due(&elect->trouble, baton_url(elect->client), text);
    if (still != NULL)
        cli_error("%s: %s", elect->name, still);
    if (now_ms >= elect->settle_ms)
        look(elect);
    elect_hooks_on_time(elect, now_ms);
    if (!elect->leaving || elect->resigned || elect->hurried || !elect_hooks_are_done(elect))
        return;
    if (elect->end_ms == NEVER_MS)
        elect->end_ms = now_ms + END_MS;
    if (now_ms < elect->end_ms)
        return;
    cli_error("%s: %s has not answered: the guard ends the session", elect->name, baton_url(elect->client));
    elect->given_up = true;
}

static void turn(struct elect *elect)
{
    /* poll(2): a pipe whose reader has closed it is POLLERR, whatever is asked for. */
    struct pollfd polled[] = {{.fd = baton_fd(elect->client), .events = POLLIN},
                              {.fd = elect->signal_fd, .events = POLLIN},
                              {.fd = elect->hook.pidfd, .events = POLLIN},
                              {.fd = elect->leaving ? -1 : STDOUT_FILENO},
                              {.fd = cli_out_changed_fd(), .events = POLLIN},
                              {.fd = elect->guard_gone ? -1 : elect->guard.fd, .events = POLLIN}};
    bool children = false;
    if (poll(polled, COUNT_OF(polled), wait_ms(elect)) < 0 && errno != EINTR)
        return;
    baton_alive(elect->client);
    if (polled[5].revents != 0)
        elect_hooks_on_guard(elect);
    on_baton(elect);
    if (polled[2].revents != 0)
        elect_hooks_on_end(elect);
    if (polled[3].revents != 0 || polled[4].revents != 0)
        check_output(elect, polled[3].revents != 0);
    on_signals(elect, &children);
    on_time(elect);
    if (children)
        collect_orphans(elect);
}

/* ---- begin and end ---- */

static int parse(int argc, char **argv, struct elect *into)
{
    static struct cli_args args;
    const struct cli_option options[] = {
        {.name = "on-lead",
         .kind = CLI_TEXT,
         .into = &into->on_lead,
         .value = "CMD",
         .help = "a shell command to run when this instance begins to lead"},
        {.name = "on-follow",
         .kind = CLI_TEXT,
         .into = &into->on_follow,
         .value = "CMD",
         .help = "a shell command to run when it stops to lead, before the next\none begins"},
        {.name = "grace",
         .kind = CLI_DURATION,
         .into = &into->candidate.grace_ms,
         .value = "DURATION",
         .help = "how long the hooks may take when it must stop\n(default: 3s, or a third of --ttl if that is less)"},
        CANDIDATE_OPTIONS(&into->candidate),
    };
    const struct cli_form form = {.command = "elect",
                                  .synopsis = "[OPTIONS] NAME",
                                  .about = "Stands in the election NAME, prints each change, and runs hooks when this\n"
                                           "instance begins and stops to lead. Hooks run one at a time; their\n"
                                           "environment has BATON_NAME, BATON_ID, BATON_TERM, BATON_URL and\n"
                                           "BATON_STATE (lead or follow). SIGTERM hands over.",
                                  .options = options,
                                  .option_count = COUNT_OF(options),
                                  .operands_min = 1,
                                  .operands_max = 1,
                                  .operands = "NAME",
                                  .names_election = true};
    int status = cli_parse(&form, argc, argv, &args);
    if (status != CLI_GO)
        return status;
    into->name = args.operands[0];
    return candidate_fit(&into->candidate, "elect");
}

/* The hooks have until `until_ms` less what the guard needs to do their work, and to kill. */
static int stand(struct elect *elect, struct baton_error *err)
{
    const struct candidate *candidate = &elect->candidate;
    struct baton_stand_options options;
    bool needs_time = elect->on_lead != NULL || elect->on_follow != NULL;
    if (candidate_open(candidate, true, &elect->client, err) < 0)
        return -1;
    baton_stand_options_init(&options);
    options.priority = candidate->priority;
    options.preempt = candidate->preempt;
    options.attentive = candidate->attentive;
    options.stop_ms = needs_time ? candidate->grace_ms + elect->guard_ms + candidate->slack_ms : 0;
    return baton_stand(elect->client, elect->name, &options, &elect->election, err);
}

/* The engine is not waited for: the guard sees the death of this process, and does the rest. */
static void go(const struct elect *elect)
{
    (void)cli_print_end();
    _exit(elect->hurried ? 128 + elect->stop_signal : elect->status);
}

static int run(int argc, char **argv)
{
    static const int caught[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGCHLD};
    static struct elect elect = {.end_ms = NEVER_MS};
    struct baton_error err;
    elect_hooks_init(&elect);
    candidate_init(&elect.candidate);
    elect.candidate.attentive = true;
    int status = parse(argc, argv, &elect);
    if (status != CLI_GO)
        return status;
    (void)notify_init();
    candidate_inherited(&elect.inherited);
    elect.signal_fd = candidate_signals(caught, COUNT_OF(caught));
    if (elect.signal_fd < 0)
        return EX_OSERR;
    int begun = elect_hooks_begin(&elect, &err);
    cli_print_begin();
    if (elect.candidate.json)
        cli_print_json(stdout, elect.name);
    if (begun < 0 || stand(&elect, &err) < 0)
        elect.status = cli_fail(&err);
    else
        while (!elect.resigned && !elect.hurried && !elect.given_up)
            turn(&elect);
    if (elect.hurried || elect.given_up)
        go(&elect);
    baton_close(elect.client);
    guard_bye(&elect.guard);
    close(elect.signal_fd);
    return elect.status;
}

const struct cli_command command_elect = {"elect", "stand in an election, and run hooks", run};
