/* descriptors.c: see descriptors.h. */
#include "base/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
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
