/* run_well.c: how the command of `baton run` shows that it is well: it says so on its notify socket (--watchdog), or it
 * is asked (--health). One that does not is ended, and loses its place. */
#include <inttypes.h>
#include <stdio.h>

#include "base/base.h"
#include "cli/cli.h"
#include "cli/run.h"

int run_well_begin(struct run *run, struct baton_error *err)
{
    struct run_well *well = &run->well;
    well->begin_ms = well->watchdog_at_ms = NEVER_MS;
    health_init(&well->health, run->options->health, run->options->health_every_ms);
    return notify_listen(&well->notify, err);
}

/* Its start period is over. */
static void begin(struct run *run, int64_t now_ms)
{
    struct run_well *well = &run->well;
    well->begin_ms = NEVER_MS;
    if (run->options->watchdog_ms > 0)
        well->watchdog_at_ms = now_ms + run->options->watchdog_ms;
    health_start(&well->health, now_ms);
}

void run_well_start(struct run *run)
{
    int64_t now_ms = baton_now_ms();
    run->well.failed = false;
    if (run->options->start_period_ms > 0)
        run->well.begin_ms = now_ms + run->options->start_period_ms;
    else
        begin(run, now_ms);
}

void run_well_stop(struct run *run)
{
    run->well.begin_ms = run->well.watchdog_at_ms = NEVER_MS;
    health_stop(&run->well.health);
}

static void unwell(struct run *run, const char *why)
{
    const char *name = run->options->name;
    if (run->supervisor.command.state != SUPERVISE_RUNNING)
        return;
    run->well.failed = true;
    run_well_stop(run);
    run_say(run, "unhealthy", "%s: the command of '%s' %s: it loses its place", name, name, why);
    supervisor_stop_in_grace(&run->supervisor);
}

static void say_stranger(struct run *run, const struct notify_said *said)
{
    if (said->strangers == 0 || run->well.said_stranger)
        return;
    run->well.said_stranger = true;
    run_say(run, "dropped",
            "%s: a message to the command's notify socket is dropped: process %d (uid %u) was not started by the "
            "command (this is told once)",
            run->options->name, (int)said->stranger_pid, (unsigned)said->stranger_uid);
}

void run_well_on_notify(struct run *run)
{
    struct notify_said said;
    struct run_well *well = &run->well;
    const char *name = run->options->name;
    if (!notify_read(&well->notify, run->supervisor.command.guard.pid, &said))
        return;
    say_stranger(run, &said);
    if (run->supervisor.command.state != SUPERVISE_RUNNING)
        return;
    if (said.ready) {
        run_say(run, "ready", "%s: the command is ready", name);
        if (well->begin_ms != NEVER_MS)
            begin(run, baton_now_ms());
    }
    if (said.stopping) {
        /* It ends by itself: its silence means nothing any more. */
        run_say(run, "stopping", "%s: the command says that it stops", name);
        run_well_stop(run);
    }
    if (said.watchdog && well->watchdog_at_ms != NEVER_MS)
        well->watchdog_at_ms = baton_now_ms() + run->options->watchdog_ms;
    if (said.status[0] != '\0') {
        char status[256];
        snprintf(status, sizeof(status), "STATUS=leads (term %" PRIu64 "): %s", run->term, said.status);
        notify_say(status);
    }
    if (said.watchdog_trigger && run->options->watchdog_ms > 0)
        unwell(run, "has said WATCHDOG=trigger");
}

int64_t run_well_wake_ms(const struct run_well *well)
{
    int64_t wake_ms = well->begin_ms < well->watchdog_at_ms ? well->begin_ms : well->watchdog_at_ms;
    int64_t health_ms = health_wake_ms(&well->health);
    return health_ms < wake_ms ? health_ms : wake_ms;
}

void run_well_step(struct run *run, int64_t now_ms)
{
    struct run_well *well = &run->well;
    if (run->supervisor.command.state != SUPERVISE_RUNNING) {
        run_well_stop(run);
        return;
    }
    if (now_ms >= well->begin_ms)
        begin(run, now_ms);
    if (now_ms >= well->watchdog_at_ms)
        unwell(run, "has not said WATCHDOG=1 in time");
    if (!health_step(&well->health, now_ms)) {
        char why[80];
        snprintf(why, sizeof(why), "has failed its health check %d times in a row", HEALTH_FAILURES);
        unwell(run, why);
    }
}
