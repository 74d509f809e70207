/* grpc.c: the callbacks and the options of libcurl for one call. */
#include "engine/etcd/grpc.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

#define PREFIX_BYTES 5 /* of each message */
#define CONNECT_LIMIT_MS 1500L
#define AFTER_HANDSHAKE ", right after the handshake: it may not trust the client's certificate"
#define WANTS_TLS ": it may want TLS (tls=yes, ca=FILE)"
#define WANTS_NO_TLS ": it may not want TLS (tls=yes, ca=, cert=)"

/* ---- what is sent ---- */

void grpc_call_put(struct grpc_call *call, const ProtobufCMessage *message)
{
    size_t length = protobuf_c_message_get_packed_size(message);
    assert(length <= UINT32_MAX && call->out_at <= call->out_length);
    if (call->out_at > 0) {
        memmove(call->out, call->out + call->out_at, call->out_length - call->out_at);
        call->out_length -= call->out_at;
        call->out_at = 0;
    }
    call->out = mem_grow(call->out, call->out_length + PREFIX_BYTES + length);
    uint8_t *to = call->out + call->out_length;
    to[0] = 0;
    for (int i = 0; i < 4; i++)
        to[1 + i] = (uint8_t)(length >> (24 - 8 * i));
    (void)protobuf_c_message_pack(message, to + PREFIX_BYTES);
    call->out_length += PREFIX_BYTES + length;
}

static size_t on_read(char *to, size_t size, size_t count, void *ctx)
{
    struct grpc_call *call = ctx;
    assert(call->out_at <= call->out_length);
    size_t length = call->held ? 0 : call->out_length - call->out_at;
    if (length == 0 && call->open) {
        call->paused = true;
        return CURL_READFUNC_PAUSE;
    }
    if (length > size * count)
        length = size * count;
    if (length > 0)
        memcpy(to, call->out + call->out_at, length);
    call->out_at += length;
    return length;
}

void grpc_call_resume(struct grpc_call *call)
{
    if (!call->paused)
        return;
    call->paused = false;
    curl_easy_pause(call->easy, CURLPAUSE_CONT);
}

/* ---- what comes ---- */

static size_t on_write(char *data, size_t size, size_t count, void *ctx)
{
    struct grpc_call *call = ctx;
    size_t length = size * count;
    *call->heard = true;
    if (call->in_at > 0) {
        memmove(call->in, call->in + call->in_at, call->in_length - call->in_at);
        call->in_length -= call->in_at;
        call->in_at = 0;
    }
    if (length > GRPC_MESSAGE_MAX + PREFIX_BYTES - call->in_length) {
        call->too_long = true;
        return 0;
    }
    if (call->in_length + length > call->in_room) {
        call->in_room = 2 * (call->in_length + length);
        call->in = mem_grow(call->in, call->in_room);
    }
    memcpy(call->in + call->in_length, data, length);
    call->in_length += length;
    return length;
}

bool grpc_call_next(struct grpc_call *call, const uint8_t **ret, size_t *ret_length)
{
    assert(call->in_at <= call->in_length && call->in_length <= call->in_room);
    size_t there = call->in_length - call->in_at;
    if (there < PREFIX_BYTES)
        return false;
    const uint8_t *at = call->in + call->in_at;
    size_t length = 0;
    for (int i = 1; i < PREFIX_BYTES; i++)
        length = length << 8 | at[i];
    if (there - PREFIX_BYTES < length)
        return false;
    *ret = at + PREFIX_BYTES;
    *ret_length = length;
    call->in_at += PREFIX_BYTES + length;
    return true;
}

/* The value of a header line, if it is this header's. */
static const char *header_value(const char *line, size_t length, const char *name, size_t *ret_length)
{
    size_t skip = strlen(name);
    if (length <= skip || strncasecmp(line, name, skip) != 0 || line[skip] != ':')
        return NULL;
    skip++;
    while (skip < length && line[skip] == ' ')
        skip++;
    while (length > skip && isspace((unsigned char)line[length - 1]))
        length--;
    *ret_length = length - skip;
    return line + skip;
}

/* grpc-message is percent-encoded. Control characters do not reach a terminal. */
static void take_words(struct grpc_call *call, const char *value, size_t length)
{
    size_t at = 0;
    for (size_t i = 0; i < length && at + 1 < sizeof(call->words); i++) {
        unsigned code = (unsigned char)value[i];
        if (value[i] == '%' && i + 2 < length && sscanf(value + i + 1, "%2x", &code) == 1)
            i += 2;
        call->words[at++] = (char)(code < ' ' || code == 127 ? ' ' : code);
    }
    call->words[at] = '\0';
}

static size_t on_header(char *line, size_t size, size_t count, void *ctx)
{
    struct grpc_call *call = ctx;
    size_t length = size * count, value_length = 0;
    const char *value;
    *call->heard = true;
    if (length > 5 && strncmp(line, "HTTP/", 5) == 0) {
        const char *space = memchr(line, ' ', length);
        call->http_status = space != NULL ? atoi(space + 1) : 0;
    } else if ((value = header_value(line, length, "content-type", &value_length)) != NULL) {
        call->grpc = value_length >= 16 && strncmp(value, "application/grpc", 16) == 0;
    } else if ((value = header_value(line, length, "grpc-status", &value_length)) != NULL) {
        call->status = atoi(value);
    } else if ((value = header_value(line, length, "grpc-message", &value_length)) != NULL) {
        take_words(call, value, value_length);
    }
    return length;
}

/* ---- life ---- */

#define TLS_NEW_SESSION_TICKET 4

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void prepare(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        IMPOSSIBLE("libcurl does not start");
}

void grpc_prepare(void)
{
    pthread_once(&once, prepare);
}

/* libcurl has no code for TLS's alerts, but shows its messages to who debugs a connection. One of two bytes is an
 * alert; a ticket comes from a server that is content with the client's certificate, or wants none (RFC 8446, 4.6.1 and
 * 6). */
static int on_tls_message(CURL *easy, curl_infotype kind, char *data, size_t size, void *ctx)
{
    struct grpc_call *call = ctx;
    if (kind == CURLINFO_SSL_DATA_IN && size == 2)
        call->alert = (unsigned char)data[1];
    else if (kind == CURLINFO_SSL_DATA_IN && size > 4 && data[0] == TLS_NEW_SESSION_TICKET)
        call->accepted = true;
    return 0;
}

static void set_tls(struct grpc_call *call, const struct etcd_url *url)
{
    CURL *easy = call->easy;
    if (url->ca != NULL)
        curl_easy_setopt(easy, CURLOPT_CAINFO, url->ca);
    if (url->cert != NULL) {
        curl_easy_setopt(easy, CURLOPT_SSLCERT, url->cert);
        curl_easy_setopt(easy, CURLOPT_SSLKEY, url->key);
    }
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (call->connects) {
        curl_easy_setopt(easy, CURLOPT_DEBUGFUNCTION, on_tls_message);
        curl_easy_setopt(easy, CURLOPT_DEBUGDATA, call);
        curl_easy_setopt(easy, CURLOPT_VERBOSE, 1L);
    }
}

static void set_headers(struct grpc_call *call, const struct grpc_peer *peer)
{
    call->headers = curl_slist_append(NULL, "content-type: application/grpc");
    call->headers = curl_slist_append(call->headers, "te: trailers");
    /* A member that has lost its quorum says so at once, and ends its streams (clientv3.WithRequireLeader). */
    call->headers = curl_slist_append(call->headers, "hasleader: true");
    call->headers = curl_slist_append(call->headers, "accept:");
    call->headers = curl_slist_append(call->headers, "expect:");
    if (peer->token != NULL) {
        char *token = mem_format("token: %s", peer->token);
        call->headers = curl_slist_append(call->headers, token);
        explicit_bzero(token, strlen(token));
        free(token);
    }
}

static void set_callbacks(struct grpc_call *call)
{
    curl_easy_setopt(call->easy, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(call->easy, CURLOPT_READDATA, call);
    curl_easy_setopt(call->easy, CURLOPT_WRITEFUNCTION, on_write);
    curl_easy_setopt(call->easy, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(call->easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(call->easy, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(call->easy, CURLOPT_ERRORBUFFER, call->error);
}

/* libcurl 7.88.1 (Debian 12) breaks a connection that it uses again when told of prior knowledge again
 * (github.com/curl/curl/pull/10643). */
static long http_version(const struct grpc_peer *peer)
{
    if (peer->url->tls)
        return CURL_HTTP_VERSION_2TLS;
    return peer->connected ? CURL_HTTP_VERSION_2_0 : CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE;
}

void grpc_call_begin(struct grpc_call *call, const struct grpc_peer *peer, const char *method, bool open, bool *heard)
{
    assert(call->easy == NULL && (open || call->out_length > 0)); /* its message was put into it before */
    call->easy = curl_easy_init();
    if (call->easy == NULL)
        IMPOSSIBLE("libcurl gives no handle");
    call->open = open;
    call->heard = heard;
    call->tls = peer->url->tls;
    call->connects = !peer->connected;
    call->status = GRPC_BROKEN;
    set_headers(call, peer);
    set_callbacks(call);
    char *where = mem_format("%s://%s/etcdserverpb.%s", call->tls ? "https" : "http", peer->endpoint, method);
    CURL *easy = call->easy;
    curl_easy_setopt(easy, CURLOPT_URL, where);
    free(where);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, http_version(peer));
    if (call->tls)
        set_tls(call, peer->url);
    curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_LIMIT_MS);
    /* Or whoever gives up a call would wait for the resolver, as long as that waits for its name servers. */
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 16384L);
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, 16384L);
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    if (!open)
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->out_length);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->headers);
}

void grpc_call_begin_held(struct grpc_call *call, const struct grpc_peer *peer, const char *method, bool *heard)
{
    assert(!call->held);
    call->held = true;
    grpc_call_begin(call, peer, method, true, heard);
}

bool grpc_call_headers_sent(const struct grpc_call *call)
{
    return call->paused; /* libcurl has asked for what follows them */
}

void grpc_call_empty(struct grpc_call *call)
{
    if (call->out != NULL)
        explicit_bzero(call->out, call->out_length); /* it may hold a password */
    call->out_length = call->out_at = 0;
}

void grpc_call_let_go(struct grpc_call *call)
{
    assert(call->held);
    call->held = call->open = false;
    grpc_call_resume(call);
}

void grpc_call_release(struct grpc_call *call)
{
    if (call->easy != NULL)
        curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->headers);
    grpc_call_empty(call);
    free(call->out);
    free(call->in);
    *call = (struct grpc_call){0};
}

void grpc_call_rewind(struct grpc_call *call)
{
    assert(!call->open && !call->held);
    struct grpc_call again = {.out = call->out, .out_length = call->out_length};
    call->out = NULL;
    grpc_call_release(call);
    *call = again;
}

bool grpc_call_has_outcome(const struct grpc_call *call)
{
    return call->status != GRPC_BROKEN;
}

/* libcurl (7.88) may lose the trailers of one call while the long answer of another comes over the same connection. The
 * call has then ended in order, with its message whole; and etcd sends a message only if the call has succeeded. */
static bool has_lost_its_trailers(const struct grpc_call *call, CURLcode code)
{
    size_t length = 0;
    if (call->open || code != CURLE_OK || call->http_status != 200 || !call->grpc || call->status != GRPC_BROKEN ||
        call->in_length < PREFIX_BYTES || call->in_at > 0)
        return false;
    for (int i = 1; i < PREFIX_BYTES; i++)
        length = length << 8 | call->in[i];
    return call->in_length == PREFIX_BYTES + length;
}

/* ---- why there was none ---- */

/* With TLS 1.3 the server looks at the client's certificate when the client has done its part of the handshake. It then
 * closes the connection, and if something was sent already, its alert is lost. */
static bool is_cut_after_handshake(const struct grpc_call *call, CURLcode code)
{
    return call->tls && call->connects && !call->accepted && call->alert == 0 && call->http_status == 0 &&
           (code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR || code == CURLE_UNRECOVERABLE_POLL ||
            code == CURLE_HTTP2);
}

/* RFC 8446, 6.2; the first is what some servers say to a client without a certificate. */
static bool is_about_certificates(int alert)
{
    switch (alert) {
    case 40:  /* handshake_failure */
    case 42:  /* bad_certificate */
    case 43:  /* unsupported_certificate */
    case 44:  /* certificate_revoked */
    case 45:  /* certificate_expired */
    case 46:  /* certificate_unknown */
    case 48:  /* unknown_ca */
    case 49:  /* access_denied */
    case 116: /* certificate_required */
        return true;
    default:
        return false;
    }
}

static bool is_denied(const struct grpc_call *call, CURLcode code)
{
    switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION: /* the server's certificate */
    case CURLE_SSL_CERTPROBLEM:          /* the client's */
    case CURLE_SSL_CACERT_BADFILE:
        return true;
    default:
        return is_about_certificates(call->alert) || is_cut_after_handshake(call, code);
    }
}

static const char *hint(const struct grpc_call *call, CURLcode code)
{
    bool reached = code != CURLE_COULDNT_CONNECT && code != CURLE_COULDNT_RESOLVE_HOST &&
                   code != CURLE_OPERATION_TIMEDOUT && code != CURLE_OUT_OF_MEMORY;
    if (is_cut_after_handshake(call, code))
        return AFTER_HANDSHAKE;
    if (call->tls)
        return code == CURLE_SSL_CONNECT_ERROR && call->alert == 0 ? WANTS_NO_TLS : "";
    return reached && call->connects && call->http_status == 0 ? WANTS_TLS : "";
}

void grpc_call_result(struct grpc_call *call, CURLcode code, struct grpc_result *ret)
{
    *ret = (struct grpc_result){.status = GRPC_BROKEN};
    if (has_lost_its_trailers(call, code))
        call->status = GRPC_OK;
    if (call->too_long) {
        snprintf(ret->words, sizeof(ret->words), "it sent a message of more than %d bytes", GRPC_MESSAGE_MAX);
    } else if (call->status != GRPC_BROKEN) {
        ret->status = call->status;
        text_copy(ret->words, sizeof(ret->words), call->words);
        if (call->status == GRPC_OK && !grpc_call_next(call, &ret->message, &ret->length))
            ret->message = NULL;
    } else if (code != CURLE_OK) {
        const char *words = call->error[0] != '\0' ? call->error : curl_easy_strerror(code);
        snprintf(ret->words, sizeof(ret->words), "%.200s%s", words, hint(call, code));
        ret->denied = is_denied(call, code);
    } else if (call->http_status != 200 || !call->grpc) {
        snprintf(ret->words, sizeof(ret->words), "it does not speak etcd's API (HTTP status %d)", call->http_status);
    } else {
        text_copy(ret->words, sizeof(ret->words), "the answer broke off");
    }
}
