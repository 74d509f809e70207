/* once.c: `baton once KEY -- COMMAND`: the command runs once, by one of those who want it; the others wait for its end
 * and end as it did. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/base.h"
#include "base/hash.h"
#include "cli/once_view.h"
#include "cli/supervise.h"
#include "process/capture.h"

#define COMMAND_NAME_MAX 200 /* bytes of it that are stored */
#define ONCE_LOST 125        /* as timeout(1) and others: it is not known what became of it */

struct once_options {
    struct candidate candidate;
    struct once_view view;
    const char *key;
    char *const *command;
    struct baton_task_options task;
    bool any_command, output;
    int32_t retries, conflict_status;
    char what[BATON_TASK_WHAT_MAX + 1];
};

struct once {
    struct supervisor supervisor; /* first */
    const struct once_options *options;
    struct baton_task *task;
    struct capture captures[2]; /* with --output: what the command prints, and its errors */
    bool worked;                /* a command of ours has run, and its output was seen */
};

/* ---- options ---- */

static const char about[] = "Runs COMMAND once: the first instance to ask for KEY runs it, the others wait for\n"
                            "its end and exit with its status; so does who asks later, at once. KEY is any text\n"
                            "of up to 128 bytes (with a date in it, it is once a day). If the instance that\n"
                            "runs it is lost, nobody knows how far it came: it is not run again, and the exit\n"
                            "code is 125 (see --at-least-once). Its environment has BATON_NAME (the key),\n"
                            "BATON_ID, BATON_TOKEN, BATON_ATTEMPT and BATON_URL.\n\n"
                            "baton once list           shows all tasks\n"
                            "baton once show KEY       shows one, with --output what it printed\n"
                            "baton once forget KEY...  forgets what is recorded: it may run once more";

static int parse_options(int argc, char **argv, struct once_options *into, struct cli_args *ret)
{
    const struct cli_option options[] = {
        CLI_OPTION_URL(&into->candidate.url),
        CLI_OPTION_ID(&into->candidate.id),
        CLI_OPTION_TTL(&into->candidate.ttl_ms),
        {.name = "no-wait",
         .letter = 'n',
         .kind = CLI_FLAG,
         .into = &into->task.try_only,
         .help = "fail when others are running it"},
        {.name = "wait",
         .letter = 'w',
         .kind = CLI_DURATION,
         .into = &into->task.wait_ms,
         .value = "DURATION",
         .help = "fail when others have not ended it within this time; 0: at once"},
        {.name = "conflict-exit-code",
         .letter = 'E',
         .kind = CLI_NUMBER,
         .into = &into->conflict_status,
         .value = "N",
         .min = 0,
         .max = 255,
         .help = "the exit code then (default: 75)"},
        {.name = "at-least-once",
         .kind = CLI_FLAG,
         .into = &into->task.at_least_once,
         .help = "run it again when the instance that ran it is lost, if that one\nsaid so, too"},
        {.name = "retries",
         .kind = CLI_NUMBER,
         .into = &into->retries,
         .value = "N",
         .min = 0,
         .max = 1000000,
         .help = "run it again after a failure, up to N times (default: 0)"},
        {.name = "retry-after",
         .kind = CLI_DURATION,
         .into = &into->task.retry_after_ms,
         .value = "DURATION",
         .help = "... not sooner after the failure than this (default: at once)"},
        {.name = "expire",
         .kind = CLI_LONG_DURATION,
         .into = &into->task.expire_ms,
         .value = "DURATION",
         .min = 1,
         .help = "forget how it ended after this time (default: never)"},
        {.name = "output",
         .letter = 'o',
         .kind = CLI_FLAG,
         .into = &into->output,
         .help = "keep what it prints, the last 16 KiB of each output, and print it\nwhere it does not run"},
        {.name = "any-command",
         .kind = CLI_FLAG,
         .into = &into->any_command,
         .help = "do not mind if others run another COMMAND under this KEY"},
        {.name = "grace",
         .kind = CLI_DURATION,
         .into = &into->candidate.grace_ms,
         .value = "DURATION",
         .help = "from SIGTERM to SIGKILL when it must end\n(default: 3s, at most a third of --ttl)"},
        {.name = "force",
         .kind = CLI_FLAG,
         .into = &into->view.force,
         .help = "forget: also what is being run; it is stopped"},
        {.name = "expired", .kind = CLI_FLAG, .into = &into->view.expired, .help = "forget: all that has expired"},
        CLI_OPTION_WAIT(&into->view.timeout_ms),
        CLI_OPTION_JSON(&into->candidate.json),
    };
    const struct cli_form form = {.command = "once",
                                  .synopsis = "[OPTIONS] KEY -- COMMAND [ARG...]",
                                  .about = about,
                                  .options = options,
                                  .option_count = COUNT_OF(options),
                                  .operands_min = 1,
                                  .operands_max = 1000000,
                                  .operands = "KEY",
                                  .takes_command = true,
                                  .command_optional = true};
    return cli_parse(&form, argc, argv, ret);
}

/* The command's name and a number of all its words: to find out that others mean another one, without storing what may
 * be secret. */
static void describe_command(char *const *command, char *what, size_t size)
{
    uint64_t hash = HASH_BEGIN;
    const char *slash = strrchr(command[0], '/');
    for (char *const *word = command; *word != NULL; word++)
        hash = hash_byte(hash_text(hash, *word), '\0');
    const char *name = slash != NULL ? slash + 1 : command[0];
    size_t length = strnlen(name, COMMAND_NAME_MAX);
    while (name[length] != '\0' && length > 0 && ((unsigned char)name[length] & 0xc0) == 0x80)
        length--; /* a character of several bytes is not cut */
    snprintf(what, size, "%.*s %016" PRIx64, (int)length, name, hash);
}

static int check_options(struct once_options *into, const struct cli_args *args)
{
    struct baton_task_options *task = &into->task;
    if (args->operand_count != 1)
        return cli_usage_error("once", "one key, and a command after --, as in baton once %s -- ./migrate",
                               args->operands[0]);
    if (task->try_only && task->wait_ms != UINT32_MAX)
        return cli_usage_error("once", "--no-wait and --wait: only one of them");
    if (task->retry_after_ms > 0 && into->retries == 0)
        return cli_usage_error("once", "--retry-after without --retries: how often?");
    if (into->view.force || into->view.expired)
        return cli_usage_error("once", "--%s is for baton once forget", into->view.force ? "force" : "expired");
    task->try_only = task->try_only || task->wait_ms == 0;
    if (task->wait_ms == UINT32_MAX)
        task->wait_ms = 0;
    task->retries = (uint32_t)into->retries;
    into->key = args->operands[0];
    into->command = args->command;
    if (!into->any_command) {
        describe_command(into->command, into->what, sizeof(into->what));
        task->what = into->what;
    }
    return candidate_fit(&into->candidate, "once");
}

/* `list`, `show KEY` and `forget KEY...` have no command; a task whose key is "list" has one. */
static int run_view(struct once_options *options, const struct cli_args *args)
{
    const char *verb = args->operands[0];
    char *const *keys = args->operands + 1;
    int count = args->operand_count - 1;
    options->view.url = options->candidate.url;
    options->view.json = options->candidate.json;
    options->view.output = options->output;
    if (strcmp(verb, "list") == 0 && count == 0)
        return once_list(&options->view);
    if (strcmp(verb, "show") == 0 && count == 1)
        return once_show(&options->view, keys[0]);
    if (strcmp(verb, "forget") == 0 && (count > 0 || options->view.expired))
        return once_forget(&options->view, keys, count);
    return cli_usage_error("once",
                           "there is no command: write it after --, as in baton once %s -- ./migrate; or list, show "
                           "KEY, forget KEY",
                           verb);
}

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

static int run(int argc, char **argv)
{
    static struct cli_args args;
    struct once_options options = {.conflict_status = EX_TEMPFAIL, .view = {.timeout_ms = CLI_WAIT_DEFAULT_MS}};
    candidate_init(&options.candidate);
    baton_task_options_init(&options.task);
    options.task.wait_ms = UINT32_MAX;
    int status = parse_options(argc, argv, &options, &args);
    if (status != CLI_GO)
        return status;
    if (args.command_count == 0)
        return run_view(&options, &args);
    status = check_options(&options, &args);
    return status != CLI_GO ? status : run_once(&options);
}

const struct cli_command command_once = {"once", "run a command once, by one of those who want it", run};
