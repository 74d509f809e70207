/* guard.h: what a client and the guard of its own say to each other; see enum baton_guard_use in baton/client.h.
 *
 * A SOCK_SEQPACKET pair, one text a message. To the guard:
 *     lifeline TTL_MS SESSION TEXT    how to end the session (with a descriptor, where the engine gives one)
 *     testament TEXT                  what to write before; "" takes it back
 *     bye                             the session is over, or never was: exit
 * and from it: what goes wrong, in words. The command line is `baton-guard GUARD_PROTOCOL`, the socket GUARD_SOCKET_FD,
 * a pidfd of the client's process GUARD_PIDFD.
 *
 * Forked children that have not called exec share the socket: it is hung up when the last of them is gone.
 */
#ifndef CLIENT_GUARD_H
#define CLIENT_GUARD_H

#include "base/base.h"

#include "baton/baton.h"

#define GUARD_PROTOCOL "1"
#define GUARD_SOCKET_FD 3
#define GUARD_PIDFD 4
#define GUARD_MESSAGE_MAX (BATON_TESTAMENT_MAX + 64)

static_assert(BATON_LIFELINE_MAX + 64 <= GUARD_MESSAGE_MAX, "a message holds a lifeline");

#endif
