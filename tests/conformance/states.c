/* states.c: a view is always a state that the namespace had, also of one that is read in pages while others write. */
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"
#include "proxy.h"
#include "world.h"

#define MANY 2500 /* records: etcd gives them in pages of 1000 */
#define WRITERS 3 /* each has a pair of keys of its own, far from each other */
#define PAIRS 10  /* writes of each pair under way while a view begins */

static int number_of(const struct client *client, const char *key)
{
    const struct baton_record *record = view_get(client, 0, key);
    return record != NULL ? atoi(record->value) : 0;
}

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

static bool is_held(void *ctx)
{
    return proxy_holds(ctx);
}

/* The view's first page is as of a revision that is forgotten when the second one is asked for. */
static void test_a_view_begins_although_history_is_forgotten_between_its_pages(void **state)
{
    struct world *w = *state;
    char url[220];
    int port;
    struct client *writers[WRITERS] = {w->a, w->b, client_new(w->url, &w->loop)};
    write_many(w, w->a);
    write_pairs(w, writers, 1);
    struct proxy *proxy = proxy_new(&w->loop, server_port(w->url), &port);
    url_with_port(w, port, url);
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

static const struct CMUnitTest tests[] = {
    T(test_every_view_is_a_state_that_was),
};

const struct part part_states = PART(tests, NEEDS_NOTHING);

static const struct CMUnitTest tests_served[] = {
    T(test_a_view_begins_although_history_is_forgotten_between_its_pages),
};

const struct part part_states_served = PART(tests_served, NEEDS_A_SERVER);
