/* printer.c: see printer.h. */
#include "process/printer.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"

#define STACK_BYTES (64 * 1024)

struct printer_chunk {
    struct printer_chunk *next;
    size_t size;
    char bytes[];
};

void printer_init(struct printer *printer, int fd, void (*note)(char text[PRINTER_NOTE_MAX], uint64_t count, int error))
{
    pthread_condattr_t attributes;
    *printer = (struct printer){.fd = fd, .note = note, .changed_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&printer->mutex, NULL);
    pthread_cond_init(&printer->queued, NULL);
    pthread_cond_init(&printer->written, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* ---- the thread ---- */

/* 0, or why not all of it could be written. This may take for ever. Up to PIPE_BUF bytes are written at once, so that
 * lines of other processes do not come in between. */
static int write_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t written = write(fd, bytes, size < PIPE_BUF ? size : PIPE_BUF);
        if (written >= 0) {
            bytes += written;
            size -= (size_t)written;
        } else if (errno == EAGAIN) { /* whoever made the descriptor wants it so */
            struct pollfd room = {.fd = fd, .events = POLLOUT};
            (void)poll(&room, 1, -1);
        } else if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

static void tell_change(struct printer *printer)
{
    uint64_t once = 1;
    (void)!write(printer->changed_fd, &once, sizeof(once));
}

static void set_error(struct printer *printer, int error)
{
    if (error != printer->error)
        tell_change(printer);
    printer->error = error;
}

static struct printer_chunk *take_first(struct printer *printer)
{
    struct printer_chunk *chunk = printer->first;
    assert(chunk != NULL && printer->last != NULL);
    printer->first = chunk->next;
    if (printer->first == NULL)
        printer->last = NULL;
    return chunk;
}

/* The mutex is held, but not while it writes. What is dropped meanwhile is left for the next note. */
static void write_note(struct printer *printer)
{
    char text[PRINTER_NOTE_MAX];
    uint64_t told = printer->dropped;
    printer->note(text, told, printer->error);
    pthread_mutex_unlock(&printer->mutex);
    int error = write_all(printer->fd, text, strlen(text));
    pthread_mutex_lock(&printer->mutex);
    assert(printer->dropped >= told);
    if (error == 0)
        printer->dropped -= told;
    printer->gap = false;
    set_error(printer, error);
}

static void write_first(struct printer *printer)
{
    struct printer_chunk *chunk = take_first(printer);
    pthread_mutex_unlock(&printer->mutex);
    int error = write_all(printer->fd, chunk->bytes, chunk->size);
    pthread_mutex_lock(&printer->mutex);
    bool was_full = printer->bytes >= PRINTER_BYTES / 2; /* printer_room was 0 */
    assert(printer->bytes >= chunk->size);
    printer->bytes -= chunk->size;
    free(chunk);
    if (error != 0)
        printer->dropped++;
    set_error(printer, error);
    if (was_full && printer->bytes < PRINTER_BYTES / 2)
        tell_change(printer);
}

/* After a gap the note follows what was queued before it. After an error it comes before the next message: only then is
 * there a reason to try again. */
static void *write_queue(void *context)
{
    struct printer *printer = context;
    pthread_mutex_lock(&printer->mutex);
    for (;;) {
        while (printer->first == NULL && !printer->gap) {
            pthread_cond_broadcast(&printer->written);
            pthread_cond_wait(&printer->queued, &printer->mutex);
        }
        bool note_due = printer->gap ? printer->first == NULL : printer->dropped > 0;
        if (note_due)
            write_note(printer);
        if (printer->first != NULL)
            write_first(printer);
    }
    return NULL;
}

/* The thread takes no signal: none is there for it, and one that is blocked does not stop what writes to a terminal
 * from the background (SIGTTOU), nor end what writes to a file that is too long (SIGXFSZ). */
static bool start(struct printer *printer)
{
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, before;
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&thread, &attributes, write_queue, printer);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return error == 0;
}

/* ---- the writers ---- */

void printer_say(struct printer *printer, const char *bytes, size_t size)
{
    pthread_mutex_lock(&printer->mutex);
    if (!printer->running)
        printer->running = start(printer); /* if not now, with the next message */
    if (printer->gap || printer->bytes + size > PRINTER_BYTES) {
        printer->dropped++;
        printer->gap = printer->running;
    } else {
        struct printer_chunk *chunk = mem_new(sizeof(*chunk) + size);
        chunk->size = size;
        memcpy(chunk->bytes, bytes, size);
        if (printer->last != NULL)
            printer->last->next = chunk;
        else
            printer->first = chunk;
        printer->last = chunk;
        printer->bytes += size;
        assert(printer->bytes <= PRINTER_BYTES);
        pthread_cond_signal(&printer->queued);
    }
    pthread_mutex_unlock(&printer->mutex);
}

size_t printer_room(struct printer *printer)
{
    pthread_mutex_lock(&printer->mutex);
    size_t room = printer->gap || printer->bytes >= PRINTER_BYTES / 2 ? 0 : PRINTER_BYTES / 2 - printer->bytes;
    pthread_mutex_unlock(&printer->mutex);
    return room;
}

int printer_error(struct printer *printer)
{
    pthread_mutex_lock(&printer->mutex);
    int error = printer->error;
    pthread_mutex_unlock(&printer->mutex);
    return error;
}

void printer_clear(struct printer *printer)
{
    uint64_t times;
    (void)!read(printer->changed_fd, &times, sizeof(times));
}

void printer_write(struct printer *printer, const char *bytes, size_t size, int limit_ms)
{
    int64_t until_ms = clock_now_ms() + limit_ms;
    int left_ms = limit_ms;
    while (size > 0 && (limit_ms < 0 || left_ms > 0)) {
        printer_clear(printer);
        size_t room = printer_room(printer);
        if (room == 0) {
            struct pollfd changed = {.fd = printer->changed_fd, .events = POLLIN};
            (void)poll(&changed, 1, left_ms);
            left_ms = limit_ms < 0 ? -1 : (int)(until_ms - clock_now_ms());
            continue;
        }
        size_t part = size < room ? size : room;
        printer_say(printer, bytes, part);
        bytes += part;
        size -= part;
    }
    (void)printer_finish(printer, limit_ms < 0 ? -1 : left_ms > 0 ? left_ms : 0);
}

/* There is no thread, and none can be had, by the limit of processes say: what there is room for. The mutex is held. */
static void write_without_thread(struct printer *printer)
{
    struct pollfd room = {.fd = printer->fd, .events = POLLOUT};
    while (!printer->running && printer->first != NULL && poll(&room, 1, 0) == 1)
        write_first(printer);
}

bool printer_finish(struct printer *printer, int limit_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += limit_ms / 1000;
    until.tv_nsec += (long)(limit_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&printer->mutex);
    if (!printer->running && printer->first != NULL)
        printer->running = start(printer);
    write_without_thread(printer);
    int waited = 0;
    while (printer->running && (printer->bytes > 0 || printer->gap) && waited == 0)
        waited = limit_ms < 0 ? pthread_cond_wait(&printer->written, &printer->mutex)
                              : pthread_cond_timedwait(&printer->written, &printer->mutex, &until);
    bool done = printer->bytes == 0 && !printer->gap;
    pthread_mutex_unlock(&printer->mutex);
    return done;
}
