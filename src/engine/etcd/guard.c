/* guard.c: the guard's functions of the contract: writes the testament and revokes the lease. Synchronous, over a
 * connection of its own that is made ahead. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "engine/etcd/etcd.h"
#include "engine/write.h"

#define TRY_MS 1000   /* for an answer of one endpoint */
#define AHEAD_MS 200  /* to connect beforehand */
#define PAUSE_MS 100  /* after each was tried */
#define GIVE_WAY_MS 5 /* to the next leader, which may wait for this very core, or for etcd's */

struct baton_engine_guard {
    struct etcd_url url;
    uint64_t session;
    size_t endpoint; /* the one to try next */
    CURLM *multi;    /* of one try */
    bool connected;
    curl_socket_t socket;         /* of the connection; CURL_SOCKET_BAD: none */
    struct baton_write testament; /* no key: none */
    struct grpc_call last_word;   /* the call that writes it; begun ahead, it has only its message to send */
    bool has_last_word, heard;
    uint32_t ttl_ms; /* as the last renewal was answered */
};

static void multi_new(struct baton_engine_guard *guard)
{
    assert(guard->multi == NULL && !guard->has_last_word);
    guard->connected = false;
    guard->socket = CURL_SOCKET_BAD;
    guard->multi = curl_multi_init();
    if (guard->multi == NULL)
        IMPOSSIBLE("libcurl gives no handle");
}

static void forget_last_word(struct baton_engine_guard *guard)
{
    if (!guard->has_last_word)
        return;
    guard->has_last_word = false;
    curl_multi_remove_handle(guard->multi, guard->last_word.easy);
    grpc_call_release(&guard->last_word);
}

/* With all that was made for this connection. */
static void multi_free(struct baton_engine_guard *guard)
{
    forget_last_word(guard);
    if (guard->multi != NULL)
        curl_multi_cleanup(guard->multi);
    guard->multi = NULL;
}

static struct grpc_peer next_peer(struct baton_engine_guard *guard, const char *token)
{
    assert(guard->endpoint < guard->url.count);
    struct grpc_peer peer = {.url = &guard->url,
                             .endpoint = guard->url.endpoints[guard->endpoint],
                             .token = token,
                             .connected = guard->connected};
    guard->connected = true;
    return peer;
}

static bool is_sent(const struct grpc_call *call)
{
    curl_off_t sent = 0;
    (void)curl_easy_getinfo(call->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
    return sent == (curl_off_t)call->out_length;
}

/* Run a call that is begun to its end, or until the limit: then it is broken. `gives_way`: the call wakes another
 * process, which has more to do than this one: the answer is read a little later. */
static void finish(struct baton_engine_guard *guard, struct grpc_call *call, bool gives_way, int64_t until_ms,
                   struct grpc_result *ret)
{
    CURLcode code = CURLE_OPERATION_TIMEDOUT;
    int running = 1, left;
    bool held = call->held;
    if (held)
        grpc_call_let_go(call);
    else
        curl_multi_add_handle(guard->multi, call->easy);
    while (running > 0) {
        int64_t left_ms = until_ms - clock_now_ms();
        if (curl_multi_perform(guard->multi, &running) != CURLM_OK || running == 0 || left_ms <= 0)
            break;
        if (held && grpc_call_has_outcome(call))
            break; /* libcurl would begin it again on another connection, which cannot be done */
        if (gives_way && is_sent(call)) {
            (void)poll(NULL, 0, GIVE_WAY_MS);
            gives_way = false;
            continue;
        }
        curl_multi_poll(guard->multi, NULL, 0, (int)left_ms, NULL);
    }
    const CURLMsg *message = curl_multi_info_read(guard->multi, &left);
    if (message != NULL && message->msg == CURLMSG_DONE)
        code = message->data.result;
    grpc_call_result(call, code, ret);
    if (curl_easy_getinfo(call->easy, CURLINFO_ACTIVESOCKET, &guard->socket) != CURLE_OK)
        guard->socket = CURL_SOCKET_BAD;
    curl_multi_remove_handle(guard->multi, call->easy);
}

static void run(struct baton_engine_guard *guard, struct grpc_call *call, const char *method, const char *token,
                int64_t until_ms, struct grpc_result *ret)
{
    struct grpc_peer peer = next_peer(guard, token);
    grpc_call_begin(call, &peer, method, false, &guard->heard);
    finish(guard, call, false, until_ms, ret);
}

/* A connection that is there already saves a third of the time at the end. If it cannot be had, or has broken by then,
 * another one is made. Not for a user with a password: to compare that takes etcd far longer than to connect, and a
 * token of now may be over by then. */
static void connect_ahead(struct baton_engine_guard *guard)
{
    struct question question;
    struct grpc_call call = {0};
    struct grpc_result result;
    if (guard->url.user != NULL)
        return;
    question_init(&question, &guard->url, true);
    grpc_call_put(&call, &question.range.base);
    question_release(&question);
    multi_new(guard);
    run(guard, &call, "KV/Range", NULL, clock_now_ms() + AHEAD_MS, &result);
    grpc_call_release(&call);
    if (result.status != GRPC_OK)
        multi_free(guard);
}

/* It may have been closed meanwhile (the member was restarted). libcurl would notice, and begin another connection in
 * the way of one that is there already (grpc.c, http_version), which etcd does not understand. */
static bool connection_is_over(const struct baton_engine_guard *guard)
{
    char byte;
    if (guard->socket == CURL_SOCKET_BAD)
        return true;
    ssize_t got = recv(guard->socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno != EAGAIN);
}

/* The token, which the caller frees; NULL: none, or it cannot be had (*ret is not GRPC_OK). */
static char *authenticate(struct baton_engine_guard *guard, int64_t until_ms, struct grpc_result *ret)
{
    Etcdserverpb__AuthenticateRequest request = ETCDSERVERPB__AUTHENTICATE_REQUEST__INIT;
    char password[PASSWORD_MAX], *token = NULL;
    struct grpc_call call = {0};
    struct baton_error err;
    *ret = (struct grpc_result){.status = GRPC_OK};
    if (guard->url.user == NULL)
        return NULL;
    if (etcd_password_read(&guard->url, password, &err) < 0) {
        ret->status = GRPC_UNAUTHENTICATED;
        text_copy(ret->words, sizeof(ret->words), err.text);
        return NULL;
    }
    request.name = guard->url.user;
    request.password = password;
    grpc_call_put(&call, &request.base);
    explicit_bzero(password, sizeof(password));
    run(guard, &call, "Auth/Authenticate", NULL, until_ms, ret);
    Etcdserverpb__AuthenticateResponse *answer = NULL;
    if (ret->status == GRPC_OK && ret->message != NULL)
        answer = etcdserverpb__authenticate_response__unpack(NULL, ret->length, ret->message);
    if (answer != NULL) {
        token = mem_text(answer->token);
        etcdserverpb__authenticate_response__free_unpacked(answer, NULL);
    }
    if (ret->status == GRPC_FAILED_PRECONDITION) /* authentication is not enabled */
        ret->status = GRPC_OK;
    grpc_call_release(&call);
    return token;
}

static void put_testament(const struct baton_engine_guard *guard, struct grpc_call *call)
{
    struct txn txn;
    assert(guard->testament.key != NULL);
    txn_init(&txn, guard->url.prefix, &guard->testament);
    grpc_call_put(call, &txn.request.base);
    txn_release(&txn);
}

/* Its headers go ahead: etcd has begun its part of the call by then, and what is left is one message. */
static void begin_last_word(struct baton_engine_guard *guard)
{
    int64_t until_ms = clock_now_ms() + AHEAD_MS;
    int running = 1;
    struct grpc_peer peer = next_peer(guard, NULL);
    guard->last_word = (struct grpc_call){0};
    grpc_call_begin_held(&guard->last_word, &peer, "KV/Txn", &guard->heard);
    guard->has_last_word = true;
    curl_multi_add_handle(guard->multi, guard->last_word.easy);
    while (curl_multi_perform(guard->multi, &running) == CURLM_OK && running > 0) {
        int64_t left_ms = until_ms - clock_now_ms();
        if (grpc_call_headers_sent(&guard->last_word))
            return;
        if (left_ms <= 0)
            break;
        curl_multi_poll(guard->multi, NULL, 0, (int)left_ms, NULL);
    }
    multi_free(guard);
}

/* Is what was made ahead still good? What has come meanwhile is read: a ping wants its answer (etcd asks a connection
 * that is silent for two hours), and somebody in between may have ended the call. */
static void look_at_connection(struct baton_engine_guard *guard)
{
    int running = 1;
    if (guard->multi != NULL && guard->has_last_word &&
        (curl_multi_perform(guard->multi, &running) != CURLM_OK || running == 0))
        multi_free(guard);
    if (guard->multi != NULL && connection_is_over(guard))
        multi_free(guard);
}

static bool is_same(const struct baton_write *one, const struct baton_write *two)
{
    return one->key != NULL && two != NULL && one->if_revision == two->if_revision && one->kind == two->kind &&
           strcmp(one->key, two->key) == 0 && one->kind == BATON_WRITE_PUT && strcmp(one->value, two->value) == 0;
}

/* The call is begun now, when there is time; but not one that needs a token, which may be over by then. The same
 * testament comes again at a quiet time, in which the guard can wait for a connection. */
void etcd_guard_testament(struct baton_engine_guard *guard, const struct baton_write *write)
{
    bool again = is_same(&guard->testament, write);
    write_replace(&guard->testament, write);
    if (write == NULL || guard->url.user != NULL) {
        forget_last_word(guard);
        return;
    }
    look_at_connection(guard);
    if (guard->multi == NULL && again)
        connect_ahead(guard);
    if (guard->multi != NULL && !guard->has_last_word)
        begin_last_word(guard);
    if (!guard->has_last_word)
        return;
    grpc_call_empty(&guard->last_word);
    put_testament(guard, &guard->last_word);
}

/* libcurl (7.88) loses the beginning of the answer to a call whose message came late, though not its outcome, and takes
 * its connection for broken: nothing more is sent over it. */
static void write_testament(struct baton_engine_guard *guard, const char *token, int64_t until_ms,
                            struct grpc_result *ret)
{
    if (guard->has_last_word) {
        finish(guard, &guard->last_word, true, until_ms, ret);
        multi_free(guard);
    } else {
        struct grpc_call call = {0};
        struct grpc_peer peer = next_peer(guard, token);
        put_testament(guard, &call);
        grpc_call_begin(&call, &peer, "KV/Txn", false, &guard->heard);
        finish(guard, &call, true, until_ms, ret);
        grpc_call_release(&call);
    }
    ret->message = NULL; /* it was in the call */
}

/* Once: whether it took effect or not, or nobody knows. An answer that is no broken connection does not keep the lease
 * from its end. */
static void write_last_testament(struct baton_engine_guard *guard, const char *token, int64_t until_ms,
                                 struct grpc_result *ret)
{
    write_testament(guard, token, until_ms, ret);
    if (ret->status != GRPC_BROKEN && ret->status != GRPC_UNAVAILABLE) {
        etcd_guard_testament(guard, NULL);
        ret->status = GRPC_OK;
    }
}

static void revoke_lease(struct baton_engine_guard *guard, int64_t until_ms, struct grpc_result *ret)
{
    Etcdserverpb__LeaseRevokeRequest request = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    struct grpc_call call = {0};
    if (guard->multi != NULL && connection_is_over(guard))
        multi_free(guard);
    if (guard->multi == NULL)
        multi_new(guard);
    char *token = authenticate(guard, until_ms, ret);
    if (ret->status == GRPC_OK && guard->testament.key != NULL)
        write_last_testament(guard, token, until_ms, ret);
    if (guard->multi == NULL)
        multi_new(guard);
    if (ret->status == GRPC_OK) {
        request.id = (int64_t)guard->session;
        grpc_call_put(&call, &request.base);
        run(guard, &call, "Lease/LeaseRevoke", token, until_ms, ret);
        ret->message = NULL;
        grpc_call_release(&call);
    }
    free(token);
    multi_free(guard);
}

int etcd_guard_open(const char *text, int fd, struct baton_engine_guard **ret, struct baton_error *err)
{
    unsigned long long session;
    int url_at = 0;
    if (sscanf(text, "%llu %n", &session, &url_at) != 1 || url_at == 0)
        return error_set(err, BATON_INVALID, "etcd: '%.100s' does not describe a session", text);
    struct baton_engine_guard *guard = mem_new(sizeof(*guard));
    if (etcd_url_parse(text + url_at, &guard->url, err) < 0) {
        free(guard);
        return -1;
    }
    guard->session = session;
    grpc_prepare(); /* now, when there is time */
    connect_ahead(guard);
    *ret = guard;
    return 0;
}

void etcd_guard_close(struct baton_engine_guard *guard)
{
    if (guard == NULL)
        return;
    multi_free(guard);
    write_release(&guard->testament);
    etcd_url_release(&guard->url);
    free(guard);
}

/* One try at one endpoint; both answers are true for ever. */
struct tried {
    void (*ask)(struct baton_engine_guard *guard, int64_t until_ms, struct grpc_result *ret);
    const char *words; /* for an error: "its lease cannot be revoked" */
};

/* Ask one endpoint after the other. GRPC_OK, GRPC_NOT_FOUND, or the last answer and its words. */
static enum grpc_status ask_all(struct baton_engine_guard *guard, const struct tried *what, uint32_t timeout_ms,
                                struct baton_error *err)
{
    int64_t now_ms = clock_now_ms(), until_ms = now_ms + timeout_ms;
    struct grpc_result result;
    for (size_t tried = 1;; tried++) {
        int64_t try_ms = now_ms + TRY_MS < until_ms ? now_ms + TRY_MS : until_ms;
        what->ask(guard, try_ms, &result);
        if (result.status == GRPC_OK || result.status == GRPC_NOT_FOUND)
            break;
        status_error(&result, guard->url.endpoints[guard->endpoint], what->words, err);
        guard->endpoint = (guard->endpoint + 1) % guard->url.count;
        now_ms = clock_now_ms();
        if (now_ms >= until_ms)
            break;
        if (tried % guard->url.count == 0)
            (void)poll(NULL, 0, PAUSE_MS);
    }
    return result.status;
}

int etcd_guard_end(struct baton_engine_guard *guard, uint32_t timeout_ms, struct baton_error *err)
{
    const struct tried end = {.ask = revoke_lease, .words = "its lease cannot be revoked"};
    enum grpc_status status = ask_all(guard, &end, timeout_ms, err);
    return status == GRPC_OK || status == GRPC_NOT_FOUND ? 0 : -1;
}

/* That a lease is over is told by a ttl of 0. */
static void renew_lease(struct baton_engine_guard *guard, int64_t until_ms, struct grpc_result *ret)
{
    Etcdserverpb__LeaseKeepAliveRequest request = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
    Etcdserverpb__LeaseKeepAliveResponse *answer = NULL;
    struct grpc_call call = {0};
    forget_last_word(guard);
    if (guard->multi != NULL && connection_is_over(guard))
        multi_free(guard);
    if (guard->multi == NULL)
        multi_new(guard);
    char *token = authenticate(guard, until_ms, ret);
    if (ret->status == GRPC_OK) {
        request.id = (int64_t)guard->session;
        grpc_call_put(&call, &request.base);
        run(guard, &call, "Lease/LeaseKeepAlive", token, until_ms, ret);
        if (ret->status == GRPC_OK && ret->message != NULL)
            answer = etcdserverpb__lease_keep_alive_response__unpack(NULL, ret->length, ret->message);
        if (ret->status == GRPC_OK && answer == NULL)
            *ret = (struct grpc_result){.status = GRPC_UNAVAILABLE, .words = "no answer"};
        guard->ttl_ms = answer != NULL && answer->ttl > 0 ? (uint32_t)answer->ttl * 1000 : 0;
        if (answer != NULL && answer->ttl <= 0)
            ret->status = GRPC_NOT_FOUND;
        if (answer != NULL)
            etcdserverpb__lease_keep_alive_response__free_unpacked(answer, NULL);
        ret->message = NULL;
        grpc_call_release(&call);
    }
    free(token);
    if (ret->status != GRPC_OK)
        multi_free(guard);
}

int etcd_guard_renew(struct baton_engine_guard *guard, uint32_t timeout_ms, uint32_t *ret_ttl_ms,
                     struct baton_error *err)
{
    const struct tried renewal = {.ask = renew_lease, .words = "its lease cannot be renewed"};
    enum grpc_status status = ask_all(guard, &renewal, timeout_ms, err);
    if (status == GRPC_NOT_FOUND)
        return error_set(err, BATON_LOST, "etcd at %s: the session's lease %llx is over (expired or revoked)",
                         guard->url.endpoints[guard->endpoint], (unsigned long long)guard->session);
    *ret_ttl_ms = guard->ttl_ms;
    return status == GRPC_OK ? 0 : -1;
}
