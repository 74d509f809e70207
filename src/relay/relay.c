/* relay.c: listeners, targets, and the life of a connection. How bytes are moved is in flow.c. */
#include "relay/relay.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/base.h"
#include "relay/flow.h"

#define LISTENERS_MAX 16
#define BACKLOG 1024
#define EVENTS_AT_ONCE 256
#define ACCEPTS_AT_ONCE 64
#define STARVED_MS 500 /* without descriptors: they may be others' */
#define KEEPALIVE_S 60 /* of silence until it is asked whether the other side is there; then every 10 s, 6 times */
#define RETRY_MS 50    /* a target that refuses is tried again while the connection may be held */

enum state { HELD, CONNECTING, OPEN, STATES };

struct connection {
    struct connection *next, *before; /* in the list of its state, or of the dead */
    struct connection *again;         /* the next of those that have more to move */
    bool has_more;
    struct relay *relay;
    enum state state;
    bool dead;
    uint64_t target;
    size_t place;       /* of the target's address that is tried, among the targets */
    int64_t since_ms;   /* when it was accepted */
    int64_t touched_ms; /* when its state began, or something last happened */
    struct side client, server;
    struct flow up, down;
};

struct list {
    struct connection *first, *last;
    int count;
};

struct relay {
    struct relay_options options;
    int epoll_fd;
    int listeners[LISTENERS_MAX];
    struct address addresses[LISTENERS_MAX];
    int listener_count;
    bool listening;
    struct relay_target targets[RELAY_TARGETS_MAX];
    size_t target_count, next_target;
    struct list lists[STATES]; /* each in the order of touched_ms */
    struct connection *again;  /* those that have more to move */
    struct connection *dead;   /* freed at the end of a turn: an event may still name one */
    struct pipes pipes;
    struct relay_counts counts;
    int64_t now_ms, retry_ms;
    int64_t starved_ms; /* there was no descriptor to accept one: until then, or until one is closed; 0: there was */
};

/* ---- lists ---- */

static void list_remove(struct connection *connection)
{
    struct list *list = &connection->relay->lists[connection->state];
    assert(list->count > 0 && list->first != NULL && list->last != NULL);
    *(connection->before != NULL ? &connection->before->next : &list->first) = connection->next;
    *(connection->next != NULL ? &connection->next->before : &list->last) = connection->before;
    list->count--;
}

static void list_add(struct connection *connection, enum state state)
{
    struct list *list = &connection->relay->lists[state];
    connection->state = state;
    connection->touched_ms = connection->relay->now_ms;
    connection->next = NULL;
    connection->before = list->last;
    *(list->last != NULL ? &list->last->next : &list->first) = connection;
    list->last = connection;
    list->count++;
}

/* A connection that is open stays with the target that it was given: bytes of it may be anywhere on their way. */
static void move(struct connection *connection, enum state state)
{
    static const unsigned may_follow[] = {
        [HELD] = 1U << HELD | 1U << CONNECTING,
        [CONNECTING] = 1U << CONNECTING | 1U << HELD | 1U << OPEN,
        [OPEN] = 1U << OPEN,
    };
    assert(!connection->dead && (may_follow[connection->state] >> state & 1) != 0);
    list_remove(connection);
    list_add(connection, state);
}

/* ---- listening ---- */

static void listen_or_not(struct relay *relay)
{
    int count = 0;
    for (int i = 0; i < STATES; i++)
        count += relay->lists[i].count;
    if (relay->now_ms >= relay->starved_ms)
        relay->starved_ms = 0;
    bool listening = count < relay->options.connections_max && relay->starved_ms == 0;
    if (listening == relay->listening)
        return;
    relay->listening = listening;
    for (int i = 0; i < relay->listener_count; i++) {
        struct epoll_event event = {.events = listening ? EPOLLIN : 0, .data.ptr = &relay->listeners[i]};
        epoll_ctl(relay->epoll_fd, EPOLL_CTL_MOD, relay->listeners[i], &event);
    }
}

/* A socket that somebody has left behind: nobody listens at it any more. */
static void remove_stale(const struct address *address)
{
    struct stat about;
    const struct sockaddr_un *name = (const struct sockaddr_un *)&address->storage;
    if (address->storage.ss_family != AF_UNIX || lstat(name->sun_path, &about) < 0 || !S_ISSOCK(about.st_mode))
        return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); /* (one that hangs listens, too) */
    if (fd >= 0 && connect(fd, (const struct sockaddr *)name, address->length) < 0 && errno == ECONNREFUSED)
        (void)unlink(name->sun_path);
    if (fd >= 0)
        close(fd);
}

int relay_listen(struct relay *relay, const char *text, struct baton_error *err)
{
    struct address address = {0};
    int one = 1, parsed = address_parse(text, true, &address, err);
    if (relay->listener_count == LISTENERS_MAX)
        return error_set(err, BATON_INVALID, "more than %d addresses to listen at", LISTENERS_MAX);
    if (parsed == 1)
        parsed = address_resolve(text, &address, err);
    if (parsed < 0)
        return -1;
    remove_stale(&address);
    int fd = socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && address.storage.ss_family != AF_UNIX)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &relay->listeners[relay->listener_count]};
    if (fd < 0 || bind(fd, (struct sockaddr *)&address.storage, address.length) < 0 || listen(fd, BACKLOG) < 0 ||
        epoll_ctl(relay->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        error_errno(err, errno, "cannot listen at %s", text);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    relay->listeners[relay->listener_count] = fd;
    relay->addresses[relay->listener_count++] = address;
    relay->listening = true;
    return 0;
}

/* ---- the end of a connection ---- */

static void close_side(struct side *side, bool reset)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    if (side->fd < 0)
        return;
    if (reset)
        setsockopt(side->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(side->fd);
    side->fd = -1;
}

static void end(struct connection *connection, bool reset)
{
    struct relay *relay = connection->relay;
    if (connection->dead)
        return;
    close_side(&connection->server, reset);
    close_side(&connection->client, reset);
    flow_release(&connection->up, &relay->pipes);
    flow_release(&connection->down, &relay->pipes);
    list_remove(connection);
    relay->starved_ms = 0;
    assert(connection->client.fd < 0 && connection->server.fd < 0);
    connection->dead = true;
    connection->next = relay->dead;
    relay->dead = connection;
}

static void cut(struct connection *connection)
{
    connection->relay->counts.cut++;
    end(connection, true);
}

/* ---- to a target ---- */

static void hold(struct connection *connection)
{
    struct relay *relay = connection->relay;
    close_side(&connection->server, false);
    move(connection, HELD);
    if (relay->retry_ms > relay->now_ms + RETRY_MS)
        relay->retry_ms = relay->now_ms + RETRY_MS;
}

static void pump(struct connection *connection)
{
    struct relay *relay = connection->relay;
    assert(!connection->dead && connection->client.fd >= 0 && connection->server.fd >= 0);
    enum flow_moved up = flow_move(&connection->up, &connection->client, &connection->server, &relay->pipes);
    enum flow_moved down =
        up != FLOW_BROKEN ? flow_move(&connection->down, &connection->server, &connection->client, &relay->pipes) : up;
    if (down == FLOW_BROKEN) {
        end(connection, true);
        return;
    }
    if (flow_over(&connection->up) && flow_over(&connection->down)) {
        end(connection, false);
        return;
    }
    move(connection, OPEN);
    if ((up == FLOW_MORE || down == FLOW_MORE) && !connection->has_more) {
        connection->has_more = true;
        connection->again = relay->again;
        relay->again = connection;
    }
}

/* Those that gave way to others. The dead among them are freed only after this. */
static void pump_again(struct relay *relay)
{
    struct connection *connection = relay->again, *next;
    relay->again = NULL;
    for (; connection != NULL; connection = next) {
        next = connection->again;
        connection->has_more = false;
        if (!connection->dead && connection->state == OPEN)
            pump(connection);
    }
}

/* In vain on a Unix socket. */
static void set_options(int fd)
{
    static const int one = 1, idle_s = KEEPALIVE_S, every_s = 10, times = 6;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof(every_s));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof(times));
}

static void connect_to(struct connection *connection, size_t place);

/* In vain: another address of the same target, if it has one; else it is tried again, or another one is. */
static void try_next(struct connection *connection)
{
    const struct relay *relay = connection->relay;
    size_t next = connection->place + 1;
    close_side(&connection->server, false);
    if (next < relay->target_count && relay->targets[next].otherwise &&
        relay->targets[next].number == connection->target)
        connect_to(connection, next);
    else
        hold(connection);
}

static void connected(struct connection *connection)
{
    int error = 0;
    socklen_t length = sizeof(error);
    if (getsockopt(connection->server.fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0 || error != 0) {
        try_next(connection);
        return;
    }
    set_options(connection->server.fd);
    connection->server.readable = connection->server.writable = true;
    pump(connection);
}

static void connect_to(struct connection *connection, size_t place)
{
    struct relay *relay = connection->relay;
    const struct relay_target *target = &relay->targets[place];
    assert(place < relay->target_count && connection->server.fd < 0);
    int fd = socket(target->address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    connection->server = (struct side){.fd = fd, .owner = connection};
    connection->target = target->number;
    connection->place = place;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = &connection->server};
    if (fd < 0 || epoll_ctl(relay->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        hold(connection);
        return;
    }
    if (connect(fd, (const struct sockaddr *)&target->address.storage, target->address.length) == 0) {
        move(connection, CONNECTING);
        connected(connection);
    } else if (errno == EINPROGRESS) {
        move(connection, CONNECTING);
    } else {
        try_next(connection);
    }
}

/* The targets take turns, each beginning with its first address. */
static size_t turn_of(struct relay *relay)
{
    size_t place;
    assert(relay->target_count > 0 && !relay->targets[0].otherwise);
    do
        place = relay->next_target++ % relay->target_count;
    while (relay->targets[place].otherwise);
    return place;
}

static void connect_held(struct relay *relay)
{
    relay->retry_ms = NEVER_MS;
    if (relay->target_count == 0)
        return;
    /* Those that fail at once go to the end of the list. */
    for (int count = relay->lists[HELD].count; count > 0 && relay->lists[HELD].first != NULL; count--)
        connect_to(relay->lists[HELD].first, turn_of(relay));
}

static bool is_target(const struct relay *relay, uint64_t number)
{
    for (size_t i = 0; i < relay->target_count; i++)
        if (relay->targets[i].number == number)
            return true;
    return false;
}

void relay_set_targets(struct relay *relay, const struct relay_target *targets, size_t count)
{
    assert(count == 0 || !targets[0].otherwise);
    relay->target_count = count < RELAY_TARGETS_MAX ? count : RELAY_TARGETS_MAX;
    memcpy(relay->targets, targets, relay->target_count * sizeof(*targets));
    for (struct connection *connection = relay->lists[OPEN].first, *next; connection != NULL; connection = next) {
        next = connection->next;
        if (!is_target(relay, connection->target))
            cut(connection);
    }
    for (struct connection *connection = relay->lists[CONNECTING].first, *next; connection != NULL; connection = next) {
        next = connection->next;
        if (!is_target(relay, connection->target))
            hold(connection);
    }
    connect_held(relay);
}

/* ---- events ---- */

static void accept_one(struct relay *relay, int fd)
{
    struct connection *connection = mem_new(sizeof(*connection));
    connection->relay = relay;
    connection->since_ms = relay->now_ms;
    connection->client = (struct side){.fd = fd, .owner = connection};
    connection->server.fd = -1;
    flow_init(&connection->up);
    flow_init(&connection->down);
    list_add(connection, HELD);
    relay->counts.accepted++;
    set_options(fd);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = &connection->client};
    if (epoll_ctl(relay->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        end(connection, true);
    else if (relay->target_count > 0)
        connect_to(connection, turn_of(relay));
}

static void accept_some(struct relay *relay, int listener)
{
    for (int i = 0; i < ACCEPTS_AT_ONCE && relay->listening; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM))
            relay->starved_ms = relay->now_ms + STARVED_MS; /* the others stay in the queue */
        if (fd < 0)
            return;
        accept_one(relay, fd);
        listen_or_not(relay);
    }
}

static void on_side(struct side *side, uint32_t events)
{
    struct connection *connection = side->owner;
    if (connection->dead || side->fd < 0)
        return;
    side->readable = side->readable || (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    side->writable = side->writable || (events & (EPOLLOUT | EPOLLERR)) != 0;
    if (connection->state == OPEN) {
        pump(connection);
    } else if (side == &connection->server) {
        if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0)
            connected(connection);
    } else if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
        end(connection, true); /* it does not want to wait any more */
    }
}

static bool is_listener(const struct relay *relay, const void *what)
{
    return what >= (const void *)relay->listeners && what < (const void *)(relay->listeners + LISTENERS_MAX);
}

static void expire(struct relay *relay)
{
    const struct relay_options *options = &relay->options;
    struct connection *connection, *next;
    for (connection = relay->lists[CONNECTING].first; connection != NULL; connection = next) {
        next = connection->next;
        if (relay->now_ms < connection->touched_ms + options->connect_ms)
            break;
        try_next(connection);
    }
    for (connection = relay->lists[HELD].first; connection != NULL; connection = next) {
        next = connection->next;
        if (relay->now_ms < connection->since_ms + options->hold_ms)
            continue; /* those that were tried again are behind younger ones */
        relay->counts.refused++;
        end(connection, true);
    }
    while (options->idle_ms > 0 && (connection = relay->lists[OPEN].first) != NULL &&
           relay->now_ms >= connection->touched_ms + options->idle_ms)
        cut(connection);
    if (relay->now_ms >= relay->retry_ms)
        connect_held(relay);
}

/* One that has more to move is still named by that list: it is freed a turn later. */
static void free_dead(struct relay *relay)
{
    struct connection *kept = NULL;
    for (struct connection *connection = relay->dead, *next; connection != NULL; connection = next) {
        next = connection->next;
        if (connection->has_more && relay->again != NULL) {
            connection->next = kept;
            kept = connection;
        } else {
            free(connection);
        }
    }
    relay->dead = kept;
}

void relay_turn(struct relay *relay, int64_t now_ms)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    relay->now_ms = now_ms;
    pump_again(relay);
    int count = epoll_wait(relay->epoll_fd, events, EVENTS_AT_ONCE, 0);
    for (int i = 0; i < count; i++) {
        if (is_listener(relay, events[i].data.ptr))
            accept_some(relay, *(const int *)events[i].data.ptr);
        else
            on_side(events[i].data.ptr, events[i].events);
    }
    expire(relay);
    free_dead(relay);
    listen_or_not(relay);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t relay_wake_ms(const struct relay *relay)
{
    const struct relay_options *options = &relay->options;
    int64_t wake_ms = relay->again != NULL ? 0 : relay->retry_ms;
    if (relay->starved_ms != 0)
        wake_ms = earlier(wake_ms, relay->starved_ms);
    for (const struct connection *held = relay->lists[HELD].first; held != NULL; held = held->next)
        wake_ms = earlier(wake_ms, held->since_ms + options->hold_ms);
    if (relay->lists[CONNECTING].first != NULL)
        wake_ms = earlier(wake_ms, relay->lists[CONNECTING].first->touched_ms + options->connect_ms);
    if (options->idle_ms > 0 && relay->lists[OPEN].first != NULL)
        wake_ms = earlier(wake_ms, relay->lists[OPEN].first->touched_ms + options->idle_ms);
    return wake_ms;
}

int relay_fd(const struct relay *relay)
{
    return relay->epoll_fd;
}

void relay_count(const struct relay *relay, struct relay_counts *ret)
{
    *ret = relay->counts;
    ret->open = relay->lists[OPEN].count;
    ret->held = relay->lists[HELD].count + relay->lists[CONNECTING].count;
}

/* ---- life ---- */

struct relay *relay_new(const struct relay_options *options, struct baton_error *err)
{
    struct relay *relay = mem_new(sizeof(*relay));
    relay->options = *options;
    relay->retry_ms = NEVER_MS;
    relay->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (relay->epoll_fd >= 0)
        return relay;
    error_errno(err, errno, "cannot make an epoll descriptor");
    free(relay);
    return NULL;
}

void relay_free(struct relay *relay)
{
    if (relay == NULL)
        return;
    for (int state = 0; state < STATES; state++)
        while (relay->lists[state].first != NULL)
            end(relay->lists[state].first, true);
    relay->again = NULL;
    free_dead(relay);
    for (int i = 0; i < relay->listener_count; i++) {
        const struct sockaddr_un *name = (const struct sockaddr_un *)&relay->addresses[i].storage;
        close(relay->listeners[i]);
        if (relay->addresses[i].storage.ss_family == AF_UNIX)
            (void)unlink(name->sun_path);
    }
    pipes_release(&relay->pipes);
    close(relay->epoll_fd);
    free(relay);
}
