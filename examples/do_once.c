/* do_once.c: work that is to be done once, by one of those who want it done: a migration at the start of a service,
 * say.
 *
 *     do_once [KEY]                            (the task; default: do-once)
 *
 * Start it in several terminals at once, or one after the other: one does the work, and all say how it ended. What was
 * done stays known: `baton once show KEY`; `baton once forget KEY` lets it be done once more. Kill the one that works,
 * and the others say that it is lost: nobody knows how far it came.
 *
 *     cc do_once.c $(pkg-config --cflags --libs libbaton)
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include <baton/baton.h>

#define STEPS 5
#define STEP_MS 200

/* Takes a while; false: it must not go on. */
static bool migrate(struct baton_task *task)
{
    uint64_t token;
    for (int step = 1; step <= STEPS; step++) {
        if (!baton_works(task, &token)) /* the session is lost: others may have been told so */
            return false;
        printf("step %d of %d, done with token %llu\n", step, STEPS, (unsigned long long)token);
        fflush(stdout);
        (void)poll(NULL, 0, STEP_MS); /* the work itself */
    }
    return true;
}

static void begin(struct baton_task *task)
{
    static const char words[] = "migrated to version 7\n";
    const struct baton_task_result done = {.status = 0, .out = words, .out_size = strlen(words)};
    if (migrate(task))
        baton_done(task, &done); /* BATON_OUTCOME follows when it is recorded */
    else
        baton_give_up(task);
}

/* The exit status. */
static int say(const struct baton_task *task, const struct baton_event *event)
{
    struct baton_task_status *status;
    struct baton_error err;
    size_t count;
    if (event->code != BATON_OK) {
        fprintf(stderr, "do_once: %s\n", event->text);
        return 1;
    }
    if (baton_task_status(task, &status, &count, &err) < 0) {
        fprintf(stderr, "do_once: %s\n", err.text);
        return 1;
    }
    bool done = status->state == BATON_TASK_DONE;
    printf("%s, by %s: %s", baton_task_state_name(status->state), status->id,
           status->out.bytes != NULL ? status->out.bytes : "\n");
    baton_task_status_free(status, count);
    return done ? 0 : 1;
}

static int run(struct baton *b, struct baton_task *task)
{
    struct pollfd ready = {.fd = baton_fd(b), .events = POLLIN};
    struct baton_event event;
    for (;;) {
        while (baton_next(b, &event)) {
            if (event.kind == BATON_BEGIN)
                begin(task);
            else if (event.kind == BATON_TROUBLE)
                fprintf(stderr, "do_once: %s\n", event.text);
            else if (event.kind == BATON_OUTCOME)
                return say(task, &event);
        }
        (void)poll(&ready, 1, -1);
    }
}

int main(int argc, char **argv)
{
    struct baton_options options;
    struct baton_task_options how;
    struct baton_task *task;
    struct baton_error err;
    struct baton *b;

    baton_options_init(&options);
    baton_task_options_init(&how);
    how.expire_ms = 0;      /* never: it must not be done once more in a month */
    how.what = "migrate 7"; /* who means something else by this key is refused */
    if (baton_open(&options, &b, &err) < 0) {
        fprintf(stderr, "do_once: %s\n", err.text);
        return 1;
    }
    if (baton_once(b, argc > 1 ? argv[1] : "do-once", &how, &task, &err) < 0) {
        fprintf(stderr, "do_once: %s\n", err.text);
        baton_close(b);
        return 1;
    }
    printf("%s wants %s done\n", baton_id(b), baton_task_key(task));
    fflush(stdout);
    int status = run(b, task);
    baton_close(b);
    return status;
}
