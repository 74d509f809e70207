/* queue.c: what the program is told, in order, and a descriptor that is readable while there is something.
 *
 * The queue has no limit of its own: CHANGED is queued once for each election, TROUBLE only when it is another one, and
 * everything else is bounded by what the program itself does (a LEAD is followed by no other before the STOP was
 * answered).
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/client.h"

static const char *const event_names[] = {"none",      "lead",    "stop",     "follow",  "changed",
                                          "resigned",  "reply",   "session",  "renewed", "lost-session",
                                          "duplicate", "trouble", "recovered"};

const char *baton_event_name(enum baton_event_kind kind)
{
    return (size_t)kind < COUNT_OF(event_names) ? event_names[kind] : "unknown";
}

struct baton_event *queue_add(struct baton *b, enum baton_event_kind kind, struct baton_election *election,
                              const char *text)
{
    if (b->first == NULL) {
        uint64_t one = 1;
        if (write(b->event_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
            IMPOSSIBLE("an eventfd cannot be written to (%d)", errno);
    }
    struct queued *queued = mem_new(sizeof(*queued));
    queued->event.kind = kind;
    queued->event.election = election;
    text_copy(queued->event.text, sizeof(queued->event.text), text);
    *b->last = queued;
    b->last = &queued->next;
    return &queued->event;
}

static void quiet_if_empty(struct baton *b)
{
    uint64_t count;
    if (b->first == NULL) {
        b->last = &b->first;
        (void)!read(b->event_fd, &count, sizeof(count));
    }
}

void queue_forget(struct baton *b, const struct baton_election *election)
{
    bool any = b->first != NULL;
    for (struct queued **at = &b->first; *at != NULL;) {
        struct queued *queued = *at;
        if (queued->event.election == election) {
            *at = queued->next;
            free(queued);
        } else {
            at = &queued->next;
        }
    }
    b->last = &b->first;
    while (*b->last != NULL)
        b->last = &(*b->last)->next;
    if (any)
        quiet_if_empty(b);
}

void queue_release(struct baton *b)
{
    while (b->first != NULL) {
        struct queued *queued = b->first;
        b->first = queued->next;
        free(queued);
    }
    b->last = &b->first;
}

bool baton_next(struct baton *b, struct baton_event *ret)
{
    if (!client_is_ours(b))
        return false;
    pthread_mutex_lock(&b->mutex);
    struct queued *queued = b->first;
    if (queued != NULL) {
        *ret = queued->event;
        b->first = queued->next;
        if (ret->kind == BATON_CHANGED)
            ret->election->changed_queued = false;
        quiet_if_empty(b);
        free(queued);
    }
    pthread_mutex_unlock(&b->mutex);
    return queued != NULL;
}
