/* flow.h: one direction of a connection: bytes from one socket to another, through a pipe that it has only while some
 * are under way. */
#ifndef RELAY_FLOW_H
#define RELAY_FLOW_H

#include <stdbool.h>
#include <stddef.h>

struct side {
    int fd;                  /* -1: none */
    bool readable, writable; /* as far as is known: until a call says otherwise (edge-triggered) */
    void *owner;
};

#define PIPES_KEPT 64

struct pipes {
    int kept[PIPES_KEPT][2]; /* empty ones, to be used again */
    size_t count;
};

struct flow {
    int pipe[2]; /* -1: none */
    size_t held; /* bytes in it */
    bool ended;  /* the sender's end was read */
    bool shut;   /* ... and passed on */
};

void flow_init(struct flow *flow);
void flow_release(struct flow *flow, struct pipes *pipes);
/* Move what can be moved now, up to a few MiB. MORE: there may be more, and no event will tell of it. */
enum flow_moved { FLOW_BROKEN, FLOW_DONE, FLOW_MORE };
enum flow_moved flow_move(struct flow *flow, struct side *from, struct side *to, struct pipes *pipes);
/* Is everything said, and passed on? */
bool flow_over(const struct flow *flow);

void pipes_release(struct pipes *pipes);

#endif
