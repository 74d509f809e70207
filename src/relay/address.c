/* address.c: see address.h. */
#include "relay/address.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/base.h"

#define HOST_MAX 256
#define STACK_BYTES (256 * 1024) /* the resolver's */

static int unix_address(const char *path, struct address *ret, struct baton_error *err)
{
    struct sockaddr_un *name = (struct sockaddr_un *)&ret->storage;
    if (path[0] == '\0' || strlen(path) >= sizeof(name->sun_path))
        return error_set(err, BATON_INVALID, "'%.200s' is no path of a Unix socket: it has 1 to %zu bytes", path,
                         sizeof(name->sun_path) - 1);
    name->sun_family = AF_UNIX;
    text_copy(name->sun_path, sizeof(name->sun_path), path);
    ret->length = sizeof(*name);
    return 0;
}

/* "host:port" or "[host]:port" taken apart. */
static int split(const char *text, char host[HOST_MAX], const char **ret_port, struct baton_error *err)
{
    const char *colon = strrchr(text, ':'), *begin = text, *end = colon;
    if (colon != NULL && text[0] == '[') {
        begin = text + 1;
        end = colon > text && colon[-1] == ']' ? colon - 1 : NULL;
    } else if (colon != NULL && memchr(text, ':', (size_t)(colon - text)) != NULL) {
        end = NULL; /* an IPv6 address without brackets */
    }
    size_t digits = colon != NULL ? strspn(colon + 1, "0123456789") : 0;
    if (end == NULL || digits == 0 || digits > 5 || colon[1 + digits] != '\0' || atoi(colon + 1) > 65535 ||
        (size_t)(end - begin) >= HOST_MAX)
        return error_set(err, BATON_INVALID,
                         "'%.200s' is no address: write HOST:PORT, [IPV6]:PORT, or a path of a Unix socket", text);
    memcpy(host, begin, (size_t)(end - begin));
    host[end - begin] = '\0';
    *ret_port = colon + 1;
    return 0;
}

/* Up to `room` of them, in the order of RFC 6724, which getaddrinfo(3) keeps. */
static int look_up(const char *text, int flags, size_t room, struct address *ret, size_t *ret_count,
                   struct baton_error *err)
{
    char host[HOST_MAX] = "";
    const char *port = "";
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV}, *found = NULL;
    if (split(text, host, &port, err) < 0)
        return -1;
    if (host[0] == '\0' && (flags & AI_PASSIVE) == 0)
        return error_set(err, BATON_INVALID, "'%.200s' is no address to connect to: it has no host", text);
    int code = getaddrinfo(host[0] != '\0' ? host : NULL, port, &hints, &found);
    if (code == EAI_NONAME && (flags & AI_NUMERICHOST) != 0)
        return 1;
    if (code != 0)
        return error_set(err, BATON_UNAVAILABLE, "'%.200s' cannot be looked up: %s", text, gai_strerror(code));
    *ret_count = 0;
    for (const struct addrinfo *each = found; each != NULL && *ret_count < room; each = each->ai_next) {
        memcpy(&ret[*ret_count].storage, each->ai_addr, each->ai_addrlen);
        ret[(*ret_count)++].length = each->ai_addrlen;
    }
    freeaddrinfo(found);
    return 0;
}

int address_parse(const char *text, bool passive, struct address *ret, struct baton_error *err)
{
    *ret = (struct address){0};
    if (text_starts(text, "unix:"))
        return unix_address(text + strlen("unix:"), ret, err);
    if (text[0] == '/')
        return unix_address(text, ret, err);
    size_t count;
    return look_up(text, AI_NUMERICHOST | (passive ? AI_PASSIVE : 0), 1, ret, &count, err);
}

int address_resolve(const char *text, struct address *ret, struct baton_error *err)
{
    size_t count;
    int result = address_parse(text, false, ret, err);
    return result == 1 ? look_up(text, 0, 1, ret, &count, err) : result;
}

/* ---- without blocking: a thread, and a pipe that it writes the answer to ---- */

struct answer {
    int result;
    size_t count;
    struct address addresses[ADDRESSES_MAX];
    struct baton_error error;
};
static_assert(sizeof(struct answer) <= PIPE_BUF, "it is written whole, or not at all");

struct question {
    char *text;
    int fd;
};

static atomic_int asking; /* threads: a resolver may take half a minute, and candidates may come and go faster */

static void *ask(void *arg)
{
    struct question *question = arg;
    struct answer answer = {0};
    answer.result = look_up(question->text, 0, ADDRESSES_MAX, answer.addresses, &answer.count, &answer.error);
    atomic_fetch_sub(&asking, 1); /* before anybody knows the answer */
    (void)!write(question->fd, &answer, sizeof(answer));
    close(question->fd);
    free(question->text);
    free(question);
    return NULL;
}

int address_look_up(const char *text, struct baton_error *err)
{
    int fds[2];
    pthread_t thread;
    pthread_attr_t attributes;
    if (atomic_fetch_add(&asking, 1) >= LOOK_UPS_MAX) {
        atomic_fetch_sub(&asking, 1);
        return error_set(err, BATON_FULL, "cannot look '%.200s' up: %d others are being looked up", text, LOOK_UPS_MAX);
    }
    if (pipe2(fds, O_CLOEXEC) < 0) {
        atomic_fetch_sub(&asking, 1);
        return error_errno(err, errno, "cannot look '%.200s' up", text);
    }
    struct question *question = mem_new(sizeof(*question));
    *question = (struct question){.text = mem_text(text), .fd = fds[1]};
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int error = pthread_create(&thread, &attributes, ask, question);
    pthread_attr_destroy(&attributes);
    if (error == 0)
        return fds[0];
    atomic_fetch_sub(&asking, 1);
    close(fds[0]);
    close(fds[1]);
    free(question->text);
    free(question);
    return error_errno(err, error, "cannot look '%.200s' up", text);
}

int address_take(int fd, struct address ret[ADDRESSES_MAX], size_t *ret_count, struct baton_error *err)
{
    struct answer answer;
    ssize_t got = read(fd, &answer, sizeof(answer));
    close(fd);
    if (got != (ssize_t)sizeof(answer))
        return error_set(err, BATON_SYSTEM, "a look-up has broken off");
    memcpy(ret, answer.addresses, sizeof(answer.addresses));
    *ret_count = answer.count;
    if (answer.result < 0)
        *err = answer.error;
    return answer.result;
}
