/* once.c: `baton once KEY -- COMMAND`: the command runs once, by one of those who want it; the others wait for its end
 * and end as it did. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/base.h"
#include "cli/once_options.h"
#include "cli/supervisor.h"
#include "process/capture.h"

#define STOPPED_WAIT_MS 1000 /* for the reader of the output, after a signal */
#define ONCE_LOST 125        /* as timeout(1) and others: it is not known what became of it */

struct once {
    struct supervisor supervisor; /* first */
    const struct once_options *options;
    struct baton_task *task;
    uint64_t token;
    struct capture captures[2];         /* with --output: what the command prints, and its errors */
    bool worked;                        /* a command of ours has run, and its output was seen */
    bool reported;                      /* how it has ended is to be recorded */
    struct baton_task_status *recorded; /* that has output to print; NULL: none */
    size_t recorded_count;
};

/* ---- the work ---- */

static void report(struct once *once, bool failed)
{
    struct supervisor *supervisor = &once->supervisor;
    struct baton_task_result result = {.status = BATON_TASK_NOT_BEGUN};
    if (!failed) {
        once->reported = true;
        result.status = supervisor_wait_status(supervisor->wait_status);
        for (int i = 0; i < 2 && once->options->output; i++)
            capture_finish(&once->captures[i]);
    }
    if (!failed && once->options->output) {
        result.out_size = capture_end(&once->captures[0], &result.out);
        result.err_size = capture_end(&once->captures[1], &result.err);
        result.out_left_out = once->captures[0].total - result.out_size;
        result.err_left_out = once->captures[1].total - result.err_size;
    }
    baton_done(once->task, &result);
}

static enum supervise_may may_start(struct supervisor *supervisor, struct guard_environment *environment)
{
    struct once *once = (struct once *)supervisor;
    struct baton_task_status *status;
    size_t count;
    if (!baton_works(once->task, NULL))
        return SUPERVISE_MUST_NOT;
    environment->token = once->token;
    if (baton_task_status(once->task, &status, &count, NULL) == 0) {
        environment->attempt = status->attempt;
        baton_task_status_free(status, count);
    }
    for (int i = 0; i < 2; i++) { /* of an earlier attempt */
        once->captures[i].kept_size = 0;
        once->captures[i].total = 0;
    }
    return SUPERVISE_YES;
}

/* A command that has ended before it was to be stopped has a result, whatever became of the session since. */
static void command_gone(struct supervisor *supervisor, const struct supervise_outcome *outcome)
{
    struct once *once = (struct once *)supervisor;
    bool failed = outcome->error != 0;
    once->worked = !failed;
    if (outcome->by_guard) {
        cli_error("%s: the task is lost: this instance did not renew in time, and %s", supervisor->name,
                  outcome->refused ? "the command is not started" : "the guard has ended the command");
        supervisor->status = EX_TEMPFAIL;
    }
    if (failed)
        supervisor->status = supervisor_exec_status(outcome->error);
    if (!supervisor->lost && (outcome->exited || failed))
        report(once, failed);
    if (supervisor->lost || failed || !outcome->exited)
        baton_give_up(once->task);
}

static void give_back(struct supervisor *supervisor)
{
    struct once *once = (struct once *)supervisor;
    if (!once->reported)
        baton_give_up(once->task);
}

static void on_stop(struct supervisor *supervisor, const struct baton_event *event)
{
    cli_error("%s: the task is lost: %s", supervisor->name, event->text);
    supervisor->status = EX_TEMPFAIL;
}

static bool stop_takes(struct supervisor *supervisor, uint32_t ms)
{
    return baton_task_stop_takes(((struct once *)supervisor)->task, ms);
}

static void unanswered(struct supervisor *supervisor)
{
    struct once *once = (struct once *)supervisor;
    if (!once->reported)
        return;
    cli_error("%s: the command has ended with status %d, but the engine does not answer: that is not recorded, and the "
              "task is lost unless it still is",
              supervisor->name, supervisor_wait_status(supervisor->wait_status));
    supervisor->status = EX_UNAVAILABLE;
}

/* ---- how it ended ---- */

static int settled(struct once *once)
{
    const char *key = once->options->key;
    struct baton_task_status *status;
    struct baton_error err;
    size_t count;
    if (baton_task_status(once->task, &status, &count, &err) < 0)
        return cli_fail(&err);
    int result = status->status;
    if (status->state == BATON_TASK_LOST) {
        cli_error(
            "%s: it is lost: %s on %s, which ran it, is gone, and nobody knows how far it came; baton once forget "
            "lets it run once more",
            key, status->id, status->host);
        result = ONCE_LOST;
    } else if (once->options->output && !(once->worked && strcmp(status->id, baton_id(once->supervisor.client)) == 0)) {
        once->recorded = status; /* it is printed when nothing is had any more: its reader may take any time */
        once->recorded_count = count;
        return result;
    }
    baton_task_status_free(status, count);
    return result;
}

static void on_outcome(struct once *once, const struct baton_event *event)
{
    struct supervisor *supervisor = &once->supervisor;
    supervisor->over = true;
    switch (event->code) {
    case BATON_OK:
        supervisor->status = settled(once);
        return;
    case BATON_CLOSED: /* a signal, or the command could not be run */
        return;
    case BATON_CONFLICT:
    case BATON_TIMEOUT:
        cli_error("%s", event->text);
        supervisor->status = once->options->conflict_status;
        return;
    case BATON_LOST:
        cli_error("%s; baton once forget lets it run once more", event->text);
        supervisor->status = ONCE_LOST;
        return;
    case BATON_INVALID:
        cli_error("%s; is the key meant for something else? --any-command does not mind", event->text);
        supervisor->status = cli_exit_code(event->code);
        return;
    default:
        cli_error("%s", event->text);
        supervisor->status = cli_exit_code(event->code);
        return;
    }
}

static void on_event(struct supervisor *supervisor, const struct baton_event *event)
{
    struct once *once = (struct once *)supervisor;
    if (event->kind == BATON_BEGIN && !supervisor->leaving) {
        once->token = event->term;
        once->reported = supervisor->lost = false;
        supervise_want(&supervisor->command, 0);
    } else if (event->kind == BATON_OUTCOME) {
        on_outcome(once, event);
    }
}

/* ---- what the command prints ---- */

static size_t poll_captures(struct supervisor *supervisor, struct pollfd polled[SUPERVISOR_POLLED_MAX])
{
    struct once *once = (struct once *)supervisor;
    for (int i = 0; i < 2; i++)
        polled[i] = capture_polled(&once->captures[i]);
    return 2;
}

static void step_captures(struct supervisor *supervisor, const struct pollfd polled[SUPERVISOR_POLLED_MAX],
                          bool children)
{
    struct once *once = (struct once *)supervisor;
    for (int i = 0; i < 2; i++)
        if (polled[i].revents != 0)
            capture_step(&once->captures[i]);
}

static const struct supervisor_kind a_task = {.verb = "once",
                                              .what = "task",
                                              .hangup_ends = true,
                                              .may_start = may_start,
                                              .gone = command_gone,
                                              .give_back = give_back,
                                              .stopping = on_stop,
                                              .stop_takes = stop_takes,
                                              .event = on_event,
                                              .unanswered = unanswered,
                                              .poll = poll_captures,
                                              .turn = step_captures};

/* ---- begin and end ---- */

/* With --output the command prints into two pipes, of which the guard and the command have the other ends. */
static int begin_supervision(struct once *once)
{
    int ends[2] = {-1, -1};
    struct baton_error err;
    if (!once->options->output)
        return supervisor_begin(&once->supervisor, NULL);
    for (int i = 0; i < 2; i++)
        if (capture_open(&once->captures[i], BATON_TASK_OUTPUT_MAX, &ends[i], &err) < 0)
            return cli_fail(&err);
    int status = supervisor_begin(&once->supervisor, ends);
    close(ends[0]);
    close(ends[1]);
    return status;
}

static int open_task(struct once *once, struct baton_error *err)
{
    const struct once_options *options = once->options;
    struct baton_task_options task = options->task;
    task.stop_ms = options->candidate.grace_ms + options->candidate.slack_ms;
    if (candidate_open(&options->candidate, true, &once->supervisor.client, err) < 0)
        return -1;
    return baton_once(once->supervisor.client, options->key, &task, &once->task, err);
}

/* The task is recorded, and only the rest of its output is to be printed. The reader may take any time for that, so a
 * signal ends this process now, as it ends cat(1). */
static void let_signals_end(void)
{
    static const int ending[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < COUNT_OF(ending); i++)
        sigaddset(&set, ending[i]);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static int pass_on(struct once *once)
{
    int status = CLI_GO;
    for (int i = 0; i < 2; i++) {
        struct capture *capture = &once->captures[i];
        let_signals_end();
        if (once->options->output)
            capture_flush(capture, once->supervisor.stop_signal != 0 ? STOPPED_WAIT_MS : -1);
        if (capture->error != 0 && capture->error != EPIPE) {
            cli_error("the output could not be written: %s", strerror(capture->error));
            status = EX_IOERR;
        }
        capture_free(capture);
    }
    if (once->recorded == NULL)
        return status;
    let_signals_end();
    cli_print_wait();
    once_print_output(once->recorded);
    baton_task_status_free(once->recorded, once->recorded_count);
    return status;
}

static int run_once(const struct once_options *options)
{
    struct once once = {
        .options = options,
        .captures = {{.fd = -1}, {.fd = -1}},
        .supervisor = {
            .kind = &a_task, .candidate = &options->candidate, .name = options->key, .argv = options->command}};
    struct supervisor *supervisor = &once.supervisor;
    struct baton_error err;
    int status = begin_supervision(&once);
    cli_print_begin();
    if (status != CLI_GO)
        return status;
    for (int i = 0; i < 2 && options->output; i++)
        once.captures[i].to = cli_printer(i == 0 ? stdout : stderr);
    if (open_task(&once, &err) == 0)
        supervisor_loop(supervisor);
    else
        supervisor->status = cli_fail(&err);
    if (once.reported && !supervisor->unanswered && supervisor->client != NULL)
        once_sweep(supervisor->client, options->key, once.token);
    supervisor_end(supervisor);
    status = pass_on(&once);
    return status != CLI_GO ? status : supervisor_status(supervisor);
}

/* ---- what is recorded ---- */

/* `list`, `show KEY` and `forget KEY...` have no command; a task whose key is "list" has one. */
static int run_view(const struct once_options *options)
{
    const char *verb = options->operands[0];
    char *const *keys = options->operands + 1;
    int count = options->operand_count - 1;
    struct once_view view = options->view;
    view.url = options->candidate.url;
    view.json = options->candidate.json;
    view.output = options->output;
    if (strcmp(verb, "list") == 0 && count == 0)
        return once_list(&view);
    if (strcmp(verb, "show") == 0 && count == 1)
        return once_show(&view, keys[0]);
    if (strcmp(verb, "forget") == 0 && (count > 0 || view.expired))
        return once_forget(&view, keys, count);
    return cli_usage_error(
        "once", "there is no command, as in baton once %s -- ./migrate; or list, show KEY, forget KEY", verb);
}

static int run(int argc, char **argv)
{
    const struct once_options *options;
    int status = once_options_parse(argc, argv, &options);
    if (status != CLI_GO)
        return status;
    return options->key == NULL ? run_view(options) : run_once(options);
}

const struct cli_command command_once = {"once", "run a command once, by one of those who want it", run};
