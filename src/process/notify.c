/* notify.c: see notify.h. */
#include "process/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/base.h"
#include "process/descent.h"

#define FDS_MAX 253          /* the most that one datagram can have (SCM_MAX_FD) */
#define DATAGRAMS_AT_ONCE 64 /* then others have their turn */
#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76 /* Linux 6.5 */
#endif
#ifndef SCM_PIDFD
#define SCM_PIDFD 4
#endif

int notify_listen(struct notify_socket *notify, struct baton_error *err)
{
    int on = 1;
    notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* Bound to no name, it gets an abstract one of its own: "autobind", unix(7). */
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t length = sizeof(address);
    if (notify->fd < 0 || setsockopt(notify->fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0 ||
        bind(notify->fd, (struct sockaddr *)&address, sizeof(address.sun_family)) < 0 ||
        getsockname(notify->fd, (struct sockaddr *)&address, &length) < 0)
        return error_errno(err, errno, "cannot make the notify socket");
    (void)setsockopt(notify->fd, SOL_SOCKET, SO_PASSPIDFD, &on, sizeof(on)); /* an older kernel has none */
    size_t name = length - offsetof(struct sockaddr_un, sun_path);
    notify->address[0] = '@';
    memcpy(notify->address + 1, address.sun_path + 1, name - 1);
    notify->address[name] = '\0';
    return 0;
}

void notify_close(struct notify_socket *notify)
{
    if (notify->fd >= 0)
        close(notify->fd);
    notify->fd = -1;
}

static void take_line(const char *line, struct notify_said *said)
{
    if (strcmp(line, "READY=1") == 0)
        said->ready = true;
    else if (strcmp(line, "STOPPING=1") == 0)
        said->stopping = true;
    else if (strcmp(line, "WATCHDOG=1") == 0)
        said->watchdog = true;
    else if (strcmp(line, "WATCHDOG=trigger") == 0)
        said->watchdog_trigger = true;
    else if (text_starts(line, "STATUS="))
        (void)text_copy(said->status, sizeof(said->status), line + strlen("STATUS="));
}

/* Who has sent a datagram, and what came along with it. */
struct sender {
    struct ucred who; /* pid 0: the kernel does not say, or it is in another pid namespace */
    int pidfd;        /* -1: the kernel gives none (it does from Linux 6.5 on) */
    int fds[FDS_MAX]; /* to be closed: nothing is kept (FDSTORE). Some wait for that (BARRIER) */
    size_t fd_count;
};

static void take_control(struct msghdr *message, struct sender *sender)
{
    *sender = (struct sender){.pidfd = -1};
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL; header = CMSG_NXTHDR(message, header)) {
        const unsigned char *data = CMSG_DATA(header);
        if (header->cmsg_level != SOL_SOCKET)
            continue;
        if (header->cmsg_type == SCM_CREDENTIALS)
            memcpy(&sender->who, data, sizeof(sender->who));
        else if (header->cmsg_type == SCM_PIDFD)
            memcpy(&sender->pidfd, data, sizeof(sender->pidfd));
        else if (header->cmsg_type == SCM_RIGHTS)
            for (; CMSG_LEN(sizeof(int)) <= header->cmsg_len && sender->fd_count < FDS_MAX; data += sizeof(int)) {
                memcpy(&sender->fds[sender->fd_count++], data, sizeof(int));
                header->cmsg_len -= sizeof(int);
            }
    }
}

static void release(struct sender *sender)
{
    for (size_t i = 0; i < sender->fd_count; i++)
        close(sender->fds[i]);
    if (sender->pidfd >= 0)
        close(sender->pidfd);
}

/* Its number may be another process's by now. Where there is no pidfd that would tell, it is believed. */
static bool is_there(const struct sender *sender)
{
    return sender->pidfd < 0 || syscall(SYS_pidfd_send_signal, sender->pidfd, 0, NULL, 0) == 0 || errno == EPERM;
}

/* Many send and are gone (a line of a script). Whether such a one descended from the guard cannot be known any more;
 * its user can, and whoever is the same user as we are may kill us as well. */
static bool is_permitted(const struct sender *sender, pid_t guard)
{
    enum descent descent = sender->who.pid > 0 ? descent_of(sender->who.pid, guard) : DESCENT_NO;
    if (descent == DESCENT_YES && !is_there(sender))
        descent = DESCENT_GONE;
    return descent == DESCENT_YES || (descent == DESCENT_GONE && guard > 0 && sender->who.uid == geteuid());
}

static void take_text(char *text, struct notify_said *said)
{
    char *line;
    while ((line = strsep(&text, "\n")) != NULL)
        take_line(line, said);
}

bool notify_read(struct notify_socket *notify, pid_t guard, struct notify_said *ret)
{
    char text[4096];
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int)) + CMSG_SPACE(FDS_MAX * sizeof(int))];
    } control;
    bool any = false;
    *ret = (struct notify_said){0};
    for (int i = 0; i < DATAGRAMS_AT_ONCE; i++) {
        struct iovec part = {.iov_base = text, .iov_len = sizeof(text) - 1};
        struct msghdr message = {
            .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
        ssize_t got = recvmsg(notify->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return any;
        struct sender sender;
        take_control(&message, &sender);
        text[got] = '\0';
        any = true;
        if (is_permitted(&sender, guard)) {
            take_text(text, ret);
        } else {
            ret->strangers++;
            ret->stranger_pid = sender.who.pid;
            ret->stranger_uid = sender.who.uid;
        }
        release(&sender); /* not before it was asked who it is: it may wait for that, and then go */
    }
    return any;
}

/* ---- upward ---- */

static struct sockaddr_un above;
static socklen_t above_length;

unsigned notify_init(void)
{
    const char *path = getenv("NOTIFY_SOCKET"), *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    unsigned long long every = 0;
    if (path != NULL && (path[0] == '/' || path[0] == '@') && strlen(path) < sizeof(above.sun_path)) {
        above.sun_family = AF_UNIX;
        memcpy(above.sun_path, path, strlen(path));
        if (path[0] == '@')
            above.sun_path[0] = '\0';
        above_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    }
    if (usec != NULL && (pid == NULL || strtol(pid, NULL, 10) == (long)getpid()))
        every = strtoull(usec, NULL, 10) / 2000; /* half of it, in ms: sd_watchdog_enabled(3) */
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    return above_length > 0 && every < 3600000 ? (unsigned)every : 0;
}

void notify_say(const char *text)
{
    if (above_length == 0)
        return;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    (void)!sendto(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&above, above_length);
    close(fd);
}
