/* capture.c: see capture.h. */
#include "process/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"

int capture_open(struct capture *capture, int to, size_t limit, int *ret_write, struct baton_error *err)
{
    int ends[2];
    *capture = (struct capture){.fd = -1, .to = to, .limit = limit};
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_errno(err, errno, "cannot make a pipe for the command's output");
    (void)fcntl(ends[0], F_SETFL, O_NONBLOCK); /* of our end only */
    capture->fd = ends[0];
    *ret_write = ends[1];
    return 0;
}

struct pollfd capture_polled(const struct capture *capture)
{
    if (capture->passing_size > 0)
        return (struct pollfd){.fd = capture->to, .events = POLLOUT};
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
    if (capture->to < 0)
        return true;
    capture->passing = mem_grow(capture->passing, capture->passing_size + (size_t)size);
    memcpy(capture->passing + capture->passing_size, bytes, (size_t)size);
    capture->passing_size += (size_t)size;
    return true;
}

static void pass(struct capture *capture)
{
    size_t size = capture->passing_size < PIPE_BUF ? capture->passing_size : PIPE_BUF;
    ssize_t passed = write(capture->to, capture->passing, size);
    if (passed < 0) {
        if (errno != EINTR && errno != EAGAIN) { /* its reader is gone: what is printed is still kept */
            capture->error = errno;
            capture->to = -1;
            capture->passing_size = 0;
        }
        return;
    }
    capture->passing_size -= (size_t)passed;
    memmove(capture->passing, capture->passing + passed, capture->passing_size);
}

void capture_step(struct capture *capture)
{
    if (capture->passing_size > 0)
        pass(capture);
    else if (capture->fd >= 0)
        (void)take(capture);
}

void capture_finish(struct capture *capture)
{
    while (capture->fd >= 0 && take(capture))
        ;
}

void capture_flush(struct capture *capture)
{
    while (capture->passing_size > 0) {
        struct pollfd polled = {.fd = capture->to, .events = POLLOUT};
        (void)poll(&polled, 1, -1);
        pass(capture);
    }
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
    free(capture->passing);
    *capture = (struct capture){.fd = -1, .to = -1};
}
