/* outlet.c: see outlet.h. */
#include "process/outlet.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "process/printer.h"

#define STACK_BYTES (64 * 1024)
/* A reader that is only slow loses nothing of what is longer than the printer's queue. */
#define ROOM_MS 250

struct stream {
    int fd;                /* where it is printed */
    int ends[2];           /* of the pipe; -1: children have `fd` itself */
    bool stuck;            /* there was no room for ROOM_MS: not waited for until there is some */
    pthread_mutex_t mutex; /* one of the two that may read is between its read and the printer */
    struct printer printer;
};

static struct stream streams[2] = {{.fd = STDOUT_FILENO, .ends = {-1, -1}}, {.fd = STDERR_FILENO, .ends = {-1, -1}}};
static pid_t owner; /* of the threads: a child that was forked has none */

static void note(char text[PRINTER_NOTE_MAX], uint64_t count, int error)
{
    snprintf(text, PRINTER_NOTE_MAX, "baton: output of hooks or health checks was dropped, %ju times: %s\n",
             (uintmax_t)count, error != 0 ? strerror(error) : "nobody was reading");
}

/* ---- the thread ---- */

static void wait_for_room(struct stream *stream)
{
    int64_t until_ms = clock_now_ms() + ROOM_MS, now_ms;
    while (!stream->stuck && printer_room(&stream->printer) < PIPE_BUF) {
        printer_clear(&stream->printer);
        struct pollfd changed = {.fd = stream->printer.changed_fd, .events = POLLIN};
        now_ms = clock_now_ms();
        stream->stuck = now_ms >= until_ms;
        if (!stream->stuck && printer_room(&stream->printer) < PIPE_BUF)
            (void)poll(&changed, 1, (int)(until_ms - now_ms));
    }
    if (printer_room(&stream->printer) >= PIPE_BUF)
        stream->stuck = false;
}

/* false: nothing is there now. */
static bool pass_on(struct stream *stream)
{
    char bytes[PIPE_BUF];
    pthread_mutex_lock(&stream->mutex);
    ssize_t size = read(stream->ends[0], bytes, sizeof(bytes));
    if (size > 0)
        printer_say(&stream->printer, bytes, (size_t)size);
    pthread_mutex_unlock(&stream->mutex);
    return size > 0 || (size < 0 && errno == EINTR);
}

static void *pass_all(void *context)
{
    struct stream *stream = context;
    struct pollfd readable = {.fd = stream->ends[0], .events = POLLIN};
    for (;;) {
        (void)poll(&readable, 1, -1);
        wait_for_room(stream);
        (void)pass_on(stream);
    }
    return NULL;
}

/* ---- begin and end ---- */

static bool may_wait(int fd)
{
    struct stat about;
    return fstat(fd, &about) == 0 && (S_ISFIFO(about.st_mode) || S_ISSOCK(about.st_mode) || isatty(fd) == 1);
}

static bool start_thread(struct stream *stream)
{
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, before;
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&thread, &attributes, pass_all, stream);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return error == 0;
}

static void close_ends(struct stream *stream)
{
    for (int i = 0; i < 2; i++)
        if (stream->ends[i] >= 0)
            close(stream->ends[i]);
    stream->ends[0] = stream->ends[1] = -1;
}

/* What cannot be made is done without. */
static void begin(struct stream *stream)
{
    close_ends(stream); /* of the process that this one was forked from */
    stream->stuck = false;
    if (!may_wait(stream->fd))
        return;
    if (pipe2(stream->ends, O_CLOEXEC) < 0) {
        stream->ends[0] = stream->ends[1] = -1;
        return;
    }
    (void)fcntl(stream->ends[0], F_SETFL, O_NONBLOCK); /* of our end only */
    pthread_mutex_init(&stream->mutex, NULL);
    printer_init(&stream->printer, stream->fd, note);
    if (!start_thread(stream))
        close_ends(stream);
}

int outlet_fd(int fd)
{
    if (owner != getpid()) {
        for (size_t i = 0; i < COUNT_OF(streams); i++)
            begin(&streams[i]);
        owner = getpid();
    }
    for (size_t i = 0; i < COUNT_OF(streams); i++)
        if (streams[i].fd == fd && streams[i].ends[1] >= 0)
            return streams[i].ends[1];
    return fd;
}

void outlet_finish(int limit_ms)
{
    if (owner != getpid())
        return;
    int64_t until_ms = clock_now_ms() + limit_ms;
    for (size_t i = 0; i < COUNT_OF(streams); i++) {
        struct stream *stream = &streams[i];
        if (stream->ends[0] < 0)
            continue;
        while (printer_room(&stream->printer) >= PIPE_BUF && pass_on(stream))
            ;
        int64_t left_ms = until_ms - clock_now_ms();
        (void)printer_finish(&stream->printer, left_ms > 0 ? (int)left_ms : 0);
    }
}
