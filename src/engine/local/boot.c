/* boot.c: reads boot_id and the offset of the boot clock from /proc. */
#include "engine/local/boot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"

/* Read a small file of /proc as text. */
static int read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t got = read(fd, text, size - 1);
    int error = got < 0 ? errno : EIO; /* nothing at all is no text */
    close(fd);
    text[got > 0 ? got : 0] = '\0';
    errno = error;
    return got > 0 ? 0 : -1;
}

/* By how much CLOCK_BOOTTIME differs here from that of the machine (time_namespaces(7)), in ns. What the file tells is
 * true of the children's namespace, so it must be our own. Where the file is not there, nothing can differ. */
static int clock_offset(int64_t *ret, struct baton_error *err)
{
    char text[256];
    struct stat own, children;
    long long s, ns;
    *ret = 0;
    if (read_text("/proc/self/timens_offsets", text, sizeof(text)) < 0)
        return errno == ENOENT ? 0 : error_errno(err, errno, "local: cannot read /proc/self/timens_offsets");
    const char *line = strstr(text, "boottime");
    if (line == NULL || sscanf(line, "boottime %lld %lld", &s, &ns) != 2)
        return error_set(err, BATON_UNSUPPORTED, "local: there is no boottime in /proc/self/timens_offsets: '%.100s'",
                         text);
    *ret = s * 1000000000 + ns;
    if (stat("/proc/self/ns/time", &own) < 0 || stat("/proc/self/ns/time_for_children", &children) < 0)
        return error_errno(err, errno, "local: cannot look at /proc/self/ns/time");
    if (own.st_ino != children.st_ino)
        return error_set(err, BATON_UNSUPPORTED,
                         "local: this process has left its time namespace and has not entered another one; it must "
                         "call exec first");
    return 0;
}

int boot_number(unsigned layout, uint64_t *ret, struct baton_error *err)
{
    static const char path[] = "/proc/sys/kernel/random/boot_id";
    char text[64];
    int64_t offset;
    if (read_text(path, text, sizeof(text)) < 0 && (errno == EMFILE || errno == ENFILE))
        return error_errno(err, errno, "local: cannot read %s", path);
    if (read_text(path, text, sizeof(text)) < 0)
        return error_set(err, BATON_UNSUPPORTED,
                         "local: cannot read %s, without which nobody can tell whether the machine was booted "
                         "since the last use; is /proc mounted?",
                         path);
    if (clock_offset(&offset, err) < 0)
        return -1;
    uint64_t number = 0;
    for (const char *c = text; *c != '\0'; c++)
        number = number * 31 + (unsigned char)*c;
    if (offset != 0)
        number = number * 31 + (uint64_t)offset;
    number = number * 31 + layout;
    number &= INT64_MAX;
    *ret = number != 0 ? number : 1;
    return 0;
}
