/* flow.c: see flow.h. */
#include "relay/flow.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base.h"

#define HELD_MAX 65536 /* the size of a pipe (pipe(7)) */
#define ROUNDS 32      /* before other connections have their turn */

/* ---- pipes ---- */

static bool pipe_take(struct flow *flow, struct pipes *pipes)
{
    if (flow->pipe[0] >= 0)
        return true;
    if (pipes->count > 0) {
        pipes->count--;
        flow->pipe[0] = pipes->kept[pipes->count][0];
        flow->pipe[1] = pipes->kept[pipes->count][1];
        return true;
    }
    if (pipe2(flow->pipe, O_CLOEXEC | O_NONBLOCK) == 0)
        return true;
    flow->pipe[0] = flow->pipe[1] = -1;
    return false;
}

static void pipe_give(struct flow *flow, struct pipes *pipes)
{
    if (flow->pipe[0] < 0)
        return;
    if (flow->held == 0 && pipes->count < PIPES_KEPT) {
        pipes->kept[pipes->count][0] = flow->pipe[0];
        pipes->kept[pipes->count++][1] = flow->pipe[1];
    } else {
        close(flow->pipe[0]);
        close(flow->pipe[1]);
    }
    flow->pipe[0] = flow->pipe[1] = -1;
}

void pipes_release(struct pipes *pipes)
{
    while (pipes->count > 0) {
        pipes->count--;
        close(pipes->kept[pipes->count][0]);
        close(pipes->kept[pipes->count][1]);
    }
}

/* ---- flows ---- */

void flow_init(struct flow *flow)
{
    *flow = (struct flow){.pipe = {-1, -1}};
}

void flow_release(struct flow *flow, struct pipes *pipes)
{
    pipe_give(flow, pipes);
    flow_init(flow);
}

/* 1: some; 0: none now; -1: broken. */
static int take(struct flow *flow, struct side *from)
{
    assert(flow->pipe[1] >= 0 && flow->held < HELD_MAX && !flow->ended);
    ssize_t got = splice(from->fd, NULL, flow->pipe[1], NULL, HELD_MAX - flow->held, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (got > 0) {
        flow->held += (size_t)got;
        return 1;
    }
    if (got == 0) {
        flow->ended = true;
        return 0;
    }
    if (errno == EINTR)
        return 1;
    if (errno != EAGAIN)
        return -1;
    if (flow->held == 0) /* else the pipe may be what is full: it is asked again when it is empty */
        from->readable = false;
    return 0;
}

static int give(struct flow *flow, struct side *to)
{
    assert(flow->pipe[0] >= 0 && flow->held > 0);
    ssize_t put = splice(flow->pipe[0], NULL, to->fd, NULL, flow->held, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    assert(put <= (ssize_t)flow->held);
    if (put > 0) {
        flow->held -= (size_t)put;
        return 1;
    }
    if (put < 0 && errno == EINTR)
        return 1;
    if (put < 0 && errno != EAGAIN)
        return -1;
    to->writable = false;
    return 0;
}

enum flow_moved flow_move(struct flow *flow, struct side *from, struct side *to, struct pipes *pipes)
{
    int moved = 1, round = 0;
    for (; moved > 0 && round < ROUNDS; round++) {
        moved = 0;
        if (!flow->ended && from->readable && flow->held < HELD_MAX) {
            if (!pipe_take(flow, pipes) || (moved = take(flow, from)) < 0)
                return FLOW_BROKEN;
        }
        if (flow->held > 0 && to->writable) {
            int gave = give(flow, to);
            if (gave < 0)
                return FLOW_BROKEN;
            moved += gave;
        }
    }
    if (flow->held == 0)
        pipe_give(flow, pipes);
    if (flow->ended && flow->held == 0 && !flow->shut) {
        flow->shut = true;
        if (shutdown(to->fd, SHUT_WR) < 0 && errno != ENOTCONN)
            return FLOW_BROKEN;
    }
    return moved > 0 ? FLOW_MORE : FLOW_DONE;
}

bool flow_over(const struct flow *flow)
{
    return flow->ended && flow->held == 0 && flow->shut;
}
