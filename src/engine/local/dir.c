/* dir.c: from a URL to a directory that can hold a namespace. */
#include "engine/local/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/base.h"

const char *dir_network_file_system(uint64_t type)
{
    /* Kernel locks, shared mappings and inotify reach the processes of one kernel only; on these file systems
     * processes of others may come in. The numbers that linux/magic.h lacks are from statfs(2). */
    static const struct {
        uint64_t type;
        const char *name;
    } network[] = {
        {NFS_SUPER_MAGIC, "NFS"},   {SMB_SUPER_MAGIC, "SMB"}, {0xFF534D42, "CIFS"},       {0xFE534D42, "SMB2"},
        {V9FS_MAGIC, "9P"},         {0x00C36400, "Ceph"},     {AFS_SUPER_MAGIC, "AFS"},   {0x6B414653, "AFS"},
        {CODA_SUPER_MAGIC, "Coda"}, {0x01161970, "GFS2"},     {0x7461636F, "OCFS2"},      {0x0BD00BD0, "Lustre"},
        {0x47504653, "GPFS"},       {0x786F4256, "vboxsf"},   {0xBACBACBC, "vmhgfs"},     {0x65735546, "FUSE"},
    };
    for (size_t i = 0; i < COUNT_OF(network); i++)
        if (network[i].type == type)
            return network[i].name;
    return NULL;
}

/* The user's state directory (XDG Base Directory Specification), or the system's for root. */
static int default_path(char path[DIR_PATH_MAX + 1], struct baton_error *err)
{
    const char *state = secure_getenv("XDG_STATE_HOME");
    const char *home = secure_getenv("HOME");
    int n;
    if (state != NULL && state[0] == '/')
        n = snprintf(path, DIR_PATH_MAX + 1, "%s/baton", state);
    else if (geteuid() == 0)
        n = snprintf(path, DIR_PATH_MAX + 1, "/var/lib/baton");
    else if (home != NULL && home[0] == '/')
        n = snprintf(path, DIR_PATH_MAX + 1, "%s/.local/state/baton", home);
    else
        return error_set(err, BATON_INVALID,
                         "local: there is no state directory to use: neither XDG_STATE_HOME nor HOME is set; name a "
                         "directory, as in local:/var/lib/baton/NAME");
    if (n > DIR_PATH_MAX)
        return error_set(err, BATON_INVALID, "local: the state directory's path is longer than %d bytes", DIR_PATH_MAX);
    return 0;
}

/* Make the default directory and what is missing above it: for its user only, as the XDG specification asks. */
static int make_default(const char *path, struct baton_error *err)
{
    char part[DIR_PATH_MAX + 1];
    for (size_t i = 1;; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0700) < 0 && errno != EEXIST && errno != EISDIR && !(errno == EROFS && access(part, F_OK) == 0))
            return error_errno(err, errno, "local: the state directory %s cannot be made", part);
        if (path[i] == '\0')
            return 0;
    }
}

static int make_named(const char *path, struct baton_error *err)
{
    /* The umask decides about the group. The set-group-ID bit gives later files (SQLite's too) the same group. */
    if (mkdir(path, 0770) == 0) {
        struct stat st;
        if (stat(path, &st) == 0 && (st.st_mode & S_IWGRP) != 0)
            (void)!chmod(path, (st.st_mode & 07777) | S_ISGID);
        return 0;
    }
    if (errno == EEXIST)
        return 0;
    if (errno == ENOENT || errno == ENOTDIR)
        return error_set(err, BATON_NOT_FOUND, "local: %s cannot be made: the directory above it is not there", path);
    return error_errno(err, errno, "local: the directory %s cannot be made", path);
}

int dir_open_path(const char *path, struct dir *dir, struct baton_error *err)
{
    struct statfs fs;
    struct stat st;
    if (!text_copy(dir->path, sizeof(dir->path), path))
        return error_set(err, BATON_INVALID, "local: a path has at most %d bytes", DIR_PATH_MAX);
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, errno, "local: the directory %s cannot be opened", path);
    if (fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0) {
        error_errno(err, errno, "local: the directory %s cannot be looked at", path);
        goto fail;
    }
    if (!S_ISDIR(st.st_mode)) {
        error_set(err, BATON_INVALID, "local: %s is not a directory", path);
        goto fail;
    }
    const char *network = dir_network_file_system((uint64_t)(uint32_t)fs.f_type);
    if (network != NULL) {
        error_set(err, BATON_UNSUPPORTED,
                  "local: %s is on a %s file system, which other machines may share; a kernel's locks and wake-ups do "
                  "not reach them. Use a directory on a local disk, or an engine for several machines (etcd:)",
                  path, network);
        goto fail;
    }
    if (faccessat(AT_FDCWD, path, R_OK | W_OK | X_OK, AT_EACCESS) < 0) {
        error_errno(err, errno, "local: the directory %s cannot be written by uid %u (its owner is uid %u, gid %u, "
                    "mode %03o)", path, geteuid(), st.st_uid, st.st_gid, st.st_mode & 0777u);
        goto fail;
    }
    dir->fd = fd;
    dir->mode = 0600u | (st.st_mode & 0066u);
    dir->gid = st.st_gid;
    return 0;
fail:
    close(fd);
    return -1;
}

int dir_open(const char *url, struct dir *dir, struct baton_error *err)
{
    char path[DIR_PATH_MAX + 1];
    const char *rest = url + strlen("local:");
    if (*rest == '\0') {
        if (default_path(path, err) < 0 || make_default(path, err) < 0)
            return -1;
        return dir_open_path(path, dir, err);
    }
    if (text_starts(rest, "///"))
        rest += 2;
    if (rest[0] != '/' || rest[1] == '/' || rest[1] == '\0')
        return error_set(err, BATON_INVALID,
                         "the URL \"%.200s\" does not name a directory; it is local: or local:/ABSOLUTE/PATH", url);
    size_t n = strlen(rest);
    while (n > 1 && rest[n - 1] == '/')
        n--;
    if (n > DIR_PATH_MAX)
        return error_set(err, BATON_INVALID, "local: a path has at most %d bytes, not %zu", DIR_PATH_MAX, n);
    memcpy(path, rest, n);
    path[n] = '\0';
    if (make_named(path, err) < 0)
        return -1;
    return dir_open_path(path, dir, err);
}

void dir_close(struct dir *dir)
{
    if (dir->fd >= 0)
        close(dir->fd);
    dir->fd = -1;
}

int dir_file(const struct dir *dir, const char *name, struct baton_error *err)
{
    int fd = openat(dir->fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT) {
        fd = openat(dir->fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd >= 0) {
            struct stat st;
            /* The group first: a file that is open to a group must not be open to the wrong one. Not allowed, when
             * this user is not in the directory's group: then the file stays the user's own. */
            if (fstat(fd, &st) == 0 && (st.st_gid == dir->gid || fchown(fd, (uid_t)-1, dir->gid) == 0))
                (void)!fchmod(fd, dir->mode);
        } else if (errno == EEXIST) {
            fd = openat(dir->fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        }
    }
    if (fd < 0)
        error_errno(err, errno, "local: %s/%s cannot be opened", dir->path, name);
    return fd;
}
