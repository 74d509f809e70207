/* privileged.c: a program that is set-uid, for test_setuid.py.
 *
 *     privileged URL|- auto|on|off [become]
 *
 * It opens a client (-: as the defaults say) and stands; `become`: it takes on all of its rights before that, as sudo
 * does. It prints its URL or the error, and "leads" when it does, and ends with its stdin.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <baton/baton.h>

static void wait_for_leading(struct baton *b)
{
    struct baton_event event;
    for (;;) {
        struct pollfd polled = {.fd = baton_fd(b), .events = POLLIN};
        (void)poll(&polled, 1, -1);
        while (baton_next(b, &event))
            if (event.kind == BATON_LEAD)
                return;
    }
}

int main(int argc, char **argv)
{
    struct baton_options options;
    struct baton_election *election;
    struct baton_error err;
    struct baton *b;
    char byte;
    if (argc < 3)
        return 64;
    if (argc > 3 && (setgid(getegid()) < 0 || setuid(geteuid()) < 0))
        return 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    baton_options_init(&options);
    options.url = strcmp(argv[1], "-") != 0 ? argv[1] : NULL;
    options.guard = strcmp(argv[2], "on") == 0    ? BATON_GUARD_ON
                    : strcmp(argv[2], "off") == 0 ? BATON_GUARD_OFF
                                                  : BATON_GUARD_AUTO;
    if (baton_open(&options, &b, &err) < 0 || baton_stand(b, "db", NULL, &election, &err) < 0) {
        printf("error: %s\n", err.text);
        return 1;
    }
    printf("url %s\n", baton_url(b));
    wait_for_leading(b);
    printf("leads as %d\n", (int)geteuid());
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    baton_close(b);
    return 0;
}
