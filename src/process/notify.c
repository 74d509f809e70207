/* notify.c: see notify.h. */
#include "process/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/base.h"

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

static bool permitted(struct msghdr *message)
{
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL; header = CMSG_NXTHDR(message, header)) {
        struct ucred who;
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_CREDENTIALS)
            continue;
        memcpy(&who, CMSG_DATA(header), sizeof(who));
        return who.uid == geteuid() || who.uid == 0 || geteuid() == 0;
    }
    return false;
}

bool notify_read(struct notify_socket *notify, struct notify_said *ret)
{
    char text[4096];
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(16 * sizeof(int))];
    } control;
    bool any = false;
    *ret = (struct notify_said){0};
    for (;;) {
        struct iovec part = {.iov_base = text, .iov_len = sizeof(text) - 1};
        struct msghdr message = {
            .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
        ssize_t got = recvmsg(notify->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return any;
        for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL; header = CMSG_NXTHDR(&message, header))
            if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
                for (size_t i = 0; CMSG_LEN((i + 1) * sizeof(int)) <= header->cmsg_len; i++)
                    close(((int *)(void *)CMSG_DATA(header))[i]); /* FDSTORE: nothing is kept */
        if (!permitted(&message))
            continue;
        text[got] = '\0';
        char *rest = text, *line;
        while ((line = strsep(&rest, "\n")) != NULL)
            take_line(line, ret);
        any = true;
    }
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
