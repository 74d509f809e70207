/* deadman.c: see deadman.h. */
#include "process/deadman.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define STACK_BYTES (64 * 1024)

struct deadman {
    pthread_mutex_t mutex;
    /* the child's */
    int dead_fd;
    void (*died)(void *ctx);
    void *ctx;
};

struct deadman *deadman_new(void)
{
    struct deadman *deadman = mmap(NULL, sizeof(*deadman), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (deadman == MAP_FAILED)
        return NULL;
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    int error = pthread_mutex_init(&deadman->mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    if (error == 0)
        error = pthread_mutex_lock(&deadman->mutex);
    if (error == 0)
        return deadman;
    munmap(deadman, sizeof(*deadman));
    errno = error;
    return NULL;
}

void deadman_free(struct deadman *deadman)
{
    if (deadman == NULL)
        return;
    pthread_mutex_unlock(&deadman->mutex);
    munmap(deadman, sizeof(*deadman));
}

static void *wait_for_death(void *context)
{
    struct deadman *deadman = context;
    uint64_t once = 1;
    if (pthread_mutex_lock(&deadman->mutex) == EOWNERDEAD) {
        deadman->died(deadman->ctx);
        (void)!write(deadman->dead_fd, &once, sizeof(once));
    }
    /* Its own end would keep the core from whoever reads that. */
    while (pause() < 0)
        ;
    return NULL;
}

int deadman_watch(struct deadman *deadman, void (*died)(void *ctx), void *ctx)
{
    pthread_t thread;
    pthread_attr_t attributes;
    deadman->died = died;
    deadman->ctx = ctx;
    deadman->dead_fd = eventfd(0, EFD_CLOEXEC);
    if (deadman->dead_fd < 0)
        return -1;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int error = pthread_create(&thread, &attributes, wait_for_death, deadman);
    pthread_attr_destroy(&attributes);
    if (error == 0)
        return deadman->dead_fd;
    close(deadman->dead_fd);
    errno = error;
    return -1;
}
