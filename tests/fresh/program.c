/* A program as the man page shows one, built on what `make install` has put in place: it leads, and says so. */
#include <baton/baton.h>
#include <poll.h>
#include <stdio.h>

int main(void)
{
    struct baton_options options;
    struct baton_error err;
    struct baton *baton;
    struct baton_election *election;
    struct baton_event event;
    baton_options_init(&options);
    if (baton_open(&options, &baton, &err) < 0 || baton_stand(baton, "fresh", NULL, &election, &err) < 0) {
        fprintf(stderr, "program: %s\n", err.text);
        return 1;
    }
    while (!baton_leads(election, NULL)) {
        struct pollfd ready = {.fd = baton_fd(baton), .events = POLLIN};
        if (poll(&ready, 1, 10000) <= 0)
            return 2;
        while (baton_next(baton, &event))
            ;
    }
    printf("the program leads\n");
    baton_close(baton);
    return 0;
}
