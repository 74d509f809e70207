/* status.h: translates the outcome of a call: into the answer to a write, into words for an operator, and into what the
 * connection must do. */
#ifndef ETCD_STATUS_H
#define ETCD_STATUS_H

#include "baton/records.h"
#include "engine/etcd/grpc.h"

/* The code that fits. Not for GRPC_OK. */
enum baton_code status_code(const struct grpc_result *result);
/* Did the request certainly have no effect? Else nobody knows. Not for GRPC_OK. */
bool status_is_refusal(const struct grpc_result *result);
/* Another member may do better: this one is gone, stopping, or without a leader. */
bool status_of_member(const struct grpc_result *result);
/* The token is not known any more (it expires; members forget it when they restart), or was never asked for. */
bool status_needs_token(const struct grpc_result *result);
/* An error with words: "etcd at h1:2379: WHAT: what it said; what to try". Returns -1. */
int status_error(const struct grpc_result *result, const char *endpoint, const char *what, struct baton_error *err);
/* The answer to a write or a renewal that has failed. */
void status_reply(const struct grpc_result *result, const char *endpoint, const char *what, struct baton_reply *ret);

#endif
