/* guard.c: the client's side of its guard (guard.h): when there is a guard, and what the client tells it. All of it
 * runs on the loop. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/beside.h"
#include "base/descriptors.h"
#include "base/environment.h"
#include "client/client.h"
#include "client/guard.h"

#define AGAIN_MS 1000 /* between two starts */
#define DEATHS_TOLD 3

static char *guard_path(void)
{
    const char *asked = environment_get("BATON_GUARD");
    if (asked != NULL && asked[0] != '\0')
        return mem_text(asked);
    return file_beside("baton/baton-guard", "baton-guard", BATON_GUARD_FOLDER "/baton-guard");
}

/* The kernel kills what is left of a pid namespace with its first process (pid_namespaces(7)). */
static const char dies_too[] =
    "it is the first process of its pid namespace (a container), with which its guard would be "
    "killed; share the namespace of something that lives on (Kubernetes: "
    "shareProcessNamespace), or choose a ttl that can be waited for";

int client_guard_check(const struct baton_options *options, struct baton_error *err)
{
    if (options->guard < BATON_GUARD_AUTO || options->guard > BATON_GUARD_OFF)
        return error_set(err, BATON_INVALID, "options.guard is %d, which is no enum baton_guard_use",
                         (int)options->guard);
    if (options->guard != BATON_GUARD_ON)
        return 0;
    if (getpid() == 1)
        return error_set(err, BATON_UNSUPPORTED, "this process cannot have a guard: %s", dies_too);
    char *path = guard_path();
    int result = 0;
    if (access(path, X_OK) < 0)
        result = error_set(err, BATON_UNSUPPORTED,
                           "there is no guard: %.200s: %s; it is installed with the library, or named by BATON_GUARD",
                           path, strerror(errno));
    free(path);
    return result;
}

static void tell(struct baton *b, enum baton_code code, const char *text)
{
    char words[BATON_ERROR_TEXT];
    snprintf(words, sizeof(words), "a crash of this process would cost a ttl: %.400s", text);
    client_lock(b);
    if (!b->guard.told)
        queue_add(b, BATON_TROUBLE, NULL, words)->code = code;
    b->guard.told = true;
    client_unlock(b);
    queue_ring(b);
}

/* ---- the process ---- */

static void on_closed_socket(uv_handle_t *handle)
{
    struct baton *b = handle->data;
    close(b->guard.fd);
    b->guard.fd = -1;
    b->guard.session = 0;
    if (++b->guard.deaths == DEATHS_TOLD && b->guard.wanted)
        tell(b, BATON_SYSTEM, "its guard ends again and again");
    client_guard_follow(b);
}

static void drop(struct baton *b)
{
    if (b->guard.fd >= 0 && !uv_is_closing((uv_handle_t *)&b->guard.heard))
        uv_close((uv_handle_t *)&b->guard.heard, on_closed_socket);
}

/* Words of the guard, or its end: then another one is started. */
static void on_heard(uv_poll_t *handle, int status, int events)
{
    struct baton *b = handle->data;
    char text[BATON_ERROR_TEXT];
    ssize_t got = recv(b->guard.fd, text, sizeof(text) - 1, MSG_DONTWAIT);
    if (got > 0) {
        text[got] = '\0';
        tell(b, BATON_SYSTEM, text);
    } else if (got == 0 || errno != EAGAIN) {
        drop(b);
    }
}

static void on_again(uv_timer_t *timer)
{
    client_guard_follow(timer->data);
}

static bool start(struct baton *b)
{
    struct baton_error err;
    uint64_t now_ms = uv_now(&b->loop);
    if (b->guard.started && now_ms < b->guard.started_ms + AGAIN_MS) {
        uv_timer_start(&b->guard.again, on_again, b->guard.started_ms + AGAIN_MS - now_ms, 0);
        return false;
    }
    b->guard.started = true;
    b->guard.started_ms = now_ms;
    char *path = guard_path();
    int fd = client_guard_spawn(path, &err);
    free(path);
    if (fd >= 0 && uv_poll_init(&b->loop, &b->guard.heard, fd) != 0) {
        close(fd);
        fd = error_set(&err, BATON_SYSTEM, "the guard cannot be heard");
    }
    if (fd < 0) {
        tell(b, err.code, err.text);
        return false;
    }
    b->guard.fd = fd;
    b->guard.heard.data = b;
    uv_poll_start(&b->guard.heard, UV_READABLE | UV_DISCONNECT, on_heard);
    return true;
}

/* ---- what it is told ---- */

/* There are few messages, and the guard reads at once: the socket is never full. If it is dead, we hear so. */
static void say(struct baton *b, const char *text, int fd)
{
    assert(driver_is_here(b) && b->guard.fd >= 0);
    (void)!descriptor_send(b->guard.fd, text, strlen(text), fd);
}

static void say_lifeline(struct baton *b, uint32_t ttl_ms)
{
    struct baton_lifeline lifeline;
    struct baton_error err;
    char text[GUARD_MESSAGE_MAX];
    if (lifeline_export(b, &lifeline, &err) < 0) {
        tell(b, err.code, err.text);
        return;
    }
    snprintf(text, sizeof(text), "lifeline %u %llu %s", (unsigned)ttl_ms, (unsigned long long)lifeline.session,
             lifeline.text);
    say(b, text, lifeline.fd);
    if (lifeline.fd >= 0)
        close(lifeline.fd);
}

/* The one election that it leads; NULL: none, or several. With the mutex held. */
static const struct handle *only_led(const struct baton *b)
{
    const struct handle *only = NULL;
    assert(client_is_locked(b) && b->led <= BATON_ELECTIONS_MAX);
    if (b->led != 1)
        return NULL;
    for (const struct handle *handle = b->handles; handle != NULL && only == NULL; handle = handle->next)
        if (atomic_load(&handle->term) != 0)
            only = handle;
    return only;
}

static void say_testament(struct baton *b)
{
    char text[GUARD_MESSAGE_MAX] = "testament ";
    size_t begin = strlen(text);
    client_lock(b);
    const struct handle *led = only_led(b);
    if (led != NULL)
        testament_text(b, led, text + begin);
    client_unlock(b);
    if (text[begin] == '\0' && !b->guard.has_testament)
        return;
    b->guard.has_testament = text[begin] != '\0';
    say(b, text, -1);
}

/* ---- when ---- */

void client_guard_init(struct baton *b)
{
    b->guard.wanted =
        b->options.guard == BATON_GUARD_ON || (b->options.guard == BATON_GUARD_AUTO && !b->ops->sees_deaths);
    uv_timer_init(&b->loop, &b->guard.again); /* cannot fail */
    b->guard.again.data = b;
    if (b->guard.wanted && getpid() == 1) {
        b->guard.wanted = false;
        tell(b, BATON_UNSUPPORTED, dies_too);
    }
}

void client_guard_follow(struct baton *b)
{
    int64_t deadline_ms;
    uint32_t ttl_ms = 0;
    assert(driver_is_here(b));
    if (!b->guard.wanted)
        return;
    client_lock(b);
    uint64_t session =
        b->state == CLIENT_OPEN && core_standing(b->core) > 0 ? core_session(b->core, &deadline_ms, &ttl_ms) : 0;
    bool moved = b->guard.moved;
    b->guard.moved = false;
    client_unlock(b);
    if (session != 0 && session != b->guard.session) {
        if (b->guard.fd < 0 && !start(b))
            return;
        b->guard.session = session;
        b->guard.has_testament = false;
        say_lifeline(b, ttl_ms);
        moved = true;
    }
    if (moved && b->guard.session != 0)
        say_testament(b);
}

void client_guard_leave(struct baton *b, bool session_is_over)
{
    assert(driver_is_here(b) && b->engine == NULL); /* nothing can begin a session any more */
    b->guard.wanted = false;
    if (b->guard.fd >= 0 && session_is_over)
        say(b, "bye", -1);
    drop(b);
    uv_close((uv_handle_t *)&b->guard.again, NULL);
}
