/* known.c: see known.h. */
#include "cli/known.h"

#include <poll.h>

#include "base/base.h"

/* Until there may be an event, or until_ms. */
static void wait_for_event(struct baton *client, int64_t until_ms)
{
    int64_t left_ms = until_ms - baton_now_ms();
    struct pollfd ready = {.fd = baton_fd(client), .events = POLLIN};
    (void)poll(&ready, 1, left_ms > 0 ? (int)(left_ms < 60000 ? left_ms : 60000) : 0);
}

static int in_vain(struct baton *client, const struct baton_error *trouble, struct baton_error *err)
{
    if (trouble->code != BATON_OK)
        return error_set(err, trouble->code, "%s", trouble->text);
    return error_set(err, BATON_UNAVAILABLE,
                     "%s has not answered in time; is it running? --engine-timeout gives it longer", baton_url(client));
}

/* Remember the trouble that the client as a whole was told. */
static void note_trouble(const struct baton_event *event, struct baton_error *trouble)
{
    if (event->kind == BATON_TROUBLE && event->lock == NULL && event->task == NULL && event->election == NULL)
        error_set(trouble, event->code, "%s", event->text);
    if (event->kind == BATON_RECOVERED)
        trouble->code = BATON_OK;
}

bool known_hopeless(const struct baton_error *trouble)
{
    return trouble->code == BATON_CORRUPT || trouble->code == BATON_NEWER;
}

int known_wait(struct baton *client, bool (*known)(const void *handle), const void *handle, int64_t until_ms,
               struct baton_error *err)
{
    struct baton_error trouble = {.code = BATON_OK};
    struct baton_event event;
    while (!known(handle)) {
        if (baton_now_ms() >= until_ms || known_hopeless(&trouble))
            return in_vain(client, &trouble, err);
        wait_for_event(client, until_ms);
        while (baton_next(client, &event))
            note_trouble(&event, &trouble);
    }
    return 0;
}

int known_reply(struct baton *client, uint64_t request, int64_t until_ms, struct baton_error *err)
{
    struct baton_error trouble = {.code = BATON_OK};
    struct baton_event event;
    for (;;) {
        while (baton_next(client, &event)) {
            note_trouble(&event, &trouble);
            if (event.kind == BATON_REPLY && event.request == request)
                return event.code == BATON_OK ? 0 : error_set(err, event.code, "%s", event.text);
        }
        if (baton_now_ms() >= until_ms)
            return in_vain(client, &trouble, err);
        wait_for_event(client, until_ms);
    }
}
