/* status.c: one switch over gRPC's status codes for each of these. */
#include "engine/etcd/status.h"

#include <string.h>

#include "base/base.h"

/* One status of gRPC stands for several errors of etcd's. They are told apart by their names, as etcd's own client does
 * (its package api/v3rpc/rpctypes): the whole text, never a part of it. */
static bool is(const struct grpc_result *result, enum grpc_status status, const char *name)
{
    return result->status == (int)status && strcmp(result->words, name) == 0;
}

static bool has_no_user(const struct grpc_result *result)
{
    return is(result, GRPC_INVALID_ARGUMENT, "etcdserver: user name is empty") ||
           is(result, GRPC_INVALID_ARGUMENT, "etcdserver: revision of auth store is old");
}

static bool is_wrong_password(const struct grpc_result *result)
{
    return is(result, GRPC_INVALID_ARGUMENT, "etcdserver: authentication failed, invalid user ID or password");
}

enum baton_code status_code(const struct grpc_result *result)
{
    switch (result->status) {
    case GRPC_BROKEN:
        return result->denied ? BATON_DENIED : BATON_UNAVAILABLE;
    case GRPC_PERMISSION_DENIED:
    case GRPC_UNAUTHENTICATED:
        return BATON_DENIED;
    case GRPC_INVALID_ARGUMENT:
        return has_no_user(result) || is_wrong_password(result) ? BATON_DENIED : BATON_INVALID;
    case GRPC_NOT_FOUND:
        return is(result, GRPC_NOT_FOUND, "etcdserver: requested lease not found") ? BATON_LOST : BATON_NOT_FOUND;
    case GRPC_RESOURCE_EXHAUSTED: /* "too many requests" passes by itself */
        return is(result, GRPC_RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded") ? BATON_FULL
                                                                                                : BATON_UNAVAILABLE;
    case GRPC_ALREADY_EXISTS:
    case GRPC_FAILED_PRECONDITION:
        return BATON_CONFLICT;
    case GRPC_UNIMPLEMENTED:
        return BATON_UNSUPPORTED;
    default:
        return BATON_UNAVAILABLE;
    }
}

bool status_is_refusal(const struct grpc_result *result)
{
    switch (result->status) {
    case GRPC_INVALID_ARGUMENT:
    case GRPC_NOT_FOUND:
    case GRPC_ALREADY_EXISTS:
    case GRPC_PERMISSION_DENIED:
    case GRPC_RESOURCE_EXHAUSTED:
    case GRPC_FAILED_PRECONDITION:
    case GRPC_UNIMPLEMENTED:
    case GRPC_UNAUTHENTICATED:
        return true;
    default:
        return false;
    }
}

/* "leader changed" is the one that is over when it is told. */
bool status_of_member(const struct grpc_result *result)
{
    return result->status == GRPC_BROKEN ||
           (result->status == GRPC_UNAVAILABLE && !is(result, GRPC_UNAVAILABLE, "etcdserver: leader changed"));
}

bool status_needs_token(const struct grpc_result *result)
{
    return result->status == GRPC_UNAUTHENTICATED || has_no_user(result);
}

static const char *advice(enum baton_code code)
{
    switch (code) {
    case BATON_DENIED:
        return "; check user=, password-file= and the roles of the user";
    case BATON_FULL:
        return "; compact and defragment it, raise its quota, then: etcdctl alarm disarm";
    default:
        return "";
    }
}

int status_error(const struct grpc_result *result, const char *endpoint, const char *what, struct baton_error *err)
{
    enum baton_code code = status_code(result);
    return error_set(err, code, "etcd at %s: %s: %s%s", endpoint, what,
                     result->words[0] != '\0' ? result->words : "it gave no reason", advice(code));
}

void status_reply(const struct grpc_result *result, const char *endpoint, const char *what, struct baton_reply *ret)
{
    *ret = (struct baton_reply){.answer = status_is_refusal(result) ? BATON_ANSWER_REFUSED : BATON_ANSWER_UNKNOWN};
    (void)status_error(result, endpoint, what, &ret->error);
}
