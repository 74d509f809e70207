/* message.h: what the supervisor and its guard say to each other, over a SOCK_SEQPACKET pair: one struct, one
 * message. */
#ifndef PROCESS_MESSAGE_H
#define PROCESS_MESSAGE_H

#include "process/deadman.h"
#include "process/guard.h"

enum order_kind {
    ORDER_SPAWN,
    ORDER_DOWN,
    ORDER_HOOK,
    ORDER_SIGNAL,
    ORDER_STOP,
    ORDER_DEADLINE,
    ORDER_LIFELINE,
    ORDER_TESTAMENT,
    ORDER_BYE
};

struct order {
    enum order_kind kind;
    int number;
    int64_t at_ms;
    union {
        struct guard_environment environment;
        struct {
            uint64_t session;
            char text[BATON_LIFELINE_MAX];
        } lifeline;
        char testament[BATON_TESTAMENT_MAX]; /* only what is used of it is sent */
    };
};

/* Descriptors and the like that the supervisor makes for its guard, before it forks it. */
struct guard_base {
    pid_t supervisor;
    int fd, supervisor_pidfd, signal_fd, timer_fd;
    struct deadman *deadman;
};

/* The guard's main function; does not return. */
void guard_main(const struct guard_options *options, const struct guard_base *base) __attribute__((noreturn));

#endif
