/* capture.h: what a command prints, passed on to where it would have gone, and its end kept.
 *
 * A pipe takes the place of the command's output. It is read only while a printer has room for more, so a reader that
 * does not read stops the command, as it would without the pipe, and never this process.
 */
#ifndef PROCESS_CAPTURE_H
#define PROCESS_CAPTURE_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

#include "baton/error.h"
#include "process/printer.h"

struct capture {
    int fd;             /* what the command prints; -1: nothing is captured */
    struct printer *to; /* where it goes; NULL: nowhere any more */
    int error;          /* why not: an errno; EPIPE: its reader is gone */
    size_t limit;       /* bytes that are kept */
    char *kept;         /* the last of them, and some more; grows up to twice the limit */
    size_t kept_size;
    uint64_t total; /* that were printed */
    char *rest;     /* that the printer had no room for when the command was over */
    size_t rest_size;
};

/* Make the pipe. *ret_write is the command's end, which the caller must close when the command has it; `to` must be set
 * before the first step. 0, or -1 with err. */
int capture_open(struct capture *capture, size_t limit, int *ret_write, struct baton_error *err);
/* For poll(2): the descriptor and the events to wait for. */
struct pollfd capture_polled(const struct capture *capture);
/* Read and pass on, when that is ready; never waits. */
void capture_step(struct capture *capture);
/* The command and all its descendants are over: take what is left in the pipe, and never wait. */
void capture_finish(struct capture *capture);
/* Pass on the output that is left; waits for the reader, but not longer than `limit_ms` (-1: as long as it takes). */
void capture_flush(struct capture *capture, int limit_ms);
/* The last bytes that were printed (*ret), at most `limit` of them; returns how many. */
size_t capture_end(const struct capture *capture, const char **ret);
void capture_free(struct capture *capture);

#endif
