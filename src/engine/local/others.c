/* others.c: see others.h. */
#include "engine/local/others.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/base.h"
#include "engine/local/process.h"

#define RANK_STEP_MS 4  /* between those who would end the same session */
#define LOOK_FIRST_MS 4 /* at an orphaned session whose lock is held by its guard */
#define LOOK_LAST_MS 250
#define EXPIRY_SLACK_MS 2

int others_init(struct others *others, struct pulse *pulse, struct baton_error *err)
{
    *others = (struct others){.pulse = pulse, .poll_fd = epoll_create1(EPOLL_CLOEXEC)};
    if (others->poll_fd < 0)
        return error_errno(err, errno, "local: cannot make an epoll descriptor");
    others->pid_namespace = process_namespace();
    return 0;
}

static void other_close(struct others *others, struct other *other)
{
    if (other->pidfd < 0)
        return;
    close(other->pidfd);
    other->pidfd = -1;
    others->watched--;
}

void others_release(struct others *others)
{
    for (size_t i = 0; i < others->count; i++)
        other_close(others, &others->list[i]);
    free(others->list);
    if (others->poll_fd >= 0)
        close(others->poll_fd);
    *others = (struct others){.poll_fd = -1};
}

/* Watch its process. A pid that is used again has another start time; the pidfd is opened first, so that what is
 * compared is what it refers to. */
static void other_watch(struct others *others, struct other *other)
{
    other->pidfd = -1;
    if (other->session.pid_namespace != others->pid_namespace || others->watched >= OTHERS_WATCHED_MAX)
        return;
    int fd = (int)syscall(SYS_pidfd_open, other->session.pid, 0);
    bool gone = fd < 0 && errno == ESRCH;
    if (fd >= 0 && process_start(other->session.pid) != other->session.pid_start) {
        close(fd);
        fd = -1;
        gone = true;
    }
    if (gone) {
        other->orphaned = true;
        other->look_ms = 0;
        return;
    }
    if (fd < 0)
        return;
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = other->session.id};
    if (epoll_ctl(others->poll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        close(fd);
        return;
    }
    other->pidfd = fd;
    others->watched++;
}

static bool is_own(const struct others *others, uint64_t session)
{
    for (size_t i = 0; i < others->own_count; i++)
        if (others->own[i] == session)
            return true;
    return false;
}

static struct other *find(struct others *others, uint64_t session)
{
    for (size_t i = 0; i < others->count; i++)
        if (others->list[i].session.id == session)
            return &others->list[i];
    return NULL;
}

void others_set(struct others *others, const struct db_session *sessions, size_t count)
{
    struct other *list = mem_new((count + 1) * sizeof(*list));
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct other *other = &list[kept++];
        struct other *before = find(others, sessions[i].id);
        if (before != NULL) {
            *other = *before;
            before->pidfd = -1;
            continue;
        }
        *other = (struct other){.session = sessions[i], .look_ms = NEVER_MS, .pause_ms = LOOK_FIRST_MS, .pidfd = -1};
        /* One's own is here for its heartbeat: a client that is alone must see, too, that it was not renewed. */
        if (!is_own(others, sessions[i].id))
            other_watch(others, other);
    }
    for (size_t i = 0; i < others->count; i++)
        other_close(others, &others->list[i]);
    free(others->list);
    others->list = list;
    others->count = kept;
}

/* The holder of the oldest session acts first. */
static int64_t rank_delay_ms(const struct others *others, const struct other *about)
{
    if (others->own_count == 0)
        return (int64_t)(others->count + 1) * RANK_STEP_MS;
    int64_t rank = 0;
    for (size_t i = 0; i < others->count; i++)
        if (&others->list[i] != about && !others->list[i].orphaned && others->list[i].session.id < others->own[0])
            rank++;
    return rank * RANK_STEP_MS;
}

void others_died(struct others *others, int64_t now_ms)
{
    struct epoll_event events[32];
    int count = epoll_wait(others->poll_fd, events, COUNT_OF(events), 0);
    for (int i = 0; i < count; i++) {
        struct other *other = find(others, events[i].data.u64);
        if (other == NULL)
            continue;
        (void)epoll_ctl(others->poll_fd, EPOLL_CTL_DEL, other->pidfd, NULL);
        other_close(others, other);
        other->orphaned = true;
        other->look_ms = now_ms + rank_delay_ms(others, other);
    }
}

void others_rung(struct others *others, int64_t now_ms)
{
    for (size_t i = 0; i < others->count; i++) {
        struct other *other = &others->list[i];
        if (other->pidfd < 0 && !other->orphaned && pulse_unlocked(others->pulse, other->session.id)) {
            other->orphaned = true;
            other->look_ms = now_ms + rank_delay_ms(others, other);
        }
    }
}

const struct db_session *others_next(struct others *others, int64_t now_ms)
{
    for (size_t i = 0; i < others->count; i++) {
        struct other *other = &others->list[i];
        bool expired =
            pulse_expires_ms(others->pulse, other->session.slot, other->session.id) + EXPIRY_SLACK_MS <= now_ms;
        if (expired && other->look_ms == NEVER_MS)
            other->look_ms = now_ms + rank_delay_ms(others, other);
        if (other->look_ms > now_ms)
            continue;
        bool over = expired || pulse_unlocked(others->pulse, other->session.id);
        other->look_ms = now_ms + other->pause_ms;
        other->pause_ms = 2 * other->pause_ms < LOOK_LAST_MS ? 2 * other->pause_ms : LOOK_LAST_MS;
        if (over)
            return &other->session;
    }
    return NULL;
}

int64_t others_wake_ms(const struct others *others, int64_t now_ms)
{
    int64_t wake_ms = NEVER_MS;
    for (size_t i = 0; i < others->count; i++) {
        const struct other *other = &others->list[i];
        int64_t next_ms = other->look_ms;
        if (next_ms == NEVER_MS)
            next_ms = pulse_expires_ms(others->pulse, other->session.slot, other->session.id) + EXPIRY_SLACK_MS;
        if (next_ms < wake_ms)
            wake_ms = next_ms;
    }
    return wake_ms > now_ms ? wake_ms : now_ms + 1;
}
