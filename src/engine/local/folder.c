/* folder.c: see folder.h. */
#include "engine/local/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/base.h"
#include "base/environment.h"

/* Locks and shared mappings do not work, or not between machines, on these; and who shares a directory over a network
 * wants an engine that works across machines. Magic numbers: statfs(2), linux/magic.h. */
static const struct {
    unsigned long magic;
    const char *name;
} network_systems[] = {
    {NFS_SUPER_MAGIC, "NFS"}, {0xff534d42, "CIFS"},       {0xfe534d42, "SMB"},        {SMB_SUPER_MAGIC, "SMB"},
    {V9FS_MAGIC, "9P"},       {CEPH_SUPER_MAGIC, "Ceph"}, {AFS_SUPER_MAGIC, "AFS"},   {0x01161970, "GFS2"},
    {0x7461636f, "OCFS2"},    {0x0bd00bd0, "Lustre"},     {CODA_SUPER_MAGIC, "Coda"}, {FUSE_SUPER_MAGIC, "FUSE"},
};

static int check_file_system(const char *folder, struct baton_error *err)
{
    struct statfs about;
    if (statfs(folder, &about) < 0)
        return error_errno(err, errno, "local: cannot look at the file system of %s", folder);
    for (size_t i = 0; i < COUNT_OF(network_systems); i++)
        if ((unsigned long)about.f_type == network_systems[i].magic)
            return error_set(err, BATON_UNSUPPORTED,
                             "local: %s is on a network file system (%s), where locks and shared memory do not hold "
                             "between machines; use a directory on a local disk, or an engine such as etcd",
                             folder, network_systems[i].name);
    return 0;
}

static int make_path(const char *folder, struct baton_error *err)
{
    char *path = mem_text(folder);
    int result = 0;
    for (char *slash = path + 1; result == 0; slash++) {
        slash = strchrnul(slash, '/');
        char was = *slash;
        *slash = '\0';
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
            result = error_errno(err, errno, "local: cannot create the state directory %s", path);
        *slash = was;
        if (was == '\0')
            break;
    }
    free(path);
    return result;
}

static char *default_folder(struct baton_error *err)
{
    const char *state = environment_get("XDG_STATE_HOME"), *home = environment_get("HOME");
    if (geteuid() == 0)
        return mem_text("/var/lib/baton");
    if (state != NULL && state[0] == '/')
        return mem_format("%s/baton", state);
    if (home != NULL && home[0] == '/')
        return mem_format("%s/.local/state/baton", home);
    error_set(err, BATON_INVALID, "local: neither XDG_STATE_HOME nor HOME is %s; name a directory, as in local:/path",
              environment_is_believed() ? "set" : "believed, since this program has more rights than its caller");
    return NULL;
}

static int prepare(const char *folder, bool whole_path, struct baton_error *err)
{
    struct stat about;
    if (stat(folder, &about) < 0) {
        if (errno != ENOENT)
            return error_errno(err, errno, "local: cannot look at the state directory %s", folder);
        if (whole_path) {
            if (make_path(folder, err) < 0)
                return -1;
        } else if (mkdir(folder, 0770) < 0 && errno != EEXIST) {
            if (errno == ENOENT)
                return error_set(err, BATON_NOT_FOUND,
                                 "local: the state directory %s does not exist, nor does the one above it; create it",
                                 folder);
            return error_errno(err, errno, "local: cannot create the state directory %s", folder);
        }
    } else if (!S_ISDIR(about.st_mode)) {
        return error_set(err, BATON_INVALID, "local: %s is not a directory", folder);
    }
    return check_file_system(folder, err);
}

static bool names_no_path(const char *url)
{
    return url[strlen("local:")] == '\0';
}

char *folder_name(const char *url, struct baton_error *err)
{
    const char *path = url + strlen("local:");
    bool whole_path = names_no_path(url);
    if (text_starts(path, "///"))
        path += 2;
    if (!whole_path && path[0] != '/') {
        error_set(err, BATON_INVALID, "URL '%.200s' is not legal: after local: comes nothing, or an absolute path",
                  url);
        return NULL;
    }
    char *folder = whole_path ? default_folder(err) : mem_text(path);
    if (folder == NULL)
        return NULL;
    for (size_t end = strlen(folder); end > 1 && folder[end - 1] == '/'; end--)
        folder[end - 1] = '\0';
    return folder;
}

char *folder_find(const char *url, struct baton_error *err)
{
    char *folder = folder_name(url, err);
    if (folder != NULL && prepare(folder, names_no_path(url), err) < 0) {
        free(folder);
        return NULL;
    }
    return folder;
}

int folder_file(const char *folder, const char *name, struct baton_error *err)
{
    char *path = mem_format("%s/%s", folder, name);
    struct stat about;
    mode_t mode = 0600;
    if (stat(folder, &about) == 0)
        mode |= about.st_mode & 0060;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (fd >= 0)
            (void)fchmod(fd, mode); /* not less for a umask: the directory's owner has decided */
        else if (errno == EEXIST)
            fd = open(path, O_RDWR | O_CLOEXEC);
    }
    if (fd < 0)
        error_errno(err, errno, "local: cannot open %s for writing", path);
    free(path);
    return fd;
}

int writer_lock(int fd, struct baton_error *err)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int before, result;
    /* The one place where the engine's thread may be cancelled: it holds nothing here. */
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &before);
    do
        result = fcntl(fd, F_OFD_SETLKW, &lock);
    while (result < 0 && errno == EINTR);
    pthread_setcancelstate(before, NULL);
    return result == 0 ? 0 : error_errno(err, errno, "local: cannot lock the file 'writer'");
}

void writer_unlock(int fd)
{
    struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    (void)fcntl(fd, F_OFD_SETLK, &lock);
}

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

int boot_number(uint64_t *ret, struct baton_error *err)
{
    static const char path[] = "/proc/sys/kernel/random/boot_id";
    char text[64];
    int64_t offset;
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
    number &= INT64_MAX;
    *ret = number != 0 ? number : 1;
    return 0;
}
