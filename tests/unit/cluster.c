/* cluster.c: see cluster.h. */
#include "cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

static void step(struct cluster *cluster, int n, struct event *event);

void cluster_init(struct cluster *cluster)
{
    *cluster = (struct cluster){.store = store_new(), .now_ms = 1000000};
}

static void node_release(struct cluster_node *node)
{
    core_free(node->core);
    update_release(&node->todo);
    node->core = NULL;
}

void cluster_release(struct cluster *cluster)
{
    for (int n = 0; n < CLUSTER_NODES; n++)
        if (cluster->nodes[n].core != NULL)
            node_release(&cluster->nodes[n]);
    store_free(cluster->store);
}

static void told(struct cluster_node *node, const struct action *tell)
{
    if (tell->tell == TELL_CHANGED || tell->tell == TELL_RENEWED)
        return;
    if (node->told_count == COUNT_OF(node->told)) {
        memmove(node->told[0], node->told[1], sizeof(node->told) - sizeof(node->told[0]));
        node->told_count--;
    }
    char *text = node->told[node->told_count++];
    if (tell->tell == TELL_REPLY)
        snprintf(text, BATON_ERROR_TEXT, "REPLY %s: %s", baton_code_name(tell->code), tell->text);
    else if (tell->tell == TELL_LEAD || tell->tell == TELL_STOP || tell->tell == TELL_FOLLOW)
        snprintf(text, BATON_ERROR_TEXT, "%s %llu", tell_name(tell->tell), (unsigned long long)tell->term);
    else if (tell->tell == TELL_TROUBLE)
        snprintf(text, BATON_ERROR_TEXT, "TROUBLE %s", tell->text);
    else
        snprintf(text, BATON_ERROR_TEXT, "%s", tell_name(tell->tell));
    if (tell->tell == TELL_STOP)
        node->stop_until_ms = tell->until_ms;
}

static void do_action(struct cluster *cluster, int n, const struct action *action)
{
    struct cluster_node *node = &cluster->nodes[n];
    struct event event = {.ticket = action->ticket};
    struct baton_reply reply = {0};
    switch (action->kind) {
    case ACTION_TELL:
        told(node, action);
        return;
    case ACTION_WATCH:
        if (strcmp(action->write.key, "elections/e/") != 0)
            return; /* nothing is delivered for the others */
        node->watch = action->watch;
        node->seen = UINT64_MAX;
        return;
    case ACTION_UNWATCH:
        node->watch = 0;
        return;
    default:
        break;
    }
    if (node->cut) {
        if (action->kind == ACTION_WRITE)
            node->unanswered = action->ticket;
        return;
    }
    switch (action->kind) {
    case ACTION_SESSION_OPEN:
        event.kind = EVENT_SESSION_OPENED;
        if (node->full) {
            error_set(&reply.error, BATON_FULL, "the disk is full");
            break;
        }
        event.session = store_session_open(cluster->store);
        event.ttl_ms = action->ttl_ms;
        cluster->sessions[cluster->session_count].id = event.session;
        cluster->sessions[cluster->session_count++].renewed_ms = cluster->now_ms;
        break;
    case ACTION_SESSION_RENEW:
        event.kind = EVENT_SESSION_RENEWED;
        reply.answer = BATON_ANSWER_REFUSED;
        for (size_t i = 0; i < cluster->session_count; i++) {
            if (cluster->sessions[i].id == action->session && store_session_alive(cluster->store, action->session)) {
                cluster->sessions[i].renewed_ms = cluster->now_ms;
                reply.answer = BATON_ANSWER_DONE;
            }
        }
        break;
    case ACTION_SESSION_END:
        store_session_end(cluster->store, action->session);
        return;
    case ACTION_WRITE:
        event.kind = EVENT_WRITTEN;
        store_write(cluster->store, &action->write, &reply);
        cluster->write_tries++;
        cluster->record_writes += reply.answer == BATON_ANSWER_DONE;
        break;
    default:
        IMPOSSIBLE("action %d", (int)action->kind);
    }
    event.reply = &reply;
    step(cluster, n, &event);
}

static void step(struct cluster *cluster, int n, struct event *event)
{
    struct cluster_node *node = &cluster->nodes[n];
    event->now_ms = cluster->now_ms;
    event->wall_ms = 1700000000000 + cluster->now_ms;
    /* Doing one thing may lead to the next step: each has a list of its own. */
    struct update todo;
    update_init(&todo);
    core_step(node->core, event, &todo);
    node->todo.deadline_ms = todo.deadline_ms;
    for (size_t i = 0; i < todo.count; i++)
        do_action(cluster, n, &todo.actions[i]);
    update_release(&todo);
}

/* Views follow the store, and timers fire, until nothing moves any more. */
static void settle(struct cluster *cluster)
{
    for (int round = 0; round < 1000; round++) {
        bool moved = false;
        for (int n = 0; n < CLUSTER_NODES; n++) {
            struct cluster_node *node = &cluster->nodes[n];
            if (node->core == NULL)
                continue;
            if (node->watch != 0 && !node->cut && node->seen != store_revision(cluster->store)) {
                struct baton_batch batch;
                uint64_t after = node->seen == UINT64_MAX ? 0 : node->seen;
                store_read(cluster->store, "elections/e/", after, 0, &batch);
                node->seen = store_revision(cluster->store);
                step(cluster, n, &(struct event){.kind = EVENT_CHANGED, .watch = node->watch, .batch = &batch});
                moved = true;
            }
            if (node->todo.deadline_ms <= cluster->now_ms) {
                step(cluster, n, &(struct event){.kind = EVENT_TICK});
                moved = true;
            }
        }
        if (!moved)
            return;
    }
    IMPOSSIBLE("the cluster does not come to rest");
}

void cluster_stand(struct cluster *cluster, int n, const struct stand_options *options)
{
    struct cluster_node *node = &cluster->nodes[n];
    if (node->core == NULL) {
        char id[8];
        snprintf(id, sizeof(id), "n%d", n);
        *node = (struct cluster_node){0};
        update_init(&node->todo);
        node->core = core_new(&(struct core_options){
            .id = id, .address = "", .host = "h", .ttl_ms = CLUSTER_TTL_MS, .step_ms = CLUSTER_STEP_MS});
        node->election = core_observe(node->core, CONTEST_ELECTION, "e", node, NULL);
    }
    struct stand_options only_asks = {0};
    core_stand(node->core, node->election, options != NULL ? options : &only_asks, NULL);
    cluster_event(cluster, n, EVENT_TICK);
}

void cluster_event(struct cluster *cluster, int n, enum event_kind kind)
{
    step(cluster, n, &(struct event){.kind = kind, .contest = cluster->nodes[n].election});
    settle(cluster);
}

void cluster_wait(struct cluster *cluster, int64_t ms)
{
    for (int64_t end_ms = cluster->now_ms + ms; cluster->now_ms < end_ms;) {
        cluster->now_ms += 10;
        for (size_t i = 0; i < cluster->session_count; i++)
            if (cluster->now_ms >= cluster->sessions[i].renewed_ms + CLUSTER_TTL_MS)
                store_session_end(cluster->store, cluster->sessions[i].id);
        settle(cluster);
    }
}

void cluster_kill(struct cluster *cluster, int n)
{
    struct cluster_node *node = &cluster->nodes[n];
    int64_t deadline_ms;
    uint32_t ttl_ms;
    uint64_t session = core_session(node->core, &deadline_ms, &ttl_ms);
    node_release(node);
    store_session_end(cluster->store, session);
    settle(cluster);
}

void cluster_session_ended(struct cluster *cluster, int n)
{
    int64_t deadline_ms;
    uint32_t ttl_ms;
    uint64_t session = core_session(cluster->nodes[n].core, &deadline_ms, &ttl_ms);
    step(cluster, n, &(struct event){.kind = EVENT_SESSION_ENDED, .session = session});
}

void cluster_answer_lost(struct cluster *cluster, int n)
{
    struct baton_reply reply = {.answer = BATON_ANSWER_REFUSED};
    error_set(&reply.error, BATON_LOST, "the session is over");
    step(cluster, n, &(struct event){.kind = EVENT_WRITTEN, .ticket = cluster->nodes[n].unanswered, .reply = &reply});
    settle(cluster);
}

bool cluster_testament(struct cluster *cluster, int n, struct baton_write *ret)
{
    return election_testament(cluster->nodes[n].core, cluster->nodes[n].election, ret);
}

bool cluster_bequeath(struct cluster *cluster, struct baton_write *testament)
{
    struct baton_reply reply;
    store_write(cluster->store, testament, &reply);
    free((char *)testament->key);
    free((char *)testament->value);
    settle(cluster);
    return reply.answer == BATON_ANSWER_DONE;
}

int cluster_leader(struct cluster *cluster)
{
    int leader = -1;
    for (int n = 0; n < CLUSTER_NODES; n++) {
        const struct cluster_node *node = &cluster->nodes[n];
        if (node->core == NULL || contest_leads(node->core, node->election, 0, cluster->now_ms) == 0)
            continue;
        if (leader >= 0)
            IMPOSSIBLE("two leaders: n%d and n%d", leader, n);
        leader = n;
    }
    return leader;
}

uint64_t cluster_term(struct cluster *cluster)
{
    int n = cluster_leader(cluster);
    return n < 0 ? 0 : contest_leads(cluster->nodes[n].core, cluster->nodes[n].election, 0, cluster->now_ms);
}

bool cluster_told(const struct cluster *cluster, int n, size_t back, const char *text)
{
    const struct cluster_node *node = &cluster->nodes[n];
    if (back >= node->told_count)
        return false;
    const char *was = node->told[node->told_count - 1 - back];
    if (strcmp(was, text) == 0)
        return true;
    fprintf(stderr, "n%d was told '%s', not '%s'\n", n, was, text);
    return false;
}

void cluster_put(struct cluster *cluster, const char *key, const char *value)
{
    struct baton_reply reply;
    store_write(
        cluster->store,
        &(struct baton_write){.kind = BATON_WRITE_PUT, .key = key, .value = value, .if_revision = BATON_REVISION_ANY},
        &reply);
    settle(cluster);
}

void cluster_remove(struct cluster *cluster, const char *key)
{
    struct baton_reply reply;
    store_write(cluster->store,
                &(struct baton_write){.kind = BATON_WRITE_REMOVE, .key = key, .if_revision = BATON_REVISION_ANY},
                &reply);
    settle(cluster);
}
