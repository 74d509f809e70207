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

/* How each kind is kept: in which place of its owner's `kept`, whether it is told once until it is taken, and which
 * places go when it begins a cycle anew. */
static const struct {
    enum queue_place place;
    bool once;
    enum queue_place cycle_end; /* this place and all from `place` on; KEPT_NOWHERE: it begins none */
} rules[] = {
    [BATON_NONE] = {KEPT_NOWHERE, false, KEPT_NOWHERE},
    [BATON_LEAD] = {KEPT_LEAD, false, KEPT_FOLLOW},
    [BATON_STOP] = {KEPT_STOP, false, KEPT_NOWHERE},
    [BATON_FOLLOW] = {KEPT_FOLLOW, false, KEPT_NOWHERE},
    [BATON_CHANGED] = {KEPT_CHANGED, true, KEPT_NOWHERE},
    [BATON_RESIGNED] = {KEPT_NOWHERE, false, KEPT_NOWHERE},
    [BATON_REPLY] = {KEPT_NOWHERE, false, KEPT_NOWHERE},
    [BATON_SESSION] = {KEPT_SESSION, false, KEPT_LOST_SESSION},
    [BATON_RENEWED] = {KEPT_RENEWED, true, KEPT_NOWHERE},
    [BATON_LOST_SESSION] = {KEPT_LOST_SESSION, false, KEPT_NOWHERE},
    [BATON_DUPLICATE] = {KEPT_DUPLICATE, true, KEPT_NOWHERE},
    [BATON_TROUBLE] = {KEPT_TROUBLE, false, KEPT_RECOVERED},
    [BATON_RECOVERED] = {KEPT_RECOVERED, false, KEPT_NOWHERE},
    [BATON_ACQUIRED] = {KEPT_NOWHERE, false, KEPT_NOWHERE}, /* a handle is one attempt: each comes once */
    [BATON_RELEASED] = {KEPT_NOWHERE, false, KEPT_NOWHERE},
    [BATON_BEGIN] = {KEPT_NOWHERE, false, KEPT_NOWHERE}, /* and each of these is answered before the next */
    [BATON_OUTCOME] = {KEPT_NOWHERE, false, KEPT_NOWHERE},
};

void queue_ring(struct baton *b)
{
    uint64_t count = 1;
    pthread_mutex_lock(&b->mutex);
    bool now = b->queue.first != NULL && !b->queue.rung;
    b->queue.rung = b->queue.rung || now;
    pthread_mutex_unlock(&b->mutex);
    /* Without the mutex: whoever is woken wants it at once. It may find the queue empty, if it has looked before. */
    if (now && write(b->event_fd, &count, sizeof(count)) != sizeof(count))
        IMPOSSIBLE("an eventfd that is ours alone: %d", errno);
}

/* Nothing is left, and the program has been told so: the descriptor is not readable, but for a ring that is on its way.
 * Not before that: who takes one event after the other pays for no descriptor. */
static void silence(struct baton *b)
{
    uint64_t count;
    if (!b->queue.rung)
        return;
    (void)!read(b->event_fd, &count, sizeof(count));
    b->queue.rung = false;
}

static void append(struct queue *queue, struct queued *queued)
{
    queued->before = queue->last; // NOLINT(clang-analyzer-core.NullDereference): takes &b->queue for a null pointer
    if (queue->last != NULL)
        queue->last->next = queued;
    else
        queue->first = queued;
    queue->last = queued;
}

static void unlink_queued(struct queue *queue, struct queued *queued)
{
    if (queued->before != NULL)
        queued->before->next = queued->next;
    else
        queue->first = queued->next;
    if (queued->next != NULL)
        queued->next->before = queued->before;
    else
        queue->last = queued->before;
    if (queued->kept != NULL && *queued->kept == queued)
        *queued->kept = NULL;
}

static void drop(struct queue *queue, struct queued *queued)
{
    unlink_queued(queue, queued);
    free(queued->text);
    free(queued);
}

/* A cycle begins at kept[first]: the one before it goes, if its beginning is there. */
static void begin_cycle(struct queue *queue, struct queued **kept, enum queue_place first, enum queue_place last)
{
    bool whole = kept[first] != NULL;
    for (size_t i = first; i <= last; i++) {
        if (whole && kept[i] != NULL)
            drop(queue, kept[i]);
        kept[i] = NULL;
    }
}

struct queued *queue_add(struct baton *b, enum baton_event_kind kind, struct baton_election *election, const char *text)
{
    struct queued **kept = election != NULL ? election->kept : b->queue.kept;
    struct queued **place = rules[kind].place != KEPT_NOWHERE ? &kept[rules[kind].place] : NULL;
    if (rules[kind].cycle_end != KEPT_NOWHERE)
        begin_cycle(&b->queue, kept, rules[kind].place, rules[kind].cycle_end);
    struct queued *queued = place != NULL && rules[kind].once ? *place : NULL;
    if (queued == NULL) {
        queued = mem_new(sizeof(*queued));
        queued->kind = kind;
        queued->election = election;
        queued->kept = place;
        append(&b->queue, queued);
        if (place != NULL)
            *place = queued;
    }
    free(queued->text);
    queued->text = text[0] != '\0' ? mem_text(text) : NULL;
    return queued;
}

void queue_forget(struct baton *b, const struct baton_election *election)
{
    for (struct queued *queued = b->queue.first, *next; queued != NULL; queued = next) {
        next = queued->next;
        if (queued->election == election)
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
    pthread_mutex_lock(&b->mutex);
    const struct queued *queued = b->queue.first;
    bool any = queued != NULL;
    if (any) {
        *ret = (struct baton_event){.kind = queued->kind,
                                    .term = queued->term,
                                    .session = queued->session,
                                    .until_ms = queued->until_ms,
                                    .request = queued->request,
                                    .code = queued->code};
        if (queued->election != NULL && queued->election->kind == CONTEST_LOCK)
            ret->lock = (struct baton_lock *)queued->election;
        else if (queued->election != NULL && queued->election->kind == CONTEST_TASK)
            ret->task = (struct baton_task *)queued->election;
        else
            ret->election = queued->election;
        text_copy(ret->text, sizeof(ret->text), queued->text != NULL ? queued->text : "");
        drop(&b->queue, b->queue.first);
    } else {
        silence(b);
    }
    pthread_mutex_unlock(&b->mutex);
    return any;
}
