/* lock.c: see fcntl(2), "Open file description locks". */
#include "engine/local/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"

static int lock_do(int fd, uint64_t byte, int command, short type)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)byte, .l_len = 1};
    int result;
    do {
        result = fcntl(fd, command, &lock);
    } while (result < 0 && errno == EINTR);
    if (result < 0)
        return errno == EACCES ? EAGAIN : errno;
    return command == F_OFD_GETLK && lock.l_type != F_UNLCK ? EAGAIN : 0;
}

int lock_try(int fd, uint64_t byte)
{
    return lock_do(fd, byte, F_OFD_SETLK, F_WRLCK);
}

int lock_wait(int fd, uint64_t byte)
{
    return lock_do(fd, byte, F_OFD_SETLKW, F_WRLCK);
}

void lock_free(int fd, uint64_t byte)
{
    (void)lock_do(fd, byte, F_OFD_SETLK, F_UNLCK);
}

bool lock_held(int fd, uint64_t byte)
{
    return lock_do(fd, byte, F_OFD_GETLK, F_WRLCK) != 0;
}

/* The kernel has no lock with a limit, and a signal to break the wait would be the program's, not ours: so a thread
 * waits, and when the limit is over it is left to itself, gives the lock back when it gets it, and ends. */
struct waiter {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    int fd; /* a duplicate: the caller's may be closed meanwhile */
    uint64_t byte;
    int result;
    bool done, left;
};

static void waiter_free(struct waiter *waiter)
{
    close(waiter->fd);
    pthread_mutex_destroy(&waiter->mutex);
    pthread_cond_destroy(&waiter->cond);
    free(waiter);
}

static void *waiter_main(void *argument)
{
    struct waiter *waiter = argument;
    int result = lock_wait(waiter->fd, waiter->byte);
    pthread_mutex_lock(&waiter->mutex);
    waiter->result = result;
    waiter->done = true;
    bool left = waiter->left;
    pthread_cond_signal(&waiter->cond);
    pthread_mutex_unlock(&waiter->mutex);
    if (left) {
        if (result == 0)
            lock_free(waiter->fd, waiter->byte);
        waiter_free(waiter);
    }
    return NULL;
}

static int waiter_start(struct waiter *waiter)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&thread, &attributes, waiter_main, waiter);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return error;
}

int lock_wait_within(int fd, uint64_t byte, uint32_t timeout_ms)
{
    int result = lock_try(fd, byte);
    if (result != EAGAIN)
        return result;
    struct waiter *waiter = mem_new(sizeof(*waiter));
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_mutex_init(&waiter->mutex, NULL);
    pthread_cond_init(&waiter->cond, &clock);
    pthread_condattr_destroy(&clock);
    waiter->byte = byte;
    waiter->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    result = waiter->fd < 0 ? errno : waiter_start(waiter);
    if (result != 0) {
        waiter_free(waiter);
        return result;
    }
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&waiter->mutex);
    while (!waiter->done && pthread_cond_timedwait(&waiter->cond, &waiter->mutex, &until) == 0)
        ;
    bool done = waiter->done;
    result = done ? waiter->result : ETIMEDOUT;
    waiter->left = !done;
    pthread_mutex_unlock(&waiter->mutex);
    if (done)
        waiter_free(waiter);
    return result;
}
