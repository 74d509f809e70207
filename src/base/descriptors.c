/* descriptors.c: see descriptors.h. */
#include "base/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base.h"

#define ROOM_MAX 64

int descriptors_standard(struct baton_error *err)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        int opened = open("/dev/null", O_RDWR | O_CLOEXEC); /* the lowest that is free */
        if (opened < 0)
            opened = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* can be neither read nor written */
        if (opened < 0)
            return error_errno(err, errno, "descriptor %d is closed, and nothing can be opened in its place", fd);
    }
    return 0;
}

int descriptors_room(unsigned count, struct baton_error *err)
{
    int taken[ROOM_MAX], error = 0;
    unsigned had = 0;
    assert(count <= ROOM_MAX);
    while (had < count && error == 0) {
        taken[had] = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
        if (taken[had] < 0)
            error = errno;
        else
            had++;
    }
    for (unsigned i = 0; i < had; i++)
        close(taken[i]);
    struct rlimit files = {0};
    (void)getrlimit(RLIMIT_NOFILE, &files);
    if (error == EMFILE)
        return error_set(err, BATON_FULL, "too few files may be open: %ju (ulimit -n), and %u more are needed",
                         (uintmax_t)files.rlim_cur, count - had);
    return error == 0 ? 0 : error_errno(err, error, "a descriptor cannot be had");
}

/* ---- from process to process (unix(7), cmsg(3)) ---- */

union control {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
};

ssize_t descriptor_send(int socket, const void *bytes, size_t size, int fd)
{
    struct iovec part = {.iov_base = (void *)bytes, .iov_len = size};
    union control control = {0};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t sent;
    assert(size > 0); /* an empty message cannot be told from the end */
    if (fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof(control);
        control.header =
            (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
    }
    do
        sent = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    return sent;
}

ssize_t descriptor_receive(int socket, void *bytes, size_t size, int *ret_fd)
{
    struct iovec part = {.iov_base = bytes, .iov_len = size};
    union control control = {0};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    ssize_t got;
    do
        got = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    *ret_fd = -1;
    const struct cmsghdr *header = got >= 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
        header->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(ret_fd, CMSG_DATA(header), sizeof(*ret_fd));
    return got;
}
