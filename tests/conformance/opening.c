/* opening.c: what stays when clients come and go. */
#include <stdio.h>

#include "base/base.h"
#include "world.h"

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

static const struct CMUnitTest tests[] = {
    T(test_revisions_grow_across_close_and_open),
    T(test_closing_with_requests_under_way_tells_only_closed),
    T(test_namespaces_do_not_see_each_other),
};

const struct part part_opening = PART(tests, NEEDS_NOTHING);
