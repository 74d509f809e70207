/* queue.c: how long an entry waits in the queue of a lock or a task, and what its end means.
 *
 * That others have it is known from a view, and only while the engine can be asked: a view that stands still says what
 * was. So "others have it" (BATON_CONFLICT, BATON_TIMEOUT) and "nobody can tell" (BATON_UNAVAILABLE, or what the engine
 * says) are never taken for each other. Who would not wait for others does not wait for an engine that is away either.
 */
#include <stdlib.h>

#include "core/queue/state.h"

static void set_refused(struct contest *contest, const struct baton_error *why)
{
    if (why == NULL) {
        free(queue_of(contest)->refused);
        queue_of(contest)->refused = NULL;
        return;
    }
    if (queue_of(contest)->refused == NULL)
        queue_of(contest)->refused = mem_new(sizeof(*queue_of(contest)->refused));
    *queue_of(contest)->refused = *why;
}

void queue_answered(struct contest *contest, const struct baton_reply *reply)
{
    if (reply->answer == BATON_ANSWER_REFUSED)
        set_refused(contest, &reply->error);
    else if (reply->answer == BATON_ANSWER_DONE)
        set_refused(contest, NULL);
}

void queue_read(const struct core *core, struct contest *contest, const char *prefix)
{
    entries_read(&queue_of(contest)->entries, &contest->view, prefix, !rule(core, RULE_HOLD_BY_AGE));
}

const struct baton_error *queue_trouble(const struct contest *contest)
{
    return queue_of(contest)->entries.order.trouble;
}

char *queue_presence_value(const struct core *core, const struct contest *contest)
{
    return entry_write(&(struct lock_entry){.id = (char *)core->options.id,
                                            .host = (char *)core->options.host,
                                            .slots = queue_of(contest)->slots,
                                            .since_wall_ms = core->wall_ms});
}

int queue_stand(struct core *core, struct contest *contest, const struct queue_options *options,
                struct baton_error *err)
{
    const struct stand_options stand = {.stop_ms = options->stop_ms};
    if (contest->name == NULL)
        return error_set(err, BATON_INVALID, "cannot queue for every %s at once", contest->protocol->word);
    if (contest->standing)
        return error_set(err, BATON_CONFLICT, "this client already has an entry in the queue of the %s '%s'",
                         contest->protocol->word, contest->name);
    queue_of(contest)->slots = options->slots;
    queue_of(contest)->try_only = options->try_only;
    queue_of(contest)->until_ms = options->until_ms;
    queue_of(contest)->answer_ms = options->answer_ms;
    set_refused(contest, NULL);
    return core_stand(core, contest, &stand, err);
}

void queue_clear(struct contest *contest)
{
    entries_release(&queue_of(contest)->entries);
    set_refused(contest, NULL);
}

/* Why the engine cannot tell now; NULL: nothing is known to be wrong. */
static const struct baton_error *trouble_of(const struct core *core, const struct contest *contest)
{
    if (core->away.code != BATON_OK)
        return &core->away;
    if (core->session.failures > 0 && !contest->looking)
        return &core->session.failure;
    return queue_of(contest)->refused;
}

static int64_t limit_ms(const struct core *core, const struct contest *contest, bool others, bool trouble)
{
    if (trouble)
        return queue_of(contest)->try_only ? core->now_ms : queue_of(contest)->until_ms;
    return others ? queue_of(contest)->until_ms : queue_of(contest)->answer_ms;
}

bool wait_is_over(struct core *core, struct contest *contest, bool others)
{
    assert(contest->standing);
    if (queue_of(contest)->until_ms == NEVER_MS)
        return false;
    const struct baton_error *trouble = trouble_of(core, contest);
    int64_t at_ms = limit_ms(core, contest, others, trouble != NULL);
    if (core->now_ms < at_ms) {
        contest_wake(core, contest, at_ms);
        return false;
    }
    if (others && trouble == NULL)
        return true;
    enum baton_code code = trouble != NULL ? trouble->code : BATON_UNAVAILABLE;
    if (code == BATON_CONFLICT || code == BATON_TIMEOUT || code == BATON_LOST) /* they would mean something else here */
        code = BATON_UNAVAILABLE;
    contest_end(core, contest, code, "nobody can tell who has the %s '%s': %s", contest->protocol->word, contest->name,
                trouble != NULL ? trouble->text : "the engine does not answer");
    return false;
}

const struct entries *contest_entries(const struct contest *contest)
{
    return &queue_of(contest)->entries;
}
