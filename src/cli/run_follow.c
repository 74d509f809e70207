/* run_follow.c: the second command of `baton run --follow CMD`: it runs while this instance does not lead. Never at one
 * time with the first: each begins when no descendant of the other is left. It has a guard of its own, so that it is
 * over when this process dies; no session depends on it. */
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>

#include "base/base.h"
#include "cli/cli.h"
#include "cli/run.h"

/* After standing: how long to wait for a leader to be known. Who is alone leads in that time, without having followed.
 */
#define LEADER_UNKNOWN_MS 1000
/* From the start, when the engine does not answer: one of the two is to run all the same. */
#define ENGINE_UNKNOWN_MS 5000

int run_follow_begin(struct run *run, struct baton_error *err)
{
    struct run_follow *follow = &run->follow;
    static char shell[] = "/bin/sh", script[] = "-c";
    follow->start_ms = NEVER_MS;
    follow->backoff_ms = RUN_BACKOFF_FIRST_MS;
    if (run->options->follow == NULL)
        return 0;
    follow->argv[0] = shell;
    follow->argv[1] = script;
    follow->argv[2] = (char *)run->options->follow;
    struct guard_options options = {.argv = follow->argv,
                                    .verb = "run --follow",
                                    .name = run->options->name,
                                    .grace_ms = run->options->candidate.grace_ms};
    sigemptyset(&options.ignored);
    return guard_start(&follow->guard, &options, err);
}

static bool wanted(const struct run *run)
{
    return run->options->follow != NULL && !run->leaving && run->term == 0 && !run->running;
}

void run_follow_wait(struct run *run)
{
    if (run->options->follow != NULL)
        run->follow.start_ms = baton_now_ms() + ENGINE_UNKNOWN_MS;
}

static void spawn(struct run *run)
{
    struct guard_environment environment = {0};
    text_copy(environment.name, sizeof(environment.name), run->options->name);
    text_copy(environment.id, sizeof(environment.id), baton_id(run->client));
    text_copy(environment.url, sizeof(environment.url), baton_url(run->client));
    run->follow.running = true;
    run->follow.stopping = false;
    run->follow.start_ms = NEVER_MS;
    run->follow.started_ms = baton_now_ms();
    guard_spawn(&run->follow.guard, &environment, NEVER_MS);
}

void run_follow_stood(struct run *run, bool leader_known)
{
    struct run_follow *follow = &run->follow;
    if (!wanted(run) || follow->running || follow->backing_off)
        return;
    int64_t at_ms = baton_now_ms() + (leader_known ? 0 : LEADER_UNKNOWN_MS);
    if (at_ms < follow->start_ms)
        follow->start_ms = at_ms;
}

static void stop(struct run *run)
{
    int64_t kill_at_ms = baton_now_ms() + run->options->candidate.grace_ms;
    guard_stop(&run->follow.guard, SIGTERM, kill_at_ms, kill_at_ms + GUARD_LATE_MS);
}

void run_follow_step(struct run *run)
{
    struct run_follow *follow = &run->follow;
    int64_t now_ms = baton_now_ms();
    if (wanted(run)) {
        if (!follow->running && now_ms >= follow->start_ms) {
            follow->backing_off = false;
            spawn(run);
        }
    } else if (follow->running && !follow->stopping) {
        follow->stopping = true;
        stop(run);
    } else if (!follow->running) {
        follow->start_ms = NEVER_MS;
    }
}

void run_follow_kill(struct run *run)
{
    if (run->follow.running)
        guard_stop(&run->follow.guard, 0, baton_now_ms(), baton_now_ms() + GUARD_LATE_MS);
}

/* It has ended by itself: one of the two is always to run. */
static void again(struct run *run)
{
    struct run_follow *follow = &run->follow;
    if (baton_now_ms() - follow->started_ms > RUN_BACKOFF_LAST_MS)
        follow->backoff_ms = RUN_BACKOFF_FIRST_MS;
    follow->backing_off = true;
    follow->start_ms = baton_now_ms() + follow->backoff_ms;
    run_say(run, "follow-restart", "%s: the command of a follower has ended; it is started again in %" PRId64 " ms",
            run->options->name, follow->backoff_ms);
    follow->backoff_ms = 2 * follow->backoff_ms < RUN_BACKOFF_LAST_MS ? 2 * follow->backoff_ms : RUN_BACKOFF_LAST_MS;
}

static void gone(struct run *run)
{
    run->follow.running = false;
    if (!run->follow.stopping && wanted(run))
        again(run);
    run_command_may_start(run);
}

void run_follow_on_guard(struct run *run)
{
    struct guard_message message;
    struct run_follow *follow = &run->follow;
    while (guard_next(&follow->guard, &message) != GUARD_NOTHING) {
        switch (message.news) {
        case GUARD_GONE:
            gone(run);
            break;
        case GUARD_FAILED:
            cli_error("%s: cannot run /bin/sh for --follow: %s", run->options->name, strerror(message.error));
            gone(run);
            break;
        case GUARD_STUCK:
        case GUARD_TROUBLE:
            cli_error("%s: %s", run->options->name, message.text);
            break;
        case GUARD_DEAD:
            cli_error("%s: the guard of the follower's command %s: all commands are killed", run->options->name,
                      follow->guard.hung ? "hangs" : "is gone");
            run_leave(run, EX_SOFTWARE);
            break;
        case GUARD_REFUSED: /* there is no deadline */
        case GUARD_EXITED:
        case GUARD_NOTHING:
            break;
        }
    }
}
