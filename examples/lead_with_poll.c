/* lead_with_poll.c: a leader in a loop of its own: poll() tells it to begin, and to stop.
 *
 *     lead_with_poll [NAME]                    (the election; default: lead-with-poll)
 *
 * While it leads it prints a row every half second. When it is told to stop it finishes what it does, and answers; only
 * then does another one begin. SIGTERM and SIGINT are one more descriptor (signalfd(2)): it resigns, waits until its
 * place was passed on, and ends.
 *
 *     cc lead_with_poll.c $(pkg-config --cflags --libs libbaton)
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <baton/baton.h>

#define ROW_EVERY_MS 500
#define STOP_MS 2000 /* what our stop may take, at most */

struct work {
    bool leading;
    uint64_t term;
    long row;
};

static void write_row(struct work *work)
{
    printf("row %ld, written with term %llu\n", ++work->row, (unsigned long long)work->term);
    fflush(stdout);
}

/* One event. False: the place was passed on after we resigned, so we are done. */
static bool handle(struct work *work, const struct baton_event *event)
{
    switch (event->kind) {
    case BATON_LEAD:
        printf("leads with term %llu\n", (unsigned long long)event->term);
        work->leading = true;
        work->term = event->term;
        break;
    case BATON_STOP:
        /* A real program ends its transaction here, closes its connections, waits for its threads. */
        work->leading = false;
        printf("stops: %s\n", event->text);
        baton_stopped(event->election);
        break;
    case BATON_FOLLOW:
        printf("follows\n");
        break;
    case BATON_TROUBLE:
        printf("trouble: %s\n", event->text);
        break;
    case BATON_RESIGNED:
        printf("has resigned\n");
        return false;
    default: /* CHANGED, SESSION and others: nothing to do for this program */
        break;
    }
    fflush(stdout);
    return true;
}

static void run(struct baton *b, struct baton_election *election, int signals)
{
    struct work work = {.leading = false};
    struct pollfd ready[] = {{.fd = baton_fd(b), .events = POLLIN}, {.fd = signals, .events = POLLIN}};
    struct baton_event event;

    for (;;) {
        int woken = poll(ready, 2, work.leading ? ROW_EVERY_MS : -1);
        if (ready[1].revents != 0) {
            baton_resign(election);
            ready[1].fd = -1; /* once is enough */
        }
        while (baton_next(b, &event))
            if (!handle(&work, &event))
                return;
        /* The clock decides, not the queue: ask again before each write. */
        if (woken == 0 && work.leading && baton_leads(election, NULL))
            write_row(&work);
    }
}

int main(int argc, char **argv)
{
    struct baton_options options;
    struct baton_stand_options stand;
    struct baton_election *election;
    struct baton_error err;
    struct baton *b;
    sigset_t set;
    int result = 1;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int signals = signalfd(-1, &set, SFD_CLOEXEC);

    baton_options_init(&options);
    if (signals < 0 || baton_open(&options, &b, &err) < 0) {
        fprintf(stderr, "lead_with_poll: %s\n", signals < 0 ? "no signalfd" : err.text);
        return 1;
    }
    baton_stand_options_init(&stand);
    stand.stop_ms = STOP_MS;
    if (baton_stand(b, argc > 1 ? argv[1] : "lead-with-poll", &stand, &election, &err) < 0) {
        fprintf(stderr, "lead_with_poll: %s\n", err.text);
        goto out;
    }
    printf("%s stands in %s\n", baton_id(b), baton_election_name(election));
    fflush(stdout);
    run(b, election, signals);
    result = 0;
out:
    baton_close(b);
    close(signals);
    return result;
}
