/* once.c: `baton once KEY -- COMMAND`: the command runs once, by one of those who want it; the others wait for its end
 * and end as it did. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/base.h"
#include "cli/once_options.h"
#include "cli/supervise.h"
#include "process/capture.h"

#define ONCE_LOST 125 /* as timeout(1) and others: it is not known what became of it */

struct once {
    struct supervisor supervisor; /* first */
    const struct once_options *options;
    struct baton_task *task;
    struct capture captures[2]; /* with --output: what the command prints, and its errors */
    bool worked;                /* a command of ours has run, and its output was seen */
};

/* ---- the work ---- */

static void report(struct once *once)
{
    struct supervisor *supervisor = &once->supervisor;
    struct baton_task_result result = {.status = BATON_TASK_NOT_BEGUN};
    if (!supervisor->failed) {
        result.status = supervise_command_status(supervisor);
        for (int i = 0; i < 2 && once->options->output; i++)
            capture_finish(&once->captures[i]);
    }
    if (!supervisor->failed && once->options->output) {
        result.out_size = capture_end(&once->captures[0], &result.out);
        result.err_size = capture_end(&once->captures[1], &result.err);
        result.out_left_out = once->captures[0].total - result.out_size;
        result.err_left_out = once->captures[1].total - result.err_size;
    }
    baton_done(once->task, &result);
}

/* A command that has ended before it was to be stopped has a result, whatever became of the session since. */
static void command_gone(struct supervisor *supervisor)
{
    struct once *once = (struct once *)supervisor;
    once->worked = !supervisor->failed;
    if (!supervisor->lost && (supervisor->ended || supervisor->failed))
        report(once);
    if (supervisor->lost || supervisor->failed || !supervisor->ended)
        baton_give_up(once->task);
}

static void give_up(struct supervisor *supervisor)
{
    baton_give_up(((struct once *)supervisor)->task);
}

static const struct supervised a_task = {.what = "task", .gone = command_gone, .give_up = give_up};

static void begin(struct once *once, uint64_t token)
{
    struct guard_environment environment = {.token = token};
    struct baton_task_status *status;
    size_t count;
    if (baton_task_status(once->task, &status, &count, NULL) == 0) {
        environment.attempt = status->attempt;
        baton_task_status_free(status, count);
    }
    for (int i = 0; i < 2; i++) { /* of an earlier attempt */
        once->captures[i].kept_size = 0;
        once->captures[i].total = 0;
    }
    supervise_start(&once->supervisor, &environment);
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
        once_print_output(status);
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

static void on_baton(struct once *once)
{
    struct supervisor *supervisor = &once->supervisor;
    struct baton_event event;
    while (!supervisor->over && baton_next(supervisor->client, &event)) {
        if (supervise_event(supervisor, &event))
            continue;
        if (event.kind == BATON_BEGIN)
            begin(once, event.term);
        else if (event.kind == BATON_OUTCOME)
            on_outcome(once, &event);
    }
}

/* ---- begin and end ---- */

/* With --output the command prints into two pipes, of which the guard and the command have the other ends. */
static int begin_supervision(struct once *once)
{
    int ends[2] = {-1, -1};
    struct baton_error err;
    if (!once->options->output)
        return supervise_begin(&once->supervisor, NULL);
    for (int i = 0; i < 2; i++)
        if (capture_open(&once->captures[i], i == 0 ? STDOUT_FILENO : STDERR_FILENO, BATON_TASK_OUTPUT_MAX, &ends[i],
                         &err) < 0)
            return cli_fail(&err);
    int status = supervise_begin(&once->supervisor, ends);
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

static void turn(struct once *once)
{
    struct supervisor *supervisor = &once->supervisor;
    struct pollfd polled[] = {{.fd = supervisor->guard.pid > 0 ? supervisor->guard.fd : -1, .events = POLLIN},
                              {.fd = baton_fd(supervisor->client), .events = POLLIN},
                              {.fd = supervisor->signal_fd, .events = POLLIN},
                              capture_polled(&once->captures[0]),
                              capture_polled(&once->captures[1])};
    if (poll(polled, COUNT_OF(polled), supervise_wait_ms(supervisor)) < 0) {
        if (errno != EINTR)
            supervisor->over = true;
        return;
    }
    for (int i = 0; i < 2; i++)
        if (polled[3 + i].revents != 0)
            capture_step(&once->captures[i]);
    if (polled[0].revents != 0)
        supervise_on_guard(supervisor);
    if (polled[1].revents != 0)
        on_baton(once);
    if (polled[2].revents != 0)
        supervise_on_signals(supervisor);
    supervise_on_time(supervisor);
}

/* What is left of the output. All is done and recorded, and nobody waits for this process but its reader, who may take
 * any time: a signal ends it now, as it ends cat(1). */
static int pass_on(struct once *once)
{
    static const int ending[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP};
    sigset_t set;
    int status = CLI_GO;
    sigemptyset(&set);
    for (size_t i = 0; i < COUNT_OF(ending); i++)
        sigaddset(&set, ending[i]);
    for (int i = 0; i < 2; i++) {
        struct capture *capture = &once->captures[i];
        if (capture->passing_size > 0)
            sigprocmask(SIG_UNBLOCK, &set, NULL);
        capture_flush(capture);
        if (capture->error != 0 && capture->error != EPIPE) {
            cli_error("the output could not be written: %s", strerror(capture->error));
            status = EX_IOERR;
        }
        capture_free(capture);
    }
    return status;
}

static int run_once(const struct once_options *options)
{
    struct once once = {
        .options = options,
        .captures = {{.fd = -1, .to = -1}, {.fd = -1, .to = -1}},
        .supervisor = {
            .user = &a_task, .candidate = &options->candidate, .name = options->key, .command = options->command}};
    struct supervisor *supervisor = &once.supervisor;
    struct baton_error err;
    int status = begin_supervision(&once);
    if (status != CLI_GO)
        return status;
    if (open_task(&once, &err) < 0) {
        supervisor->status = cli_fail(&err);
        supervisor->over = true;
    }
    while (!supervisor->over)
        turn(&once);
    supervise_end(supervisor);
    status = pass_on(&once);
    return status != CLI_GO ? status : supervise_exit_status(supervisor);
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
