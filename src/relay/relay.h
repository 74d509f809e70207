/* relay.h: a relay of TCP and Unix connections to one of several targets. It knows nothing of elections.
 *
 * A new connection is given a target as soon as there is one; until then it is held. The bytes go from socket to socket
 * by splice(2), without a copy into this process. An end of one direction is passed on (half-close); the other goes on.
 * A target that is taken away takes its connections with it, at once and by a reset: nothing that it may still say
 * reaches a client. Without descriptors it accepts nobody until there are some. Keepalive probes find peers that
 * are gone without a word. One thread; nothing here waits.
 */
#ifndef RELAY_RELAY_H
#define RELAY_RELAY_H

#include <stdbool.h>
#include <stdint.h>

#include "relay/address.h"

struct relay_options {
    int64_t hold_ms;     /* how long a connection waits for a target that can be connected to */
    int64_t connect_ms;  /* how long one attempt to connect may take */
    int64_t idle_ms;     /* a connection on which nothing happens is cut after this; 0: never */
    int connections_max; /* more wait in the listener's queue */
};

struct relay_target {
    uint64_t number; /* whose it is: another number is another target, also at the same address */
    bool otherwise;  /* another address of the one before it, to be tried when that fails */
    struct address address;
};

#define RELAY_TARGETS_MAX 1024

struct relay_counts {
    uint64_t accepted, cut, refused; /* since the beginning; `refused`: held in vain */
    int open, held;                  /* now */
};

struct relay *relay_new(const struct relay_options *options, struct baton_error *err);
/* Cuts everything; removes the sockets in the file system that it listens at. NULL allowed. */
void relay_free(struct relay *relay);

/* Listen at an address, too. -1 with err. */
int relay_listen(struct relay *relay, const char *text, struct baton_error *err);

/* From now on these are the targets, up to RELAY_TARGETS_MAX; they take turns. */
void relay_set_targets(struct relay *relay, const struct relay_target *targets, size_t count);

/* A descriptor that is readable when relay_turn has something to do; and when it has, at the latest (NEVER_MS). */
int relay_fd(const struct relay *relay);
int64_t relay_wake_ms(const struct relay *relay);
void relay_turn(struct relay *relay, int64_t now_ms);

void relay_count(const struct relay *relay, struct relay_counts *ret);

#endif
