/* proxy.h: a TCP relay on the test's own loop, between an engine and its server, that breaks connections on command. */
#ifndef CONFORMANCE_PROXY_H
#define CONFORMANCE_PROXY_H

#include <stdbool.h>
#include <stddef.h>

#include <uv.h>

struct proxy;

/* Relay 127.0.0.1:*ret_port to 127.0.0.1:server_port. */
struct proxy *proxy_new(uv_loop_t *loop, int server_port, int *ret_port);
void proxy_free(struct proxy *proxy);

/* From now on nothing goes back to the client; when the next bytes have gone to the server, every connection is cut. */
void proxy_cut_after_request(struct proxy *proxy);
/* How often that has happened. */
size_t proxy_cuts(const struct proxy *proxy);
/* When more than so many bytes have gone back to the client, what it sends is kept, until proxy_go. */
void proxy_hold_after(struct proxy *proxy, size_t bytes);
bool proxy_holds(const struct proxy *proxy);
void proxy_go(struct proxy *proxy);
/* New connections are closed at once, and those that are there are cut. */
void proxy_refuse(struct proxy *proxy, bool refuse);

#endif
