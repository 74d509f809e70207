/* model.c: many writers at random; what was answered and what was told must fit one history. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "world.h"

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

static const struct CMUnitTest tests[] = {
    T(test_many_writers_agree_with_a_model),
};

const struct part part_model = PART(tests, NEEDS_NOTHING);
