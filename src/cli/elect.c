/* elect.c: `baton elect NAME`: hold a candidacy, print each change, run hooks.
 *
 * Hooks run one at a time, in order. States that came and went while a hook ran are left out, but never the last one.
 * The place is handed over when --on-follow has ended: until then this instance counts as the leader for others, and
 * not for itself. A hook that overruns the stop is killed, and nothing is handed over: the session ends by itself.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "cli/candidate.h"
#include "cli/present.h"
#include "cli/trouble.h"
#include "process/notify.h"
#include "process/shell.h"

#define HOOK_KILL_MS 500 /* a hook that was killed is over by then, but for one that hangs in the kernel */

struct elect {
    struct candidate candidate;
    const char *name, *on_lead, *on_follow;
    struct baton *client;
    struct baton_election *election;
    int signal_fd;
    uint64_t term;      /* led now; 0: none */
    uint64_t told_term; /* of the leader that was printed last */
    bool told_vacant;
    bool leading, hook_leads; /* what is so, and what the last hook was started for */
    bool stopping;            /* a stop is to be answered ... */
    bool overrun;             /* ... but a hook was not in time: not while others wait for the session */
    bool lost;                /* ... which is over: an answer comes too late for anybody */
    int64_t limit_ms;         /* a hook that still runs then is killed; while stopping */
    struct shell hook;
    struct trouble trouble;
    bool leaving, resigned, ready;
    int status;
};

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

/* The leader, when it is another one than was told last. */
static void print_leader(struct elect *elect)
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
    baton_status_free(status, count);
}

/* ---- hooks ---- */

static void start_hook(struct elect *elect, const char *command)
{
    char term[24];
    snprintf(term, sizeof(term), "%" PRIu64, elect->term);
    setenv("BATON_NAME", elect->name, 1);
    setenv("BATON_ID", baton_id(elect->client), 1);
    setenv("BATON_URL", baton_url(elect->client), 1);
    setenv("BATON_TERM", term, 1);
    setenv("BATON_STATE", elect->leading ? "lead" : "follow", 1);
    if (!shell_start(&elect->hook, command, NULL))
        cli_error("%s: cannot run the hook '%s': %s", elect->name, command, strerror(errno));
}

static void answer_stop(struct elect *elect)
{
    bool in_time = !elect->overrun || elect->lost;
    if (elect->stopping && in_time && elect->hook.pid == 0 && elect->hook_leads == elect->leading)
        baton_stopped(elect->election);
}

/* Bring the hooks up to what is so. */
static void run_hooks(struct elect *elect)
{
    while (elect->hook.pid == 0 && elect->hook_leads != elect->leading) {
        const char *command = elect->leading ? elect->on_lead : elect->on_follow;
        elect->hook_leads = elect->leading;
        if (command != NULL)
            start_hook(elect, command);
    }
    answer_stop(elect);
}

static void hook_ended(struct elect *elect, int status)
{
    if (WIFSIGNALED(status) || WEXITSTATUS(status) != 0)
        cli_error("%s: the hook for '%s' has ended with status %d", elect->name, elect->hook_leads ? "lead" : "follow",
                  WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
    run_hooks(elect);
}

/* When the hooks of a stop must have ended: before `until_ms`. If that is over already, there is nothing left to save
 * for others, but what the hooks have set up must still be taken down: they get the whole grace. */
static int64_t hook_limit_ms(const struct elect *elect, int64_t until_ms)
{
    int64_t limit_ms = until_ms - elect->candidate.slack_ms;
    int64_t now_ms = baton_now_ms();
    return limit_ms > now_ms ? limit_ms : now_ms + elect->candidate.grace_ms;
}

static void overrun(struct elect *elect)
{
    cli_error("%s: the hook for '%s' has not ended in time: it is killed, and the session ends", elect->name,
              elect->hook_leads ? "lead" : "follow");
    elect->overrun = true;
    (void)shell_kill(&elect->hook, HOOK_KILL_MS);
    elect->limit_ms = baton_now_ms() + elect->candidate.grace_ms;
    run_hooks(elect); /* --on-follow comes even so, if this one was --on-lead */
}

/* ---- events ---- */

static void on_trouble(struct elect *elect, const struct baton_event *event)
{
    char text[TROUBLE_TEXT];
    const char *words = event->text;
    if (event->election == NULL)
        words = trouble_event(&elect->trouble, baton_url(elect->client), event, text);
    if (words != NULL)
        cli_error("%s: %s", elect->name, words);
}

static void on_event(struct elect *elect, const struct baton_event *event)
{
    char text[80];
    switch (event->kind) {
    case BATON_LEAD:
        elect->term = event->term;
        elect->leading = true;
        snprintf(text, sizeof(text), "this instance leads, term %" PRIu64, event->term);
        print(elect, "lead", baton_id(elect->client), event->term, text);
        notify_say("STATUS=leads");
        run_hooks(elect);
        return;
    case BATON_STOP:
        elect->stopping = true;
        elect->leading = false;
        elect->limit_ms = hook_limit_ms(elect, event->until_ms);
        snprintf(text, sizeof(text), "this instance stops: %.50s", event->text);
        print(elect, "stop", baton_id(elect->client), event->term, text);
        run_hooks(elect);
        return;
    case BATON_FOLLOW:
        elect->stopping = elect->overrun = elect->lost = false;
        print(elect, "follow", baton_id(elect->client), event->term, "this instance follows");
        notify_say("STATUS=follows");
        return;
    case BATON_CHANGED:
        print_leader(elect);
        return;
    case BATON_LOST_SESSION:
        print(elect, "lost", NULL, 0, "the session is over");
        elect->lost = elect->stopping;
        answer_stop(elect);
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

static void leave(struct elect *elect)
{
    if (elect->leaving)
        return;
    elect->leaving = true;
    notify_say("STOPPING=1");
    baton_resign(elect->election);
}

/* Nobody reads what is printed any more, or it cannot be written: hand over and end. */
static void check_output(struct elect *elect, bool reader_gone)
{
    enum cli_out out = cli_flush();
    if (elect->leaving || (out == CLI_OUT_OK && !reader_gone))
        return;
    elect->status = out == CLI_OUT_FAILED ? EX_IOERR : 0;
    leave(elect);
}

static void turn(struct elect *elect)
{
    /* poll(2): a pipe whose reader has closed it is POLLERR, whatever is asked for. */
    struct pollfd polled[] = {{.fd = baton_fd(elect->client), .events = POLLIN},
                              {.fd = elect->signal_fd, .events = POLLIN},
                              {.fd = elect->hook.pidfd, .events = POLLIN},
                              {.fd = elect->leaving ? -1 : STDOUT_FILENO},
                              {.fd = cli_out_changed_fd(), .events = POLLIN}};
    int64_t wait_ms = -1;
    int64_t wake_ms = trouble_wake_ms(&elect->trouble);
    if (elect->stopping && elect->hook.pid > 0 && elect->limit_ms < wake_ms)
        wake_ms = elect->limit_ms;
    if (wake_ms != NEVER_MS) {
        wait_ms = wake_ms - baton_now_ms();
        wait_ms = wait_ms > 0 ? wait_ms < 60000 ? wait_ms : 60000 : 0;
    }
    if (poll(polled, COUNT_OF(polled), (int)wait_ms) < 0 && errno != EINTR)
        return;
    char text[TROUBLE_TEXT];
    const char *still = trouble_due(&elect->trouble, baton_url(elect->client), text);
    if (still != NULL)
        cli_error("%s: %s", elect->name, still);
    struct baton_event event;
    while (!elect->resigned && baton_next(elect->client, &event))
        on_event(elect, &event);
    int status;
    if (polled[2].revents != 0 && shell_ended(&elect->hook, &status))
        hook_ended(elect, status);
    if (polled[3].revents != 0 || polled[4].revents != 0)
        check_output(elect, polled[3].revents != 0);
    struct signalfd_siginfo info;
    while (read(elect->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        leave(elect);
    if (elect->stopping && elect->hook.pid > 0 && baton_now_ms() >= elect->limit_ms)
        overrun(elect);
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

static int run(int argc, char **argv)
{
    static const int caught[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP};
    struct elect elect = {0};
    struct baton_error err;
    shell_init(&elect.hook);
    candidate_init(&elect.candidate);
    elect.candidate.attentive = true;
    int status = parse(argc, argv, &elect);
    if (status != CLI_GO)
        return status;
    (void)notify_init();
    elect.signal_fd = candidate_signals(caught, COUNT_OF(caught));
    if (elect.signal_fd < 0)
        return EX_OSERR;
    cli_print_begin();
    bool needs_time = elect.on_lead != NULL || elect.on_follow != NULL;
    if (candidate_open(&elect.candidate, false, &elect.client, &err) < 0 ||
        candidate_stand(&elect.candidate, elect.client, elect.name, needs_time, &elect.election, &err) < 0)
        elect.status = cli_fail(&err);
    else
        while (!elect.resigned)
            turn(&elect);
    (void)shell_kill(&elect.hook, HOOK_KILL_MS);
    baton_close(elect.client);
    close(elect.signal_fd);
    return elect.status;
}

const struct cli_command command_elect = {"elect", "stand in an election, and run hooks", run};
