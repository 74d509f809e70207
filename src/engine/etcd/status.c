/* status.c: see status.h. The words are etcd's own (its package api/v3rpc/rpctypes). */
#include "engine/etcd/status.h"

#include <string.h>

#include "base/base.h"

static bool says(const struct grpc_result *result, const char *words)
{
    return strcasestr(result->words, words) != NULL;
}

enum baton_code status_code(const struct grpc_result *result)
{
    switch (result->status) {
    case GRPC_BROKEN:
        return says(result, "certificate") || says(result, "SSL") ? BATON_DENIED : BATON_UNAVAILABLE;
    case GRPC_PERMISSION_DENIED:
    case GRPC_UNAUTHENTICATED:
        return BATON_DENIED;
    case GRPC_INVALID_ARGUMENT:
        return says(result, "user name") || says(result, "authentication") || says(result, "auth store")
                   ? BATON_DENIED
                   : BATON_INVALID;
    case GRPC_NOT_FOUND:
        return says(result, "lease") ? BATON_LOST : BATON_NOT_FOUND;
    case GRPC_RESOURCE_EXHAUSTED:
        return says(result, "too many requests") ? BATON_UNAVAILABLE : BATON_FULL;
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
    return result->status == GRPC_BROKEN || (result->status == GRPC_UNAVAILABLE && !says(result, "leader changed"));
}

bool status_needs_token(const struct grpc_result *result)
{
    return result->status == GRPC_UNAUTHENTICATED ||
           (result->status == GRPC_INVALID_ARGUMENT && (says(result, "user name") || says(result, "auth store")));
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
