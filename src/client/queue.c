/* queue.c: what the program is told, in order, and a descriptor that is readable while there is something.
 *
 * The queue of a program that does not look stays short. CHANGED, RENEWED and DUPLICATE are queued once until they are
 * taken, with what is newest. What goes in cycles (LEAD, STOP, FOLLOW of an election; SESSION, LOST_SESSION; TROUBLE,
 * RECOVERED) is kept for the latest cycle: when one begins, the one before it goes if its beginning was not taken. So
 * an election has at most eight events queued (three of the latest cycle, two of one whose beginning was taken, and
 * CHANGED, DUPLICATE, TROUBLE), and what remains is in order. RESIGNED and REPLY are bounded by what the program asks.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/client.h"

static const char *const event_names[] = {
    [BATON_NONE] = "none",           [BATON_LEAD] = "lead",
    [BATON_STOP] = "stop",           [BATON_FOLLOW] = "follow",
    [BATON_CHANGED] = "changed",     [BATON_RESIGNED] = "resigned",
    [BATON_REPLY] = "reply",         [BATON_SESSION] = "session",
    [BATON_RENEWED] = "renewed",     [BATON_LOST_SESSION] = "lost-session",
    [BATON_DUPLICATE] = "duplicate", [BATON_TROUBLE] = "trouble",
    [BATON_RECOVERED] = "recovered", [BATON_ACQUIRED] = "acquired",
    [BATON_RELEASED] = "released",   [BATON_BEGIN] = "begin",
    [BATON_OUTCOME] = "outcome",
};

const char *baton_event_name(enum baton_event_kind kind)
{
    return (size_t)kind < COUNT_OF(event_names) ? event_names[kind] : "unknown";
}

/* How each kind is remembered: in which place of its owner's `queued`, whether it is told once until it is taken, and
 * which places go when it begins a cycle anew. */
static const struct {
    enum queue_place place;
    bool once;
    enum queue_place cycle_end; /* this place and all from `place` on; QUEUED_NOWHERE: it begins none */
} rules[] = {
    [BATON_NONE] = {QUEUED_NOWHERE, false, QUEUED_NOWHERE},
    [BATON_LEAD] = {QUEUED_LEAD, false, QUEUED_FOLLOW},
    [BATON_STOP] = {QUEUED_STOP, false, QUEUED_NOWHERE},
    [BATON_FOLLOW] = {QUEUED_FOLLOW, false, QUEUED_NOWHERE},
    [BATON_CHANGED] = {QUEUED_CHANGED, true, QUEUED_NOWHERE},
    [BATON_RESIGNED] = {QUEUED_NOWHERE, false, QUEUED_NOWHERE},
    [BATON_REPLY] = {QUEUED_NOWHERE, false, QUEUED_NOWHERE},
    [BATON_SESSION] = {QUEUED_SESSION, false, QUEUED_LOST_SESSION},
    [BATON_RENEWED] = {QUEUED_RENEWED, true, QUEUED_NOWHERE},
    [BATON_LOST_SESSION] = {QUEUED_LOST_SESSION, false, QUEUED_NOWHERE},
    [BATON_DUPLICATE] = {QUEUED_DUPLICATE, true, QUEUED_NOWHERE},
    [BATON_TROUBLE] = {QUEUED_TROUBLE, false, QUEUED_RECOVERED},
    [BATON_RECOVERED] = {QUEUED_RECOVERED, false, QUEUED_NOWHERE},
    [BATON_ACQUIRED] = {QUEUED_NOWHERE, false, QUEUED_NOWHERE}, /* a handle is one attempt: each comes once */
    [BATON_RELEASED] = {QUEUED_NOWHERE, false, QUEUED_NOWHERE},
    [BATON_BEGIN] = {QUEUED_NOWHERE, false, QUEUED_NOWHERE}, /* and each of these is answered before the next */
    [BATON_OUTCOME] = {QUEUED_NOWHERE, false, QUEUED_NOWHERE},
};

void queue_ring(struct baton *b)
{
    uint64_t count = 1;
    client_lock(b);
    bool now = b->queue.first != NULL && !b->queue.rung;
    b->queue.rung = b->queue.rung || now;
    client_unlock(b);
    /* Without the mutex: the thread that is woken wants it at once. That thread may find the queue empty. */
    if (now && write(b->event_fd, &count, sizeof(count)) != sizeof(count))
        IMPOSSIBLE("an eventfd that is ours alone: %d", errno);
}

/* Nothing is left, and the program has been told so: the descriptor is not readable, but for a ring that is on its way.
 * Not before that: a program that takes one event after the other pays for no system call. */
static void silence(struct baton *b)
{
    uint64_t count;
    assert(client_is_locked(b) && b->queue.first == NULL);
    if (!b->queue.rung)
        return;
    (void)!read(b->event_fd, &count, sizeof(count));
    b->queue.rung = false;
}

static void append(struct queue *queue, struct queued *queued)
{
    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): takes &b->queue for a null pointer
    assert(queued->next == NULL && (queue->first == NULL) == (queue->last == NULL));
    queued->before = queue->last;
    if (queue->last != NULL)
        queue->last->next = queued;
    else
        queue->first = queued;
    queue->last = queued;
}

static void unlink_queued(struct queue *queue, struct queued *queued)
{
    assert(queue->first != NULL && (queued->before == NULL) == (queue->first == queued));
    assert((queued->next == NULL) == (queue->last == queued));
    if (queued->before != NULL)
        queued->before->next = queued->next;
    else
        queue->first = queued->next;
    if (queued->next != NULL)
        queued->next->before = queued->before;
    else
        queue->last = queued->before;
    if (queued->place != NULL && *queued->place == queued)
        *queued->place = NULL;
}

static void drop(struct queue *queue, struct queued *queued)
{
    unlink_queued(queue, queued);
    free(queued->text);
    free(queued);
}

/* A cycle begins at places[first]: the one before it goes, if its beginning is there. */
static void begin_cycle(struct queue *queue, struct queued **places, enum queue_place first, enum queue_place last)
{
    assert(first <= last && last < QUEUED_PLACES);
    bool whole = places[first] != NULL;
    for (size_t i = first; i <= last; i++) {
        if (whole && places[i] != NULL)
            drop(queue, places[i]);
        places[i] = NULL;
    }
}

struct queued *queue_add(struct baton *b, enum baton_event_kind kind, struct handle *handle, const char *text)
{
    assert(client_is_locked(b) && kind > BATON_NONE && kind < COUNT_OF(rules) && (handle == NULL || !handle->freed));
    struct queued **places = handle != NULL ? handle->queued : b->queue.queued;
    struct queued **place = rules[kind].place != QUEUED_NOWHERE ? &places[rules[kind].place] : NULL;
    if (rules[kind].cycle_end != QUEUED_NOWHERE)
        begin_cycle(&b->queue, places, rules[kind].place, rules[kind].cycle_end);
    struct queued *queued = place != NULL && rules[kind].once ? *place : NULL;
    if (queued == NULL) {
        queued = mem_new(sizeof(*queued));
        queued->kind = kind;
        queued->handle = handle;
        queued->place = place;
        append(&b->queue, queued);
        if (place != NULL)
            *place = queued;
    }
    free(queued->text);
    queued->text = text[0] != '\0' ? mem_text(text) : NULL;
    return queued;
}

void queue_forget(struct baton *b, const struct handle *handle)
{
    assert(client_is_locked(b));
    for (struct queued *queued = b->queue.first, *next; queued != NULL; queued = next) {
        next = queued->next;
        if (queued->handle == handle)
            drop(&b->queue, queued);
    }
}

void queue_release(struct baton *b)
{
    while (b->queue.first != NULL)       /* the analyzer does not see that dropping the first moves `first` on */
        drop(&b->queue, b->queue.first); // NOLINT(clang-analyzer-unix.Malloc)
}

bool baton_next(struct baton *b, struct baton_event *ret)
{
    if (!client_is_ours(b))
        return false;
    client_lock(b);
    const struct queued *queued = b->queue.first;
    bool any = queued != NULL;
    if (any) {
        *ret = (struct baton_event){.kind = queued->kind,
                                    .term = queued->term,
                                    .session = queued->session,
                                    .until_ms = queued->until_ms,
                                    .request = queued->request,
                                    .code = queued->code};
        assert(queued->handle == NULL || (queued->handle->client == b && !queued->handle->freed));
        if (queued->handle != NULL)
            handle_kind(queued->handle)->name_in(ret, queued->handle);
        text_copy(ret->text, sizeof(ret->text), queued->text != NULL ? queued->text : "");
        drop(&b->queue, b->queue.first);
    } else {
        silence(b);
    }
    client_unlock(b);
    return any;
}
