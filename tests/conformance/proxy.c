/* proxy.c: see proxy.h. */
#include "proxy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/base.h"

struct pair {
    struct pair *next;
    struct proxy *proxy;
    uv_tcp_t client, server;
    uv_connect_t connect;
    bool closing;
    int open; /* handles */
};

struct proxy {
    uv_loop_t *loop;
    uv_tcp_t listener;
    struct sockaddr_in server;
    struct pair *pairs;
    bool mute, refuse, closed, held;
    size_t cuts, hold_after; /* 0: never */
    size_t back;             /* bytes to clients */
};

struct sent {
    uv_write_t write;
    char *bytes;
    struct pair *pair;
    bool cut; /* when it has gone */
};

static void on_pair_closed(uv_handle_t *handle)
{
    struct pair *pair = handle->data;
    if (--pair->open > 0)
        return;
    struct pair **at = &pair->proxy->pairs;
    while (*at != pair)
        at = &(*at)->next;
    *at = pair->next;
    free(pair);
}

static void pair_close(struct pair *pair)
{
    if (pair->closing)
        return;
    pair->closing = true;
    uv_close((uv_handle_t *)&pair->client, on_pair_closed);
    uv_close((uv_handle_t *)&pair->server, on_pair_closed);
}

static void cut_all(struct proxy *proxy)
{
    for (struct pair *pair = proxy->pairs; pair != NULL; pair = pair->next)
        pair_close(pair);
}

static void on_sent(uv_write_t *write, int status)
{
    struct sent *sent = write->data;
    if (sent->cut && status == 0) {
        sent->pair->proxy->mute = false;
        sent->pair->proxy->cuts++;
        cut_all(sent->pair->proxy);
    }
    free(sent->bytes);
    free(sent);
}

static void on_room(uv_handle_t *handle, size_t wanted, uv_buf_t *ret)
{
    *ret = uv_buf_init(mem_new(wanted), (unsigned)wanted);
}

/* From the client: what it sends now is read after proxy_go. */
static void maybe_hold(struct proxy *proxy, size_t back)
{
    proxy->back += back;
    if (proxy->held || proxy->hold_after == 0 || proxy->back <= proxy->hold_after)
        return;
    proxy->held = true;
    for (struct pair *pair = proxy->pairs; pair != NULL; pair = pair->next)
        uv_read_stop((uv_stream_t *)&pair->client);
}

static void on_bytes(uv_stream_t *from, ssize_t count, const uv_buf_t *bytes)
{
    struct pair *pair = from->data;
    bool from_client = from == (uv_stream_t *)&pair->client;
    if (count <= 0 || (pair->proxy->mute && !from_client)) {
        free(bytes->base);
        if (count < 0)
            pair_close(pair);
        return;
    }
    if (!from_client)
        maybe_hold(pair->proxy, (size_t)count);
    struct sent *sent = mem_new(sizeof(*sent));
    *sent = (struct sent){.bytes = bytes->base, .pair = pair, .cut = pair->proxy->mute && from_client};
    sent->write.data = sent;
    uv_buf_t what = uv_buf_init(bytes->base, (unsigned)count);
    if (uv_write(&sent->write, (uv_stream_t *)(from_client ? &pair->server : &pair->client), &what, 1, on_sent) == 0)
        return;
    free(sent->bytes);
    free(sent);
    pair_close(pair);
}

static void on_connected(uv_connect_t *connect, int status)
{
    struct pair *pair = connect->data;
    if (pair->closing)
        return;
    if (status < 0) {
        pair_close(pair);
        return;
    }
    uv_read_start((uv_stream_t *)&pair->client, on_room, on_bytes);
    uv_read_start((uv_stream_t *)&pair->server, on_room, on_bytes);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct proxy *proxy = listener->data;
    struct pair *pair = mem_new(sizeof(*pair));
    pair->proxy = proxy;
    pair->next = proxy->pairs;
    proxy->pairs = pair;
    pair->open = 2;
    uv_tcp_init(proxy->loop, &pair->client);
    uv_tcp_init(proxy->loop, &pair->server);
    pair->client.data = pair->server.data = pair->connect.data = pair;
    assert_int_equal(uv_accept(listener, (uv_stream_t *)&pair->client), 0);
    if (proxy->refuse) {
        pair_close(pair);
        return;
    }
    uv_tcp_nodelay(&pair->client, 1);
    uv_tcp_nodelay(&pair->server, 1);
    uv_tcp_connect(&pair->connect, &pair->server, (const struct sockaddr *)&proxy->server, on_connected);
}

struct proxy *proxy_new(uv_loop_t *loop, int server_port, int *ret_port)
{
    struct proxy *proxy = mem_new(sizeof(*proxy));
    struct sockaddr_in any;
    int length = sizeof(any);
    proxy->loop = loop;
    uv_ip4_addr("127.0.0.1", server_port, &proxy->server);
    uv_ip4_addr("127.0.0.1", 0, &any);
    uv_tcp_init(loop, &proxy->listener);
    proxy->listener.data = proxy;
    assert_int_equal(uv_tcp_bind(&proxy->listener, (const struct sockaddr *)&any, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&proxy->listener, 16, on_connection), 0);
    assert_int_equal(uv_tcp_getsockname(&proxy->listener, (struct sockaddr *)&any, &length), 0);
    *ret_port = ntohs(any.sin_port);
    return proxy;
}

static void on_listener_closed(uv_handle_t *handle)
{
    ((struct proxy *)handle->data)->closed = true;
}

void proxy_free(struct proxy *proxy)
{
    cut_all(proxy);
    uv_close((uv_handle_t *)&proxy->listener, on_listener_closed);
    while (!proxy->closed || proxy->pairs != NULL)
        uv_run(proxy->loop, UV_RUN_ONCE);
    free(proxy);
}

void proxy_cut_after_request(struct proxy *proxy)
{
    proxy->mute = true;
}

size_t proxy_cuts(const struct proxy *proxy)
{
    return proxy->cuts;
}

void proxy_hold_after(struct proxy *proxy, size_t bytes)
{
    proxy->hold_after = bytes;
}

bool proxy_holds(const struct proxy *proxy)
{
    return proxy->held;
}

void proxy_go(struct proxy *proxy)
{
    proxy->hold_after = 0;
    proxy->held = false;
    for (struct pair *pair = proxy->pairs; pair != NULL; pair = pair->next)
        if (!pair->closing)
            uv_read_start((uv_stream_t *)&pair->client, on_room, on_bytes);
}

void proxy_refuse(struct proxy *proxy, bool refuse)
{
    proxy->refuse = refuse;
    if (refuse)
        cut_all(proxy);
}
