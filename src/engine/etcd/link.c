/* link.c: libcurl on the loop, the calls that wait or are under way, and the connection's states. */
#include "engine/etcd/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/clock.h"
#include "engine/etcd/etcd.pb-c.h"
#include "engine/etcd/question.h"
#include "engine/etcd/status.h"

#define HELLO_LIMIT_MS 2000 /* to connect, and for the first answers */
#define PROBE_MS 5000       /* with nothing heard for so long, a question is asked */
#define BACKOFF_MIN_MS 100  /* after every endpoint has failed once */
#define BACKOFF_MAX_MS 1000
#define STEADY_MS 1000 /* a connection that has lasted so long was a good one */

enum link_state { LINK_WAITING, LINK_HELLO, LINK_UP, LINK_CLOSED };

struct call {
    struct call *next;
    struct grpc_call grpc;
    const char *method;
    int64_t until_ms;
    link_done done; /* NULL: nobody waits for it */
    void *ctx;
    struct grpc_result *known; /* of one that was answered here */
    unsigned login;            /* whose token it was sent with */
    bool last_try;             /* it is not sent again if its token is refused */
};

/* A socket of libcurl's, watched by the loop. */
struct watched {
    uv_poll_t poll;
    struct link *link;
    curl_socket_t socket;
};

struct link {
    const struct etcd_url *url;
    uv_loop_t *loop;
    struct link_callbacks callbacks;
    void *ctx;
    enum link_state state;
    size_t endpoint;
    unsigned failures; /* since a connection was steady */
    int64_t up_ms, heard_ms, retry_ms;
    bool heard, troubled, dropping, connected;
    bool hurried;             /* something may have ended that was not looked at */
    char why[GRPC_WORDS_MAX]; /* it is dropped */
    enum baton_code why_code, told_code;
    char *token;
    unsigned login;   /* counts them */
    bool logging_in;  /* again, while it is up; calls wait */
    bool renewing;    /* it is dropped for a new token only */
    uint64_t cluster; /* its id; 0: not known yet */
    CURLM *multi;
    curl_socket_t socket;         /* of its connection; CURL_SOCKET_BAD */
    struct call *waiting, **last; /* in order */
    struct call *active;          /* under way */
    struct call *answered;        /* to be told; their outcome is known */
    struct call *stream;          /* one of the active */
    uv_timer_t curl_timer, due;
    int handles; /* of the loop, open */
};

static void process(struct link *link);

/* The only steps there are. */
static void set_state(struct link *link, enum link_state state)
{
    enum link_state now = link->state;
    bool goes_up = (now == LINK_WAITING && state == LINK_HELLO) || (now == LINK_HELLO && state == LINK_UP);
    bool goes_down = (now == LINK_HELLO || now == LINK_UP) && state == LINK_WAITING;
    assert(goes_up || goes_down || (now != LINK_CLOSED && state == LINK_CLOSED));
    link->state = state;
}

/* ---- closing handles ---- */

static void maybe_closed(struct link *link)
{
    if (link->state != LINK_CLOSED || link->handles > 0)
        return;
    void (*closed)(void *ctx) = link->callbacks.closed;
    void *ctx = link->ctx;
    free(link);
    closed(ctx);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct link *link = handle->data;
    assert(link->handles > 0);
    link->handles--;
    maybe_closed(link);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct watched *watched = handle->data;
    struct link *link = watched->link;
    free(watched);
    link->handles--;
    maybe_closed(link);
}

/* ---- libcurl on the loop (curl.se/libcurl/c/libcurl-multi.html, "multi_socket") ---- */

/* libcurl (7.88) reads what has come in pieces, and may leave the last one of a large message in a buffer of its own,
 * of which the socket knows nothing: it is asked again until it has nothing more to tell. */
static void act(struct link *link, curl_socket_t socket, int flags)
{
    int running;
    bool heard = link->heard;
    do {
        link->heard = false;
        curl_multi_socket_action(link->multi, socket, flags, &running);
        heard = heard || link->heard;
        flags = CURL_CSELECT_IN;
    } while (link->heard);
    link->heard = heard;
}

/* The same after libcurl was asked for something else and has read as well. */
static void drain(struct link *link)
{
    if (link->heard && link->socket != CURL_SOCKET_BAD)
        act(link, link->socket, CURL_CSELECT_IN);
}

static void on_socket_ready(uv_poll_t *poll, int status, int events)
{
    struct watched *watched = poll->data;
    struct link *link = watched->link;
    int flags = status < 0 ? CURL_CSELECT_ERR : 0;
    flags |= (events & UV_READABLE ? CURL_CSELECT_IN : 0) | (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0);
    act(link, watched->socket, flags);
    process(link);
}

static int on_socket(CURL *easy, curl_socket_t socket, int what, void *ctx, void *socket_ctx)
{
    struct link *link = ctx;
    struct watched *watched = socket_ctx;
    if (what != CURL_POLL_REMOVE)
        link->socket = socket;
    else if (link->socket == socket)
        link->socket = CURL_SOCKET_BAD;
    if (what == CURL_POLL_REMOVE) {
        if (watched != NULL)
            uv_close((uv_handle_t *)&watched->poll, on_poll_closed);
        return 0;
    }
    if (watched == NULL) {
        watched = mem_new(sizeof(*watched));
        watched->link = link;
        watched->socket = socket;
        if (uv_poll_init_socket(link->loop, &watched->poll, socket) < 0)
            IMPOSSIBLE("etcd: a socket of libcurl's cannot be polled");
        watched->poll.data = watched;
        link->handles++;
        curl_multi_assign(link->multi, socket, watched);
    }
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    uv_poll_start(&watched->poll, events, on_socket_ready);
    return 0;
}

static void on_curl_timer(uv_timer_t *timer)
{
    struct link *link = timer->data;
    int running;
    curl_multi_socket_action(link->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    drain(link);
    process(link);
}

static int on_timeout(CURLM *multi, long timeout_ms, void *ctx)
{
    struct link *link = ctx;
    if (timeout_ms < 0)
        uv_timer_stop(&link->curl_timer);
    else
        uv_timer_start(&link->curl_timer, on_curl_timer, (uint64_t)timeout_ms, 0);
    return 0;
}

/* One connection for all calls: all of them are dropped with it. */
static void multi_new(struct link *link)
{
    assert(link->multi == NULL); /* one connection at a time */
    link->multi = curl_multi_init();
    if (link->multi == NULL)
        IMPOSSIBLE("libcurl gives no handle");
    curl_multi_setopt(link->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(link->multi, CURLMOPT_SOCKETDATA, link);
    curl_multi_setopt(link->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
    curl_multi_setopt(link->multi, CURLMOPT_TIMERDATA, link);
    curl_multi_setopt(link->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
    curl_multi_setopt(link->multi, CURLMOPT_MAX_HOST_CONNECTIONS, 1L);
    curl_multi_setopt(link->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, 1L);
    curl_multi_setopt(link->multi, CURLMOPT_MAX_CONCURRENT_STREAMS, 1000L);
}

static void multi_free(struct link *link)
{
    if (link->multi == NULL)
        return;
    curl_multi_cleanup(link->multi);
    link->multi = NULL;
    link->socket = CURL_SOCKET_BAD;
    uv_timer_stop(&link->curl_timer);
}

/* ---- calls ---- */

static struct call *call_new(const char *method, const ProtobufCMessage *request, int64_t limit_ms, link_done done,
                             void *ctx)
{
    struct call *call = mem_new(sizeof(*call));
    call->method = method;
    call->until_ms = limit_ms == NEVER_MS ? NEVER_MS : clock_now_ms() + limit_ms;
    call->done = done;
    call->ctx = ctx;
    grpc_call_put(&call->grpc, request);
    return call;
}

static void call_free(struct link *link, struct call *call)
{
    if (call->grpc.easy != NULL && link->multi != NULL)
        curl_multi_remove_handle(link->multi, call->grpc.easy);
    grpc_call_release(&call->grpc);
    free(call->known);
    free(call);
}

/* Left to its own timer, libcurl sends the headers, and the body up to a millisecond later. */
static void hurry(struct link *link)
{
    int running;
    for (int i = 0; i < 3; i++)
        curl_multi_socket_action(link->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    link->hurried = true;
}

static void call_begin(struct link *link, struct call *call, bool open)
{
    assert(link->state == LINK_HELLO || link->state == LINK_UP);
    assert(call->known == NULL && call->grpc.easy == NULL);
    struct grpc_peer peer = {.url = link->url,
                             .endpoint = link->url->endpoints[link->endpoint],
                             .token = link->token,
                             .connected = link->connected};
    link->connected = true;
    call->login = link->login;
    grpc_call_begin(&call->grpc, &peer, call->method, open, &link->heard);
    curl_easy_setopt(call->grpc.easy, CURLOPT_PRIVATE, call);
    call->next = link->active;
    link->active = call;
    curl_multi_add_handle(link->multi, call->grpc.easy);
    hurry(link);
}

static void wait_in_line(struct link *link, struct call *call)
{
    assert(*link->last == NULL && call->next == NULL);
    *link->last = call;
    link->last = &call->next;
}

/* The first of those that wait, not in line any more; NULL: none. */
static struct call *next_waiting(struct link *link)
{
    struct call *call = link->waiting;
    if (call != NULL && (link->waiting = call->next) == NULL)
        link->last = &link->waiting;
    return call;
}

static void take_out(struct call **list, struct call *call)
{
    for (; *list != NULL; list = &(*list)->next) {
        if (*list == call) {
            *list = call->next;
            return;
        }
    }
}

static void tell(struct call *call, const struct grpc_result *result)
{
    if (call->done != NULL)
        call->done(call->ctx, result);
}

static void tell_broken(const struct link *link, struct call *call, const char *why)
{
    struct grpc_result result = {.status = GRPC_BROKEN, .denied = link->why_code == BATON_DENIED};
    text_copy(result.words, sizeof(result.words), why);
    tell(call, &result);
}

/* ---- time ---- */

static void on_due(uv_timer_t *timer);

static int64_t earliest(const struct call *list, int64_t at_ms)
{
    for (; list != NULL; list = list->next)
        if (list->until_ms < at_ms)
            at_ms = list->until_ms;
    return at_ms;
}

static void set_due(struct link *link)
{
    int64_t now_ms = clock_now_ms(), at_ms = earliest(link->active, earliest(link->waiting, NEVER_MS));
    if (link->state == LINK_WAITING && link->retry_ms < at_ms)
        at_ms = link->retry_ms;
    if (link->state == LINK_UP && link->heard_ms + PROBE_MS < at_ms)
        at_ms = link->heard_ms + PROBE_MS;
    if (link->answered != NULL || link->hurried)
        at_ms = 0;
    if (link->state == LINK_CLOSED || at_ms == NEVER_MS)
        uv_timer_stop(&link->due);
    else
        uv_timer_start(&link->due, on_due, at_ms > now_ms ? (uint64_t)(at_ms - now_ms) : 0, 0);
}

/* ---- down ---- */

/* Once an outage, and again when its kind changes. */
static void tell_trouble(struct link *link)
{
    const char *endpoint = link->url->endpoints[link->endpoint];
    struct baton_error err;
    if (link->troubled && link->told_code == link->why_code)
        return;
    link->troubled = true;
    link->told_code = link->why_code;
    error_set(&err, link->why_code, "etcd at %s: %s%s%s", endpoint, link->why,
              link->url->count > 1 ? " (and no other endpoint can be used)" : "",
              link->why_code == BATON_DENIED ? "; check user, password file, certificates and roles"
                                             : "; check that it runs there, and the URL");
    link->callbacks.trouble(link->ctx, &err);
}

static void give_up_calls(struct link *link)
{
    struct call *call;
    link->stream = NULL;
    while ((call = link->active) != NULL) {
        link->active = call->next;
        tell_broken(link, call, link->why);
        call_free(link, call);
    }
}

static int64_t backoff_ms(const struct link *link)
{
    if (link->failures < link->url->count)
        return 0; /* there is one that was not tried */
    unsigned cycles = link->failures / (unsigned)link->url->count;
    int64_t wait_ms = (int64_t)BACKOFF_MIN_MS << (cycles < 5 ? cycles - 1 : 4);
    return wait_ms < BACKOFF_MAX_MS ? wait_ms : BACKOFF_MAX_MS;
}

static void token_forget(struct link *link)
{
    if (link->token != NULL)
        explicit_bzero(link->token, strlen(link->token));
    free(link->token);
    link->token = NULL;
}

static void go_down(struct link *link)
{
    bool was_up = link->state == LINK_UP;
    int64_t now_ms = clock_now_ms();
    bool renewing = link->renewing;
    link->dropping = link->renewing = link->logging_in = false;
    set_state(link, LINK_WAITING);
    give_up_calls(link);
    assert(link->active == NULL && link->stream == NULL); /* all have been answered */
    multi_free(link);
    token_forget(link);
    if (was_up && now_ms - link->up_ms >= STEADY_MS)
        link->failures = 0;
    if (!renewing) {
        link->failures++;
        if (link->failures >= link->url->count)
            tell_trouble(link);
        link->endpoint = (link->endpoint + 1) % link->url->count;
    }
    link->retry_ms = now_ms + (renewing ? 0 : backoff_ms(link));
    if (was_up)
        link->callbacks.down(link->ctx);
}

static void drop(struct link *link, enum baton_code code, const char *why)
{
    if (link->dropping || (link->state != LINK_HELLO && link->state != LINK_UP))
        return;
    link->dropping = true;
    link->why_code = code;
    text_copy(link->why, sizeof(link->why), why);
}

void link_drop(struct link *link, const char *why)
{
    drop(link, BATON_UNAVAILABLE, why);
    uv_timer_start(&link->due, on_due, 0, 0);
}

void link_renew(struct link *link)
{
    if (!link_is_up(link))
        return;
    drop(link, BATON_UNAVAILABLE, "its token is not known any more");
    link->renewing = true;
    uv_timer_start(&link->due, on_due, 0, 0);
}

/* ---- up: who is there? ---- */

static void begin_waiting(struct link *link)
{
    for (struct call *call; (call = next_waiting(link)) != NULL;)
        call_begin(link, call, false);
}

static void on_hello(void *ctx, const struct grpc_result *result)
{
    struct link *link = ctx;
    if (result->status != GRPC_OK) {
        char why[GRPC_WORDS_MAX + 200];
        snprintf(why, sizeof(why), "the key %s%s cannot be read: %s", link->url->prefix, SESSION_KEY, result->words);
        drop(link, status_code(result), status_code(result) == BATON_DENIED ? why : result->words);
        return;
    }
    Etcdserverpb__RangeResponse *answer = etcdserverpb__range_response__unpack(NULL, result->length, result->message);
    uint64_t cluster = answer != NULL && answer->header != NULL ? answer->header->cluster_id : 0;
    if (cluster == 0) {
        drop(link, BATON_UNAVAILABLE, "its answer cannot be read");
    } else if (link->cluster != 0 && link->cluster != cluster) {
        drop(link, BATON_INVALID, "it belongs to another cluster than the endpoint before");
    } else {
        link->cluster = cluster;
        set_state(link, LINK_UP);
        link->up_ms = link->heard_ms = clock_now_ms();
        if (link->troubled)
            link->callbacks.trouble(link->ctx, NULL);
        link->troubled = false;
        link->callbacks.up(link->ctx);
        begin_waiting(link);
    }
    if (answer != NULL)
        etcdserverpb__range_response__free_unpacked(answer, NULL);
}

static void ask(struct link *link, bool of_member, int64_t limit_ms, link_done done)
{
    struct question question;
    question_init(&question, link->url, of_member);
    call_begin(link, call_new("KV/Range", &question.range.base, limit_ms, done, link), false);
    question_release(&question);
}

static void say_hello(struct link *link)
{
    ask(link, false, HELLO_LIMIT_MS, on_hello);
}

/* Is there a token now, or is none needed? If not, the connection is given up. */
static bool take_token(struct link *link, const struct grpc_result *result)
{
    if (result->status == GRPC_FAILED_PRECONDITION) { /* authentication is not enabled */
        token_forget(link);
        return true;
    }
    if (result->status != GRPC_OK) {
        drop(link, status_code(result), result->words);
        return false;
    }
    Etcdserverpb__AuthenticateResponse *answer =
        etcdserverpb__authenticate_response__unpack(NULL, result->length, result->message);
    if (answer == NULL) {
        drop(link, BATON_UNAVAILABLE, "its token cannot be read");
        return false;
    }
    token_forget(link);
    link->token = mem_text(answer->token);
    etcdserverpb__authenticate_response__free_unpacked(answer, NULL);
    return true;
}

static void on_token(void *ctx, const struct grpc_result *result)
{
    if (take_token(ctx, result))
        say_hello(ctx);
}

static void ask_token(struct link *link, link_done done)
{
    Etcdserverpb__AuthenticateRequest request = ETCDSERVERPB__AUTHENTICATE_REQUEST__INIT;
    char password[PASSWORD_MAX];
    struct baton_error err;
    if (etcd_password_read(link->url, password, &err) < 0) {
        drop(link, err.code, err.text);
        uv_timer_start(&link->due, on_due, 0, 0);
        return;
    }
    request.name = link->url->user;
    request.password = password;
    struct call *call = call_new("Auth/Authenticate", &request.base, HELLO_LIMIT_MS, done, link);
    explicit_bzero(password, sizeof(password));
    call->last_try = true;
    call_begin(link, call, false);
}

/* ---- a token that is not known any more ---- */

static void on_new_token(void *ctx, const struct grpc_result *result)
{
    struct link *link = ctx;
    if (!take_token(link, result))
        return;
    link->login++;
    link->logging_in = false;
    begin_waiting(link);
}

/* etcd forgets a token that was not used for a while (--auth-token-ttl, 300 s), and renewals do not use it: so the next
 * write of a quiet client is refused. A refused call had no effect: it is sent again, once, with a new token. */
static bool send_again(struct link *link, struct call *call, const struct grpc_result *result)
{
    if (link->url->user == NULL || !status_needs_token(result) || call->last_try || link->state != LINK_UP)
        return false;
    call->last_try = true;
    curl_multi_remove_handle(link->multi, call->grpc.easy);
    grpc_call_rewind(&call->grpc);
    bool is_newer = call->login != link->login; /* than its token is the one that there is */
    if (is_newer && link_is_up(link) && !link->logging_in) {
        call_begin(link, call, false);
        return true;
    }
    call->next = NULL;
    wait_in_line(link, call); /* for the next connection, if this one is being given up */
    if (link_is_up(link) && !link->logging_in) {
        link->logging_in = true;
        token_forget(link); /* a login that is sent with one that is not known is refused for it */
        ask_token(link, on_new_token);
    }
    return true;
}

static void connect_now(struct link *link)
{
    set_state(link, LINK_HELLO);
    link->connected = false;
    multi_new(link);
    if (link->url->user != NULL)
        ask_token(link, on_token);
    else
        say_hello(link);
}

/* ---- what has happened ---- */

static void deliver(struct link *link)
{
    const uint8_t *message;
    size_t length;
    while (link->stream != NULL && !link->dropping && grpc_call_next(&link->stream->grpc, &message, &length))
        link->callbacks.message(link->ctx, message, length);
}

static void drop_for_stream(struct link *link, const struct grpc_result *result)
{
    drop(link, status_code(result), result->words[0] != '\0' ? result->words : "its stream ended");
}

/* A stream that etcd has ended tells nothing any more, while all else goes on: views would stand still for ever. */
static void look_at_stream(struct link *link)
{
    struct grpc_result result;
    if (link->stream == NULL || link->dropping || !grpc_call_has_outcome(&link->stream->grpc))
        return;
    grpc_call_result(&link->stream->grpc, CURLE_OK, &result);
    drop_for_stream(link, &result);
}

static void ended(struct link *link, struct call *call, CURLcode code)
{
    struct grpc_result result;
    grpc_call_result(&call->grpc, code, &result);
    take_out(&link->active, call);
    if (call == link->stream) {
        link->stream = NULL;
        drop_for_stream(link, &result);
    } else if (send_again(link, call, &result)) {
        return;
    } else if (status_of_member(&result) || (link->url->user != NULL && status_needs_token(&result))) {
        drop(link, status_code(&result), result.words);
    }
    tell(call, &result);
    call_free(link, call);
}

static void process(struct link *link)
{
    CURLMsg *message;
    int left;
    if (link->heard)
        link->heard_ms = clock_now_ms();
    link->heard = link->hurried = false;
    deliver(link);
    look_at_stream(link);
    while (link->multi != NULL && (message = curl_multi_info_read(link->multi, &left)) != NULL) {
        char *call = NULL;
        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
        assert(call != NULL);
        ended(link, (struct call *)(void *)call, message->data.result);
    }
    if (link->dropping)
        go_down(link);
    set_due(link);
}

static void on_probe(void *ctx, const struct grpc_result *result)
{
}

/* A call that has waited too long: with it, the connection. */
static void look_at_limits(struct link *link, int64_t now_ms)
{
    struct call *waiting = link->waiting;
    link->waiting = NULL;
    link->last = &link->waiting;
    for (struct call *next; waiting != NULL; waiting = next) {
        next = waiting->next;
        waiting->next = NULL;
        if (now_ms < waiting->until_ms) {
            wait_in_line(link, waiting);
            continue;
        }
        tell_broken(link, waiting, link->why[0] != '\0' ? link->why : "no endpoint has answered yet");
        call_free(link, waiting);
    }
    for (const struct call *call = link->active; call != NULL; call = call->next) {
        if (now_ms >= call->until_ms) {
            drop(link, BATON_UNAVAILABLE, link->state == LINK_HELLO ? "it does not answer" : "it answers no more");
            break;
        }
    }
}

static void on_due(uv_timer_t *timer)
{
    struct link *link = timer->data;
    int64_t now_ms = clock_now_ms();
    drain(link);
    for (struct call *call; (call = link->answered) != NULL;) {
        link->answered = call->next;
        tell(call, call->known);
        call_free(link, call);
    }
    look_at_limits(link, now_ms);
    if (link->state == LINK_WAITING && now_ms >= link->retry_ms)
        connect_now(link);
    if (link->state == LINK_UP && now_ms - link->heard_ms >= PROBE_MS && !link->dropping) {
        link->heard_ms = now_ms; /* one at a time */
        ask(link, true, LINK_LIMIT_MS, on_probe);
    }
    process(link);
}

/* ---- what others ask ---- */

struct link *link_new(const struct etcd_url *url, uv_loop_t *loop, const struct link_callbacks *callbacks, void *ctx)
{
    struct link *link = mem_new(sizeof(*link));
    link->socket = CURL_SOCKET_BAD;
    link->url = url;
    link->loop = loop;
    link->callbacks = *callbacks;
    link->ctx = ctx;
    link->last = &link->waiting;
    assert(url->count > 0);
    link->endpoint = (size_t)(uv_hrtime() / 1000 % url->count); /* clients spread over the members */
    uv_timer_init(loop, &link->curl_timer);
    uv_timer_init(loop, &link->due);
    link->curl_timer.data = link->due.data = link;
    link->handles = 2;
    uv_timer_start(&link->due, on_due, 0, 0);
    return link;
}

void link_close(struct link *link)
{
    for (struct call *call = link->active; call != NULL; call = call->next)
        call->done = NULL;
    give_up_calls(link);
    for (struct call *call; (call = next_waiting(link)) != NULL;)
        call_free(link, call);
    for (struct call *call; (call = link->answered) != NULL;) {
        link->answered = call->next;
        call_free(link, call);
    }
    multi_free(link);
    token_forget(link);
    set_state(link, LINK_CLOSED);
    uv_close((uv_handle_t *)&link->curl_timer, on_handle_closed);
    uv_close((uv_handle_t *)&link->due, on_handle_closed);
}

void link_call(struct link *link, const char *method, const ProtobufCMessage *request, int64_t limit_ms, link_done done,
               void *ctx)
{
    assert(link->state != LINK_CLOSED && done != NULL && limit_ms >= 0);
    struct call *call = call_new(method, request, limit_ms, done, ctx);
    if (link_is_up(link) && !link->logging_in) {
        call_begin(link, call, false);
    } else {
        wait_in_line(link, call);
    }
    set_due(link);
}

void link_answer(struct link *link, const struct grpc_result *result, link_done done, void *ctx)
{
    assert(link->state != LINK_CLOSED && done != NULL);
    struct call *call = mem_new(sizeof(*call)), **last = &link->answered;
    call->known = mem_new(sizeof(*call->known));
    *call->known = *result;
    call->done = done;
    call->ctx = ctx;
    while (*last != NULL)
        last = &(*last)->next;
    *last = call;
    uv_timer_start(&link->due, on_due, 0, 0);
}

void link_forget(struct link *link, const void *ctx)
{
    for (struct call *call = link->answered; call != NULL; call = call->next)
        call->done = call->ctx == ctx ? NULL : call->done;
    for (struct call *call = link->active; call != NULL; call = call->next)
        call->done = call->ctx == ctx ? NULL : call->done;
    for (struct call *call = link->waiting; call != NULL; call = call->next)
        call->done = call->ctx == ctx ? NULL : call->done;
}

bool link_is_up(const struct link *link)
{
    return link->state == LINK_UP && !link->dropping;
}

void link_stream(struct link *link, const char *method, const ProtobufCMessage *request)
{
    if (!link_is_up(link))
        return;
    if (link->stream == NULL) {
        link->stream = call_new(method, request, NEVER_MS, NULL, NULL);
        call_begin(link, link->stream, true);
        return;
    }
    assert(strcmp(link->stream->method, method) == 0); /* there is one stream */
    grpc_call_put(&link->stream->grpc, request);
    grpc_call_resume(&link->stream->grpc);
}

const char *link_endpoint(const struct link *link)
{
    return link->url->endpoints[link->endpoint];
}
