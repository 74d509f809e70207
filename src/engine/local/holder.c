/* holder.c: looks in /proc/locks, then at the pid in the mapping (struct pulse_header, `writer`). */
#include "engine/local/holder.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "engine/local/process.h"

#define NAMED_MAX 32

static bool is_ours(const struct folder *folder, unsigned long long inode)
{
    for (size_t i = 0; i < folder->known_count; i++)
        if (folder->known[i].inode == inode && text_starts(folder->known[i].name, "baton.db"))
            return true;
    return false;
}

/* The pid of a process that has a lock to write on one of the database's files, as SQLite takes it (proc_locks(5)); 0:
 * none is seen. The
 * file is not opened for this: to close it would give up the locks that this process has on it. */
static int writer_in_sqlite(const struct folder *folder)
{
    FILE *locks = fopen("/proc/locks", "re");
    char line[256];
    int found = 0, pid;
    unsigned long long inode;
    while (locks != NULL && found == 0 && fgets(line, sizeof(line), locks) != NULL)
        if (sscanf(line, "%*d: POSIX %*s WRITE %d %*x:%*x:%llu", &pid, &inode) == 2 && pid > 0 &&
            is_ours(folder, inode))
            found = pid;
    if (locks != NULL)
        fclose(locks);
    return found;
}

static int writer_of_ours(const struct pulse *pulse)
{
    uint64_t writer = atomic_load(&pulse->header->writer);
    return writer >> 32 == (process_namespace() & UINT32_MAX) ? (int)(writer & INT32_MAX) : 0;
}

void holder_describe(const struct pulse *pulse, char *text, size_t size)
{
    char path[64], about[256] = "", name[NAMED_MAX + 1] = "", state = '?';
    int pid = writer_in_sqlite(pulse->folder);
    if (pid == 0)
        pid = writer_of_ours(pulse);
    if (pid == 0) {
        snprintf(text, size, "another process (perhaps of another container)");
        return;
    }
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, about, sizeof(about) - 1) : 0;
    if (fd >= 0)
        close(fd);
    const char *begin = got > 0 ? strchr(about, '(') : NULL, *end = begin != NULL ? strrchr(about, ')') : NULL;
    if (end != NULL && end[1] == ' ') {
        snprintf(name, sizeof(name), "%.*s", (int)(end - begin - 1), begin + 1);
        state = end[2];
    }
    snprintf(text, size, "process %d%s%s%s%s", pid, name[0] != '\0' ? " (" : "", name, name[0] != '\0' ? ")" : "",
             state == 'T' || state == 't' ? ", which is stopped," : "");
}
