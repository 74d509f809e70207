/* observer.c: looking at elections from the command line, and asking things of them. */
#include "cli/observer.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/base.h"
#include "cli/cli.h"
#include "cli/known.h"

/* A reply comes within the time that was given for it; this much later something is broken. */
#define REPLY_SLACK_MS 2000

/* The id of the one that asks, for records that people read ("on hold by alice@db1-4711-9c2f"). It must be unique: the
 * answer to a request is recognised by it. */
static void operator_id(char *id, size_t size)
{
    char host[64] = "host";
    const char *user = getenv("SUDO_USER"); /* the person, not root */
    if (user == NULL)
        user = getenv("USER");
    unsigned salt;
    if (gethostname(host, sizeof(host)) == 0)
        host[sizeof(host) - 1] = '\0';
    if (getentropy(&salt, sizeof(salt)) != 0)
        salt = (unsigned)baton_now_ms();
    snprintf(id, size, "%.32s@%.48s-%d-%04x", user != NULL && user[0] != '\0' ? user : "operator", host, (int)getpid(),
             salt & 0xffff);
}

int observer_open(struct observer *observer, const char *url, const char *name, bool create, struct baton_error *err)
{
    char id[BATON_ID_MAX + 1];
    struct baton_options options;
    *observer = (struct observer){.name = name, .reader = -1};
    baton_options_init(&options);
    options.url = url;
    options.create = create;
    operator_id(id, sizeof(id));
    /* A user or host name that no id can hold: the library's own choice. */
    options.id = baton_check_name("id", id, NULL) == 0 ? id : NULL;
    if (baton_open(&options, &observer->client, err) < 0)
        return -1;
    return baton_observe(observer->client, name, &observer->election, err);
}

void observer_close(struct observer *observer)
{
    baton_status_free(observer->status, observer->count);
    baton_close(observer->client);
    *observer = (struct observer){0};
}

int observer_refresh(struct observer *observer, struct baton_error *err)
{
    struct baton_status *status;
    size_t count;
    if (baton_status(observer->election, &status, &count, err) < 0)
        return -1;
    baton_status_free(observer->status, observer->count);
    observer->status = status;
    observer->count = count;
    observer->viewed = observer->name == NULL || (count > 0 && status[0].known);
    return 0;
}

static int take(struct observer *observer, const struct baton_event *event, struct baton_error *err)
{
    switch (event->kind) {
    case BATON_CHANGED:
        return observer_refresh(observer, err);
    case BATON_TROUBLE:
        if (event->election != NULL) /* a record's, which the status tells */
            return 0;
        error_set(&observer->trouble, event->code, "%s", event->text);
        return 0;
    case BATON_RECOVERED:
        observer->trouble.code = BATON_OK;
        return 0;
    default:
        return 0;
    }
}

int observer_next(struct observer *observer, int64_t until_ms, struct baton_event *ret, struct baton_error *err)
{
    while (!baton_next(observer->client, ret)) {
        int64_t left_ms = until_ms == NEVER_MS ? -1 : until_ms - baton_now_ms();
        if (until_ms != NEVER_MS && left_ms <= 0)
            return 0;
        /* poll(2): a pipe whose reader has closed it is POLLERR, whatever is asked for; a negative fd is passed over.
         */
        struct pollfd ready[] = {{.fd = baton_fd(observer->client), .events = POLLIN}, {.fd = observer->reader}};
        if (poll(ready, COUNT_OF(ready), left_ms > INT_MAX ? INT_MAX : (int)left_ms) < 0) {
            if (errno != EINTR)
                return error_errno(err, errno, "cannot wait for the engine");
            continue;
        }
        if (ready[1].revents != 0)
            return 0;
    }
    return take(observer, ret, err) < 0 ? -1 : 1;
}

int observer_first_view(struct observer *observer, uint32_t timeout_ms, struct baton_error *err)
{
    int64_t until_ms = baton_now_ms() + timeout_ms;
    struct baton_event event;
    char limit[32];
    while (!observer->viewed) {
        int got = observer_next(observer, until_ms, &event, err);
        if (got < 0)
            return -1;
        if (got > 0 && !known_hopeless(&observer->trouble))
            continue;
        if (observer->trouble.code != BATON_OK)
            return error_set(err, observer->trouble.code, "%s", observer->trouble.text);
        return error_set(err, BATON_UNAVAILABLE,
                         "%s has not answered within %s; is it running? --engine-timeout gives it longer",
                         baton_url(observer->client), cli_duration_text(timeout_ms, limit));
    }
    return 0;
}

int observer_reply(struct observer *observer, uint64_t request, uint32_t timeout_ms, struct baton_error *err)
{
    int64_t until_ms = baton_now_ms() + timeout_ms + REPLY_SLACK_MS;
    struct baton_event event;
    for (;;) {
        int got = observer_next(observer, until_ms, &event, err);
        if (got < 0)
            return -1;
        if (got == 0)
            return error_set(err, BATON_UNAVAILABLE, "there was no answer from %s", baton_url(observer->client));
        if (event.kind != BATON_REPLY || event.request != request)
            continue;
        if (event.code == BATON_TIMEOUT && observer->trouble.code != BATON_OK) /* that is why */
            return error_set(err, observer->trouble.code, "%s", observer->trouble.text);
        return event.code == BATON_OK ? 0 : error_set(err, event.code, "%s", event.text);
    }
}

bool observer_exists(const struct baton_status *status)
{
    return status->term > 0 || status->candidate_count > 0 || status->held || status->trouble != NULL;
}

int observer_begin(struct observer *observer, const char *url, const char *name, bool create, uint32_t timeout_ms)
{
    struct baton_error err;
    int64_t until_ms = baton_now_ms() + timeout_ms;
    if (observer_open(observer, url, name, create, &err) < 0 || observer_first_view(observer, timeout_ms, &err) < 0)
        return cli_fail(&err);
    observer->until_ms = until_ms;
    return CLI_GO;
}

uint32_t observer_left_ms(const struct observer *observer)
{
    int64_t left_ms = observer->until_ms - baton_now_ms();
    return left_ms > 1 ? (uint32_t)left_ms : 1;
}
