/* guard_main.c: baton-guard, the guard of a program that uses the library; see enum baton_guard_use in baton/client.h,
 * and guard.h for what it is told. One thread that waits for two descriptors, and uses the library like any other
 * program. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base.h"
#include "base/descriptors.h"
#include "client/guard.h"

/* An engine may look for sessions that are over only now and then (etcd: every 500 ms). */
#define LATE_MS 1000

struct watch {
    struct baton_guard *guard; /* NULL: it has no session to end */
    uint32_t ttl_ms;
    char testament[BATON_TESTAMENT_MAX];
    bool dead;    /* the process */
    bool hung_up; /* ... and its forked children */
    bool bye;
};

static void say(const char *text)
{
    (void)!send(GUARD_SOCKET_FD, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void take_lifeline(struct watch *watch, const char *text, int fd)
{
    struct baton_error err = {0};
    struct baton_lifeline lifeline = {.fd = fd};
    unsigned ttl_ms;
    unsigned long long session;
    int at = 0;
    baton_guard_free(watch->guard);
    watch->guard = NULL;
    watch->testament[0] = '\0';
    if (sscanf(text, "%u %llu %n", &ttl_ms, &session, &at) != 2 || at == 0)
        return;
    watch->ttl_ms = ttl_ms;
    lifeline.session = session;
    text_copy(lifeline.text, sizeof(lifeline.text), text + at);
    if (baton_guard_open(&lifeline, &watch->guard, &err) < 0) {
        watch->guard = NULL;
        say(err.text);
    }
}

static const char *after(const char *text, const char *word)
{
    return text_starts(text, word) ? text + strlen(word) : NULL;
}

static void hear(struct watch *watch)
{
    static char text[GUARD_MESSAGE_MAX + 1];
    const char *rest;
    for (;;) {
        int fd;
        ssize_t got = descriptor_receive(GUARD_SOCKET_FD, text, sizeof(text) - 1, &fd);
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0) {
            watch->hung_up = true;
            return;
        }
        text[got] = '\0';
        if ((rest = after(text, "lifeline ")) != NULL)
            take_lifeline(watch, rest, fd);
        else if (fd >= 0)
            close(fd);
        if ((rest = after(text, "testament ")) != NULL)
            text_copy(watch->testament, sizeof(watch->testament), rest);
        if (strcmp(text, "bye") == 0)
            watch->bye = true;
    }
}

static void end(struct watch *watch)
{
    struct baton_error err;
    if (watch->guard == NULL)
        return;
    /* A testament that cannot be read is left out. */
    (void)baton_guard_testament(watch->guard, watch->testament, &err);
    (void)baton_guard_end(watch->guard, watch->ttl_ms + LATE_MS, &err);
}

/* Until there is something to do, or nothing any more: the process lives on without its socket (it has called exec), or
 * its forked children hold it; then the session ends by itself. */
static void wait_for_the_end(struct watch *watch)
{
    int64_t until_ms = -1;
    while (!watch->bye && !(watch->dead && watch->hung_up)) {
        struct pollfd polled[] = {{.fd = watch->hung_up ? -1 : GUARD_SOCKET_FD, .events = POLLIN},
                                  {.fd = watch->dead ? -1 : GUARD_PIDFD, .events = POLLIN}};
        if (until_ms < 0 && (watch->dead || watch->hung_up))
            until_ms = baton_now_ms() + watch->ttl_ms + LATE_MS;
        int64_t left_ms = until_ms < 0 ? -1 : until_ms - baton_now_ms();
        if (until_ms >= 0 && left_ms <= 0)
            return;
        if (poll(polled, 2, (int)left_ms) < 0)
            continue;
        if (polled[0].revents != 0)
            hear(watch);
        if (polled[1].revents != 0)
            watch->dead = true;
    }
    if (!watch->bye)
        end(watch);
}

int main(int argc, char **argv)
{
    static struct watch watch;
    sigset_t all;
    if (argc != 2 || strcmp(argv[1], GUARD_PROTOCOL) != 0) {
        fprintf(stderr, "baton-guard: the library starts it (see libbaton(3)), and this one speaks protocol %s\n",
                GUARD_PROTOCOL);
        return 64;
    }
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL); /* a signal to the group or the terminal does not reach it */
    (void)setsid();
    wait_for_the_end(&watch);
    baton_guard_free(watch.guard);
    return 0;
}
