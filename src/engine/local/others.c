/* others.c: the ring of sessions, the pidfds of our neighbours, and when to look at which. */
#include "engine/local/others.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/base.h"
#include "engine/local/process.h"

#define RANK_STEP_MS 4   /* from one neighbour that would end a session to the next */
#define DELAY_LAST_MS 40 /* of a client that is far from it */
#define LOOK_FIRST_MS 4  /* at an orphaned session whose lock is held by its guard */
#define LOOK_LAST_MS 250
#define EXPIRY_SLACK_MS 2

int others_init(struct others *others, struct pulse *pulse, struct baton_error *err)
{
    *others = (struct others){.pulse = pulse, .poll_fd = epoll_create1(EPOLL_CLOEXEC)};
    if (others->poll_fd < 0)
        return error_errno(err, errno, "local: cannot make an epoll descriptor");
    others->pid_namespace = process_namespace();
    others->pid = getpid();
    others->pid_start = process_start(others->pid);
    return 0;
}

static void other_close(struct other *other)
{
    if (other->pidfd < 0)
        return;
    close(other->pidfd);
    other->pidfd = -1;
}

void others_release(struct others *others)
{
    for (size_t i = 0; i < others->count; i++)
        other_close(&others->list[i]);
    free(others->list);
    if (others->poll_fd >= 0)
        close(others->poll_fd);
    *others = (struct others){.poll_fd = -1};
}

/* Watch the process of this session. A pid that is used again has another start time; the pidfd is opened first, so
 * that the start time which is compared is that of the process which the pidfd refers to. */
static void other_watch(struct others *others, struct other *other)
{
    assert(other->pidfd < 0 && !other->orphaned);
    if (other->session.pid_namespace != others->pid_namespace)
        return;
    if (other->session.pid == others->pid && other->session.pid_start == others->pid_start)
        return; /* it dies with us */
    int fd = (int)syscall(SYS_pidfd_open, other->session.pid, 0);
    bool gone = fd < 0 && errno == ESRCH;
    uint64_t start = fd >= 0 ? process_start(other->session.pid) : 0; /* 0: it is hidden from us (proc(5), hidepid) */
    if (start != 0 && start != other->session.pid_start) {
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
    size_t low = 0, high = others->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (others->list[middle].session.id < session)
            low = middle + 1;
        else
            high = middle;
    }
    return low < others->count && others->list[low].session.id == session ? &others->list[low] : NULL;
}

/* Upward from each session to our own, round the ring; without an own one, from the oldest on. */
static void measure(struct others *others)
{
    size_t count = others->count, own = count;
    for (size_t i = 0; i < count && own == count; i++)
        if (is_own(others, others->list[i].session.id))
            own = i;
    for (size_t i = 0; i < count; i++)
        others->list[i].distance = own < count ? (own + count - i - 1) % count : i;
    others->in_ring = own < count;
}

static bool is_near(const struct others *others, const struct other *other)
{
    return other->distance < (others->in_ring ? OTHERS_NEIGHBOURS : OTHERS_OBSERVED);
}

/* Watch the sessions that are near, and no others. */
static void settle(struct others *others)
{
    measure(others);
    for (size_t i = 0; i < others->count; i++) {
        struct other *other = &others->list[i];
        /* Our own sessions are in the list for their heartbeats: a client that is alone must see that, too. */
        if (!is_near(others, other) || is_own(others, other->session.id))
            other_close(other);
        else if (other->pidfd < 0 && !other->orphaned)
            other_watch(others, other);
        assert(other->pidfd < 0 || (!other->orphaned && is_near(others, other)));
    }
}

void others_own(struct others *others, uint64_t session, bool open)
{
    assert(session != 0 && is_own(others, session) != open);
    if (open) {
        assert(others->own_count < COUNT_OF(others->own));
        others->own[others->own_count++] = session;
    } else {
        for (size_t i = 0; i < others->own_count; i++)
            if (others->own[i] == session)
                others->own[i] = others->own[--others->own_count];
    }
    settle(others);
}

void others_set(struct others *others, const struct db_session *sessions, size_t count)
{
    struct other *before = others->list, *list = mem_new((count + 1) * sizeof(*list));
    size_t before_count = others->count, at = 0;
    for (size_t i = 0; i < count; i++) {
        while (at < before_count && before[at].session.id < sessions[i].id)
            other_close(&before[at++]);
        if (at < before_count && before[at].session.id == sessions[i].id)
            list[i] = before[at++];
        else
            list[i] =
                (struct other){.session = sessions[i], .look_ms = NEVER_MS, .pause_ms = LOOK_FIRST_MS, .pidfd = -1};
    }
    while (at < before_count)
        other_close(&before[at++]);
    free(before);
    others->list = list;
    others->count = count;
    settle(others);
}

/* How long this client waits before it ends `about`: by its distance, so that the nearest live successor acts first. */
static int64_t delay_ms(const struct others *others, const struct other *about)
{
    size_t place = (size_t)(about - others->list);
    assert(place < others->count && about->distance < others->count);
    int64_t between = others->in_ring ? 0 : (int64_t)others->count + 1; /* without a session: after all that have one */
    for (size_t i = 1; others->in_ring && i <= about->distance; i++)
        between += !others->list[(place + i) % others->count].orphaned;
    return between * RANK_STEP_MS < DELAY_LAST_MS ? between * RANK_STEP_MS : DELAY_LAST_MS;
}

static void orphan(struct others *others, struct other *other, int64_t now_ms)
{
    assert(!other->orphaned); /* it dies once */
    other_close(other);
    other->orphaned = true;
    other->look_ms = now_ms + delay_ms(others, other);
}

/* Deaths come in groups: every session whose byte nobody holds is over, too. */
static void look_for_more(struct others *others, int64_t now_ms)
{
    for (size_t i = 0; i < others->count; i++) {
        struct other *other = &others->list[i];
        if (!other->orphaned && !is_own(others, other->session.id) && pulse_unlocked(others->pulse, other->session.id))
            orphan(others, other, now_ms);
    }
}

void others_died(struct others *others, int64_t now_ms)
{
    struct epoll_event events[32];
    int count = epoll_wait(others->poll_fd, events, COUNT_OF(events), 0);
    for (int i = 0; i < count; i++) {
        struct other *other = find(others, events[i].data.u64);
        if (other == NULL || other->pidfd < 0)
            continue;
        (void)epoll_ctl(others->poll_fd, EPOLL_CTL_DEL, other->pidfd, NULL);
        orphan(others, other, now_ms);
    }
    if (count > 0)
        look_for_more(others, now_ms);
}

void others_rung(struct others *others, int64_t now_ms)
{
    for (size_t i = 0; i < others->count; i++) {
        struct other *other = &others->list[i];
        if (other->pidfd < 0 && !other->orphaned && is_near(others, other) && !is_own(others, other->session.id) &&
            pulse_unlocked(others->pulse, other->session.id))
            orphan(others, other, now_ms);
    }
}

const struct db_session *others_next(struct others *others, int64_t now_ms)
{
    for (size_t i = 0; i < others->count; i++) {
        struct other *other = &others->list[i];
        bool expired =
            pulse_expires_ms(others->pulse, other->session.slot, other->session.id) + EXPIRY_SLACK_MS <= now_ms;
        if (expired && other->look_ms == NEVER_MS)
            other->look_ms = now_ms + delay_ms(others, other);
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
