/* checkers.c: what must be true of tasks. They read the records and what the nodes are told, and share no code with the
 * core.
 *
 *   X  no two workers at one task at one instant
 *   O  at most once: a task is begun again only after a recorded failure that may be taken up again, or where both
 *      workers allow it; and each claim is begun at most once
 *   R  one result: what is done stays so, each claim ends as its own worker says or is lost, and everybody is told the
 *      same
 *   T  tokens of a task only grow
 *   L  once faults end, each task is settled within a stated bound
 *   Q  without a fault no task is lost
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "checkers.h"
#include "task/task.h"

/* How long a worker may take, with its stop; and how often a task may be begun before it is settled. */
#define WORK_US (6 * SECOND_US)
#define ATTEMPTS_MAX 4

struct task_record {
    char state[16], cid[64];
    int64_t attempt, status, keep_ms, ended_ms;
    bool again;
    int64_t since_us;
};

struct seen_task {
    struct task_record record;  /* as it is stored */
    bool begun;                 /* the work by the stored claim */
    bool forgotten;             /* once, or expired: then some may be told of before, some of after */
    bool told;                  /* somebody was told how it ended: */
    struct task_record outcome; /* ... so */
    uint64_t token;             /* of the last worker */
};

static struct seen_task *seen(struct world *world, unsigned task)
{
    struct task_part *part = task_part(world);
    while (part->seen_count <= task) {
        part->seen = mem_grow(part->seen, (part->seen_count + 1) * sizeof(*part->seen));
        part->seen[part->seen_count++] = (struct seen_task){0};
    }
    return &part->seen[task];
}

static bool is(const struct task_record *record, const char *state)
{
    return strcmp(record->state, state) == 0;
}

static void read_record(const char *value, struct task_record *ret)
{
    json_t *object = json_loads(value, 0, NULL);
    const char *state = json_string_value(json_object_get(object, "state"));
    const char *cid = json_string_value(json_object_get(object, "cid"));
    *ret = (struct task_record){.attempt = json_integer_value(json_object_get(object, "attempt")),
                                .status = json_integer_value(json_object_get(object, "status")),
                                .keep_ms = json_integer_value(json_object_get(object, "keep_ms")),
                                .ended_ms = json_integer_value(json_object_get(object, "ended")),
                                .again = json_is_true(json_object_get(object, "again"))};
    text_copy(ret->state, sizeof(ret->state), state != NULL ? state : "?");
    text_copy(ret->cid, sizeof(ret->cid), cid != NULL ? cid : "?");
    json_decref(object);
}

/* ---- O and R: what is stored ---- */

/* Its time is over: it is as if it were not there. (All clocks of the wall are one here.) */
static bool expired(const struct world *world, const struct task_record *record)
{
    return record->state[0] != '\0' && !is(record, "running") && record->keep_ms > 0 &&
           world_wall_ms(world) - record->ended_ms >= record->keep_ms;
}

/* May this claim follow that record? NULL: yes. */
static const char *claim_follows(const struct world *world, const struct seen_task *task,
                                 const struct task_record *next, uint32_t retries)
{
    const struct task_record *before = &task->record;
    if (next->attempt == 1 && expired(world, before)) /* else it was claimed before that, and is stored now */
        return NULL;
    if (before->state[0] == '\0' || is(before, "free"))
        return NULL;
    if (is(before, "done"))
        return "R: it is done, and is claimed again";
    if (is(before, "failed"))
        return before->attempt <= retries && next->attempt == before->attempt + 1
                   ? NULL
                   : "O: it has failed too often, and is claimed again";
    return before->again && next->again ? NULL : "O: its worker is gone, and not both allow that it is begun again";
}

/* May this end follow that record? */
static const char *end_follows(const struct world *world, const struct seen_task *task, const struct task_record *next)
{
    const struct task_record *before = &task->record;
    if (!is(before, "running") || strcmp(before->cid, next->cid) != 0)
        return "R: an end is recorded that is not of the present claim";
    if (is(next, "free") && task->begun)
        return "O: it was begun, and is said to be free";
    if (!is(next, "free") && !is(next, "lost") && !task->begun)
        return "R: it was never begun, and has an end";
    int64_t settled_us = quiet_since_us(world) != NEVER_MS ? quiet_since_us(world) + bound_us(world) : INT64_MAX;
    if (is(next, "lost") && before->since_us > settled_us && !world->config.wild)
        return "Q: it is lost, and nothing went wrong";
    return NULL;
}

/* Nobody forgets what is being done. */
static void check_worker_gone(struct world *world, unsigned number)
{
    for (int n = 0; n < world->node_count; n++)
        if (task_part(world)->nodes[n].task == number && node_active(world, &world->nodes[n]))
            world_fail(world, "X: t%u is forgotten while n%d works on it", number, n);
}

void task_check_stored(struct world *world, const struct baton_write *write)
{
    unsigned number;
    char rest[8] = "";
    if (sscanf(write->key, "tasks/t%u/%6s", &number, rest) != 2 || strcmp(rest, "claim") != 0)
        return;
    struct seen_task *task = seen(world, number);
    struct task_record next;
    if (write->kind == BATON_WRITE_REMOVE) {
        if (is(&task->record, "running") && task->begun && !world->config.wild)
            check_worker_gone(world, number);
        if (task_part(world)->tidy && !expired(world, &task->record))
            world_fail(world, "R: t%u, %s, is forgotten before its time is over", number, task->record.state);
        world_note(world, "t%u is forgotten", number);
        task->record = (struct task_record){0};
        task->begun = false;
        task->forgotten = true;
        return;
    }
    read_record(write->value, &next);
    next.since_us = is(&next, "running") ? world->now_us : task->record.since_us;
    if (next.keep_ms != task_policy(world, number).keep_ms)
        world_fail(world, "R: t%u is kept for %lld ms", number, (long long)next.keep_ms);
    task->forgotten = task->forgotten || (is(&next, "running") && expired(world, &task->record));
    const char *wrong = is(&next, "running") ? claim_follows(world, task, &next, task_policy(world, number).retries)
                                             : end_follows(world, task, &next);
    if (wrong != NULL)
        world_fail(world, "%s: t%u, %s by %s after %s by %s", wrong, number, next.state, next.cid, task->record.state,
                   task->record.cid);
    if (is(&next, "running"))
        task->begun = false;
    task->record = next;
    world_note(world, "t%u is %s, attempt %lld, by %s", number, next.state, (long long)next.attempt, next.cid);
}

/* ---- what the nodes are told ---- */

void task_check_begins(struct world *world, int n, uint64_t token)
{
    const struct sim_node *node = &world->nodes[n];
    struct seen_task *task = seen(world, task_part(world)->nodes[n].task);
    bool own = strcmp(task->record.cid, contest_cid(node->contest)) == 0;
    world_note(world, "n%d begins t%u with token %llu", n, task_part(world)->nodes[n].task, (unsigned long long)token);
    if (token <= task->token && !world->config.wild)
        world_fail(world, "T: n%d begins t%u with token %llu after token %llu", n, task_part(world)->nodes[n].task,
                   (unsigned long long)token, (unsigned long long)task->token);
    /* Its claim may have been ended by somebody else meanwhile; what must not be is one that it never had, or began. */
    if (own && task->begun)
        world_fail(world, "O: n%d begins t%u twice with one claim", n, task_part(world)->nodes[n].task);
    if (own && !is(&task->record, "running") && !is(&task->record, "lost"))
        world_fail(world, "O: n%d begins t%u, which is %s", n, task_part(world)->nodes[n].task, task->record.state);
    if (!own && !task->record.again)
        world_fail(world, "O: n%d begins t%u without a claim", n, task_part(world)->nodes[n].task);
    task->begun = task->begun || own;
    task->token = token;
}

void task_check_outcome(struct world *world, int n, enum baton_code code)
{
    struct sim_node *node = &world->nodes[n];
    struct seen_task *task = seen(world, task_part(world)->nodes[n].task);
    struct task_policy policy = task_policy(world, task_part(world)->nodes[n].task);
    node->waits_since_us = NEVER_MS;
    if (code != BATON_OK || policy.mixed || task->forgotten)
        return;
    if (!is(&task->record, "done") && !is(&task->record, "failed") && !is(&task->record, "lost"))
        world_fail(world, "R: n%d is told that t%u is settled, which is %s", n, task_part(world)->nodes[n].task,
                   task->record.state);
    if (task->told && (strcmp(task->outcome.state, task->record.state) != 0 ||
                       strcmp(task->outcome.cid, task->record.cid) != 0 || task->outcome.status != task->record.status))
        world_fail(world, "R: n%d is told that t%u is %s by %s; before, it was %s by %s", n,
                   task_part(world)->nodes[n].task, task->record.state, task->record.cid, task->outcome.state,
                   task->outcome.cid);
    task->told = true;
    task->outcome = task->record;
}

/* ---- X and L: at every instant ---- */

void task_check_instant(struct world *world)
{
    if (world->config.wild)
        return;
    int64_t limit_us = bound_us(world) + ATTEMPTS_MAX * (WORK_US + bound_us(world));
    for (int n = 0; n < world->node_count; n++) {
        const struct sim_node *node = &world->nodes[n];
        if (!node->up)
            continue;
        int64_t since_us = node->waits_since_us > quiet_since_us(world) ? node->waits_since_us : quiet_since_us(world);
        if (since_us != NEVER_MS && world->now_us - since_us > limit_us)
            world_fail(world, "L: t%u is not settled for n%d after %.0f s without faults",
                       task_part(world)->nodes[n].task, n, (double)(world->now_us - since_us) / 1e6);
        for (int k = n + 1; k < world->node_count; k++)
            if (task_part(world)->nodes[n].task == task_part(world)->nodes[k].task && node_active(world, node) &&
                node_active(world, &world->nodes[k]))
                world_fail(world, "X: n%d and n%d work on t%u at the same time", n, k, task_part(world)->nodes[n].task);
    }
}
