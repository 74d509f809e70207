/* conformance.c: what every engine promises (baton/engine.h), as one suite: `conformance memory:`, `conformance
 * local:`.
 *
 * Each test has a namespace of its own: the URL of the command line, with a directory or a name put behind it. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/clock.h"
#include "harness.h"
#include "proxy.h"
#include "world.h"

#define ANY BATON_REVISION_ANY
#define TTL_MS 1000
#define TTL_TRIED_MAX_MS 8000
#define CHANGE_LATE_MS                                                                                                 \
    4000                   /* later than the answer to its write a change is told only when something else happens;    \
                            */
#define CHANGES_LATE_MAX 4 /* ... or the machine is busy: so often it may be */

static const char *base_url;
static char folder[] = "/tmp/baton-conformance-XXXXXX";
static unsigned spaces;

static int setup(void **state)
{
    struct world *w = mem_new(sizeof(*w));
    uv_loop_init(&w->loop);
    spaces++;
    if (strcmp(base_url, "local:") == 0)
        snprintf(w->url, sizeof(w->url), "local:%s/%u", folder, spaces);
    else
        snprintf(w->url, sizeof(w->url), "%stest%d-%u", base_url, (int)getpid(), spaces);
    w->a = client_new(w->url, &w->loop);
    w->b = client_new(w->url, &w->loop);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    if (w->a != NULL)
        client_free(w->a);
    if (w->b != NULL)
        client_free(w->b);
    assert_int_equal(uv_loop_close(&w->loop), 0); /* nothing is left on it */
    free(w);
    return 0;
}

void expect_done(const struct baton_reply *reply)
{
    if (reply->answer != BATON_ANSWER_DONE)
        fail_msg("answer %d, not done: %s", (int)reply->answer, reply->error.text);
}

static void expect_conflict(const struct baton_reply *reply)
{
    assert_int_equal(reply->answer, BATON_ANSWER_CONFLICT);
}

static void expect_refused(const struct baton_reply *reply, enum baton_code code)
{
    assert_int_equal(reply->answer, BATON_ANSWER_REFUSED);
    assert_string_equal(baton_code_name(reply->error.code), baton_code_name(code));
}

/* ---- writes ---- */

static void test_must_not_exist_lets_one_write_through(void **state)
{
    struct world *w = *state;
    expect_done(put(w->a, "e/x", "1", 0, 0));
    expect_conflict(put(w->b, "e/x", "2", 0, 0));
    client_watch(w->b, 0, "e/");
    wait_key(w->b, 0, "e/x", true);
    assert_string_equal(view_get(w->b, 0, "e/x")->value, "1");
}

static void test_a_write_needs_the_present_revision(void **state)
{
    struct world *w = *state;
    expect_done(put(w->a, "e/x", "1", 0, 0));
    uint64_t first = w->a->reply.revision;
    expect_done(put(w->b, "e/x", "2", 0, first));
    uint64_t second = w->b->reply.revision;
    assert_true(second > first);
    expect_conflict(put(w->a, "e/x", "3", 0, first));
    expect_conflict(put(w->a, "e/x", "3", 0, second + 1));
    expect_conflict(removal(w->a, "e/x", first));
    expect_done(put(w->a, "e/x", "4", 0, ANY));
    expect_done(removal(w->a, "e/x", w->a->reply.revision));
    expect_conflict(put(w->a, "e/x", "5", 0, second)); /* it is gone: it has no revision */
}

static void test_a_removal_of_nothing_is_done(void **state)
{
    struct world *w = *state;
    expect_done(removal(w->a, "e/none", ANY));
    expect_done(removal(w->a, "e/none", 0));
    expect_conflict(removal(w->a, "e/none", 5));
    expect_done(put(w->a, "e/x", "1", 0, 0));
    expect_conflict(removal(w->a, "e/x", 0));
}

static void test_created_stays_until_the_record_is_made_again(void **state)
{
    struct world *w = *state;
    client_watch(w->b, 0, "e/");
    expect_done(put(w->a, "e/x", "1", 0, 0));
    uint64_t first = w->a->reply.revision;
    expect_done(put(w->a, "e/x", "2", 0, first));
    wait_view(w->b, 0, w->a->reply.revision);
    assert_int_equal(view_get(w->b, 0, "e/x")->created, first);
    assert_int_equal(view_get(w->b, 0, "e/x")->revision, w->a->reply.revision);
    expect_done(removal(w->a, "e/x", ANY));
    expect_done(put(w->a, "e/x", "3", 0, 0));
    wait_view(w->b, 0, w->a->reply.revision);
    assert_int_equal(view_get(w->b, 0, "e/x")->created, w->a->reply.revision);
}

static void test_limits_of_keys_and_values(void **state)
{
    struct world *w = *state;
    char *key = mem_new(BATON_KEY_MAX + 2), *value = mem_new(BATON_VALUE_MAX + 2);
    memset(key, 'k', BATON_KEY_MAX);
    memset(value, 'v', BATON_VALUE_MAX);
    expect_done(put(w->a, key, value, 0, 0));
    client_watch(w->b, 0, "");
    wait_key(w->b, 0, key, true);
    assert_string_equal(view_get(w->b, 0, key)->value, value);
    value[BATON_VALUE_MAX] = 'v';
    expect_refused(put(w->a, key, value, 0, ANY), BATON_INVALID);
    key[BATON_KEY_MAX] = 'k';
    expect_refused(put(w->a, key, "", 0, 0), BATON_INVALID);
    expect_refused(put(w->a, "", "x", 0, 0), BATON_INVALID);
    free(key);
    free(value);
}

/* What comes in several pieces is told when the last one is there, not when something else comes: engines ask their
 * servers after some seconds of silence whether they are there. It is measured from the answer, as a disk may be
 * slow, and a few may be late on a busy machine. (libcurl 7.88 kept back each that was longer than some 48 KiB.) */
static void test_long_changes_are_told_at_once(void **state)
{
    struct world *w = *state;
    char *value = mem_new(BATON_VALUE_MAX + 1);
    int late = 0;
    client_watch(w->b, 0, "e/");
    wait_view(w->b, 0, 0);
    for (size_t length = 1000; length < BATON_VALUE_MAX; length += 1000) {
        memset(value, 'v', length);
        expect_done(put(w->a, "e/long", value, 0, ANY));
        int64_t answered_ms = clock_now_ms();
        wait_view(w->b, 0, w->a->done_revision);
        late += clock_now_ms() - answered_ms > CHANGE_LATE_MS;
        assert_int_equal(strlen(view_get(w->b, 0, "e/long")->value), length);
    }
    assert_true(late <= CHANGES_LATE_MAX);
    free(value);
}

/* Of a client that has just been opened, which asks for other things at the same time. */
static void test_a_watch_begins_whatever_the_size_of_what_is_there(void **state)
{
    struct world *w = *state;
    char *value = mem_new(BATON_VALUE_MAX + 1);
    int late = 0;
    for (size_t length = 500; length < BATON_VALUE_MAX; length += 500) {
        memset(value, 'v', length);
        expect_done(put(w->a, "e/long", value, 0, ANY));
        int64_t begin_ms = clock_now_ms();
        struct client *client = client_new(w->url, &w->loop);
        (void)client_session_open(client, TTL_MS);
        client_watch(client, 0, "e/");
        wait_view(client, 0, w->a->done_revision);
        late += clock_now_ms() - begin_ms > CHANGE_LATE_MS;
        assert_int_equal(strlen(view_get(client, 0, "e/long")->value), length);
        if (client->trouble.code != BATON_OK)
            fail_msg("%zu bytes: %s", length, client->trouble.text);
        client_free(client);
    }
    assert_true(late <= CHANGES_LATE_MAX);
    free(value);
}

static bool all_answered(void *ctx)
{
    const struct client *client = ctx;
    return client->answers == client->last_ticket;
}

static void test_each_request_is_answered_once(void **state)
{
    struct world *w = *state;
    char key[32];
    for (int i = 0; i < 500; i++) {
        snprintf(key, sizeof(key), "e/%d", i % 50);
        if (i % 5 == 4)
            (void)client_remove(w->a, key, ANY);
        else
            (void)client_put(w->a, key, "x", 0, i % 3 == 0 ? 0 : ANY);
        if (i % 10 == 0)
            (void)client_renew(w->a, 999999);
    }
    wait_until(&w->loop, all_answered, w->a); /* the harness fails on a second answer */
    assert_int_equal(w->a->answers, 550);
}

static void increment(struct client *client)
{
    for (;;) {
        const struct baton_record *record = view_get(client, 0, "e/n");
        char text[24];
        snprintf(text, sizeof(text), "%d", atoi(record->value) + 1);
        uint64_t revision = record->revision;
        if (put(client, "e/n", text, 0, revision)->answer == BATON_ANSWER_DONE) {
            wait_view(client, 0, client->reply.revision);
            return;
        }
        expect_conflict(&client->reply);
        /* Somebody was first: the view will show it. */
        wait_view(client, 0, client->reply.revision > revision ? client->reply.revision : revision + 1);
    }
}

static void test_no_increment_is_lost_between_two_writers(void **state)
{
    struct world *w = *state;
    expect_done(put(w->a, "e/n", "0", 0, 0));
    client_watch(w->a, 0, "e/");
    client_watch(w->b, 0, "e/");
    wait_key(w->a, 0, "e/n", true);
    wait_key(w->b, 0, "e/n", true);
    for (int i = 0; i < 30; i++) {
        /* Both from what they saw last: one of two writes in flight at the same time must lose. */
        uint64_t seen = view_get(w->a, 0, "e/n")->revision;
        char text[24];
        snprintf(text, sizeof(text), "%d", atoi(view_get(w->a, 0, "e/n")->value) + 1);
        wait_view(w->b, 0, seen);
        size_t done = w->a->done + w->b->done;
        uint64_t one = client_put(w->a, "e/n", text, 0, seen), two = client_put(w->b, "e/n", text, 0, seen);
        wait_answer(w->a, one);
        wait_answer(w->b, two);
        assert_int_equal(w->a->done + w->b->done, done + 1);
        uint64_t newest = w->a->done_revision > w->b->done_revision ? w->a->done_revision : w->b->done_revision;
        wait_view(w->a, 0, newest);
        wait_view(w->b, 0, newest);
        increment(i % 2 == 0 ? w->a : w->b);
        newest = w->a->done_revision > w->b->done_revision ? w->a->done_revision : w->b->done_revision;
        wait_view(w->a, 0, newest);
    }
    assert_string_equal(view_get(w->a, 0, "e/n")->value, "60");
}

/* ---- views ---- */

static void test_a_watch_begins_with_everything_and_goes_on_with_changes(void **state)
{
    struct world *w = *state;
    expect_done(put(w->a, "e/1", "one", 0, 0));
    expect_done(put(w->a, "e/2", "two", 0, 0));
    expect_done(put(w->a, "f/1", "other", 0, 0));
    client_watch(w->b, 0, "e/");
    wait_view(w->b, 0, 1);
    assert_int_equal(w->b->views[0].resets, 1);
    assert_int_equal(w->b->views[0].count, 2);
    expect_done(put(w->a, "e/3", "three", 0, 0));
    expect_done(removal(w->a, "e/1", ANY));
    expect_done(put(w->a, "f/2", "other", 0, 0));
    wait_key(w->b, 0, "e/1", false);
    assert_int_equal(w->b->views[0].count, 2);
    assert_non_null(view_get(w->b, 0, "e/3"));
    assert_int_equal(w->b->views[0].resets, 1);
}

static void test_a_watch_of_nothing_begins_empty(void **state)
{
    struct world *w = *state;
    client_watch(w->a, 3, "nothing/");
    wait_view(w->a, 3, 0);
    assert_int_equal(w->a->views[3].count, 0);
    assert_int_equal(w->a->views[3].resets, 1);
}

static void test_watches_of_one_client_do_not_mix(void **state)
{
    struct world *w = *state;
    client_watch(w->b, 0, "e/a/");
    client_watch(w->b, 1, "e/");
    client_watch(w->b, 2, "e/b/");
    client_watch(w->b, 3, "e/a/");
    expect_done(put(w->a, "e/a/1", "x", 0, 0));
    expect_done(put(w->a, "e/b/1", "y", 0, 0));
    expect_done(put(w->a, "e/ab/1", "z", 0, 0));
    wait_key(w->b, 1, "e/ab/1", true);
    wait_key(w->b, 0, "e/a/1", true);
    wait_key(w->b, 2, "e/b/1", true);
    wait_key(w->b, 3, "e/a/1", true);
    assert_int_equal(w->b->views[0].count, 1);
    assert_int_equal(w->b->views[1].count, 3);
    assert_int_equal(w->b->views[2].count, 1);
    client_unwatch(w->b, 0); /* the harness fails if it is told anything more */
    expect_done(put(w->a, "e/a/2", "x", 0, 0));
    wait_key(w->b, 3, "e/a/2", true);
    client_watch(w->b, 0, "e/b/"); /* the number is free again */
    wait_key(w->b, 0, "e/b/1", true);
    assert_int_equal(w->b->views[0].count, 1);
}

static void test_what_is_written_is_seen_by_its_writer_too(void **state)
{
    struct world *w = *state;
    client_watch(w->a, 0, "e/");
    for (int i = 0; i < 100; i++) /* at the same time: in any order */
        (void)client_put(w->a, "e/x", "x", 0, ANY);
    wait_until(&w->loop, all_answered, w->a);
    expect_done(put(w->a, "e/x", "last", 0, ANY));
    wait_view(w->a, 0, w->a->done_revision);
    assert_string_equal(view_get(w->a, 0, "e/x")->value, "last");
}

static int port_of(const char *url, const char **ret_at);

/* What etcd does every now and then where it is told to: forget all states but the newest. Other engines have no such
 * thing. */
static void forget_history(const struct world *w, uint64_t revision)
{
    const char *at;
    char command[200];
    if (!text_starts(w->url, "etcd:"))
        return;
    snprintf(command, sizeof(command), "ETCDCTL_API=3 etcdctl --endpoints 127.0.0.1:%d compact %llu >/dev/null 2>&1",
             port_of(w->url, &at), (unsigned long long)revision);
    assert_int_equal(system(command), 0);
}

/* More than etcd and the kernel keep for it: the watcher has to catch up, and what it has missed is forgotten. */
static void test_a_view_that_fell_behind_ends_at_the_present_state(void **state)
{
    struct world *w = *state;
    static char value[3000];
    memset(value, 'x', sizeof(value) - 1);
    uv_loop_t slow_loop; /* nobody runs it while the others write */
    uv_loop_init(&slow_loop);
    struct client *slow = client_new(w->url, &slow_loop);
    client_watch(slow, 0, "e/");
    wait_view(slow, 0, 0);
    uint64_t session = session_new(w->a, 60000);
    char key[32];
    for (int i = 0; i < 12000; i++) {
        snprintf(key, sizeof(key), "e/%d", i % 20);
        (void)client_put(w->a, key, value, session, ANY);
        if (i % 500 == 499)
            wait_until(&w->loop, all_answered, w->a);
    }
    expect_done(put(w->a, "e/last", "y", 0, 0));
    forget_history(w, w->a->reply.revision);
    expect_done(removal(w->a, "e/7", ANY));
    wait_key(slow, 0, "e/last", true);
    wait_key(slow, 0, "e/7", false);
    assert_int_equal(slow->views[0].count, 20);
    if (text_starts(w->url, "etcd:"))
        assert_true(slow->views[0].resets > 1); /* it was told that it has missed something, and began again */
    expect_done(put(w->a, "e/after", "z", 0, 0));
    wait_key(slow, 0, "e/after", true); /* and it goes on */
    client_free(slow);
    assert_int_equal(uv_loop_close(&slow_loop), 0);
}

/* ---- many writers ---- */

#define MODEL_WRITES 400
#define MODEL_KEYS 3

/* What was written and answered DONE, and what a watch has told, each in the order of revisions. */
struct model_write {
    uint64_t revision, if_revision, ticket;
    struct client *client;
    int key;
    bool removal, answered;
    uint64_t known_revision; /* that somebody had seen before it was sent */
    int sent_by_answer;      /* how many writes had been sent when it was answered */
    char value[16];
};

struct model {
    struct model_write writes[MODEL_WRITES];
    struct {
        uint64_t revision;
        char key[16], value[16];
    } told[MODEL_WRITES + 1];
    size_t told_count;
};

static void model_told(struct client *client, const struct baton_change *change)
{
    struct model *model = client->ctx;
    assert_true(model->told_count < COUNT_OF(model->told));
    snprintf(model->told[model->told_count].key, 16, "%s", change->record.key);
    snprintf(model->told[model->told_count].value, 16, "%s",
             change->kind == BATON_CHANGE_PUT ? change->record.value : "");
    model->told[model->told_count++].revision = change->record.revision;
}

/* Of two removals with one revision, the one that says what it removes is the one that did. */
static int by_revision(const void *left, const void *right)
{
    const struct model_write *a = left, *b = right;
    if (a->revision != b->revision)
        return a->revision > b->revision ? 1 : -1;
    return (a->if_revision > b->if_revision) - (a->if_revision < b->if_revision);
}

static uint64_t known_revision(struct client **clients)
{
    uint64_t known = 0;
    for (int i = 0; i < 3; i++) {
        uint64_t seen = clients[i]->views[0].revision;
        seen = clients[i]->done_revision > seen ? clients[i]->done_revision : seen;
        known = seen > known ? seen : known;
    }
    return known;
}

/* Answers come while somebody waits only. */
static void note_answers(struct model *model, int sent)
{
    for (int i = 0; i < sent; i++) {
        struct model_write *write = &model->writes[i];
        if (!write->answered && write->client->answered[write->ticket] > 0) {
            write->answered = true;
            write->sent_by_answer = sent;
        }
    }
}

/* Several requests of each client are under way at any time, on what its view shows. */
static void write_at_random(struct world *w, struct model *model, struct client **clients, unsigned seed)
{
    for (int i = 0; i < MODEL_WRITES; i++) {
        seed = seed * 1103515245 + 12345;
        unsigned random = seed >> 16;
        struct client *client = clients[random % 3];
        char key[16];
        model->writes[i].client = client;
        model->writes[i].key = (int)(random / 3 % MODEL_KEYS);
        snprintf(key, sizeof(key), "e/%d", model->writes[i].key);
        const struct baton_record *seen = view_get(client, 0, key);
        model->writes[i].if_revision = random / 64 % 8 == 0 ? ANY : seen != NULL ? seen->revision : 0;
        model->writes[i].removal = random / 512 % 4 == 0;
        model->writes[i].known_revision = known_revision(clients);
        snprintf(model->writes[i].value, 16, "%d", i);
        model->writes[i].ticket =
            model->writes[i].removal ? client_remove(client, key, model->writes[i].if_revision)
                                     : client_put(client, key, model->writes[i].value, 0, model->writes[i].if_revision);
        if (i % 5 == 4) {
            wait_answer(client, model->writes[i].ticket);
            note_answers(model, i + 1);
        }
    }
    for (int i = 0; i < 3; i++)
        wait_until(&w->loop, all_answered, clients[i]);
    note_answers(model, MODEL_WRITES);
}

/* The revision of a key after this revision of the store, by what the watch has told; 0: it is not there. */
static uint64_t state_at(const struct model *model, int key, uint64_t revision)
{
    char name[16];
    uint64_t state = 0;
    snprintf(name, sizeof(name), "e/%d", key);
    for (size_t i = 0; i < model->told_count && model->told[i].revision <= revision; i++)
        if (strcmp(model->told[i].key, name) == 0)
            state = model->told[i].value[0] != '\0' ? model->told[i].revision : 0;
    return state;
}

/* Was there a moment, between its sending and its answer, at which this conflict was one? Before any write is sorted.
 */
static bool is_right_conflict(const struct model *model, const struct model_write *write)
{
    uint64_t last = 0;
    for (int i = 0; i < write->sent_by_answer; i++)
        if (model->writes[i].revision > last)
            last = model->writes[i].revision;
    if (state_at(model, write->key, write->known_revision) != write->if_revision)
        return true;
    for (size_t i = 0; i < model->told_count && model->told[i].revision <= last; i++)
        if (model->told[i].revision > write->known_revision &&
            state_at(model, write->key, model->told[i].revision) != write->if_revision)
            return true;
    return false;
}

static void check_conflicts(const struct model *model)
{
    for (int i = 0; i < MODEL_WRITES; i++) {
        const struct model_write *write = &model->writes[i];
        if (write->client->answers_by[write->ticket] != BATON_ANSWER_CONFLICT)
            continue;
        assert_true(write->if_revision != ANY);
        if (!is_right_conflict(model, write))
            fail_msg("a conflict that was none: write %d of e/%d if %llu", i, write->key,
                     (unsigned long long)write->if_revision);
    }
}

/* Each write that was done was right on the state before it, and the watch has told all of them and nothing else. */
static void check_model(struct model *model)
{
    uint64_t state[MODEL_KEYS] = {0};
    size_t told = 0;
    qsort(model->writes, MODEL_WRITES, sizeof(model->writes[0]), by_revision);
    for (int i = 0; i < MODEL_WRITES; i++) {
        uint64_t *now = &state[model->writes[i].key];
        if (model->writes[i].revision == 0)
            continue; /* a conflict */
        if (model->writes[i].if_revision != ANY)
            assert_int_equal(model->writes[i].if_revision, *now);
        if (model->writes[i].removal && *now == 0)
            continue; /* nothing was there: no change */
        *now = model->writes[i].removal ? 0 : model->writes[i].revision;
        char key[16];
        snprintf(key, sizeof(key), "e/%d", model->writes[i].key);
        assert_true(told < model->told_count);
        assert_int_equal(model->told[told].revision, model->writes[i].revision);
        assert_string_equal(model->told[told].key, key);
        assert_string_equal(model->told[told].value, model->writes[i].removal ? "" : model->writes[i].value);
        told++;
    }
    assert_int_equal(told, model->told_count);
}

static bool was_removed_at(const struct model *model, int key, uint64_t revision)
{
    char name[16];
    snprintf(name, sizeof(name), "e/%d", key);
    for (size_t i = 0; i < model->told_count; i++)
        if (model->told[i].revision == revision && strcmp(model->told[i].key, name) == 0)
            return model->told[i].value[0] == '\0';
    return false;
}

/* A removal of nothing is done, with a revision that is another one's: it has changed nothing. */
static void note_revisions(struct model *model)
{
    for (int i = 0; i < MODEL_WRITES; i++) {
        const struct client *client = model->writes[i].client;
        uint64_t ticket = model->writes[i].ticket, revision = client->revisions[ticket];
        assert_true(client->answers_by[ticket] == BATON_ANSWER_DONE ||
                    client->answers_by[ticket] == BATON_ANSWER_CONFLICT);
        bool nothing = model->writes[i].removal &&
                       (model->writes[i].if_revision == 0 || !was_removed_at(model, model->writes[i].key, revision));
        model->writes[i].revision = nothing ? 0 : revision;
    }
}

static void agree_with_a_model(struct world *w, unsigned seed)
{
    char url[220];
    snprintf(url, sizeof(url), "%s-%u", w->url, seed);
    struct model *model = mem_new(sizeof(*model));
    struct client *observer = client_new(url, &w->loop), *clients[3];
    size_t done = 0;
    for (int i = 0; i < 3; i++)
        clients[i] = client_new(url, &w->loop);
    expect_done(put(clients[0], "f/first", "x", 0, 0)); /* a view of nothing may begin again with the first record */
    observer->on_change = model_told;
    observer->ctx = model;
    client_watch(observer, 0, "e/");
    for (int i = 0; i < 3; i++)
        client_watch(clients[i], 0, "e/");
    wait_view(observer, 0, 0);
    for (int i = 0; i < 3; i++)
        wait_view(clients[i], 0, 0);
    write_at_random(w, model, clients, seed);
    expect_done(put(clients[0], "e/end", "end", 0, 0));
    wait_key(observer, 0, "e/end", true);
    model->told_count--; /* the end itself */
    note_revisions(model);
    check_conflicts(model);
    check_model(model);
    for (int i = 0; i < 3; i++) {
        done += clients[i]->done;
        client_free(clients[i]);
    }
    assert_true(done > MODEL_WRITES / 8);
    client_free(observer);
    free(model);
}

static void test_many_writers_agree_with_a_model(void **state)
{
    for (unsigned seed = 4711; seed < 4716; seed++)
        agree_with_a_model(*state, seed);
}

static int number_of(const struct client *client, const char *key)
{
    const struct baton_record *record = view_get(client, 0, key);
    return record != NULL ? atoi(record->value) : 0;
}

#define MANY 2500 /* records: etcd gives them in pages of 1000 */
#define WRITERS 3 /* each has a pair of keys of its own, far from each other */
#define PAIRS 10  /* writes of each pair under way while a view begins */

/* Each writer writes the second of its keys when the first was answered, with the same number. They stand on the first
 * and on the last page of a view. */
static void no_torn_pairs(struct client *client)
{
    char one[16], two[16];
    for (int i = 0; i < WRITERS; i++) {
        snprintf(one, sizeof(one), "e/a-%d", i);
        snprintf(two, sizeof(two), "e/z-%d", i);
        int first = number_of(client, one), second = number_of(client, two);
        if (second > first || first > second + 1)
            fail_msg("a view that never was: %s is %d, %s is %d", one, first, two, second);
    }
}

/* The next step of each writer's pair; they are made at one time. */
static void write_pairs(struct world *w, struct client **writers, int number)
{
    char key[16], text[16];
    snprintf(text, sizeof(text), "%d", number);
    for (int half = 0; half < 2; half++) {
        for (int i = 0; i < WRITERS; i++) {
            snprintf(key, sizeof(key), "e/%c-%d", half == 0 ? 'a' : 'z', i);
            (void)client_put(writers[i], key, text, 0, ANY);
        }
        for (int i = 0; i < WRITERS; i++)
            wait_until(&w->loop, all_answered, writers[i]);
    }
}

static void write_many(struct world *w, struct client *client)
{
    char key[16];
    for (int i = 0; i < MANY; i++) {
        snprintf(key, sizeof(key), "e/k%05d", i);
        (void)client_put(client, key, "a value that takes some room in a page, as a candidate's does", 0, 0);
        if (i % 500 == 499)
            wait_until(&w->loop, all_answered, client);
    }
}

static void test_every_view_is_a_state_that_was(void **state)
{
    struct world *w = *state;
    struct client *late = NULL, *writers[WRITERS] = {w->a, w->b, client_new(w->url, &w->loop)};
    int number = 0;
    write_many(w, w->a);
    write_pairs(w, writers, ++number);
    w->b->on_batch = no_torn_pairs;
    client_watch(w->b, 0, "e/");
    for (int round = 0; round < 8; round++) { /* each begins in the middle of it */
        late = client_new(w->url, &w->loop);
        late->on_batch = no_torn_pairs;
        client_watch(late, 0, "e/");
        for (int i = 0; i < PAIRS; i++)
            write_pairs(w, writers, ++number);
        wait_view(late, 0, w->a->done_revision);
        assert_int_equal(late->views[0].count, MANY + 2 * WRITERS);
        client_free(late);
        if (round % 2 == 0)
            forget_history(w, w->a->done_revision);
    }
    wait_view(w->b, 0, w->a->done_revision);
    assert_int_equal(number_of(w->b, "e/z-0"), number);
    client_free(writers[2]);
}

/* ---- a connection that breaks ---- */

/* The port of a URL with `127.0.0.1:PORT`; 0: this engine has no server. *ret_at is where it stands. */
static int port_of(const char *url, const char **ret_at)
{
    const char *host = strstr(url, "//127.0.0.1:");
    *ret_at = host != NULL ? host + strlen("//127.0.0.1:") : NULL;
    return host != NULL ? atoi(*ret_at) : 0;
}

static bool is_troubled(void *ctx)
{
    return ((const struct client *)ctx)->trouble.code != BATON_OK;
}

static bool was_cut(void *ctx)
{
    return proxy_cuts(ctx) > 0;
}

static void test_a_cut_connection_makes_the_outcome_unknown(void **state)
{
    struct world *w = *state;
    const char *at;
    char url[220], value[16];
    int server_port = port_of(w->url, &at), port, applied = 0;
    for (int i = 0; i < 12; i++) {
        struct proxy *proxy = proxy_new(&w->loop, server_port, &port);
        snprintf(url, sizeof(url), "%.*s%d%s", (int)(at - w->url), w->url, port, at + strspn(at, "0123456789"));
        struct client *client = client_new(url, &w->loop);
        client_watch(client, 0, "e/");
        uint64_t revision = put(client, "e/x", "before", 0, ANY)->revision;
        wait_view(client, 0, revision);
        size_t resets = client->views[0].resets;
        snprintf(value, sizeof(value), "after%d", i);
        proxy_cut_after_request(proxy);
        uint64_t ticket = client_put(client, "e/x", value, 0, revision);
        wait_until(&w->loop, was_cut, proxy);
        wait_answer(client, ticket);
        assert_int_equal(client->answers_by[ticket], BATON_ANSWER_UNKNOWN);
        /* It was applied once, or not at all; the view begins again with everything, and tells. */
        expect_done(put(client, "e/mark", value, 0, ANY));
        wait_view(client, 0, client->reply.revision);
        assert_true(client->views[0].resets > resets);
        const struct baton_record *record = view_get(client, 0, "e/x");
        bool was_applied = strcmp(record->value, value) == 0;
        applied += was_applied;
        if (was_applied)
            assert_true(record->revision > revision);
        else
            assert_int_equal(record->revision, revision);
        client_free(client);
        proxy_free(proxy);
    }
    assert_true(applied > 0); /* or nothing was tried here */
}

static bool is_held(void *ctx)
{
    return proxy_holds(ctx);
}

/* The view's first page is as of a revision that is forgotten when the second one is asked for. */
static void test_a_view_begins_although_history_is_forgotten_between_its_pages(void **state)
{
    struct world *w = *state;
    const char *at;
    char url[220];
    int server_port = port_of(w->url, &at), port;
    struct client *writers[WRITERS] = {w->a, w->b, client_new(w->url, &w->loop)};
    write_many(w, w->a);
    write_pairs(w, writers, 1);
    struct proxy *proxy = proxy_new(&w->loop, server_port, &port);
    snprintf(url, sizeof(url), "%.*s%d%s", (int)(at - w->url), w->url, port, at + strspn(at, "0123456789"));
    struct client *late = client_new(url, &w->loop);
    late->on_batch = no_torn_pairs;
    proxy_hold_after(proxy, 50000); /* less than a page has */
    client_watch(late, 0, "e/");
    wait_until(&w->loop, is_held, proxy);
    write_pairs(w, writers, 2);
    uint64_t forgotten = w->a->done_revision;
    forget_history(w, forgotten);
    proxy_go(proxy);
    wait_view(late, 0, forgotten);
    assert_int_equal(late->views[0].count, MANY + 2 * WRITERS);
    assert_int_equal(late->views[0].resets, 1);
    assert_true(late->views[0].began >= forgotten);
    assert_int_equal(late->trouble.code, BATON_OK);
    client_free(late);
    proxy_free(proxy);
    client_free(writers[2]);
}

static void test_an_engine_that_cannot_be_reached_opens_and_goes_on_trying(void **state)
{
    struct world *w = *state;
    const char *at;
    char url[220];
    int server_port = port_of(w->url, &at), port;
    struct proxy *proxy = proxy_new(&w->loop, server_port, &port);
    snprintf(url, sizeof(url), "%.*s%d%s", (int)(at - w->url), w->url, port, at + strspn(at, "0123456789"));
    proxy_refuse(proxy, true);
    struct client *client = client_new(url, &w->loop);
    client_watch(client, 0, "e/");
    wait_until(&w->loop, is_troubled, client);
    assert_int_equal(client->trouble.code, BATON_UNAVAILABLE);
    uint64_t ticket = client_put(client, "e/x", "1", 0, 0);
    proxy_refuse(proxy, false);
    wait_answer(client, ticket);
    expect_done(&client->reply);
    wait_key(client, 0, "e/x", true);
    assert_int_equal(client->trouble.code, BATON_OK);
    client_free(client);
    proxy_free(proxy);
}

/* Its connections are cut, and there are no others: everything ends, and unfit answers are not invented. */
static void test_while_the_server_is_away_each_request_ends(void **state)
{
    struct world *w = *state;
    const char *at;
    char url[220], text[BATON_EXPORT_MAX];
    struct baton_error err = {0};
    struct baton_engine_guard *guard = NULL;
    int server_port = port_of(w->url, &at), port, fd;
    struct proxy *proxy = proxy_new(&w->loop, server_port, &port);
    snprintf(url, sizeof(url), "%.*s%d%s", (int)(at - w->url), w->url, port, at + strspn(at, "0123456789"));
    struct client *client = client_new(url, &w->loop);
    uint64_t session = session_new(client, 60000), ending = session_new(client, 60000);
    client_watch(client, 0, "e/");
    expect_done(put(client, "e/bound", "x", session, 0));
    wait_key(client, 0, "e/bound", true);
    assert_int_equal(client->ops->session_export(client->engine, session, text, &fd, &err), 0);
    proxy_refuse(proxy, true);
    client_session_end(client, ending);
    assert_int_equal(put(client, "e/x", "1", session, 0)->answer, BATON_ANSWER_UNKNOWN);
    assert_int_equal(renewal(client, session)->answer, BATON_ANSWER_UNKNOWN);
    wait_answer(client, client_session_open(client, TTL_MS));
    assert_int_equal(client->session, 0);
    assert_int_equal(client->error.code, BATON_UNAVAILABLE);
    assert_int_equal(client->ended_count, 0);
    /* A guard has its limit as an argument. Here it cannot even reach the proxy, which is on this thread's loop. */
    assert_int_equal(client->ops->guard_open(text, fd, &guard, &err), 0);
    assert_int_equal(client->ops->guard_end(guard, 300, &err), -1);
    assert_int_equal(err.code, BATON_UNAVAILABLE);
    client->ops->guard_close(guard);
    (void)client_put(client, "e/x", "2", session, 0);
    client_free(client); /* with all that is under way */
    proxy_free(proxy);
}

/* ---- sessions ---- */

static void test_bound_records_vanish_at_one_revision_in_one_batch(void **state)
{
    struct world *w = *state;
    uint64_t session = session_new(w->a, 60000), other = session_new(w->b, 60000);
    client_watch(w->b, 0, "e/");
    char key[32];
    for (int i = 0; i < 10; i++) {
        snprintf(key, sizeof(key), "e/bound/%d", i);
        expect_done(put(w->a, key, "x", session, 0));
    }
    expect_done(put(w->a, "e/lasting", "x", 0, 0));
    expect_done(put(w->b, "e/other", "x", other, 0));
    wait_key(w->b, 0, "e/other", true);
    assert_int_equal(w->b->views[0].count, 12);
    assert_int_equal(view_get(w->b, 0, "e/bound/3")->session, session);
    client_session_end(w->a, session);
    wait_key(w->b, 0, "e/bound/0", false);
    assert_int_equal(w->b->views[0].last_removed, 10);
    assert_int_equal(w->b->views[0].removed_first, w->b->views[0].removed_last);
    assert_int_equal(w->b->views[0].count, 2);
}

static bool was_told_of_end(void *ctx)
{
    return ((const struct client *)ctx)->ended_count > 0;
}

static void test_the_end_of_a_session_is_told_and_is_the_end(void **state)
{
    struct world *w = *state;
    uint64_t session = session_new(w->a, 60000);
    expect_done(renewal(w->a, session));
    client_session_end(w->a, session);
    wait_until(&w->loop, was_told_of_end, w->a);
    assert_int_equal(w->a->ended, session);
    expect_refused(renewal(w->a, session), BATON_LOST);
    expect_refused(put(w->a, "e/x", "x", session, ANY), BATON_LOST);
    expect_refused(put(w->b, "e/x", "x", session + 1000000, ANY), BATON_LOST); /* never was */
    client_session_end(w->a, session);                                         /* twice is once */
    expect_done(put(w->a, "e/x", "x", 0, 0));
    assert_int_equal(w->a->ended_count, 1);
}

static void test_session_ids_are_never_used_again(void **state)
{
    struct world *w = *state;
    uint64_t greatest = 0;
    for (int i = 0; i < 20; i++) {
        struct client *client = i % 2 == 0 ? w->a : w->b;
        uint64_t session = session_new(client, 60000);
        assert_true(session > greatest);
        greatest = session;
        client_session_end(client, session);
        if (i == 10) { /* also when nobody is there in between */
            client_free(w->a);
            client_free(w->b);
            w->a = client_new(w->url, &w->loop);
            w->b = client_new(w->url, &w->loop);
        }
    }
}

static void test_a_put_with_another_session_moves_the_record(void **state)
{
    struct world *w = *state;
    uint64_t one = session_new(w->a, 60000), two = session_new(w->b, 60000);
    client_watch(w->a, 0, "e/");
    expect_done(put(w->a, "e/x", "1", one, 0));
    expect_done(put(w->b, "e/x", "2", two, ANY));
    client_session_end(w->a, one);
    wait_until(&w->loop, was_told_of_end, w->a);
    expect_done(put(w->a, "e/mark", "m", 0, 0));
    wait_key(w->a, 0, "e/mark", true);
    assert_non_null(view_get(w->a, 0, "e/x"));
    expect_done(put(w->b, "e/x", "3", 0, ANY)); /* and now it lasts */
    client_session_end(w->b, two);
    wait_until(&w->loop, was_told_of_end, w->b);
    expect_done(put(w->a, "e/mark", "m", 0, ANY));
    wait_view(w->a, 0, w->a->reply.revision);
    assert_non_null(view_get(w->a, 0, "e/x"));
}

static bool never(void *ctx)
{
    return false;
}

/* A session with a short ttl, of which time is known: since `renewed_ms` it has it, at least. */
struct lease {
    struct client *owner;
    uint64_t id;
    uint32_t ttl_ms;
    int64_t renewed_ms;
};

static struct lease lease_new(struct client *owner, uint32_t ttl_ms)
{
    struct lease lease = {.owner = owner, .renewed_ms = clock_now_ms()};
    lease.id = session_new(owner, ttl_ms);
    lease.ttl_ms = owner->ttl_ms;
    return lease;
}

static bool may_be_over(const struct lease *lease)
{
    return clock_now_ms() - lease->renewed_ms >= (int64_t)lease->ttl_ms;
}

/* Done, or false: it came too late, as the machine is busy. Too late it must have been. */
static bool done_in_time(const struct lease *lease, const struct baton_reply *reply)
{
    if (reply->answer != BATON_ANSWER_REFUSED || !may_be_over(lease)) {
        expect_done(reply);
        return true;
    }
    expect_refused(reply, BATON_LOST);
    return false;
}

static bool renewed_in_time(struct lease *lease)
{
    int64_t now_ms = clock_now_ms();
    if (!done_in_time(lease, renewal(lease->owner, lease->id)))
        return false;
    lease->renewed_ms = now_ms;
    return true;
}

/* Its record is there until it is gone, which is not before the ttl is. False: it was never seen. */
static bool has_ended_with_its_ttl(const struct lease *lease, struct client *observer)
{
    if (view_get(observer, 0, "e/bound") == NULL && may_be_over(lease))
        return false;
    assert_non_null(view_get(observer, 0, "e/bound"));
    wait_key(observer, 0, "e/bound", false);
    int64_t lived_ms = observer->views[0].changed_ms - lease->renewed_ms;
    if (lived_ms < (int64_t)lease->ttl_ms)
        fail_msg("ended %lld ms after its last renewal, with a ttl of %u", (long long)lived_ms, lease->ttl_ms);
    return true;
}

/* What has to be done in time is tried with longer and longer ttls, until this machine is quick enough for it. */
static void within_a_ttl(bool (*story)(struct world *w, uint32_t ttl_ms), struct world *w)
{
    uint32_t ttl_ms = TTL_MS;
    while (!story(w, ttl_ms)) {
        ttl_ms *= 2;
        assert_true(ttl_ms <= TTL_TRIED_MAX_MS);
    }
}

/* Renewed for a while, then no more. */
static bool lives_while_it_is_renewed(struct client *owner, struct client *observer, uint32_t ttl_ms)
{
    struct lease lease = lease_new(owner, ttl_ms);
    if (!done_in_time(&lease, put(owner, "e/bound", "x", lease.id, ANY)))
        return false;
    wait_view(observer, 0, owner->done_revision);
    client_session_end(owner, session_new(owner, 60000)); /* another one comes and goes */
    for (int64_t begin_ms = clock_now_ms(); lease.renewed_ms < begin_ms + 2 * (int64_t)lease.ttl_ms;) {
        if (!renewed_in_time(&lease))
            return false;
        (void)wait_for(owner->loop, never, owner, lease.ttl_ms / 4);
    }
    if (!has_ended_with_its_ttl(&lease, observer))
        return false;
    expect_refused(renewal(owner, lease.id), BATON_LOST);
    expect_refused(put(owner, "e/late", "x", lease.id, 0), BATON_LOST);
    return true;
}

static bool expires_before_others(struct world *w, uint32_t ttl_ms)
{
    return lives_while_it_is_renewed(w->a, w->b, ttl_ms);
}

static bool expires_alone(struct world *w, uint32_t ttl_ms)
{
    return lives_while_it_is_renewed(w->a, w->a, ttl_ms);
}

static void test_a_session_that_is_not_renewed_ends(void **state)
{
    struct world *w = *state;
    client_watch(w->b, 0, "e/");
    within_a_ttl(expires_before_others, w);
}

static void test_a_session_ends_also_when_its_owner_is_alone(void **state)
{
    struct world *w = *state;
    client_free(w->b);
    w->b = NULL;
    client_watch(w->a, 0, "e/");
    within_a_ttl(expires_alone, w);
}

static bool is_left_to_its_ttl(struct world *w, uint32_t ttl_ms)
{
    struct client *owner = client_new(w->url, &w->loop);
    struct lease lease = lease_new(owner, ttl_ms);
    bool in_time = renewed_in_time(&lease) && done_in_time(&lease, put(owner, "e/bound", "x", lease.id, ANY));
    uint64_t revision = owner->done_revision;
    client_free(owner);
    if (!in_time)
        return false;
    wait_view(w->b, 0, revision);
    expect_done(put(w->a, "e/other", "x", 0, ANY)); /* a reason to look */
    wait_view(w->b, 0, w->a->done_revision);
    return has_ended_with_its_ttl(&lease, w->b);
}

static void test_a_closed_engine_leaves_its_session_to_its_ttl(void **state)
{
    struct world *w = *state;
    client_watch(w->b, 0, "e/");
    within_a_ttl(is_left_to_its_ttl, w);
}

static void test_a_ttl_below_the_minimum_is_raised(void **state)
{
    struct world *w = *state;
    (void)session_new(w->a, 1);
    assert_int_equal(w->a->ttl_ms, w->a->ops->ttl_min_ms);
}

/* NULL: the session is over. */
static struct baton_engine_guard *guard_of(struct client *owner, uint64_t session)
{
    char text[BATON_EXPORT_MAX];
    struct baton_error err = {0};
    struct baton_engine_guard *guard = NULL;
    int fd = -2;
    if (owner->ops->session_export(owner->engine, session, text, &fd, &err) < 0) {
        assert_int_equal(err.code, BATON_LOST);
        return NULL;
    }
    assert_int_equal(owner->ops->guard_open(text, fd, &guard, &err), 0);
    return guard;
}

/* The guard of a session of a's that has a record, which b sees. */
static struct baton_engine_guard *guard_of_new(struct world *w, uint64_t *ret_session)
{
    *ret_session = session_new(w->a, 60000);
    client_watch(w->b, 0, "e/");
    expect_done(put(w->a, "e/bound", "x", *ret_session, 0));
    wait_key(w->b, 0, "e/bound", true);
    struct baton_engine_guard *guard = guard_of(w->a, *ret_session);
    assert_non_null(guard);
    return guard;
}

static void test_a_guard_ends_the_session(void **state)
{
    struct world *w = *state;
    struct baton_error err = {0};
    uint64_t session;
    struct baton_engine_guard *guard = guard_of_new(w, &session);
    assert_int_equal(w->a->ops->guard_end(guard, 5000, &err), 0);
    wait_key(w->b, 0, "e/bound", false);
    expect_refused(renewal(w->a, session), BATON_LOST);
    assert_int_equal(w->a->ops->guard_end(guard, 5000, &err), 0); /* it is over: done, too */
    w->a->ops->guard_close(guard);
    w->a->ops->guard_close(NULL);
    assert_int_equal(w->a->ops->guard_open("nonsense", -1, &guard, &err), -1);
    assert_int_equal(err.code, BATON_INVALID);
}

static bool guard_renewed_in_time(const struct baton_engine_ops *ops, struct baton_engine_guard *guard,
                                  struct lease *lease)
{
    struct baton_error err = {0};
    int64_t now_ms = clock_now_ms();
    uint32_t got_ms = 0;
    if (ops->guard_renew(guard, 5000, &got_ms, &err) < 0) {
        if (err.code != BATON_LOST || !may_be_over(lease))
            fail_msg("%s", err.text);
        return false;
    }
    assert_in_range(got_ms, 1, lease->ttl_ms);
    lease->ttl_ms = got_ms;
    lease->renewed_ms = now_ms;
    return true;
}

static bool lives_while_its_guard_renews(struct world *w, uint32_t ttl_ms)
{
    struct client *owner = client_new(w->url, &w->loop);
    struct lease lease = lease_new(owner, ttl_ms);
    struct baton_engine_guard *guard = NULL;
    bool in_time = done_in_time(&lease, put(owner, "e/bound", "x", lease.id, ANY));
    uint64_t revision = owner->done_revision;
    if (in_time)
        guard = guard_of(owner, lease.id);
    client_free(owner);
    if (guard == NULL) {
        assert_true(may_be_over(&lease));
        return false;
    }
    wait_view(w->b, 0, revision);
    for (int64_t begin_ms = clock_now_ms(); in_time && lease.renewed_ms < begin_ms + 2 * (int64_t)lease.ttl_ms;) {
        in_time = guard_renewed_in_time(w->b->ops, guard, &lease);
        if (in_time)
            (void)wait_for(w->b->loop, never, w->b, lease.ttl_ms / 4);
    }
    in_time = in_time && has_ended_with_its_ttl(&lease, w->b);
    if (in_time)
        assert_false(guard_renewed_in_time(w->b->ops, guard, &lease)); /* it is over */
    w->b->ops->guard_close(guard);
    return in_time;
}

/* Its process is gone, and something of it is left that must not have a successor. */
static void test_a_guard_renews_the_session(void **state)
{
    struct world *w = *state;
    client_watch(w->b, 0, "e/");
    within_a_ttl(lives_while_its_guard_renews, w);
}

/* What was written up to now is in b's view. */
static const char *decision_after(struct world *w, const char *mark)
{
    expect_done(put(w->a, mark, "x", 0, 0));
    wait_key(w->b, 0, mark, true);
    return view_get(w->b, 0, "e/decision")->value;
}

static void test_a_guard_renews_no_session_that_was_ended(void **state)
{
    struct world *w = *state;
    struct baton_error err = {0};
    uint64_t session;
    uint32_t ttl_ms;
    struct baton_engine_guard *guard = guard_of_new(w, &session);
    expect_done(put(w->a, "e/decision", "mine", 0, 0));
    struct baton_write write = {
        .kind = BATON_WRITE_PUT, .key = "e/decision", .value = "theirs", .if_revision = w->a->reply.revision};
    w->a->ops->guard_testament(guard, &write);
    assert_int_equal(w->a->ops->guard_renew(guard, 5000, &ttl_ms, &err), 0);
    expect_done(renewal(w->a, session)); /* its process may live, too */
    assert_int_equal(w->a->ops->guard_end(guard, 5000, &err), 0);
    assert_string_equal(decision_after(w, "e/1"), "theirs");
    assert_int_equal(w->a->ops->guard_renew(guard, 5000, &ttl_ms, &err), -1);
    assert_int_equal(err.code, BATON_LOST);
    w->a->ops->guard_close(guard);
}

static void test_a_guard_writes_the_testament_and_ends_the_session(void **state)
{
    struct world *w = *state;
    struct baton_error err = {0};
    uint64_t session;
    struct baton_engine_guard *guard = guard_of_new(w, &session);
    expect_done(put(w->a, "e/decision", "mine", 0, 0));
    struct baton_write write = {
        .kind = BATON_WRITE_PUT, .key = "e/decision", .value = "somebody's", .if_revision = w->a->reply.revision};
    w->a->ops->guard_testament(guard, &write);
    w->a->ops->guard_testament(guard, NULL);
    write.value = "theirs"; /* only the last one counts, also if it is told again */
    w->a->ops->guard_testament(guard, &write);
    w->a->ops->guard_testament(guard, &write);
    assert_string_equal(decision_after(w, "e/1"), "mine"); /* not before the end */
    assert_int_equal(w->a->ops->guard_end(guard, 5000, &err), 0);
    wait_key(w->b, 0, "e/bound", false);
    assert_string_equal(decision_after(w, "e/2"), "theirs");
    expect_refused(renewal(w->a, session), BATON_LOST);
    w->a->ops->guard_close(guard);
}

static void test_a_testament_that_is_late_has_no_effect_and_the_session_ends(void **state)
{
    struct world *w = *state;
    struct baton_error err = {0};
    uint64_t session;
    struct baton_engine_guard *guard = guard_of_new(w, &session);
    expect_done(put(w->a, "e/decision", "mine", 0, 0));
    struct baton_write write = {
        .kind = BATON_WRITE_PUT, .key = "e/decision", .value = "late", .if_revision = w->a->reply.revision};
    w->a->ops->guard_testament(guard, &write);
    expect_done(put(w->a, "e/decision", "somebody's", 0, BATON_REVISION_ANY));
    assert_int_equal(w->a->ops->guard_end(guard, 5000, &err), 0);
    wait_key(w->b, 0, "e/bound", false);
    assert_string_equal(decision_after(w, "e/1"), "somebody's");
    w->a->ops->guard_close(guard);
}

/* `conformance guard URL TEXT FD`: what another process does with what was exported. */
static int run_guard(char **argv)
{
    struct baton_engine_guard *guard = NULL;
    struct baton_error err;
    const struct baton_engine_ops *ops = harness_ops(argv[0]);
    bool done = ops->guard_open(argv[1], atoi(argv[2]), &guard, &err) == 0 && ops->guard_end(guard, 5000, &err) == 0;
    if (!done)
        fprintf(stderr, "%s\n", err.text);
    ops->guard_close(guard);
    return done ? 0 : 1;
}

static void test_another_process_ends_a_session_that_was_exported(void **state)
{
    struct world *w = *state;
    char text[BATON_EXPORT_MAX], number[16];
    struct baton_error err = {0};
    int fd = -1, status = -1;
    uint64_t session = session_new(w->a, 60000), other = session_new(w->b, 60000);
    client_watch(w->b, 0, "e/");
    expect_done(put(w->a, "e/bound", "x", session, 0));
    expect_done(put(w->b, "e/other", "x", other, 0));
    wait_key(w->b, 0, "e/other", true);
    assert_int_equal(w->a->ops->session_export(w->a->engine, session, text, &fd, &err), 0);
    snprintf(number, sizeof(number), "%d", fd);
    pid_t child = fork();
    if (child == 0) {
        if (fd >= 0)
            fcntl(fd, F_SETFD, 0); /* it is for the child */
        execl("/proc/self/exe", "conformance", "guard", w->url, text, number, (char *)NULL);
        _exit(127);
    }
    if (fd >= 0)
        close(fd);
    wait_key(w->b, 0, "e/bound", false);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    expect_refused(renewal(w->a, session), BATON_LOST);
    assert_non_null(view_get(w->b, 0, "e/other"));
    expect_done(renewal(w->b, other));
}

/* ---- opening and closing ---- */

static void test_revisions_grow_across_close_and_open(void **state)
{
    struct world *w = *state;
    expect_done(put(w->a, "e/x", "1", 0, 0));
    expect_done(removal(w->a, "e/x", ANY));
    expect_done(put(w->a, "e/y", "kept", 0, 0));
    uint64_t last = w->a->reply.revision;
    client_free(w->a);
    client_free(w->b);
    w->b = NULL;
    w->a = client_new(w->url, &w->loop);
    expect_done(put(w->a, "e/x", "2", 0, 0));
    assert_true(w->a->reply.revision > last);
    client_watch(w->a, 0, "e/");
    wait_key(w->a, 0, "e/y", true);
    assert_int_equal(view_get(w->a, 0, "e/y")->revision, last);
}

static void test_closing_with_requests_under_way_tells_only_closed(void **state)
{
    struct world *w = *state;
    client_watch(w->a, 0, "e/");
    for (int i = 0; i < 200; i++) {
        (void)client_put(w->a, "e/x", "x", 0, ANY);
        if (i % 50 == 0)
            (void)client_session_open(w->a, 60000);
    }
    client_free(w->a); /* the harness fails if anything comes after `closed` */
    w->a = NULL;
    expect_done(put(w->b, "e/x", "after", 0, ANY)); /* and the namespace is as usable as before */
}

static void test_namespaces_do_not_see_each_other(void **state)
{
    struct world *w = *state;
    char url[220];
    snprintf(url, sizeof(url), "%s-other", w->url);
    struct client *other = client_new(url, &w->loop);
    client_watch(other, 0, "");
    expect_done(put(w->a, "e/x", "1", 0, 0));
    expect_done(put(other, "e/y", "1", 0, 0));
    wait_key(other, 0, "e/y", true);
    assert_int_equal(other->views[0].count, 1);
    client_free(other);
}

/* ---- views that rest ---- */

static void test_a_view_that_rests_goes_on_when_its_key_changes(void **state)
{
    struct world *w = *state;
    const char *values[] = {"one", "two", NULL}; /* NULL: it is removed */
    const int others[] = {1, 100, 20};           /* that it misses: an engine may tell them, or begin again */
    client_watch(w->a, 0, "e/");
    client_watch(w->b, 0, "e/");
    expect_done(put(w->b, "e/key", "zero", 0, 0));
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        wait_view(w->a, 0, w->b->done_revision);
        client_rest(w->a, 0, "e/key", NULL);
        for (int k = 0; k < others[i]; k++)
            expect_done(put(w->b, "e/other", values[i] != NULL ? values[i] : "three", 0, ANY));
        expect_done(values[i] != NULL ? put(w->b, "e/key", values[i], 0, ANY) : removal(w->b, "e/key", ANY));
        wait_view(w->a, 0, w->b->done_revision);
        const struct baton_record *key = view_get(w->a, 0, "e/key");
        assert_string_equal(key != NULL ? key->value : "three", view_get(w->a, 0, "e/other")->value);
    }
    expect_done(put(w->b, "e/other", "awake", 0, ANY));
    wait_view(w->a, 0, w->b->done_revision);
}

static void test_a_view_rests_also_until_a_session_takes_its_key_along(void **state)
{
    struct world *w = *state;
    uint64_t session = session_new(w->b, 60000);
    client_watch(w->a, 0, "e/");
    expect_done(put(w->b, "e/key", "x", session, 0));
    wait_key(w->a, 0, "e/key", true);
    client_rest(w->a, 0, "e/key", NULL);
    expect_done(put(w->b, "e/other", "x", 0, 0));
    client_session_end(w->b, session);
    wait_key(w->a, 0, "e/key", false);
    wait_key(w->a, 0, "e/other", true);
}

/* What has happened since the revision that was told last counts, also if it is not told yet. */
static void test_a_view_that_is_told_to_rest_too_late_goes_on(void **state)
{
    struct world *w = *state;
    client_watch(w->a, 0, "e/");
    wait_view(w->a, 0, 0);
    for (int i = 0; i < 20; i++) {
        char value[16];
        snprintf(value, sizeof(value), "%d", i);
        uint64_t ticket = client_put(w->b, "e/key", value, 0, ANY);
        if (i % 2 == 0)
            wait_answer(w->b, ticket);
        client_rest(w->a, 0, "e/key", NULL);
        wait_answer(w->b, ticket);
        wait_view(w->a, 0, w->b->done_revision);
    }
}

static void test_a_view_that_need_not_rest_any_more_is_up_to_date(void **state)
{
    struct world *w = *state;
    client_watch(w->a, 0, "e/");
    wait_view(w->a, 0, 0);
    for (int i = 0; i < 10; i++) {
        client_rest(w->a, 0, "e/key", NULL);
        expect_done(put(w->b, "e/other", "x", 0, ANY));
        client_rest(w->a, 0, NULL, NULL);
        wait_view(w->a, 0, w->b->done_revision);
        expect_done(put(w->b, "e/other", "y", 0, ANY)); /* and stays so */
        wait_view(w->a, 0, w->b->done_revision);
    }
}

static void test_a_view_that_rests_looks_when_its_session_is_renewed(void **state)
{
    struct world *w = *state;
    uint64_t session = session_new(w->a, 60000);
    client_watch(w->a, 0, "e/");
    expect_done(put(w->b, "e/slow", "0", 0, 0));
    wait_key(w->a, 0, "e/slow", true);
    for (int i = 0; i < 5; i++) {
        client_rest(w->a, 0, "e/key", "e/slow");
        expect_done(renewal(w->a, session)); /* nothing is new */
        expect_done(put(w->b, "e/slow", "1", 0, ANY));
        expect_done(put(w->b, "e/other", "1", 0, ANY));
        uint64_t written = w->b->done_revision;
        /* It may be asked in the very moment in which the write is on its way to be seen: then the next one finds it.
         */
        expect_done(renewal(w->a, session));
        expect_done(renewal(w->a, session));
        wait_view(w->a, 0, written);
    }
    client_rest(w->a, 0, "e/key", "e/slow");
    expect_done(removal(w->b, "e/slow", ANY));
    expect_done(renewal(w->a, session));
    expect_done(renewal(w->a, session));
    wait_key(w->a, 0, "e/slow", false);
}

static void rest_again(struct client *client)
{
    client_rest(client, 0, "e/key", NULL);
}

/* An engine may always let it go on sooner; those that can let it rest do not do so each time. */
static void test_a_view_that_rests_is_left_in_peace(void **state)
{
    struct world *w = *state;
    if (w->a->ops->rest == NULL)
        skip();
    client_watch(w->a, 0, "e/");
    client_watch(w->b, 0, "e/");
    wait_view(w->a, 0, 0);
    rest_again(w->a);
    w->a->on_batch = rest_again;
    size_t before = w->a->views[0].batches;
    for (int i = 0; i < 100; i++) {
        expect_done(put(w->b, "e/other", "x", 0, ANY));
        wait_view(w->b, 0, w->b->done_revision);
    }
    assert_in_range(w->a->views[0].batches - before, 0, 50);
    expect_done(put(w->b, "e/key", "x", 0, ANY));
    wait_view(w->a, 0, w->b->done_revision);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: conformance URL [TESTS] (memory:, local:, etcd://h:2379/; a pattern with * and ?)\n");
        return 2;
    }
    if (argc == 5 && strcmp(argv[1], "guard") == 0)
        return run_guard(argv + 2);
    base_url = argv[1];
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    if (mkdtemp(folder) == NULL) {
        perror(folder);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        T(test_must_not_exist_lets_one_write_through),
        T(test_a_write_needs_the_present_revision),
        T(test_a_removal_of_nothing_is_done),
        T(test_created_stays_until_the_record_is_made_again),
        T(test_limits_of_keys_and_values),
        T(test_long_changes_are_told_at_once),
        T(test_a_watch_begins_whatever_the_size_of_what_is_there),
        T(test_each_request_is_answered_once),
        T(test_no_increment_is_lost_between_two_writers),
        T(test_a_watch_begins_with_everything_and_goes_on_with_changes),
        T(test_a_watch_of_nothing_begins_empty),
        T(test_watches_of_one_client_do_not_mix),
        T(test_what_is_written_is_seen_by_its_writer_too),
        T(test_a_view_that_fell_behind_ends_at_the_present_state),
        T(test_many_writers_agree_with_a_model),
        T(test_every_view_is_a_state_that_was),
        T(test_a_view_that_rests_goes_on_when_its_key_changes),
        T(test_a_view_rests_also_until_a_session_takes_its_key_along),
        T(test_a_view_that_is_told_to_rest_too_late_goes_on),
        T(test_a_view_that_need_not_rest_any_more_is_up_to_date),
        T(test_a_view_that_rests_looks_when_its_session_is_renewed),
        T(test_a_view_that_rests_is_left_in_peace),
        T(test_an_entry_that_was_freed_is_taken_back_without_a_write),
        T(test_who_stands_beside_an_entry_that_is_free_removes_it),
        T(test_who_stands_beside_an_entry_in_use_ends_its_tokens),
        T(test_what_comes_after_an_entry_is_above_its_last_token),
        T(test_each_queue_has_a_latch_of_its_own),
        T(test_an_entry_is_taken_back_or_removed_never_both),
        T(test_bound_records_vanish_at_one_revision_in_one_batch),
        T(test_the_end_of_a_session_is_told_and_is_the_end),
        T(test_session_ids_are_never_used_again),
        T(test_a_put_with_another_session_moves_the_record),
        T(test_a_session_that_is_not_renewed_ends),
        T(test_a_session_ends_also_when_its_owner_is_alone),
        T(test_a_closed_engine_leaves_its_session_to_its_ttl),
        T(test_a_ttl_below_the_minimum_is_raised),
        T(test_a_guard_ends_the_session),
        T(test_a_guard_renews_the_session),
        T(test_a_guard_renews_no_session_that_was_ended),
        T(test_a_guard_writes_the_testament_and_ends_the_session),
        T(test_a_testament_that_is_late_has_no_effect_and_the_session_ends),
        T(test_revisions_grow_across_close_and_open),
        T(test_closing_with_requests_under_way_tells_only_closed),
        T(test_namespaces_do_not_see_each_other),
        T(test_another_process_ends_a_session_that_was_exported),
        T(test_a_cut_connection_makes_the_outcome_unknown),
        T(test_an_engine_that_cannot_be_reached_opens_and_goes_on_trying),
        T(test_a_view_begins_although_history_is_forgotten_between_its_pages),
        T(test_while_the_server_is_away_each_request_ends),
    };
    /* The last four are for an engine with a server, the last five for one that another process can reach. */
    const char *at;
    size_t count = COUNT_OF(tests);
    if (port_of(base_url, &at) == 0)
        count -= text_starts(base_url, "memory:") || text_starts(base_url, "example:") ? 5 : 4;
    int failed = _cmocka_run_group_tests(base_url, tests, count, NULL, NULL);
    char command[100];
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command) != 0 || failed != 0;
}
