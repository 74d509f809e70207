/* program.c: a program that stands for an election with a guard of the library's own, and does what one may do that
 * knows nothing of that guard.
 *
 *     program auto|on|off TTL_MS NAME
 *
 * It prints what the client tells it, a line an event, and obeys the lines of its stdin:
 *     children     print what wait(2) knows of, and whether a SIGCHLD has come
 *     fork         have a child that does not call exec; print its pid
 *     exec         become sleep(1)
 *     stand NAME   stand for that election, too
 *     close        close the client, print "closed", and live on
 *     sync         print "synced" when the client has done all that it was about to do
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <baton/baton.h>

static volatile sig_atomic_t sigchld;

static void on_sigchld(int number)
{
    sigchld = number;
}

/* Its loop runs a call between two steps only. */
static void sync_with(struct baton *b)
{
    struct baton_lifeline lifeline;
    struct baton_error err;
    if (baton_lifeline(b, &lifeline, &err) == 0 && lifeline.fd >= 0)
        close(lifeline.fd);
    printf("synced\n");
}

static void say(const struct baton_event *event)
{
    struct baton_status *status;
    struct baton_error err;
    size_t count;
    printf("%s %llu %s\n", baton_event_name(event->kind), (unsigned long long)event->term, event->text);
    if (event->kind == BATON_CHANGED && baton_status(event->election, &status, &count, &err) == 0) {
        printf("candidates %zu\n", status->candidate_count);
        baton_status_free(status, count);
    }
}

static void obey(struct baton **b, const char *line)
{
    struct baton_election *another;
    struct baton_error err;
    char name[100];
    if (sscanf(line, "stand %99s", name) == 1) {
        if (baton_stand(*b, name, NULL, &another, &err) < 0)
            printf("refused %s\n", err.text);
    } else if (strcmp(line, "children\n") == 0) {
        pid_t pid = waitpid(-1, NULL, WNOHANG | __WALL);
        printf("children %s, SIGCHLD %s\n", pid < 0 && errno == ECHILD ? "none" : "some", sigchld ? "came" : "never");
    } else if (strcmp(line, "fork\n") == 0) {
        pid_t pid = fork();
        if (pid == 0)
            for (;;)
                pause();
        printf("forked %d\n", (int)pid);
    } else if (strcmp(line, "exec\n") == 0) {
        execlp("sleep", "sleep", "1000", NULL);
    } else if (strcmp(line, "sync\n") == 0) {
        sync_with(*b);
    } else if (strcmp(line, "close\n") == 0) {
        baton_close(*b);
        *b = NULL;
        printf("closed\n");
    }
}

int main(int argc, char **argv)
{
    struct baton_options options;
    struct baton_election *election;
    struct baton_event event;
    struct baton_error err;
    struct baton *b;
    char line[100];
    int in = STDIN_FILENO;

    if (argc != 4)
        return 64;
    setvbuf(stdout, NULL, _IOLBF, 0);
    setvbuf(stdin, NULL, _IONBF, 0);
    signal(SIGCHLD, on_sigchld);
    baton_options_init(&options);
    options.guard = strcmp(argv[1], "on") == 0    ? BATON_GUARD_ON
                    : strcmp(argv[1], "off") == 0 ? BATON_GUARD_OFF
                                                  : BATON_GUARD_AUTO;
    options.ttl_ms = (uint32_t)strtoul(argv[2], NULL, 10);
    options.renewals = true;
    if (baton_open(&options, &b, &err) < 0 || baton_stand(b, argv[3], NULL, &election, &err) < 0) {
        fprintf(stderr, "program: %s\n", err.text);
        return 1;
    }
    for (;;) {
        struct pollfd polled[] = {{.fd = b != NULL ? baton_fd(b) : -1, .events = POLLIN}, {.fd = in, .events = POLLIN}};
        if (poll(polled, 2, -1) < 0)
            continue;
        while (b != NULL && baton_next(b, &event))
            say(&event);
        if (polled[1].revents == 0)
            continue;
        if (fgets(line, sizeof(line), stdin) == NULL)
            in = -1; /* nobody orders it any more */
        else
            obey(&b, line);
    }
}
