/* served.c: an engine with a server whose connections break, or are refused. */
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "proxy.h"
#include "world.h"

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
    char url[220], value[16];
    int port, applied = 0;
    for (int i = 0; i < 12; i++) {
        struct proxy *proxy = proxy_new(&w->loop, server_port(w->url), &port);
        url_with_port(w, port, url);
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

static void test_an_engine_that_cannot_be_reached_opens_and_goes_on_trying(void **state)
{
    struct world *w = *state;
    char url[220];
    int port;
    struct proxy *proxy = proxy_new(&w->loop, server_port(w->url), &port);
    url_with_port(w, port, url);
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
    char url[220], text[BATON_EXPORT_MAX];
    struct baton_error err = {0};
    struct baton_engine_guard *guard = NULL;
    int port, fd;
    struct proxy *proxy = proxy_new(&w->loop, server_port(w->url), &port);
    url_with_port(w, port, url);
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
    wait_answer(client, client_session_open(client, 2000));
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

static const struct CMUnitTest tests[] = {
    T(test_a_cut_connection_makes_the_outcome_unknown),
    T(test_an_engine_that_cannot_be_reached_opens_and_goes_on_trying),
    T(test_while_the_server_is_away_each_request_ends),
};

const struct part part_served = PART(tests, NEEDS_A_SERVER);
