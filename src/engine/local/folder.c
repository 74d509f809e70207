/* folder.c: finds and opens the directory, checks and opens the files in it, and the writer's lock. */
#include "engine/local/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static int check_file_system(const struct folder *folder, struct baton_error *err)
{
    struct statfs about;
    if (fstatfs(folder->fd, &about) < 0)
        return error_errno(err, errno, "local: cannot look at the file system of %s", folder->path);
    for (size_t i = 0; i < COUNT_OF(network_systems); i++)
        if ((unsigned long)about.f_type == network_systems[i].magic)
            return error_set(err, BATON_UNSUPPORTED,
                             "local: %s is on a network file system (%s), where locks and shared memory do not hold "
                             "between machines; use a directory on a local disk, or an engine such as etcd",
                             folder->path, network_systems[i].name);
    return 0;
}

/* ---- the directory ---- */

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

char *folder_name(const char *url, struct baton_error *err)
{
    const char *path = url + strlen("local:");
    if (path[0] == '\0')
        return default_folder(err);
    if (text_starts(path, "///"))
        path += 2;
    if (path[0] != '/') {
        error_set(err, BATON_INVALID, "URL '%.200s' is not legal: after local: comes nothing, or an absolute path",
                  url);
        return NULL;
    }
    char *folder = mem_text(path);
    for (size_t end = strlen(folder); end > 1 && folder[end - 1] == '/'; end--)
        folder[end - 1] = '\0';
    return folder;
}

/* `whole_path`: also the directories above it. */
static int make_folder(const char *path, bool whole_path, struct baton_error *err)
{
    if (whole_path)
        return make_path(path, err);
    if (mkdir(path, 0770) == 0 || errno == EEXIST)
        return 0;
    if (errno == ENOENT)
        return error_set(err, BATON_NOT_FOUND,
                         "local: the state directory %s does not exist, nor does the one above it; create it", path);
    return error_errno(err, errno, "local: cannot create the state directory %s", path);
}

/* Refuse a directory in which another user could replace files while they are used. */
static int check_owner(const char *path, const struct stat *about, struct baton_error *err)
{
    struct stat link;
    if (lstat(path, &link) == 0 && S_ISLNK(link.st_mode) && link.st_uid != 0 && link.st_uid != geteuid())
        return error_set(err, BATON_DENIED,
                         "local: %s is a symbolic link of user %u, who could turn it elsewhere; name the directory "
                         "itself, or one of your own",
                         path, (unsigned)link.st_uid);
    if (about->st_uid != 0 && about->st_uid != geteuid())
        return error_set(err, BATON_DENIED,
                         "local: %s belongs to user %u, who could replace the files in it while they are used; use a "
                         "directory of your own, or one of root that a group may write (baton-local(7))",
                         path, (unsigned)about->st_uid);
    if ((about->st_mode & S_IWOTH) != 0)
        return error_set(err, BATON_DENIED,
                         "local: everybody may write the directory %s, so anybody could replace the files in it while "
                         "they are used; chmod o-w, or use a directory for this purpose only",
                         path);
    return 0;
}

static int open_path(struct folder *folder, struct baton_error *err)
{
    struct stat about, root;
    folder->fd = open(folder->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder->fd < 0 && errno == ENOTDIR)
        return error_set(err, BATON_INVALID, "local: %s is not a directory", folder->path);
    if (folder->fd < 0 || fstat(folder->fd, &about) < 0 || stat("/", &root) < 0)
        return error_errno(err, errno, "local: cannot look at the state directory %s", folder->path);
    folder->device = about.st_dev;
    folder->inode = about.st_ino;
    folder->root_device = root.st_dev;
    folder->root_inode = root.st_ino;
    folder->owner = about.st_uid;
    folder->group_bits = about.st_mode & 0060;
    return check_owner(folder->path, &about, err) < 0 ? -1 : check_file_system(folder, err);
}

/* The names of all files of a namespace, also of one that is being made. */
static bool is_name_of_ours(const char *name)
{
    return text_starts(name, "baton.db") || text_starts(name, "heartbeats.") || strcmp(name, "sessions") == 0 ||
           strcmp(name, "writer") == 0;
}

static bool nothing_else_in(const struct folder *folder)
{
    int fd = openat(folder->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    bool so = list != NULL;
    if (list == NULL && fd >= 0)
        close(fd);
    for (const struct dirent *entry; so && (entry = readdir(list)) != NULL;)
        so = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 || is_name_of_ours(entry->d_name);
    if (list != NULL)
        closedir(list);
    return so;
}

/* Is it a namespace, or was it made to become one? Who only looks makes no files among others. */
static int expect_namespace(const struct folder *folder, struct baton_error *err)
{
    struct stat about;
    int found = folder_check(folder, "baton.db", &about, err);
    if (found <= 0 || nothing_else_in(folder))
        return found < 0 ? -1 : 0;
    return error_set(err, BATON_NOT_FOUND,
                     "local: there is nothing of baton's in the directory %s; is the path right? No instance has used "
                     "it yet",
                     folder->path);
}

int folder_open(struct folder *folder, const char *url, bool create, struct baton_error *err)
{
    struct stat about;
    *folder = (struct folder){.fd = -1, .path = folder_name(url, err)};
    if (folder->path == NULL)
        return -1;
    bool missing = stat(folder->path, &about) < 0 && errno == ENOENT;
    int result = 0;
    if (missing && create)
        result = make_folder(folder->path, strcmp(url, "local:") == 0, err);
    else if (missing)
        result = error_set(err, BATON_NOT_FOUND,
                           "local: there is no state directory %s; is the path right? It is made when the first "
                           "instance begins",
                           folder->path);
    if (result == 0 && open_path(folder, err) == 0 && (create || expect_namespace(folder, err) == 0))
        return 0;
    folder_close(folder);
    return -1;
}

int folder_open_again(struct folder *folder, const char *path, struct baton_error *err)
{
    *folder = (struct folder){.fd = -1, .path = mem_text(path), .again = true};
    if (open_path(folder, err) == 0)
        return 0;
    folder_close(folder);
    return -1;
}

void folder_close(struct folder *folder)
{
    if (folder->fd >= 0)
        close(folder->fd);
    free(folder->path);
    *folder = (struct folder){.fd = -1};
}

/* ---- the files in it ---- */

static const char *kind_of(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFLNK:
        return "a symbolic link";
    case S_IFDIR:
        return "a directory";
    case S_IFIFO:
        return "a FIFO";
    case S_IFSOCK:
        return "a socket";
    default:
        return "a device";
    }
}

static int check_file(const struct folder *folder, const char *name, const struct stat *about, struct baton_error *err)
{
    if (!S_ISREG(about->st_mode))
        return error_set(err, BATON_DENIED,
                         "local: %s/%s is %s, not a file of baton's; it was not touched; find out who has made it, "
                         "and remove it",
                         folder->path, name, kind_of(about->st_mode));
    if (about->st_nlink > 1)
        return error_set(err, BATON_DENIED,
                         "local: %s/%s has another name, too (it is a hard link), and may be a file of somebody "
                         "else's; it was not touched; find out who has made it, and remove it",
                         folder->path, name);
    bool stranger = about->st_uid != 0 && about->st_uid != geteuid() && about->st_uid != folder->owner;
    if ((about->st_mode & S_IWOTH) != 0 || (stranger && (folder->group_bits & S_IWGRP) == 0))
        return error_set(err, BATON_DENIED,
                         "local: %s/%s can be written by others than may write the directory (its owner is user %u, "
                         "its mode %04o); it was not touched; find out who has made it, and remove it",
                         folder->path, name, (unsigned)about->st_uid, (unsigned)about->st_mode & 07777);
    return 0;
}

int folder_check(const struct folder *folder, const char *name, struct stat *ret, struct baton_error *err)
{
    assert(folder->fd >= 0 && strchr(name, '/') == NULL); /* nothing outside of the directory */
    if (fstatat(folder->fd, name, ret, AT_SYMLINK_NOFOLLOW) == 0)
        return check_file(folder, name, ret, err);
    return errno == ENOENT ? 1 : error_errno(err, errno, "local: cannot look at %s/%s", folder->path, name);
}

/* It is looked at before it is opened, by a descriptor that can do no more (O_PATH), so that nobody can put something
 * else in its place meanwhile. */
int folder_existing(const struct folder *folder, const char *name, struct baton_error *err)
{
    struct stat about;
    assert(folder->fd >= 0 && strchr(name, '/') == NULL);
    int found = openat(folder->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC), fd = -1, error = 0;
    if (found < 0) {
        if (errno != ENOENT)
            error_errno(err, errno, "local: cannot open %s/%s for writing", folder->path, name);
        return -1;
    }
    if (fstat(found, &about) < 0) {
        error = errno;
        error_errno(err, error, "local: cannot look at %s/%s", folder->path, name);
    } else if (check_file(folder, name, &about, err) < 0) {
        error = EPERM;
    } else {
        char path[32];
        snprintf(path, sizeof(path), "/proc/self/fd/%d", found);
        fd = open(path, O_RDWR | O_CLOEXEC);
        error = errno;
        if (fd < 0)
            error_errno(err, error, "local: cannot open %s/%s for writing", folder->path, name);
    }
    close(found);
    errno = error == ENOENT ? EIO : error; /* ENOENT has a meaning here */
    return fd;
}

static int make_file(const struct folder *folder, const char *name, struct baton_error *err)
{
    assert(is_name_of_ours(name));
    mode_t mode = 0600 | folder->group_bits;
    int fd = openat(folder->fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd >= 0)
        (void)fchmod(fd, mode); /* not less for a umask: the directory's owner has decided */
    else if (errno != EEXIST)
        error_errno(err, errno, "local: cannot open %s/%s for writing", folder->path, name);
    return fd;
}

int folder_new(const struct folder *folder, const char *name, struct baton_error *err)
{
    (void)unlinkat(folder->fd, name, 0); /* of one who was killed */
    int fd = make_file(folder, name, err);
    if (fd < 0 && errno == EEXIST)
        error_errno(err, errno, "local: cannot make %s/%s", folder->path, name);
    return fd;
}

static struct folder_known *known_file(struct folder *folder, const char *name)
{
    for (size_t i = 0; i < folder->known_count; i++)
        if (strcmp(folder->known[i].name, name) == 0)
            return &folder->known[i];
    return NULL;
}

/* Opened twice, the first time counts. */
static void know(struct folder *folder, const char *name, ino_t inode)
{
    if (known_file(folder, name) != NULL)
        return;
    assert(folder->known_count < FOLDER_FILES_MAX);
    struct folder_known *known = &folder->known[folder->known_count++];
    bool fits = text_copy(known->name, sizeof(known->name), name);
    assert(fits);
    known->inode = inode;
}

int folder_file(struct folder *folder, const char *name, struct baton_error *err)
{
    int fd;
    do {
        fd = folder_existing(folder, name, err);
        if (fd < 0 && errno == ENOENT && folder->again) {
            error_set(err, BATON_UNAVAILABLE, "local: %s/%s was removed", folder->path, name);
            return -1;
        }
        if (fd < 0 && errno == ENOENT)
            fd = make_file(folder, name, err);
    } while (fd < 0 && errno == EEXIST); /* somebody else has made it just now */
    struct stat about;
    if (fd >= 0 && fstat(fd, &about) == 0)
        know(folder, name, about.st_ino);
    return fd;
}

int folder_know(struct folder *folder, const char *name, off_t size, struct baton_error *err)
{
    struct stat about;
    int found = folder_check(folder, name, &about, err);
    if (found < 0)
        return -1;
    if (found == 0)
        know(folder, name, about.st_ino);
    struct folder_known *known = known_file(folder, name);
    if (found > 0 || known->inode != about.st_ino || about.st_size < size)
        return error_set(err, BATON_UNAVAILABLE, "local: %s/%s was replaced just now; try again", folder->path, name);
    known->size = size;
    return 0;
}

/* A process that has called chroot(2) since cannot tell by the path any more. */
static bool same_root(const struct folder *folder)
{
    struct stat root;
    return stat("/", &root) == 0 && root.st_dev == folder->root_device && root.st_ino == folder->root_inode;
}

static bool is_gone(int error)
{
    return error == ENOENT || error == ENOTDIR || error == ELOOP;
}

int folder_look(const struct folder *folder, struct baton_error *err)
{
    struct stat about;
    bool there = stat(folder->path, &about) == 0;
    bool same = there ? about.st_dev == folder->device && about.st_ino == folder->inode : !is_gone(errno);
    if (!same && same_root(folder)) {
        bool removed = fstat(folder->fd, &about) == 0 && about.st_nlink == 0;
        if (removed || !there)
            return error_set(err, BATON_UNAVAILABLE, "local: the state directory %s was %s; restart what uses it",
                             folder->path, removed ? "removed" : "moved away");
        return error_set(err, BATON_UNAVAILABLE,
                         "local: the path %s leads to another directory than before (it was moved, something was "
                         "mounted over it, or a link was changed); restart what uses it",
                         folder->path);
    }
    for (size_t i = 0; i < folder->known_count; i++) {
        const struct folder_known *known = &folder->known[i];
        there = fstatat(folder->fd, known->name, &about, AT_SYMLINK_NOFOLLOW) == 0;
        if (there ? about.st_ino == known->inode && about.st_size >= known->size : !is_gone(errno))
            continue;
        return error_set(err, BATON_UNAVAILABLE,
                         "local: the file %s of the state directory %s was %s; restart what uses it", known->name,
                         folder->path,
                         !there                         ? "removed"
                         : about.st_ino != known->inode ? "replaced by another one"
                                                        : "overwritten");
    }
    return 0;
}

/* ---- the writer's lock ---- */

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
