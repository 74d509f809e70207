/* capture.c: see capture.h. */
#include "process/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"

int capture_open(struct capture *capture, size_t limit, int *ret_write, struct baton_error *err)
{
    int ends[2];
    *capture = (struct capture){.fd = -1, .limit = limit};
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_errno(err, errno, "cannot make a pipe for the command's output");
    (void)fcntl(ends[0], F_SETFL, O_NONBLOCK); /* of our end only */
    capture->fd = ends[0];
    *ret_write = ends[1];
    return 0;
}

struct pollfd capture_polled(const struct capture *capture)
{
    if (capture->to != NULL && printer_room(capture->to) == 0)
        return (struct pollfd){.fd = capture->to->changed_fd, .events = POLLIN};
    return (struct pollfd){.fd = capture->fd, .events = POLLIN};
}

static void keep(struct capture *capture, const char *bytes, size_t size)
{
    if (capture->kept == NULL)
        capture->kept = mem_new(2 * capture->limit + PIPE_BUF);
    memcpy(capture->kept + capture->kept_size, bytes, size);
    capture->kept_size += size;
    capture->total += size;
    if (capture->kept_size <= 2 * capture->limit)
        return;
    memmove(capture->kept, capture->kept + capture->kept_size - capture->limit, capture->limit);
    capture->kept_size = capture->limit;
}

/* Its reader is gone: what is printed is still kept. */
static void check_reader(struct capture *capture)
{
    if (capture->to == NULL || (capture->error = printer_error(capture->to)) == 0)
        return;
    capture->to = NULL;
    capture->rest_size = 0;
}

static void pass(struct capture *capture, const char *bytes, size_t size)
{
    check_reader(capture);
    if (capture->to == NULL)
        return;
    if (capture->rest_size == 0 && printer_room(capture->to) > 0) {
        printer_say(capture->to, bytes, size);
        return;
    }
    capture->rest = mem_grow(capture->rest, capture->rest_size + size);
    memcpy(capture->rest + capture->rest_size, bytes, size);
    capture->rest_size += size;
}

/* false: nothing is there. */
static bool take(struct capture *capture)
{
    char bytes[PIPE_BUF];
    ssize_t size = read(capture->fd, bytes, sizeof(bytes));
    if (size < 0 && errno == EINTR)
        return true;
    if (size <= 0) {
        if (size == 0) { /* everybody has closed it */
            close(capture->fd);
            capture->fd = -1;
        }
        return false;
    }
    keep(capture, bytes, (size_t)size);
    pass(capture, bytes, (size_t)size);
    return true;
}

void capture_step(struct capture *capture)
{
    if (capture->to != NULL)
        printer_clear(capture->to);
    check_reader(capture);
    if (capture->fd >= 0 && (capture->to == NULL || printer_room(capture->to) > 0))
        (void)take(capture);
}

void capture_finish(struct capture *capture)
{
    while (capture->fd >= 0 && take(capture))
        ;
}

void capture_flush(struct capture *capture, int limit_ms)
{
    if (capture->to != NULL)
        printer_write(capture->to, capture->rest, capture->rest_size, limit_ms);
    capture->rest_size = 0;
    check_reader(capture);
}

size_t capture_end(const struct capture *capture, const char **ret)
{
    size_t size = capture->kept_size < capture->limit ? capture->kept_size : capture->limit;
    *ret = capture->kept != NULL ? capture->kept + capture->kept_size - size : "";
    return size;
}

void capture_free(struct capture *capture)
{
    if (capture->fd >= 0)
        close(capture->fd);
    free(capture->kept);
    free(capture->rest);
    *capture = (struct capture){.fd = -1};
}
