/* address.h: addresses as people write them: HOST:PORT, [IPV6]:PORT, :PORT (every address of this machine, to listen
 * at), /PATH or unix:PATH (a Unix socket). */
#ifndef RELAY_ADDRESS_H
#define RELAY_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "baton/error.h"

struct address {
    struct sockaddr_storage storage;
    socklen_t length; /* 0: none */
};

/* Read an address that needs no look-up: a number, or a path. 0; 1: the text has a name in it; -1 with BATON_INVALID.
 * `passive`: the address is to listen at. */
int address_parse(const char *text, bool passive, struct address *ret, struct baton_error *err);
/* Read an address that may have a name in it. May block for as long as the resolver does. */
int address_resolve(const char *text, struct address *ret, struct baton_error *err);

/* Look a name up without blocking: a descriptor that becomes readable, and then address_take. -1 with err; BATON_FULL:
 * as many as may be are under way; again later. */
#define LOOK_UPS_MAX 16
int address_look_up(const char *text, struct baton_error *err);
#define ADDRESSES_MAX 4 /* of one name, in the order in which they are to be tried; more are left out */
/* The result, at least one; closes the descriptor. 0, or -1 with err. */
int address_take(int fd, struct address ret[ADDRESSES_MAX], size_t *ret_count, struct baton_error *err);

#endif
