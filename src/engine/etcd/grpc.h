/* grpc.h: one gRPC call over libcurl: its request, its answer, and its outcome.
 *
 * gRPC over HTTP/2 (github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md): POST /SERVICE/METHOD, each message behind
 * five bytes (compressed: 0; length, 4 bytes, big-endian), the outcome in the trailers grpc-status and grpc-message.
 *
 * A request is never sent twice: libcurl may begin a request again on a new connection when a reused one breaks, which
 * could apply a write twice. The body is given by a callback that cannot be rewound, so libcurl fails instead.
 */
#ifndef ETCD_GRPC_H
#define ETCD_GRPC_H

#include <curl/curl.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/etcd/url.h"

#define GRPC_MESSAGE_MAX (64 * 1024 * 1024) /* bytes of one message that is accepted */
#define GRPC_WORDS_MAX 300

/* grpc-status (github.com/grpc/grpc/blob/master/doc/statuscodes.md), and one of ours. */
enum grpc_status {
    GRPC_BROKEN = -1, /* no answer of a gRPC server: cut, timed out, or something else listens there */
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_UNAVAILABLE = 14,
    GRPC_UNAUTHENTICATED = 16
};

/* How a call ended. */
struct grpc_result {
    int status; /* enum grpc_status, or another number that the server chose */
    char words[GRPC_WORDS_MAX];
    bool denied;            /* broken, as one side does not accept what the other has shown: certificate, login */
    const uint8_t *message; /* the answer, valid while the call is; NULL: none */
    size_t length;
};

/* Where calls go. */
struct grpc_peer {
    const struct etcd_url *url;
    const char *endpoint; /* "host:port" */
    const char *token;    /* of Authenticate; NULL: none */
    bool connected;       /* there is a connection already; the first call makes it */
};

struct grpc_call {
    CURL *easy;
    struct curl_slist *headers;
    uint8_t *out;
    size_t out_length, out_at;
    bool open;   /* more may be sent: the end of what is there is not the end of the request */
    bool held;   /* of what is there nothing is sent yet */
    bool paused; /* libcurl waits for more */
    uint8_t *in;
    size_t in_length, in_at, in_room;
    bool *heard; /* set to true when anything comes */
    bool too_long, grpc;
    bool tls, connects; /* it makes the connection */
    bool accepted;      /* with TLS: the server goes on after the handshake */
    int alert;          /* of TLS, with which the server ended it; 0: none */
    int http_status, status;
    char words[GRPC_WORDS_MAX];
    char error[CURL_ERROR_SIZE];
};

/* Once a process, before anything else; more often is harmless. */
void grpc_prepare(void);

/* The messages to send are put into a call first, and stay there until it is begun. A released call is empty. */
void grpc_call_put(struct grpc_call *call, const ProtobufCMessage *message);
/* Give it a handle of libcurl. `open`: more messages may follow; `heard` is set when anything comes. */
void grpc_call_begin(struct grpc_call *call, const struct grpc_peer *peer, const char *method, bool open, bool *heard);
/* The same, but only its headers are sent, and the messages wait for grpc_call_let_go: the server has its part of the
 * call begun by then. They can still be others: grpc_call_empty, grpc_call_put. */
void grpc_call_begin_held(struct grpc_call *call, const struct grpc_peer *peer, const char *method, bool *heard);
bool grpc_call_headers_sent(const struct grpc_call *call); /* of a held one */
void grpc_call_empty(struct grpc_call *call);              /* of a held one, or before it is begun */
/* No more messages follow. Not from inside a callback of libcurl. */
void grpc_call_let_go(struct grpc_call *call);
void grpc_call_release(struct grpc_call *call);
/* Of one that was not open, and has ended without effect: as before grpc_call_begin, with the same message. */
void grpc_call_rewind(struct grpc_call *call);
/* After grpc_call_put on an open call that was begun: go on sending. Not from inside a callback of libcurl. */
void grpc_call_resume(struct grpc_call *call);
/* The next whole message that has come; valid until the next call of a function here. */
bool grpc_call_next(struct grpc_call *call, const uint8_t **ret, size_t *ret_length);
/* Has its outcome come? libcurl (7.88.1) does not always end a call then that was not sent to its end: when the server
 * ends it, and resets the stream a moment later. */
bool grpc_call_has_outcome(const struct grpc_call *call);
/* After its end, which libcurl says was `code`. */
void grpc_call_result(struct grpc_call *call, CURLcode code, struct grpc_result *ret);

#endif
