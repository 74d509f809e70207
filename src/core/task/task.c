/* task.c: a worker at a task that is to be done once: it looks, waits in line, claims, works, and reports.
 *
 * Those who want a task stand in a queue, as for an exclusive lock (lock.c), and the first one may claim it: a decision
 * that outlives everybody, so what was begun is known to have been begun. It works when the view shows its own claim,
 * and it leaves the queue only when the view shows its result. So who is first and sees the claim of somebody whose
 * entry is gone knows that this one will not come back with a result that counts: the task is lost, or, where all
 * allow it, begun again. What carries this is named in rules.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/task/state.h"

enum { TASK_CLAIM = WRITE_FIRST };

int core_once(struct core *core, struct contest *contest, const struct task_options *options, struct baton_error *err)
{
    struct task *task = task_of(contest);
    if (queue_stand(core, contest, &options->queue, err) < 0)
        return -1;
    task->queue.slots = 1;
    task->writing = (struct attempt){0};
    task->claiming = false;
    task->begun_at = 0;
    task->claim_cid[0] = '\0';
    task->options = *options;
    free(task->what);
    task->what = json_plain(options->what); /* as it is stored, and compared */
    contest->looking = true;
    core->standing_count--; /* until it needs a session */
    return 0;
}

/* ---- what the view shows ---- */

static bool is_own(const struct task *task)
{
    return task->claim != NULL && task->claim_cid[0] != '\0' && strcmp(task->claim->cid, task->claim_cid) == 0;
}

static void task_read(struct core *core, struct contest *contest)
{
    struct task *task = task_of(contest);
    char *key = key_claim(contest->name), *prefix = key_queue_prefix(contest->name);
    queue_read(core, contest, prefix);
    task->claim_record = view_find(&contest->view, key);
    task->claim = task->claim_record != NULL ? claim_of(task->claim_record) : NULL;
    free(key);
    free(prefix);
    uint64_t revision = task->claim_record != NULL ? task->claim_record->revision : 0;
    if (task->claiming && revision != task->claim_at) /* it took effect, or never will */
        task->claiming = false;
}

static void output_release(struct claim_output *output)
{
    free(output->bytes);
    *output = (struct claim_output){0};
}

static void task_release(struct contest *contest)
{
    output_release(&task_of(contest)->result.out);
    output_release(&task_of(contest)->result.err);
    free(task_of(contest)->what);
    task_of(contest)->what = NULL;
    queue_clear(contest);
}

/* The claim by which it works, or may begin to. One that was forgotten may come back by a second copy of the write that
 * had made it, when others have done the task meanwhile: that is not the same claim. */
static bool is_running_by_us(const struct task *task)
{
    return is_own(task) && task->claim->state == CLAIM_RUNNING &&
           (task->begun_at == 0 || task->claim_record->created == task->begun_at);
}

static bool worker_present(const struct contest *contest)
{
    const struct entries *entries = &queue_of(contest)->entries;
    return entries_place(entries, task_of(contest)->claim->cid) < entries->order.count;
}

/* May it be begun, by what the claim says? (By whom is another matter.) */
static bool is_open(const struct core *core, const struct contest *contest)
{
    const struct task *task = task_of(contest);
    const struct claim *claim = task->claim;
    if (task->claim_record == NULL)
        return true;
    if (claim == NULL)
        return false;
    bool both_again = (claim->again && task->options.again) || !rule(core, RULE_TASK_AT_MOST_ONCE);
    if (claim_expired(claim, core->wall_ms))
        return true;
    switch (claim->state) {
    case CLAIM_FREE:
        return true;
    case CLAIM_RUNNING:
        return both_again && !(worker_present(contest) && rule(core, RULE_TASK_CLAIM_AT_HEAD));
    case CLAIM_DONE:
        return !rule(core, RULE_TASK_RESULT_IS_FINAL);
    case CLAIM_FAILED:
        return claim->attempt <= task->options.retries;
    case CLAIM_LOST:
        return both_again;
    }
    IMPOSSIBLE("claim %d", (int)claim->state);
}

static bool is_settled(const struct core *core, const struct contest *contest)
{
    const struct claim *claim = task_of(contest)->claim;
    return claim != NULL && claim->state != CLAIM_RUNNING && !is_open(core, contest);
}

/* ---- the claim is written ---- */

static void write_claim(struct core *core, struct contest *contest, struct claim *next, bool compare)
{
    const struct view_record *before = task_of(contest)->claim_record;
    uint64_t revision = before != NULL ? before->revision : 0;
    todo_write(core, &task_of(contest)->writing, write_owner(contest, TASK_CLAIM), BATON_WRITE_PUT,
               key_claim(contest->name), claim_write(before != NULL ? before->value : NULL, next), 0,
               compare ? revision : BATON_REVISION_ANY);
}

static bool may_write(struct core *core, struct contest *contest)
{
    if (attempt_may(core, &task_of(contest)->writing))
        return true;
    attempt_wait(core, contest, &task_of(contest)->writing);
    return false;
}

/* (A record holds no larger number.) */
static uint32_t next_attempt(const struct claim *before)
{
    return before->attempt < CLAIM_ATTEMPT_MAX ? before->attempt + (before->state != CLAIM_FREE) : CLAIM_ATTEMPT_MAX;
}

static void claim_it(struct core *core, struct contest *contest)
{
    struct task *task = task_of(contest);
    bool anew = task->claim == NULL || claim_expired(task->claim, core->wall_ms);
    struct claim next = {.state = CLAIM_RUNNING,
                         .cid = contest->cid,
                         .id = (char *)core->options.id,
                         .host = (char *)core->options.host,
                         .what = task->what,
                         .attempt = anew ? 1 : next_attempt(task->claim),
                         .again = task->options.again,
                         .since_wall_ms = core->wall_ms,
                         .keep_ms = task->options.keep_ms};
    text_copy(task->claim_cid, sizeof(task->claim_cid), contest->cid);
    task->claim_at = task->claim_record != NULL ? task->claim_record->revision : 0;
    task->claiming = true;
    write_claim(core, contest, &next, rule(core, RULE_TASK_CLAIM_COMPARES));
}

/* The present claim with another end. */
static void end_claim(struct core *core, struct contest *contest, enum claim_state state, int32_t status)
{
    struct claim next = *task_of(contest)->claim;
    next.state = state;
    next.status = status;
    next.ended_wall_ms = core->wall_ms;
    next.out = task_of(contest)->result.out;
    next.err = task_of(contest)->result.err;
    write_claim(core, contest, &next, rule(core, RULE_TASK_RESULT_COMPARES) || !task_of(contest)->ended);
}

/* ---- the work is over ---- */

static bool is_working(const struct contest *contest)
{
    return contest->tenure->state == TENURE_HAD || contest->tenure->state == TENURE_STOPPING;
}

static struct claim_output output_copy(const struct claim_output *from)
{
    struct claim_output output = *from;
    output.bytes = from->bytes != NULL ? mem_text_n(from->bytes, from->size) : NULL;
    return output;
}

void core_ended(struct core *core, struct contest *contest, const struct task_result *result)
{
    struct task *task = task_of(contest);
    if (task->told_end || !is_working(contest))
        return;
    task->told_end = true;
    task->result = (struct claim){.state = result->state, .status = result->status};
    task->result.out = output_copy(&result->out);
    task->result.err = output_copy(&result->err);
    contest_mark(core, contest);
}

/* The work is over; how, is in task->result. */
static void end_work(struct core *core, struct contest *contest)
{
    struct task *task = task_of(contest);
    task_of(contest)->writing = (struct attempt){0}; /* the claim was seen */
    task->told_end = false;
    task->ended = true;
    struct tenure *tenure = contest->tenure;
    tenure_stopped(core, contest, tenure);
    if (tenure->state != TENURE_STOPPED)
        tenure_move(tenure, TENURE_STOPPED); /* the session is over, but the result is still to be recorded */
    tenure->spent = tenure->number;          /* this entry does not work again, also when its claim is forgotten */
}

static void task_stopped(struct core *core, struct contest *contest, struct tenure *tenure)
{
    if (!is_working(contest))
        return;
    if (!task_of(contest)->told_end)
        task_of(contest)->result = (struct claim){.state = CLAIM_LOST};
    end_work(core, contest);
}

/* The session is over, or it gives up: a claim of its own may be on its way that nobody will work by. */
static void abandon(struct contest *contest)
{
    struct task *task = task_of(contest);
    bool claimed = task->claiming || (is_own(task) && task->claim->state == CLAIM_RUNNING);
    if (task->ended || contest->tenure->state != TENURE_NONE || !claimed)
        return;
    tenure_move(contest->tenure, TENURE_STOPPED);
    task->ended = true;
    task->result = (struct claim){.state = CLAIM_FREE};
}

/* What the claim says when the result is there, or can never be. */
static void reported(struct core *core, struct contest *contest)
{
    struct task *task = task_of(contest);
    enum claim_state state = task->result.state;
    task->ended = task->claiming = false;
    task->begun_at = 0;
    tenure_move(contest->tenure, TENURE_NONE);
    output_release(&task->result.out);
    output_release(&task->result.err);
    if (state == CLAIM_FREE)
        return;
    if (!is_own(task) || task->claim->state == CLAIM_RUNNING)
        contest_end(core, contest, BATON_LOST, "the claim of the task '%s' was removed while this instance did it",
                    contest->name);
    else if (task->claim->state == CLAIM_LOST)
        contest_end(core, contest, BATON_LOST, "the task '%s' is lost: %s", contest->name,
                    contest->resigning ? "it was given up" : "the session was over before the work was");
    else if (contest->resigning && is_settled(core, contest))
        contest_end(core, contest, BATON_OK, "%s", "");
}

/* Record the result: also without a session, since it is compared with one's own claim. */
static void report(struct core *core, struct contest *contest)
{
    struct task *task = task_of(contest);
    bool on_its_way = task->claiming && (task_of(contest)->writing.ticket != 0 ||
                                         task_of(contest)->writing.revision > contest->view.revision);
    bool ours = is_running_by_us(task);
    if (!rule(core, RULE_TASK_RESULT_COMPARES) && task->claim != NULL && task_of(contest)->writing.revision == 0)
        ours = true; /* whatever the claim says by now */
    if (ours) {
        if (may_write(core, contest))
            end_claim(core, contest, task->result.state, task->result.status);
        return;
    }
    if (!on_its_way)
        reported(core, contest);
}

/* ---- with or without a session ---- */

static const char *worker_text(const struct contest *contest, char text[BATON_ERROR_TEXT])
{
    const struct claim *claim = task_of(contest)->claim;
    const struct order *order = &queue_of(contest)->entries.order;
    const struct lock_entry *first = order->count > 0 ? entry_of(order->records[0]) : NULL;
    if (claim != NULL && claim->state == CLAIM_RUNNING)
        snprintf(text, BATON_ERROR_TEXT, "%.128s on %.64s", claim->id, claim->host);
    else if (first != NULL)
        snprintf(text, BATON_ERROR_TEXT, "%.128s on %.64s", first->id, first->host);
    else
        snprintf(text, BATON_ERROR_TEXT, "an entry that cannot be read");
    return text;
}

static void check_wait(struct core *core, struct contest *contest)
{
    char who[BATON_ERROR_TEXT];
    const struct task *task = task_of(contest);
    const struct order *order = &queue_of(contest)->entries.order;
    bool others = contest->view.ready && order->count > 0 && strcmp(order->records[0]->cid, contest->cid) != 0;
    bool not_due = contest->view.ready && task->claim != NULL && task->claim->state == CLAIM_FAILED;
    if (!wait_is_over(core, contest, others || not_due))
        return;
    if (others)
        contest_end(core, contest, BATON_TIMEOUT, "the task '%s' is still being done by %s", contest->name,
                    worker_text(contest, who));
    else
        contest_end(core, contest, BATON_TIMEOUT, "the task '%s' has failed, and its next attempt is not due yet",
                    contest->name);
}

/* A claim that cannot be read, or that means something else, is not for us. */
static bool refused(struct core *core, struct contest *contest)
{
    const struct task *task = task_of(contest);
    if (task->claim_record != NULL && task->claim == NULL) {
        const struct baton_error *trouble = task->claim_record->trouble;
        contest_end(core, contest, trouble->code, "%s", trouble->text);
        return true;
    }
    if (task->claim == NULL || claim_expired(task->claim, core->wall_ms) || task->claim->what[0] == '\0' ||
        task->what[0] == '\0' || strcmp(task->claim->what, task->what) == 0)
        return false;
    contest_end(core, contest, BATON_INVALID, "the task '%s' is '%s' for %.128s, and '%s' here", contest->name,
                task->claim->what, task->claim->id, task->what);
    return true;
}

/* Before it asks for a session: others do it, and it was only to be tried? */
static bool tried(struct core *core, struct contest *contest)
{
    char who[BATON_ERROR_TEXT];
    if (!queue_of(contest)->try_only || queue_of(contest)->entries.order.count == 0)
        return false;
    contest_end(core, contest, BATON_CONFLICT, "the task '%s' is being done by %s", contest->name,
                worker_text(contest, who));
    return true;
}

static void look(struct core *core, struct contest *contest)
{
    struct task *task = task_of(contest);
    if (task->told_end && is_working(contest))
        end_work(core, contest);
    if (task->ended && contest->view.ready)
        report(core, contest);
    if (task->ended || contest->tenure->state != TENURE_NONE || contest->resigning)
        return;
    if (contest->view.ready && refused(core, contest))
        return;
    if (contest->view.ready && is_settled(core, contest)) {
        contest_end(core, contest, BATON_OK, "%s", "");
        return;
    }
    check_wait(core, contest);
    if (contest->resigning || !contest->view.ready || !contest->looking || tried(core, contest))
        return;
    contest->looking = false;
    core->standing_count++;
}

/* ---- in line, with a session ---- */

static void begin(struct core *core, struct contest *contest, const struct view_record *own)
{
    if (queue_of(contest)->try_only)
        queue_of(contest)->until_ms = NEVER_MS; /* the engine has answered: that was the limit for */
    task_of(contest)->begun_at = is_own(task_of(contest)) ? task_of(contest)->claim_record->created : 0;
    tenure_begin(core, contest, contest->tenure, own->created);
}

/* Of what has failed: is its next attempt due? */
static bool is_due(struct core *core, struct contest *contest)
{
    const struct task *task = task_of(contest);
    if (task->claim == NULL || task->claim->state != CLAIM_FAILED || claim_expired(task->claim, core->wall_ms))
        return true;
    /* By the wall clock, for it was another machine perhaps; never longer than was asked for. */
    int64_t left_ms = task->claim->ended_wall_ms + task->options.retry_after_ms - core->wall_ms;
    if (left_ms <= 0)
        return true;
    if (left_ms > task->options.retry_after_ms)
        left_ms = task->options.retry_after_ms;
    if (queue_of(contest)->try_only)
        contest_end(core, contest, BATON_CONFLICT, "the task '%s' has failed, and its next attempt is not due yet",
                    contest->name);
    else
        contest_wake(core, contest, core->now_ms + left_ms);
    return false;
}

static void take_up(struct core *core, struct contest *contest, const struct view_record *own)
{
    const struct task *task = task_of(contest);
    bool own_claim = task->claim != NULL && strcmp(task->claim->cid, contest->cid) == 0;
    if ((own_claim || contest->tenure->spent != 0) && rule(core, RULE_TASK_ENTRY_WORKS_ONCE)) {
        contest_remove_presence(core, contest); /* it has had its turn: at the end of the queue again */
        return;
    }
    if (!is_due(core, contest) || !may_write(core, contest) || tenure_fading(core, contest->tenure))
        return;
    claim_it(core, contest);
    if (!rule(core, RULE_TASK_CLAIM_BEFORE_WORK))
        begin(core, contest, own);
}

static void wait_in_line(struct core *core, struct contest *contest)
{
    const struct task *task = task_of(contest);
    const struct entries *entries = &queue_of(contest)->entries;
    char who[BATON_ERROR_TEXT];
    size_t place = entries_place(entries, contest->cid);
    if (place == entries->order.count)
        return;
    if (place > 0 && rule(core, RULE_TASK_CLAIM_AT_HEAD)) {
        if (queue_of(contest)->try_only)
            contest_end(core, contest, BATON_CONFLICT, "the task '%s' is being done by %s", contest->name,
                        worker_text(contest, who));
        return;
    }
    if (task->claim != NULL && task->claim->state == CLAIM_RUNNING && strcmp(task->claim->cid, contest->cid) == 0) {
        if (contest->tenure->spent != 0 && rule(core, RULE_TASK_ENTRY_WORKS_ONCE)) {
            /* The claim that it has worked by was forgotten, and "must not exist" was true again for a second copy of
             * it that was still under way: give it back. */
            abandon(contest);
            contest_mark(core, contest);
        } else if (!tenure_fading(core, contest->tenure)) {
            begin(core, contest, entries->order.records[place]);
        }
    } else if (is_open(core, contest)) {
        take_up(core, contest, entries->order.records[place]);
    } else if (task->claim != NULL && task->claim->state == CLAIM_RUNNING && !worker_present(contest) &&
               may_write(core, contest)) {
        end_claim(core, contest, CLAIM_LOST, 0);
    }
}

static void work(struct core *core, struct contest *contest)
{
    const struct task *task = task_of(contest);
    int64_t until_ms = core->now_ms + contest->tenure->stop_ms;
    bool claimed = task->claiming || is_running_by_us(task);
    if (contest->resigning)
        tenure_stop(core, contest, contest->tenure, until_ms, "it is given up");
    else if (tenure_fading(core, contest->tenure))
        tenure_stop(core, contest, contest->tenure, until_ms, "the session could not be renewed in time");
    else if (!claimed)
        tenure_stop(core, contest, contest->tenure, until_ms, "somebody has removed the claim");
}

static void task_act(struct core *core, struct contest *contest, bool present)
{
    if (contest->tenure->state == TENURE_HAD)
        work(core, contest);
    if (contest->tenure->state == TENURE_STOPPING)
        tenure_wait(core, contest, contest->tenure);
    else if (contest->tenure->state == TENURE_STOPPED && !rule(core, RULE_TASK_RESULT_BEFORE_REMOVAL))
        contest_remove_presence(core, contest);
    else if (contest->tenure->state == TENURE_NONE && !contest->resigning)
        wait_in_line(core, contest);
}

/* ---- the protocol ---- */

static char *presence_key(const struct contest *contest)
{
    return key_worker(contest->name, contest->cid);
}

static bool task_look(struct core *core, struct contest *contest)
{
    look(core, contest);
    return true;
}

static void task_lost(struct core *core, struct contest *contest, enum loss loss)
{
    abandon(contest);
}

static bool task_is_busy(const struct contest *contest)
{
    return task_of(contest)->ended;
}

static bool task_may_leave(struct core *core, struct contest *contest)
{
    abandon(contest);
    return !task_of(contest)->ended;
}

static bool task_tells_outcome(enum baton_code code)
{
    return true;
}

static void task_over(struct core *core, struct contest *contest)
{
    if (contest->end_text == NULL)
        todo_tell(core, TELL_OUTCOME, contest, "the task '%s' was given up", contest->name)->code = BATON_CLOSED;
}

static struct attempt *task_write(struct contest *contest, unsigned which)
{
    return which == TASK_CLAIM ? &task_of(contest)->writing : NULL;
}

static const struct record_kind kinds[] = {
    {.path = "claim", .read = claim_read, .free = claim_free},
    {.path = "queue/*", .stands_unread = true, .read = entry_read, .free = entry_free},
};
static const struct record_kinds records = {TASKS_PREFIX, kinds, COUNT_OF(kinds), task_key_of_path};

const struct protocol task_protocol = {
    .word = "task",
    .records = &records,
    .kind = CONTEST_TASK,
    .part_size = sizeof(struct task),
    .ends_late = true,
    .seen_first = RULE_COUNT,
    .prefix = key_task_prefix,
    .presence_key = presence_key,
    .presence_value = queue_presence_value,
    .read = task_read,
    .trouble = queue_trouble,
    .look = task_look,
    .act = task_act,
    .lost = task_lost,
    .stopped = task_stopped,
    .is_busy = task_is_busy,
    .may_leave = task_may_leave,
    .tells_outcome = task_tells_outcome,
    .over = task_over,
    .write = task_write,
    .answered = queue_answered,
    .release = task_release,
};
