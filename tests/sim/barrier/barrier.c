/* barrier.c: one at a barrier: it comes, waits until all are there, is in a generation, and leaves.
 *
 * Whoever sees that all are there may open the barrier, by compare-and-set on the last opening: so two who do it at
 * once are one, and the opening says who was meant. What carries the safety is named in barrier.h.
 */
#include "barrier/barrier.h"

#include <stdlib.h>
#include <string.h>

#include "barrier/opening.h"
#include "base/base.h"
#include "core/order.h"
#include "core/state.h"

enum { BARRIER_OPENING = WRITE_FIRST };

struct barrier {
    struct order order; /* those that are there, by age */
    uint32_t size;
    const struct view_record *opening_record; /* the last one's, in the view; NULL: there is none */
    const struct opening *opening;            /* NULL: there is none, or it cannot be read */
    struct attempt writing;                   /* of the next one */
    bool full;                                /* all are there, ... */
    int64_t full_since_ms;                    /* ... as this one has seen first then */
};

static struct barrier *barrier_of(const struct contest *contest)
{
    assert(contest->protocol->kind == CONTEST_BARRIER);
    return contest->part;
}

/* As rule(), of a rule of barrier.h. */
static bool own_rule(const struct core *core, enum barrier_rule number)
{
    return rule(core, (enum core_rule)number);
}

int barrier_wait(struct core *core, struct contest *contest, const struct barrier_options *options,
                 struct baton_error *err)
{
    const struct stand_options stand = {.stop_ms = options->stop_ms};
    if (options->size < 1 || options->size > BARRIER_SIZE_MAX)
        return error_set(err, BATON_INVALID, "the size of a barrier is 1..%d", BARRIER_SIZE_MAX);
    if (core_stand(core, contest, &stand, err) < 0)
        return -1;
    barrier_of(contest)->size = options->size;
    return 0;
}

/* ---- what the view shows ---- */

static int compare_ages(const void *left, const void *right)
{
    const struct view_record *a = *(const struct view_record *const *)left;
    const struct view_record *b = *(const struct view_record *const *)right;
    return a->created < b->created ? -1 : a->created > b->created;
}

static char *barrier_prefix(const char *name)
{
    return mem_format(BARRIERS_PREFIX "%s/", name);
}

static void barrier_read(struct core *core, struct contest *contest)
{
    struct barrier *barrier = barrier_of(contest);
    char *here = mem_format(BARRIERS_PREFIX "%s/here/", contest->name);
    char *key = mem_format(BARRIERS_PREFIX "%s/opening", contest->name);
    order_read(&barrier->order, &contest->view, here, compare_ages);
    barrier->opening_record = view_find(&contest->view, key);
    barrier->opening = barrier->opening_record != NULL ? opening_of(barrier->opening_record) : NULL;
    free(here);
    free(key);
}

static const struct baton_error *barrier_trouble(const struct contest *contest)
{
    const struct barrier *barrier = barrier_of(contest);
    if (barrier->opening_record != NULL && barrier->opening == NULL)
        return barrier->opening_record->trouble;
    return barrier->order.trouble;
}

/* Its place among those that are there; the count: it is not. */
static size_t place_of(const struct barrier *barrier, const char *cid)
{
    size_t place = 0;
    while (place < barrier->order.count && strcmp(barrier->order.records[place]->cid, cid) != 0)
        place++;
    return place;
}

/* Somebody whom the last opening named: it is in that generation, or has not seen yet that it is. */
static bool last_is_here(const struct barrier *barrier)
{
    for (size_t i = 0; i < barrier->order.count; i++)
        if (opening_names(barrier->opening, barrier->order.records[i]->cid))
            return true;
    return false;
}

/* The place of the first one that says another size; the count: all say the same. */
static size_t first_other(const struct barrier *barrier)
{
    size_t place = 0;
    while (place < barrier->order.count && arrival_of(barrier->order.records[place])->size == barrier->size)
        place++;
    return place;
}

/* How many it takes. */
static size_t wanted(const struct core *core, const struct barrier *barrier)
{
    return own_rule(core, BARRIER_COUNTS_ALL) || barrier->size == 1 ? barrier->size : barrier->size - 1;
}

static bool is_full(const struct core *core, const struct barrier *barrier)
{
    if (barrier->opening_record != NULL && barrier->opening == NULL)
        return false; /* it is not overwritten */
    if (last_is_here(barrier) && own_rule(core, BARRIER_LAST_HAS_LEFT))
        return false;
    return first_other(barrier) >= wanted(core, barrier);
}

/* ---- it waits ---- */

static uint64_t next_generation(const struct barrier *barrier)
{
    return barrier->opening != NULL ? barrier->opening->generation + 1 : 1;
}

static void write_opening(struct core *core, struct contest *contest)
{
    struct barrier *barrier = barrier_of(contest);
    const struct view_record *before = barrier->opening_record;
    uint64_t revision = before != NULL ? before->revision : 0;
    todo_write(core, &barrier->writing, write_owner(contest, BARRIER_OPENING), BATON_WRITE_PUT,
               mem_format(BARRIERS_PREFIX "%s/opening", contest->name),
               opening_write(before != NULL ? before->value : NULL, next_generation(barrier), barrier->order.records,
                             wanted(core, barrier)),
               0, own_rule(core, BARRIER_COMPARES) ? revision : BATON_REVISION_ANY);
}

/* The eldest opens it at once, each of the others a moment later if nothing has come of it. */
static void open_if_full(struct core *core, struct contest *contest, size_t place)
{
    struct barrier *barrier = barrier_of(contest);
    if (!is_full(core, barrier) || place >= wanted(core, barrier)) {
        barrier->full = false;
        return;
    }
    if (!barrier->full)
        barrier->full_since_ms = core->now_ms;
    barrier->full = true;
    int64_t open_ms = barrier->full_since_ms + (int64_t)place * core->options.step_ms;
    if (core->now_ms < open_ms) {
        contest_wake(core, contest, open_ms);
    } else if (!attempt_may(core, &barrier->writing)) {
        attempt_wait(core, contest, &barrier->writing);
    } else {
        write_opening(core, contest);
        if (!own_rule(core, BARRIER_BEGIN_BY_VIEW))
            tenure_begin(core, contest, contest->tenure, next_generation(barrier));
    }
}

static void wait_at_barrier(struct core *core, struct contest *contest)
{
    const struct barrier *barrier = barrier_of(contest);
    size_t place = place_of(barrier, contest->cid), other = first_other(barrier);
    if (place == barrier->order.count)
        return;
    if (opening_names(barrier->opening, contest->cid)) {
        if (!tenure_fading(core, contest->tenure))
            tenure_begin(core, contest, contest->tenure, barrier->opening->generation);
    } else if (other < place) {
        contest_end(core, contest, BATON_INVALID, "the barrier '%s' is of %u for %.128s, and of %u here", contest->name,
                    (unsigned)arrival_of(barrier->order.records[other])->size,
                    arrival_of(barrier->order.records[other])->id, (unsigned)barrier->size);
    } else {
        open_if_full(core, contest, place);
    }
}

/* ---- it is in a generation, and leaves ---- */

static void barrier_lost(struct core *core, struct contest *contest, enum loss loss)
{
    static const char *const words[] = {[LOSS_OF_SESSION] = "the session is over",
                                        [LOSS_OF_PRESENCE] = "somebody removed the presence of this instance",
                                        [LOSS_BY_TIME] = "the session could not be renewed in time"};
    barrier_of(contest)->full = false;
    if (contest->tenure->state != TENURE_NONE)
        contest_end(core, contest, BATON_LOST, "%s", words[loss]);
}

static void barrier_act(struct core *core, struct contest *contest, bool present)
{
    struct tenure *tenure = contest->tenure;
    if (tenure->state == TENURE_HAD && contest->resigning) {
        tenure_stop(core, contest, tenure, core->now_ms + tenure->stop_ms, "it leaves");
    } else if (tenure->state == TENURE_HAD && tenure_fading(core, tenure)) {
        barrier_lost(core, contest, LOSS_BY_TIME);
        tenure_stop(core, contest, tenure, core->now_ms + tenure->stop_ms, "the session could not be renewed in time");
    }
    if (tenure->state == TENURE_STOPPING) {
        if (!own_rule(core, BARRIER_STOP_BEFORE_LEAVING))
            contest_remove_presence(core, contest);
        tenure_wait(core, contest, tenure);
    } else if (tenure->state == TENURE_STOPPED) {
        tenure_move(tenure, TENURE_NONE);
        contest_end(core, contest, BATON_OK, "%s", "");
    } else if (tenure->state == TENURE_NONE && !contest->resigning) {
        wait_at_barrier(core, contest);
    }
}

/* ---- the protocol ---- */

static char *presence_key(const struct contest *contest)
{
    return mem_format(BARRIERS_PREFIX "%s/here/%s", contest->name, contest->cid);
}

static char *presence_value(const struct core *core, const struct contest *contest)
{
    return arrival_write(&(struct arrival){.id = (char *)core->options.id,
                                           .host = (char *)core->options.host,
                                           .size = barrier_of(contest)->size,
                                           .since_wall_ms = core->wall_ms});
}

static struct attempt *barrier_write(struct contest *contest, unsigned which)
{
    return which == BARRIER_OPENING ? &barrier_of(contest)->writing : NULL;
}

static void barrier_release(struct contest *contest)
{
    order_release(&barrier_of(contest)->order);
}

static const struct record_kind kinds[] = {
    {.path = "here/*", .read = arrival_read, .free = arrival_free},
    {.path = "opening", .read = opening_read, .free = opening_free},
};
static const struct record_kinds records = {BARRIERS_PREFIX, kinds, COUNT_OF(kinds), name_of_path};

const struct protocol barrier_protocol = {
    .word = "barrier",
    .records = &records,
    .kind = CONTEST_BARRIER,
    .part_size = sizeof(struct barrier),
    .seen_first = RULE_COUNT,
    .prefix = barrier_prefix,
    .presence_key = presence_key,
    .presence_value = presence_value,
    .read = barrier_read,
    .trouble = barrier_trouble,
    .act = barrier_act,
    .lost = barrier_lost,
    .write = barrier_write,
    .release = barrier_release,
};
