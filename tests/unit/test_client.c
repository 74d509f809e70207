/* test_client.c: stories of clients that stand, lead, stop and hand over, told with the library as a program uses it.
 */
#include "client_stage.h"

#include <stdio.h>
#include <unistd.h>

static void test_one_alone_leads_with_a_term(void **state)
{
    struct baton *a = stage_open(*state, "a", 0);
    struct baton_election *e = stage_stand(a, "writer", 0);
    struct baton_event lead = stage_expect(a, e, BATON_LEAD);
    uint64_t term = 0;
    assert_true(baton_leads(e, &term));
    assert_int_equal(term, lead.term);
    assert_true(term > 0);
    assert_true(baton_leads(e, NULL));

    struct baton_status *status;
    size_t count;
    assert_int_equal(baton_status(e, &status, &count, NULL), 0);
    assert_int_equal(count, 1);
    assert_string_equal(status->name, "writer");
    assert_string_equal(status->leader, "a");
    assert_int_equal(status->term, term);
    assert_int_equal(status->candidate_count, 1);
    assert_true(status->candidates[0].leads);
    assert_int_equal(status->term_count, 1);
    assert_string_equal(status->terms[0].reason, "claim");
    assert_null(status->trouble);
    baton_status_free(status, count);
    baton_close(a);
}

static void test_second_waits_and_takes_over_when_the_first_closes(void **state)
{
    struct baton *a = stage_open(*state, "a", 0), *b = stage_open(*state, "b", 0);
    struct baton_election *ea = stage_stand(a, "writer", 0);
    uint64_t first = stage_expect(a, ea, BATON_LEAD).term;
    struct baton_election *eb = stage_stand(b, "writer", 0);
    size_t two = 2;
    baton_status_free(stage_wait_status(a, ea, has_candidates, &two), 1);
    uint64_t term = 77;
    assert_false(baton_leads(eb, &term));
    assert_int_equal(term, 77);
    stage_expect_nothing(b);
    baton_close(a);
    assert_true(stage_expect(b, eb, BATON_LEAD).term > first);
    assert_true(baton_leads(eb, NULL));
    baton_close(b);
}

static void test_who_resigns_hands_over_and_stands_no_more(void **state)
{
    struct baton *a = stage_open(*state, "a", 0), *b = stage_open(*state, "b", 0);
    struct baton_election *ea = stage_stand(a, "writer", 0);
    stage_expect(a, ea, BATON_LEAD);
    struct baton_election *eb = stage_stand(b, "writer", 0);
    size_t two = 2, one = 1;
    baton_status_free(stage_wait_status(a, ea, has_candidates, &two), 1);
    baton_resign(ea);
    baton_resign(ea); /* twice is once */
    stage_expect(a, ea, BATON_STOP);
    assert_false(baton_leads(ea, NULL));
    stage_expect(a, ea, BATON_FOLLOW);
    stage_expect(a, ea, BATON_RESIGNED);
    stage_expect(b, eb, BATON_LEAD);

    /* Who has resigned observes on. */
    baton_status_free(stage_wait_status(a, ea, has_candidates, &one), 1);
    struct baton_status *status = stage_wait_status(a, ea, led_by, "b");
    assert_string_equal(status->terms[0].reason, "resign");
    baton_status_free(status, 1);
    stage_expect_nothing(a);
    baton_close(a);
    stage_expect_nothing(b);
    baton_close(b);
}

static void test_place_passes_on_only_when_the_stop_was_answered(void **state)
{
    struct baton *a = stage_open(*state, "a", 30000), *b = stage_open(*state, "b", 0), *c = stage_open(*state, "c", 0);
    struct baton_election *ea = stage_stand(a, "writer", 15000);
    stage_expect(a, ea, BATON_LEAD);
    struct baton_election *eb = stage_stand(b, "writer", 0);
    size_t two = 2, three = 3;
    baton_status_free(stage_wait_status(a, ea, has_candidates, &two), 1);
    baton_resign(ea);
    int64_t asked_ms = baton_now_ms();
    struct baton_event stop = stage_expect(a, ea, BATON_STOP);
    assert_true(stop.until_ms > asked_ms && stop.until_ms <= baton_now_ms() + 15000);
    assert_true(stop.text[0] != '\0');
    assert_false(baton_leads(ea, NULL));

    /* Others may come meanwhile, and all can see each other, but nobody leads. */
    struct baton_election *ec = stage_stand(c, "writer", 0);
    struct baton_status *status = stage_wait_status(c, ec, has_candidates, &three);
    assert_string_equal(status->leader, "a");
    baton_status_free(status, 1);
    stage_expect_nothing(b);
    stage_expect_nothing(a);
    assert_false(baton_leads(eb, NULL) || baton_leads(ec, NULL));

    baton_stopped(ea);
    assert_int_equal(stage_expect(a, ea, BATON_FOLLOW).term, stop.term);
    stage_expect(a, ea, BATON_RESIGNED);
    assert_true(stage_expect(b, eb, BATON_LEAD).term > stop.term);
    stage_expect_nothing(c);
    baton_close(c);
    baton_close(b);
    baton_close(a);
}

static void test_a_stop_that_takes_longer_keeps_the_place_meanwhile(void **state)
{
    struct baton *a = stage_open(*state, "a", 3000), *b = stage_open(*state, "b", 0);
    struct baton_election *ea = stage_stand(a, "writer", 1400);
    uint64_t term = stage_expect(a, ea, BATON_LEAD).term;
    struct baton_election *eb = stage_stand(b, "writer", 0);
    assert_false(baton_stop_takes(ea, 1000)); /* it was not told to stop */
    baton_resign(ea);
    stage_expect(a, ea, BATON_STOP);
    assert_true(baton_stop_takes(ea, 600000));
    assert_false(baton_leads(ea, NULL));
    stage_wait_until(baton_now_ms() + 4500);
    stage_expect_nothing(a); /* its session is not over, */
    stage_expect_nothing(b); /* and nobody leads */
    baton_stopped(ea);
    stage_expect(a, ea, BATON_FOLLOW);
    assert_true(stage_expect(b, eb, BATON_LEAD).term > term);
    assert_false(baton_stop_takes(ea, 1000));
    baton_close(b);
    baton_close(a);
}

static void test_answer_without_a_stop_does_nothing(void **state)
{
    struct baton *a = stage_open(*state, "a", 0);
    struct baton_election *e = stage_stand(a, "writer", 100);
    stage_expect(a, e, BATON_LEAD);
    baton_stopped(e);
    uint64_t request = baton_transfer(e, "nobody", STAGE_LIMIT_MS); /* its answer comes after */
    assert_int_equal(stage_expect(a, e, BATON_REPLY).request, request);
    assert_true(baton_leads(e, NULL));
    baton_close(a);
}

static struct baton_event reply_to(struct baton *b, struct baton_election *e, uint64_t request)
{
    assert_true(request != 0);
    struct baton_event reply = stage_wait(b, e, BATON_REPLY);
    assert_int_equal(reply.request, request);
    return reply;
}

static void test_transfer_passes_the_place_to_the_one_it_names(void **state)
{
    struct baton *a = stage_open(*state, "a", 0), *b = stage_open(*state, "b", 0), *c = stage_open(*state, "c", 0);
    struct baton *operator= stage_open(*state, "operator", 0);
    struct baton_election *ea = stage_stand(a, "writer", 1000), *watched = stage_observe(operator, "writer");
    stage_expect(a, ea, BATON_LEAD);
    struct baton_election *eb = stage_stand(b, "writer", 0), *ec = stage_stand(c, "writer", 0);
    size_t three = 3;
    baton_status_free(stage_wait_status(operator, watched, has_candidates, &three), 1);
    uint64_t request = baton_transfer(watched, "c", STAGE_LIMIT_MS);
    stage_expect(a, ea, BATON_STOP);
    baton_stopped(ea);
    stage_expect(a, ea, BATON_FOLLOW);
    stage_expect(c, ec, BATON_LEAD);
    assert_code(reply_to(operator, watched, request), BATON_OK);
    struct baton_status *status = stage_wait_status(operator, watched, led_by, "c");
    assert_string_equal(status->terms[0].reason, "transfer");
    baton_status_free(status, 1);
    assert_false(baton_leads(ea, NULL) || baton_leads(eb, NULL));
    assert_true(baton_leads(ec, NULL));
    baton_close(operator);
    baton_close(c);
    baton_close(b);
    baton_close(a);
}

static void test_transfer_that_cannot_be_says_why(void **state)
{
    struct baton *a = stage_open(*state, "a", 0), *operator= stage_open(*state, "operator", 0);
    struct baton_election *watched = stage_observe(operator, "writer"), *all = stage_observe(operator, NULL);
    struct baton_event reply = reply_to(operator, watched, baton_transfer(watched, NULL, STAGE_LIMIT_MS));
    assert_code(reply, BATON_NOT_FOUND);
    assert_non_null(strstr(reply.text, "nobody leads"));

    struct baton_election *ea = stage_stand(a, "writer", 0);
    stage_expect(a, ea, BATON_LEAD);
    baton_status_free(stage_wait_status(operator, watched, led_by, "a"), 1);
    assert_code(reply_to(operator, watched, baton_transfer(watched, NULL, STAGE_LIMIT_MS)), BATON_NOT_FOUND);
    assert_code(reply_to(operator, watched, baton_transfer(watched, "ghost", STAGE_LIMIT_MS)), BATON_NOT_FOUND);
    assert_code(reply_to(operator, watched, baton_transfer(watched, "a", STAGE_LIMIT_MS)), BATON_CONFLICT);
    assert_code(reply_to(operator, watched, baton_transfer(watched, "no/name", STAGE_LIMIT_MS)), BATON_NOT_FOUND);
    assert_code(reply_to(operator, all, baton_transfer(all, "a", STAGE_LIMIT_MS)), BATON_INVALID);
    assert_true(baton_leads(ea, NULL));
    baton_close(operator);
    baton_close(a);
}

static bool is_held(const struct baton_status *status, const void *expected)
{
    return status->held == *(const bool *)expected;
}

static void test_hold_stops_the_leader_until_the_release(void **state)
{
    struct baton *a = stage_open(*state, "a", 0), *operator= stage_open(*state, "operator", 0);
    struct baton_election *ea = stage_stand(a, "writer", 0), *watched = stage_observe(operator, "writer");
    uint64_t first = stage_expect(a, ea, BATON_LEAD).term;
    assert_code(reply_to(operator, watched, baton_hold(watched, "new disks", STAGE_LIMIT_MS)), BATON_OK);
    stage_expect(a, ea, BATON_STOP);
    stage_expect(a, ea, BATON_FOLLOW);
    struct baton_status *status = stage_wait_status(operator, watched, led_by, NULL);
    assert_true(status->held);
    assert_string_equal(status->held_why, "new disks");
    assert_string_equal(status->held_by, "operator");
    baton_status_free(status, 1);
    assert_code(reply_to(operator, watched, baton_hold(watched, NULL, STAGE_LIMIT_MS)), BATON_CONFLICT);
    assert_code(reply_to(operator, watched, baton_transfer(watched, NULL, STAGE_LIMIT_MS)), BATON_CONFLICT);
    assert_false(baton_leads(ea, NULL));

    assert_code(reply_to(operator, watched, baton_release(watched, STAGE_LIMIT_MS)), BATON_OK);
    assert_true(stage_expect(a, ea, BATON_LEAD).term > first);
    bool no = false;
    baton_status_free(stage_wait_status(operator, watched, is_held, &no), 1);
    assert_code(reply_to(operator, watched, baton_release(watched, STAGE_LIMIT_MS)), BATON_CONFLICT);
    baton_close(operator);
    baton_close(a);
}

static void test_younger_of_two_with_one_id_waits(void **state)
{
    struct baton *elder = stage_open(*state, "twin", 0), *younger = stage_open(*state, "twin", 0);
    struct baton_election *e1 = stage_stand(elder, "writer", 0);
    stage_expect(elder, e1, BATON_LEAD);
    struct baton_election *e2 = stage_stand(younger, "writer", 0);
    struct baton_event duplicate = stage_expect(younger, e2, BATON_DUPLICATE);
    assert_non_null(strstr(duplicate.text, "twin"));
    assert_false(baton_leads(e2, NULL));
    baton_close(elder);
    stage_expect(younger, e2, BATON_LEAD);
    baton_close(younger);
}

static void test_higher_priority_preempts_where_it_asks_to(void **state)
{
    struct baton *a = stage_open(*state, "a", 0), *b = stage_open(*state, "b", 0);
    struct baton_election *ea = stage_stand(a, "writer", 0), *eb;
    stage_expect(a, ea, BATON_LEAD);
    struct baton_stand_options options;
    baton_stand_options_init(&options);
    options.priority = 10;
    options.preempt = true;
    assert_int_equal(baton_stand(b, "writer", &options, &eb, NULL), 0);
    stage_expect(a, ea, BATON_STOP);
    stage_expect(a, ea, BATON_FOLLOW);
    stage_expect(b, eb, BATON_LEAD);
    baton_close(a);
    baton_close(b);
}

#define MANY 1500

static void test_one_client_leads_many_and_close_hands_all_over(void **state)
{
    static struct baton_election *first[MANY], *second[MANY];
    struct baton *a = stage_open(*state, "a", 20000), *b = stage_open(*state, "b", 20000);
    uint64_t session = 0;
    for (size_t i = 0; i < MANY; i++) {
        char name[32];
        snprintf(name, sizeof(name), "e%zu", i);
        first[i] = stage_stand(a, name, 0);
    }
    session = stage_wait(a, NULL, BATON_SESSION).session;
    for (size_t i = 0; i < MANY; i++)
        stage_wait(a, NULL, BATON_LEAD);
    for (size_t i = 0; i < MANY; i++) {
        assert_true(baton_leads(first[i], NULL));
        second[i] = stage_stand(b, baton_election_name(first[i]), 0);
    }
    struct baton_lifeline lifeline;
    assert_int_equal(baton_lifeline(a, &lifeline, NULL), 0);
    assert_int_equal(lifeline.session, session); /* one session carries them all */
    if (lifeline.fd >= 0)
        close(lifeline.fd);
    baton_close(a);
    for (size_t i = 0; i < MANY; i++)
        stage_wait(b, NULL, BATON_LEAD);
    for (size_t i = 0; i < MANY; i++)
        assert_true(baton_leads(second[i], NULL));
    baton_close(b);
}

static void test_observer_of_all_sees_them_in_the_order_of_their_names(void **state)
{
    static const char *const names[] = {"b", "a-b", "a", "a.b"}, *const sorted[] = {"a", "a-b", "a.b", "b"};
    struct baton *a = stage_open(*state, "a", 0), *watcher = stage_open(*state, "watcher", 0);
    struct baton_election *all = stage_observe(watcher, NULL);
    assert_string_equal(baton_election_name(all), "");
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct baton_election *e = stage_stand(a, names[i], 0);
        assert_string_equal(baton_election_name(e), names[i]);
        stage_expect(a, e, BATON_LEAD);
    }
    for (;;) {
        struct baton_status *status;
        size_t count, led = 0;
        assert_int_equal(baton_status(all, &status, &count, NULL), 0);
        for (size_t i = 0; i < count; i++)
            led += status[i].leader != NULL && strcmp(status[i].leader, "a") == 0;
        if (led == COUNT_OF(names)) {
            assert_int_equal(count, COUNT_OF(names));
            for (size_t i = 0; i < count; i++)
                assert_string_equal(status[i].name, sorted[i]);
            baton_status_free(status, count);
            break;
        }
        baton_status_free(status, count);
        stage_wait(watcher, all, BATON_CHANGED);
    }
    baton_close(watcher);
    baton_close(a);
}

static void test_client_may_observe_what_it_stands_in(void **state)
{
    struct baton *a = stage_open(*state, "a", 0), *b = stage_open(*state, "b", 0);
    struct baton_election *watched = stage_observe(a, "writer"), *e = stage_stand(a, "writer", 0);
    stage_expect(a, e, BATON_LEAD);
    baton_status_free(stage_wait_status(a, watched, led_by, "a"), 1);
    /* Something happens in the election, so that both look at it again. */
    stage_stand(b, "writer", 0);
    size_t two = 2;
    baton_status_free(stage_wait_status(a, watched, has_candidates, &two), 1);
    assert_true(baton_leads(e, NULL));
    assert_false(baton_leads(watched, NULL));
    stage_expect_nothing(a);
    baton_close(b);
    baton_close(a);
}

static void test_client_stands_once_and_again_after_it_resigned(void **state)
{
    struct baton *a = stage_open(*state, "a", 0);
    struct baton_election *e = stage_stand(a, "writer", 0), *again;
    struct baton_error err;
    assert_int_equal(baton_stand(a, "writer", NULL, &again, &err), -1);
    assert_code(err, BATON_CONFLICT);
    uint64_t first = stage_expect(a, e, BATON_LEAD).term;
    baton_resign(e);
    stage_wait(a, e, BATON_RESIGNED);
    again = stage_stand(a, "writer", 0);
    assert_true(stage_expect(a, again, BATON_LEAD).term > first);
    baton_election_free(e);
    assert_true(baton_leads(again, NULL));
    baton_close(a);
}

int main(int argc, char **argv)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, stage_setup, stage_teardown)
    const struct CMUnitTest tests[] = {
        STORY(test_one_alone_leads_with_a_term),
        STORY(test_second_waits_and_takes_over_when_the_first_closes),
        STORY(test_who_resigns_hands_over_and_stands_no_more),
        STORY(test_place_passes_on_only_when_the_stop_was_answered),
        STORY(test_a_stop_that_takes_longer_keeps_the_place_meanwhile),
        STORY(test_answer_without_a_stop_does_nothing),
        STORY(test_transfer_passes_the_place_to_the_one_it_names),
        STORY(test_transfer_that_cannot_be_says_why),
        STORY(test_hold_stops_the_leader_until_the_release),
        STORY(test_younger_of_two_with_one_id_waits),
        STORY(test_higher_priority_preempts_where_it_asks_to),
        STORY(test_one_client_leads_many_and_close_hands_all_over),
        STORY(test_observer_of_all_sees_them_in_the_order_of_their_names),
        STORY(test_client_may_observe_what_it_stands_in),
        STORY(test_client_stands_once_and_again_after_it_resigned),
    };
    stage_engine(argc, argv);
    return cmocka_run_group_tests_name(argc > 1 ? argv[1] : "local", tests, NULL, NULL);
}
