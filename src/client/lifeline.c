/* lifeline.c: what a guard needs to end the session of this process, and the guard's use of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "client/client.h"

int lifeline_export(struct baton *b, struct baton_lifeline *ret, struct baton_error *err)
{
    assert(driver_is_here(b) && !client_is_locked(b));
    int64_t deadline_ms;
    uint32_t ttl_ms;
    uint64_t session = b->engine != NULL ? core_session(b->core, &deadline_ms, &ttl_ms) : 0;
    char text[BATON_EXPORT_MAX];
    assert(b->state < CLIENT_CLOSED);
    ret->fd = -1;
    if (session == 0)
        return error_set(err, BATON_LOST, "there is no session now");
    if (b->ops->session_export(b->engine, session, text, &ret->fd, err) < 0)
        return -1;
    int length = snprintf(ret->text, sizeof(ret->text), "%s %.*s", b->ops->scheme, (int)(sizeof(ret->text) - 40), text);
    ret->session = session;
    if (length >= 0 && strlen(text) <= sizeof(ret->text) - 40)
        return 0;
    if (ret->fd >= 0)
        close(ret->fd);
    return error_set(err, BATON_INVALID, "the URL is too long for a guard");
}

struct asked {
    struct baton_lifeline *ret;
    struct baton_error *err;
    int result;
};

static void export_session(struct baton *b, void *arg)
{
    struct asked *asked = arg;
    asked->result = lifeline_export(b, asked->ret, asked->err);
}

int baton_lifeline(struct baton *b, struct baton_lifeline *ret, struct baton_error *err)
{
    if (client_check(b, err) < 0)
        return -1;
    struct asked asked = {.ret = ret, .err = err};
    if (driver_call(b, export_session, &asked, err) < 0)
        return -1;
    return asked.result;
}

struct baton_guard {
    const struct baton_engine_ops *ops;
    struct baton_engine_guard *guard;
};

int baton_guard_open(const struct baton_lifeline *lifeline, struct baton_guard **ret, struct baton_error *err)
{
    char scheme[64];
    const char *space = strchr(lifeline->text, ' ');
    size_t length = space != NULL ? (size_t)(space - lifeline->text) : sizeof(scheme);
    const struct baton_engine_ops *ops = NULL;
    if (length < sizeof(scheme) - 1) {
        snprintf(scheme, sizeof(scheme), "%.*s:", (int)length, lifeline->text);
        ops = engine_find(scheme, err);
    } else {
        error_set(err, BATON_INVALID, "'%.100s' is not a lifeline", lifeline->text);
    }
    if (ops == NULL) {
        if (lifeline->fd >= 0)
            close(lifeline->fd);
        return -1;
    }
    struct baton_guard *guard = mem_new(sizeof(*guard));
    guard->ops = ops;
    if (ops->guard_open(space + 1, lifeline->fd, &guard->guard, err) < 0) {
        free(guard);
        return -1;
    }
    *ret = guard;
    return 0;
}

int baton_guard_end(struct baton_guard *guard, uint32_t timeout_ms, struct baton_error *err)
{
    return guard->ops->guard_end(guard->guard, timeout_ms, err);
}

int baton_guard_renew(struct baton_guard *guard, uint32_t timeout_ms, int64_t *ret_deadline_ms, struct baton_error *err)
{
    int64_t sent_ms = clock_now_ms();
    uint32_t ttl_ms = 0;
    if (guard->ops->guard_renew == NULL)
        return error_set(err, BATON_UNSUPPORTED, "a guard cannot renew a session of the engine '%s'",
                         guard->ops->scheme);
    if (guard->ops->guard_renew(guard->guard, timeout_ms, &ttl_ms, err) < 0)
        return -1;
    *ret_deadline_ms = session_deadline_ms(sent_ms, ttl_ms);
    return 0;
}

/* "REVISION KEY VALUE"; a key has no blanks. */
void testament_text(const struct baton *b, const struct handle *handle, char text[BATON_TESTAMENT_MAX])
{
    assert(client_is_locked(b) && handle->client == b);
    struct baton_write write = {0};
    text[0] = '\0';
    if (b->ops->guard_testament == NULL || b->state != CLIENT_OPEN || handle->core == NULL || handle->all ||
        handle->kind != CONTEST_ELECTION || !election_testament(b->core, handle->core, &write))
        return;
    int length = snprintf(text, BATON_TESTAMENT_MAX, "%llu %s %s", (unsigned long long)write.if_revision, write.key,
                          write.value);
    if (length >= BATON_TESTAMENT_MAX)
        text[0] = '\0';
    free((char *)write.key);
    free((char *)write.value);
}

void baton_testament(const struct baton_election *e, char text[BATON_TESTAMENT_MAX])
{
    struct baton *b = e->handle.client;
    text[0] = '\0';
    if (!client_is_ours(b))
        return;
    client_lock(b);
    testament_text(b, &e->handle, text);
    client_unlock(b);
}

int baton_guard_testament(struct baton_guard *guard, const char *text, struct baton_error *err)
{
    unsigned long long revision;
    int key_at = 0;
    if (guard->ops->guard_testament == NULL)
        return text[0] == '\0' ? 0
                               : error_set(err, BATON_UNSUPPORTED, "a guard of the engine '%s' writes no testament",
                                           guard->ops->scheme);
    if (text[0] == '\0') {
        guard->ops->guard_testament(guard->guard, NULL);
        return 0;
    }
    bool begins = sscanf(text, "%llu %n", &revision, &key_at) == 1 && key_at > 0;
    const char *value = begins ? strchr(text + key_at, ' ') : NULL;
    if (value == NULL)
        return error_set(err, BATON_INVALID, "'%.100s' is not a testament", text);
    char *key = mem_text_n(text + key_at, (size_t)(value - text) - (size_t)key_at);
    guard->ops->guard_testament(
        guard->guard,
        &(struct baton_write){
            .kind = BATON_WRITE_PUT, .key = key, .value = value + 1, .if_revision = revision, .may_be_lost = true});
    free(key);
    return 0;
}

void baton_guard_free(struct baton_guard *guard)
{
    if (guard == NULL)
        return;
    guard->ops->guard_close(guard->guard);
    free(guard);
}
