/* ask_before_write.c: the least that a program has to do: ask before each write.
 *
 *     ask_before_write [NAME]                  (the election; default: ask-before-write)
 *
 * Start it in several terminals: one of them writes a line a second, with the term that it leads with. Kill that one,
 * and another goes on. The term only grows, so whoever stores the lines can refuse those of an older term.
 *
 *     cc ask_before_write.c $(pkg-config --cflags --libs libbaton)
 */
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include <baton/baton.h>

static volatile sig_atomic_t quit;

static void on_signal(int number)
{
    (void)number;
    quit = 1;
}

int main(int argc, char **argv)
{
    struct baton_options options;
    struct baton_election *election;
    struct baton_error err;
    struct baton *b;

    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    baton_options_init(&options);
    if (baton_open(&options, &b, &err) < 0) {
        fprintf(stderr, "ask_before_write: %s\n", err.text);
        return 1;
    }
    if (baton_stand(b, argc > 1 ? argv[1] : "ask-before-write", NULL, &election, &err) < 0) {
        fprintf(stderr, "ask_before_write: %s\n", err.text);
        baton_close(b);
        return 1;
    }
    printf("%s stands in %s\n", baton_id(b), baton_election_name(election));
    fflush(stdout);

    for (long row = 1; !quit;) {
        uint64_t term;
        if (baton_leads(election, &term)) {
            printf("row %ld, written with term %llu\n", row++, (unsigned long long)term);
            fflush(stdout);
        }
        nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    }
    baton_close(b); /* hands over at once */
    return 0;
}
