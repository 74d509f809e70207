/* printer.h: what is printed never makes its writer wait.
 *
 * A reader may be slow, gone, or stopped by Ctrl-S; a file may be on a disk that hangs. O_NONBLOCK is no way out: it
 * belongs to the open file description, which the caller's shell and the command share. So a thread of its own writes
 * to each descriptor, and it alone waits. What it has not written yet is in a queue of at most PRINTER_BYTES. When that
 * is full, what is said is dropped and counted until the queue has been written; the number is then written in its
 * place.
 *
 * The thread begins with the first thing to print, so a guard must be forked before that.
 */
#ifndef PROCESS_PRINTER_H
#define PROCESS_PRINTER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PRINTER_BYTES 65536
#define PRINTER_NOTE_MAX 512

struct printer_chunk;

struct printer {
    int fd;
    /* The words that say that `count` messages were dropped, into `text`, with their newline: because nobody read them
     * (error 0), or because of this errno. Called by the thread. */
    void (*note)(char text[PRINTER_NOTE_MAX], uint64_t count, int error);
    int changed_fd; /* an eventfd: there is room again, or `error` was set */
    pthread_mutex_t mutex;
    pthread_cond_t queued, written; /* for the thread; for printer_finish */
    struct printer_chunk *first, *last;
    size_t bytes;     /* in the queue, with what the thread is writing now */
    uint64_t dropped; /* messages that no note has told of */
    bool gap;         /* ... and what follows is dropped, too, until the queue has been written */
    int error;        /* of the last write; 0: it succeeded */
    bool running;     /* there is a thread */
};

void printer_init(struct printer *printer, int fd,
                  void (*note)(char text[PRINTER_NOTE_MAX], uint64_t count, int error));
/* Print all of it, or drop it; never wait. */
void printer_say(struct printer *printer, const char *bytes, size_t size);
/* How many bytes printer_say would take now without making other messages be dropped. A caller that can wait for more
 * room waits for changed_fd. */
size_t printer_room(struct printer *printer);
/* The errno of the last write; 0: it succeeded. EPIPE: the reader is gone. */
int printer_error(struct printer *printer);
/* Make changed_fd unreadable again. Must be called before looking at what it tells of. */
void printer_clear(struct printer *printer);
/* Print all of it, and wait for that, but not longer than `limit_ms` (-1: as long as it takes). */
void printer_write(struct printer *printer, const char *bytes, size_t size, int limit_ms);
/* Wait until all is written, but not longer than `limit_ms` (-1: as long as it takes). false: something is left. */
bool printer_finish(struct printer *printer, int limit_ms);

#endif
