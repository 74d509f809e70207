/* latches.c: what an engine promises about latches (baton/engine.h, `latch`). An engine whose clients share no memory
 * has none, and passes. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"
#include "baton/latch.h"
#include "world.h"

#define TTL_MS 60000 /* nobody renews, and an engine may be slow */
#define QUEUES 1500  /* more than an engine may have latches */
#define RACES 200

static bool has_latches(const struct world *w)
{
    return w->a->ops->latch != NULL;
}

/* An entry; the revision at which it was created. */
static uint64_t stand(struct client *client, const char *key, uint64_t session)
{
    expect_done(latched_put(client, key, session));
    return client->reply.revision;
}

static struct baton_latch *latch_of(struct client *client, const char *key, uint64_t created)
{
    return client->ops->latch(client->engine, key, created);
}

static struct baton_latch *must_have(struct client *client, const char *key, uint64_t created)
{
    struct baton_latch *latch = latch_of(client, key, created);
    assert_non_null(latch);
    return latch;
}

static void test_an_entry_that_was_freed_is_taken_back_without_a_write(void **state)
{
    struct world *w = *state;
    if (!has_latches(w))
        return;
    uint64_t session = session_new(w->a, TTL_MS), created = stand(w->a, "q/a", session);
    struct baton_latch *latch = must_have(w->a, "q/a", created);
    assert_null(latch_of(w->a, "q/a", created + 1)); /* of an entry that is not there */
    assert_null(latch_of(w->a, "p/a", created));
    client_watch(w->b, 0, "q/");
    for (unsigned i = 1; i <= 1000; i++) {
        assert_true(baton_latch_free(latch, created));
        assert_int_equal(baton_latch_take(latch, created), created + i);
    }
    assert_int_equal(baton_latch_take(latch, created), 0); /* it is in use */
    wait_key(w->b, 0, "q/a", true);
    expect_done(put(w->b, "other", "1", 0, 0));
    assert_int_equal(w->b->reply.revision, created + 1); /* no revision was spent */
}

static void test_who_stands_beside_an_entry_that_is_free_removes_it(void **state)
{
    struct world *w = *state;
    if (!has_latches(w))
        return;
    uint64_t a = session_new(w->a, TTL_MS), b = session_new(w->b, TTL_MS), created = stand(w->a, "q/a", a);
    struct baton_latch *latch = must_have(w->a, "q/a", created);
    client_watch(w->a, 0, "q/");
    for (int i = 0; i < 7; i++) {
        assert_true(baton_latch_free(latch, created));
        assert_int_not_equal(baton_latch_take(latch, created), 0);
    }
    assert_true(baton_latch_free(latch, created));
    uint64_t next = stand(w->b, "q/b", b);
    assert_true(next > created + 7);
    assert_int_equal(baton_latch_take(latch, created), 0);
    wait_view(w->a, 0, next);
    assert_null(view_get(w->a, 0, "q/a"));
    assert_non_null(view_get(w->a, 0, "q/b"));
    expect_done(latched_removal(w->a, "q/a")); /* of nothing */
    /* The place is free for the next: the latch is b's now. */
    must_have(w->b, "q/b", next);
}

static void test_who_stands_beside_an_entry_in_use_ends_its_tokens(void **state)
{
    struct world *w = *state;
    if (!has_latches(w))
        return;
    uint64_t a = session_new(w->a, TTL_MS), b = session_new(w->b, TTL_MS), created = stand(w->a, "q/a", a);
    struct baton_latch *latch = must_have(w->a, "q/a", created);
    for (int i = 0; i < 7; i++) {
        assert_true(baton_latch_free(latch, created));
        assert_int_not_equal(baton_latch_take(latch, created), 0);
    }
    client_watch(w->a, 0, "q/");
    uint64_t next = stand(w->b, "q/b", b);
    assert_true(next > created + 7);
    wait_view(w->a, 0, next);
    assert_non_null(view_get(w->a, 0, "q/a"));      /* nobody takes it away */
    assert_false(baton_latch_free(latch, created)); /* it is to be removed, not freed */
    assert_int_equal(baton_latch_take(latch, created), 0);
}

/* Begins an entry of `session`, takes it back a few times, and ends it in a way of its own; what is created next? */
static void expect_above(struct world *w, uint64_t session, const char *key,
                         void (*end)(struct world *w, uint64_t session, const char *key))
{
    uint64_t created = stand(w->a, key, session), last = created;
    struct baton_latch *latch = must_have(w->a, key, created);
    for (int i = 0; i < 20; i++) {
        assert_true(baton_latch_free(latch, created));
        last = baton_latch_take(latch, created);
        assert_int_not_equal(last, 0);
    }
    end(w, session, key);
    assert_false(baton_latch_free(latch, created)); /* nobody's any more */
    assert_int_equal(baton_latch_take(latch, created), 0);
    assert_true(stand(w->b, key, w->b->session) > last);
    expect_done(latched_removal(w->b, key));
}

static void end_by_removal(struct world *w, uint64_t session, const char *key)
{
    expect_done(latched_removal(w->a, key));
}

static bool has_ended(void *ctx)
{
    struct world *w = ctx;
    return w->a->ended == w->a->session;
}

static void end_by_session(struct world *w, uint64_t session, const char *key)
{
    client_session_end(w->a, session);
    wait_until(&w->loop, has_ended, w);
}

static void end_by_guard(struct world *w, uint64_t session, const char *key)
{
    char text[BATON_EXPORT_MAX];
    struct baton_engine_guard *guard;
    struct baton_error err;
    int fd;
    assert_int_equal(w->a->ops->session_export(w->a->engine, session, text, &fd, &err), 0);
    assert_int_equal(w->a->ops->guard_open(text, fd, &guard, &err), 0);
    assert_int_equal(w->a->ops->guard_end(guard, WAIT_MS, &err), 0);
    w->a->ops->guard_close(guard);
}

static void test_what_comes_after_an_entry_is_above_its_last_token(void **state)
{
    struct world *w = *state;
    if (!has_latches(w))
        return;
    (void)session_new(w->b, TTL_MS);
    expect_above(w, session_new(w->a, TTL_MS), "q/x", end_by_removal);
    expect_above(w, session_new(w->a, TTL_MS), "q/x", end_by_session);
    expect_above(w, session_new(w->a, TTL_MS), "q/x", end_by_guard);
}

static void test_each_queue_has_a_latch_of_its_own(void **state)
{
    struct world *w = *state;
    if (!has_latches(w))
        return;
    uint64_t a = session_new(w->a, TTL_MS), b = session_new(w->b, TTL_MS), last = 0;
    uint64_t *created = mem_new(QUEUES * sizeof(*created));
    struct baton_latch **latches = mem_new(QUEUES * sizeof(struct baton_latch *));
    char key[40];
    size_t count = 0;
    for (unsigned i = 0; i < QUEUES; i++) {
        snprintf(key, sizeof(key), "q/%u/a", i);
        created[i] = stand(w->a, key, a);
        latches[i] = latch_of(w->a, key, created[i]);
        count += latches[i] != NULL;
    }
    assert_true(count > QUEUES / 4);
    for (unsigned i = 0; i < QUEUES; i++)
        if (latches[i] != NULL)
            assert_true(baton_latch_free(latches[i], created[i]));
    for (unsigned i = 0; i < QUEUES; i += 10) {
        snprintf(key, sizeof(key), "q/%u/b", i);
        last = stand(w->b, key, b);
    }
    client_watch(w->b, 0, "q/");
    wait_view(w->b, 0, last);
    for (unsigned i = 0; i < QUEUES; i++) {
        snprintf(key, sizeof(key), "q/%u/a", i);
        bool gone = i % 10 == 0 && latches[i] != NULL;
        assert_int_equal(view_get(w->b, 0, key) == NULL, gone);
        if (latches[i] != NULL)
            assert_int_equal(baton_latch_take(latches[i], created[i]) == 0, gone);
    }
    free(latches);
    free(created);
}

/* An owner that frees and takes without a pause, in a thread of its own. */
struct owner {
    struct baton_latch *latch;
    uint64_t created;
    _Atomic bool stop;
    bool uses; /* what it believes in the end */
};

static void *free_and_take(void *context)
{
    struct owner *owner = context;
    owner->uses = true;
    while (!atomic_load(&owner->stop)) {
        if (!baton_latch_free(owner->latch, owner->created))
            return NULL; /* somebody wants it, or it is gone */
        owner->uses = false;
        if (baton_latch_take(owner->latch, owner->created) == 0)
            return NULL;
        owner->uses = true;
    }
    return NULL;
}

static void test_an_entry_is_taken_back_or_removed_never_both(void **state)
{
    struct world *w = *state;
    if (!has_latches(w))
        return;
    uint64_t a = session_new(w->a, TTL_MS), b = session_new(w->b, TTL_MS);
    client_watch(w->b, 0, "q/");
    for (int i = 0; i < RACES; i++) {
        struct owner owner = {.created = stand(w->a, "q/a", a)};
        owner.latch = must_have(w->a, "q/a", owner.created);
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, free_and_take, &owner), 0);
        uint64_t next = stand(w->b, "q/b", b);
        uint64_t word = atomic_load(&owner.latch->word);
        atomic_store(&owner.stop, true);
        pthread_join(thread, NULL);
        wait_view(w->b, 0, next);
        bool there = view_get(w->b, 0, "q/a") != NULL;
        if (there) {
            assert_int_equal(baton_latch_state(word), BATON_LATCH_WANTED);
            assert_true(next > baton_latch_last_token(word));
        }
        assert_int_equal(owner.uses, there);
        expect_done(latched_removal(w->a, "q/a"));
        expect_done(latched_removal(w->b, "q/b"));
    }
}

static const struct CMUnitTest tests[] = {
    T(test_an_entry_that_was_freed_is_taken_back_without_a_write),
    T(test_who_stands_beside_an_entry_that_is_free_removes_it),
    T(test_who_stands_beside_an_entry_in_use_ends_its_tokens),
    T(test_what_comes_after_an_entry_is_above_its_last_token),
    T(test_each_queue_has_a_latch_of_its_own),
    T(test_an_entry_is_taken_back_or_removed_never_both),
};

const struct part part_latches = PART(tests, NEEDS_NOTHING);
