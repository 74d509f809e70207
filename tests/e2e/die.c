/* die.c: for tests, to be put in front of libc (LD_PRELOAD): the process is killed instead of its $DIE_AT-th write to a
 * place in a file. */
#include <dlfcn.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

typedef ssize_t writer(int fd, const void *bytes, size_t size, off_t at);

static ssize_t write_or_die(const char *name, int fd, const void *bytes, size_t size, off_t at)
{
    static atomic_int count;
    const char *last = getenv("DIE_AT");
    writer *real;
    *(void **)&real = dlsym(RTLD_NEXT, name);  /* POSIX's own way to convert it */
    if (last != NULL && ++count == atoi(last)) // NOLINT(cert-err34-c): a test's own number
        kill(getpid(), SIGKILL);
    return real(fd, bytes, size, at);
}

/* Under both of its names; a build with 64-bit offsets would make one of them, were they written as they are. */
__attribute__((visibility("default"))) ssize_t narrow(int fd, const void *bytes, size_t size,
                                                      off_t at) __asm__("pwrite");
__attribute__((visibility("default"))) ssize_t wide(int fd, const void *bytes, size_t size,
                                                    off_t at) __asm__("pwrite64");

ssize_t narrow(int fd, const void *bytes, size_t size, off_t at)
{
    return write_or_die("pwrite", fd, bytes, size, at);
}

ssize_t wide(int fd, const void *bytes, size_t size, off_t at)
{
    return write_or_die("pwrite64", fd, bytes, size, at);
}
