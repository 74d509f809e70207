/* test_election.c: stories about elections, sessions and operators' requests, told with the production core. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "cluster.h"

#define LEADER_KEY "elections/e/leader"

static int setup(void **state)
{
    static struct cluster cluster;
    cluster_init(&cluster);
    *state = &cluster;
    return 0;
}

static int teardown(void **state)
{
    cluster_release(*state);
    return 0;
}

static const struct stand_options needs_time = {.stop_ms = 1000};

static void test_the_first_to_stand_leads(void **state)
{
    struct cluster *c = *state;
    cluster_stand(c, 0, NULL);
    cluster_stand(c, 1, NULL);
    assert_int_equal(cluster_leader(c), 0);
    assert_true(cluster_term(c) > 0);
    assert_true(cluster_told(c, 1, 0, "SESSION"));
}

static void test_a_takeover_is_one_write_whatever_the_number_of_candidates(void **state)
{
    struct cluster *c = *state;
    for (int n = 0; n < 4; n++)
        cluster_stand(c, n, NULL);
    uint64_t term = cluster_term(c), tries = c->write_tries;
    cluster_kill(c, 0);
    assert_int_equal(cluster_leader(c), 1);
    assert_int_equal(cluster_term(c), term + 1);
    cluster_wait(c, 2000);
    assert_int_equal(c->write_tries - tries, 1);
}

static void test_a_testament_passes_the_place_on_without_a_claim(void **state)
{
    struct cluster *c = *state;
    struct baton_write testament;
    for (int n = 0; n < 3; n++)
        cluster_stand(c, n, &needs_time);
    uint64_t term = cluster_term(c), tries = c->write_tries;
    assert_true(cluster_testament(c, 0, &testament));
    c->nodes[0].cut = true; /* it is dead, but its session is not over yet */
    assert_true(cluster_bequeath(c, &testament));
    cluster_kill(c, 0);
    assert_int_equal(cluster_leader(c), 1);
    assert_int_equal(cluster_term(c), term + 1);
    assert_int_equal(c->write_tries, tries);
}

static void test_an_old_testament_has_no_effect(void **state)
{
    struct cluster *c = *state;
    struct baton_write testament;
    cluster_stand(c, 0, NULL);
    cluster_stand(c, 1, NULL);
    assert_true(cluster_testament(c, 0, &testament));
    cluster_event(c, 0, EVENT_RESIGN);
    assert_int_equal(cluster_leader(c), 1);
    uint64_t term = cluster_term(c);
    assert_false(cluster_bequeath(c, &testament));
    assert_int_equal(cluster_leader(c), 1);
    assert_int_equal(cluster_term(c), term);
}

static void test_a_testament_for_one_who_is_gone_leaves_a_vacancy(void **state)
{
    struct cluster *c = *state;
    struct baton_write testament;
    for (int n = 0; n < 3; n++)
        cluster_stand(c, n, NULL);
    uint64_t term = cluster_term(c);
    assert_true(cluster_testament(c, 0, &testament)); /* it names node 1 */
    cluster_kill(c, 1);
    cluster_kill(c, 0);
    assert_int_equal(cluster_leader(c), 2); /* which claimed */
    assert_false(cluster_bequeath(c, &testament));
    assert_int_equal(cluster_leader(c), 2);
    assert_int_equal(cluster_term(c), term + 1);
}

static void test_who_has_nothing_to_pass_on_has_no_testament(void **state)
{
    struct cluster *c = *state;
    struct baton_write testament;
    cluster_stand(c, 0, NULL);
    assert_false(cluster_testament(c, 0, &testament)); /* nobody is next */
    cluster_stand(c, 1, NULL);
    assert_false(cluster_testament(c, 1, &testament)); /* it does not lead */
    cluster_put(c, "elections/e/hold", "{\"v\":1,\"by\":\"x\",\"why\":\"\",\"since\":1,\"nonce\":\"n\"}");
    assert_int_equal(cluster_leader(c), -1);
    assert_false(cluster_testament(c, 0, &testament)); /* nobody may lead */
}

static void test_a_dead_first_candidate_does_not_block_the_claim(void **state)
{
    struct cluster *c = *state;
    for (int n = 0; n < 3; n++)
        cluster_stand(c, n, NULL);
    c->nodes[1].cut = true; /* its session lives on for a while, but it cannot claim */
    cluster_kill(c, 0);
    assert_int_equal(cluster_leader(c), -1);
    cluster_wait(c, 2 * CLUSTER_STEP_MS);
    assert_int_equal(cluster_leader(c), 2);
}

static void test_the_highest_priority_claims_first(void **state)
{
    struct cluster *c = *state;
    cluster_stand(c, 0, NULL);
    cluster_stand(c, 1, NULL);
    cluster_stand(c, 2, &(struct stand_options){.priority = 5});
    assert_int_equal(cluster_leader(c), 0); /* a leader keeps its place */
    cluster_kill(c, 0);
    assert_int_equal(cluster_leader(c), 2);
}

static void test_preempt_asks_a_lower_priority_to_hand_over(void **state)
{
    struct cluster *c = *state;
    cluster_stand(c, 0, NULL);
    uint64_t term = cluster_term(c);
    cluster_stand(c, 1, &(struct stand_options){.priority = 5, .preempt = true});
    assert_int_equal(cluster_leader(c), 1);
    assert_int_equal(cluster_term(c), term + 1);
}

static void test_who_resigns_does_not_preempt_its_successor(void **state)
{
    struct cluster *c = *state;
    const struct stand_options preferred = {.priority = 5, .preempt = true, .stop_ms = 500};
    cluster_stand(c, 0, NULL);
    cluster_stand(c, 1, &preferred);
    uint64_t term = cluster_term(c);
    cluster_event(c, 1, EVENT_RESIGN);
    c->nodes[1].cut = true;
    cluster_event(c, 1, EVENT_STOPPED);
    /* Its handover, while its presence is still there. */
    const char *before = store_get(c->store, "elections/e/leader")->value;
    char *value = decision_next(before, contest_cid(c->nodes[0].election), "n0", term + 1, "resign", 1);
    cluster_put(c, "elections/e/leader", value);
    free(value);
    cluster_wait(c, 1000);
    assert_true(strncmp(c->nodes[0].told[c->nodes[0].told_count - 1], "LEAD", 4) == 0);
    assert_int_equal(cluster_term(c), term + 1);
    /* One that stands after that, with the same id, does preempt it. */
    c->nodes[1].cut = false;
    cluster_kill(c, 1);
    cluster_stand(c, 1, &preferred);
    cluster_wait(c, 1000);
    assert_int_equal(cluster_leader(c), 1);
    assert_int_equal(cluster_term(c), term + 2);
}

static void test_a_leader_that_cannot_renew_stops_before_its_session_ends(void **state)
{
    struct cluster *c = *state;
    cluster_stand(c, 0, &needs_time);
    cluster_stand(c, 1, &needs_time);
    c->nodes[0].cut = true;
    cluster_wait(c, CLUSTER_TTL_MS - 1000);
    assert_true(strncmp(c->nodes[0].told[c->nodes[0].told_count - 1], "STOP", 4) == 0);
    assert_int_equal(cluster_leader(c), -1); /* it no longer says that it leads, and nobody else does yet */
    cluster_event(c, 0, EVENT_STOPPED);
    cluster_wait(c, 1200);
    assert_int_equal(cluster_leader(c), 1);
}

static void test_the_new_leader_begins_only_after_the_old_has_stopped(void **state)
{
    struct cluster *c = *state;
    cluster_stand(c, 0, &needs_time);
    cluster_stand(c, 1, &needs_time);
    cluster_event(c, 0, EVENT_RESIGN);
    assert_int_equal(cluster_leader(c), -1);
    cluster_wait(c, 500);
    assert_int_equal(cluster_leader(c), -1);
    uint64_t writes = c->record_writes;
    cluster_event(c, 0, EVENT_STOPPED);
    assert_int_equal(cluster_leader(c), 1);
    assert_int_equal(c->record_writes - writes, 1); /* one decision; */
    assert_false(cluster_told(c, 0, 0, "RESIGNED"));
    cluster_wait(c, 10);
    assert_int_equal(c->record_writes - writes, 2); /* and a moment later the presence is withdrawn */
    assert_true(cluster_told(c, 0, 0, "RESIGNED"));
}

static void test_who_does_not_answer_a_stop_loses_its_session(void **state)
{
    struct cluster *c = *state;
    cluster_stand(c, 0, &needs_time);
    cluster_stand(c, 1, &needs_time);
    cluster_event(c, 0, EVENT_RESIGN);
    cluster_wait(c, 2000);
    assert_int_equal(cluster_leader(c), -1); /* the promise stands: nobody leads while it may still work */
    cluster_wait(c, CLUSTER_TTL_MS);
    assert_int_equal(cluster_leader(c), 1);
}

static void test_a_stop_that_is_answered_late_keeps_the_session(void **state)
{
    struct cluster *c = *state;
    cluster_stand(c, 0, &needs_time);
    cluster_stand(c, 1, &needs_time);
    cluster_event(c, 0, EVENT_RESIGN);
    cluster_wait(c, 2000);
    cluster_event(c, 0, EVENT_STOPPED);
    assert_int_equal(cluster_leader(c), 1);
}

static bool takes(struct cluster *c, int n, int64_t ms)
{
    struct cluster_node *node = &c->nodes[n];
    bool kept = core_stop_takes(node->core, node->election, 0, c->now_ms + ms);
    cluster_event(c, n, EVENT_TICK);
    return kept;
}

static void test_a_stop_that_says_it_takes_longer_keeps_the_place(void **state)
{
    struct cluster *c = *state;
    cluster_stand(c, 0, &needs_time);
    cluster_stand(c, 1, &needs_time);
    assert_false(takes(c, 0, 1000)); /* there is no stop */
    cluster_event(c, 0, EVENT_RESIGN);
    assert_true(takes(c, 0, 2 * CLUSTER_TTL_MS));
    assert_true(takes(c, 0, 1)); /* it has more than that already */
    cluster_wait(c, 2 * CLUSTER_TTL_MS - 100);
    assert_true(takes(c, 0, CLUSTER_TTL_MS));
    cluster_wait(c, CLUSTER_TTL_MS);
    cluster_wait(c, 2000); /* late, but before its session is over */
    assert_true(takes(c, 0, CLUSTER_TTL_MS));
    cluster_wait(c, CLUSTER_TTL_MS - 100);
    assert_int_equal(cluster_leader(c), -1);
    assert_true(cluster_told(c, 0, 1, "LEAD 3") && strncmp(c->nodes[0].told[2], "STOP", 4) == 0);
    cluster_event(c, 0, EVENT_STOPPED);
    assert_int_equal(cluster_leader(c), 1);
    assert_false(takes(c, 0, 1000));
}

static void test_a_stop_that_takes_longer_than_it_said_has_an_end(void **state)
{
    struct cluster *c = *state;
    cluster_stand(c, 0, &needs_time);
    cluster_stand(c, 1, &needs_time);
    cluster_event(c, 0, EVENT_RESIGN);
    assert_true(takes(c, 0, 20000));
    cluster_wait(c, 20000);
    assert_int_equal(cluster_leader(c), -1);
    cluster_wait(c, CLUSTER_TTL_MS);
    assert_int_equal(cluster_leader(c), 1);
    assert_false(takes(c, 0, 20000)); /* others lead */
}

static void test_a_long_stop_is_told_when_renewals_fail(void **state)
{
    struct cluster *c = *state;
    struct cluster_node *node = &c->nodes[0];
    cluster_stand(c, 0, &needs_time);
    cluster_stand(c, 1, &needs_time);
    cluster_event(c, 0, EVENT_RESIGN);
    assert_true(takes(c, 0, 60000));
    node->cut = true;
    cluster_wait(c, CLUSTER_TTL_MS - 1000);
    assert_true(node->stop_until_ms > c->now_ms && node->stop_until_ms <= c->now_ms + 1000);
    size_t told = node->told_count;
    assert_true(takes(c, 0, 60000)); /* it cannot stop sooner, */
    assert_int_equal(node->told_count, told);
    cluster_wait(c, 1200); /* but its time is over */
    assert_true(cluster_told(c, 0, 0, "SESSION_LOST"));
    assert_true(strncmp(node->told[node->told_count - 2], "STOP", 4) == 0);
    assert_true(node->stop_until_ms <= c->now_ms);
    assert_int_equal(cluster_leader(c), 1);
}

/* It stood still, and its guard has kept the session for what it could not end. */
static void test_a_session_is_not_ended_before_its_program_has_stopped(void **state)
{
    struct cluster *c = *state;
    cluster_stand(c, 0, &needs_time);
    cluster_stand(c, 1, &needs_time);
    c->now_ms += CLUSTER_TTL_MS;
    for (size_t i = 0; i < c->session_count; i++)
        c->sessions[i].renewed_ms = c->now_ms;
    cluster_event(c, 0, EVENT_TICK);
    assert_true(c->nodes[0].stop_until_ms <= c->now_ms);
    assert_true(store_session_alive(c->store, c->sessions[0].id));
    cluster_wait(c, 1000);
    assert_int_equal(cluster_leader(c), -1);
    cluster_event(c, 0, EVENT_STOPPED);
    assert_false(store_session_alive(c->store, c->sessions[0].id));
    assert_true(cluster_leader(c) >= 0);
}

/* One client may lead what takes long to stop, and what does not. */
static void test_each_is_told_to_stop_as_long_before_the_deadline_as_it_needs(void **state)
{
    struct cluster *c = *state;
    cluster_stand(c, 0, &(struct stand_options){.stop_ms = 500});
    struct contest *other = core_observe(c->nodes[0].core, CONTEST_ELECTION, "other", NULL, NULL);
    assert_int_equal(core_stand(c->nodes[0].core, other, &(struct stand_options){.stop_ms = 4000}, NULL), 0);
    cluster_event(c, 0, EVENT_TICK);
    int64_t deadline_ms;
    uint32_t ttl_ms;
    core_session(c->nodes[0].core, &deadline_ms, &ttl_ms);
    c->nodes[0].cut = true;
    cluster_wait(c, deadline_ms - 500 - c->now_ms + 20);
    assert_int_equal(cluster_leader(c), -1);
    assert_int_equal(c->nodes[0].stop_until_ms, deadline_ms);
}

/* A transfer is bound to the session of who asks. */
static void test_an_answer_for_an_earlier_session_does_not_end_the_next_one(void **state)
{
    struct cluster *c = *state;
    for (int n = 0; n < 2; n++)
        cluster_stand(c, n, NULL);
    struct cluster_node *node = &c->nodes[1];
    int64_t deadline_ms;
    uint32_t ttl_ms;
    node->cut = true;
    core_transfer(node->core, node->election, 1, "n1", c->now_ms + 60000);
    cluster_event(c, 1, EVENT_TICK);
    assert_true(node->unanswered != 0);
    cluster_session_ended(c, 1);
    node->cut = false;
    cluster_wait(c, CLUSTER_TTL_MS);
    uint64_t session = core_session(node->core, &deadline_ms, &ttl_ms);
    assert_true(session != 0);
    cluster_answer_lost(c, 1);
    assert_int_equal(core_session(node->core, &deadline_ms, &ttl_ms), session);
    cluster_wait(c, 2000);
    assert_int_equal(cluster_leader(c), 1); /* it was asked again */
}

/* What was not stopped in one session is no matter of the next one. */
static void test_a_stop_of_an_earlier_session_does_not_end_the_next_one(void **state)
{
    struct cluster *c = *state;
    struct core *core;
    cluster_stand(c, 0, &needs_time);
    core = c->nodes[0].core;
    cluster_session_ended(c, 0);
    cluster_wait(c, 100);
    int64_t deadline_ms;
    uint32_t ttl_ms;
    uint64_t session = core_session(core, &deadline_ms, &ttl_ms);
    assert_true(session != 0);
    cluster_wait(c, 2 * CLUSTER_TTL_MS);
    assert_int_equal(core_session(core, &deadline_ms, &ttl_ms), session);
    cluster_event(c, 0, EVENT_STOPPED);
    assert_int_equal(cluster_leader(c), 0);
}

static void test_a_transfer_goes_to_the_one_that_was_named(void **state)
{
    struct cluster *c = *state;
    for (int n = 0; n < 3; n++)
        cluster_stand(c, n, NULL);
    core_transfer(c->nodes[1].core, c->nodes[1].election, 7, "n2", c->now_ms + 5000);
    cluster_event(c, 1, EVENT_TICK);
    assert_int_equal(cluster_leader(c), 2);
    assert_true(cluster_told(c, 1, 0, "REPLY ok: n2"));
    cluster_wait(c, 1000);
    assert_null(store_get(c->store, "elections/e/transfer"));
}

/* Another one leads, but not because the leader has stopped. */
static void test_a_leader_that_does_not_answer_has_not_transferred(void **state)
{
    struct cluster *c = *state;
    for (int n = 0; n < 3; n++)
        cluster_stand(c, n, n == 0 ? &needs_time : NULL);
    core_transfer(c->nodes[1].core, c->nodes[1].election, 7, NULL, c->now_ms + 5 * CLUSTER_TTL_MS);
    cluster_event(c, 1, EVENT_TICK);
    assert_int_equal(cluster_leader(c), -1); /* it stops, and has time for that */
    cluster_wait(c, 3 * CLUSTER_TTL_MS);
    assert_int_equal(cluster_leader(c), 1);
    assert_true(
        cluster_told(c, 1, 0,
                     "REPLY lost: 'n1' leads the election 'e' now, but 'n0' has not handed over: its session is "
                     "over, and whether it has stopped is not known"));
}

/* The guard of a leader that has died writes its last word when all is over. */
static void test_a_leader_that_dies_in_a_transfer_has_its_guard_hand_over(void **state)
{
    struct cluster *c = *state;
    struct baton_write testament;
    for (int n = 0; n < 3; n++)
        cluster_stand(c, n, n == 0 ? &needs_time : NULL);
    core_transfer(c->nodes[1].core, c->nodes[1].election, 7, NULL, c->now_ms + 5000);
    cluster_event(c, 1, EVENT_TICK);
    assert_true(cluster_testament(c, 0, &testament));
    assert_true(cluster_bequeath(c, &testament));
    cluster_kill(c, 0);
    cluster_wait(c, 100);
    assert_int_equal(cluster_leader(c), 1);
    assert_true(cluster_told(c, 1, 0, "REPLY ok: n1"));
}

static void test_a_transfer_that_cannot_be_is_told_why(void **state)
{
    struct cluster *c = *state;
    struct cluster_node *asker = &c->nodes[0];
    cluster_stand(c, 0, NULL);
    core_transfer(asker->core, asker->election, 1, NULL, c->now_ms + 5000);
    cluster_event(c, 0, EVENT_TICK);
    assert_true(cluster_told(c, 0, 0, "REPLY not-found: nobody but the leader 'n0' stands in the election 'e'"));
    core_transfer(asker->core, asker->election, 2, "n0", c->now_ms + 5000);
    cluster_event(c, 0, EVENT_TICK);
    assert_true(cluster_told(c, 0, 0, "REPLY conflict: 'n0' already leads the election 'e'"));
    cluster_stand(c, 1, NULL);
    core_transfer(asker->core, asker->election, 3, "n9", c->now_ms + 5000);
    cluster_event(c, 0, EVENT_TICK);
    assert_true(cluster_told(c, 0, 0, "REPLY not-found: 'n9' does not stand in the election 'e'; these do: n0, n1"));
    assert_int_equal(cluster_leader(c), 0);
}

static void test_a_transfer_that_cannot_be_read_is_never_overwritten(void **state)
{
    struct cluster *c = *state;
    const struct {
        const char *value, *told;
    } records[] = {
        {"oops", "REPLY corrupt: elections/e/transfer is not JSON"},
        {"{\"v\":2,\"to\":\"n1\"}", "REPLY newer: elections/e/transfer "},
    };
    cluster_stand(c, 0, NULL);
    cluster_stand(c, 1, NULL);
    for (size_t i = 0; i < COUNT_OF(records); i++) {
        struct cluster_node *asker = &c->nodes[1];
        cluster_put(c, "elections/e/transfer", records[i].value);
        core_transfer(asker->core, asker->election, i + 1, "n1", c->now_ms + 5000);
        cluster_event(c, 1, EVENT_TICK);
        cluster_wait(c, 1000);
        if (!text_starts(asker->told[asker->told_count - 1], records[i].told))
            fail_msg("%s", asker->told[asker->told_count - 1]);
        assert_string_equal(store_get(c->store, "elections/e/transfer")->value, records[i].value);
        assert_int_equal(cluster_leader(c), 0);
    }
    cluster_remove(c, "elections/e/transfer");
    core_transfer(c->nodes[1].core, c->nodes[1].election, 9, "n1", c->now_ms + 5000);
    cluster_event(c, 1, EVENT_TICK);
    assert_int_equal(cluster_leader(c), 1);
}

static void test_a_transfer_for_which_no_session_can_be_opened_says_why(void **state)
{
    struct cluster *c = *state;
    struct cluster_node *asker = &c->nodes[2];
    cluster_stand(c, 0, NULL);
    cluster_stand(c, 1, NULL);
    cluster_stand(c, 2, NULL);
    asker->full = true;
    cluster_session_ended(c, 2);
    core_transfer(asker->core, asker->election, 1, NULL, c->now_ms + 1000);
    cluster_event(c, 2, EVENT_TICK);
    cluster_wait(c, 1500);
    assert_true(cluster_told(c, 2, 1, "REPLY full: the disk is full"));
    assert_int_equal(cluster_leader(c), 0);
}

static void test_a_session_that_is_over_before_its_deadline_leaves_no_time_to_stop(void **state)
{
    struct cluster *c = *state;
    cluster_stand(c, 0, &needs_time);
    cluster_wait(c, 100);
    cluster_session_ended(c, 0);
    assert_int_equal(cluster_leader(c), -1);
    assert_int_equal(c->nodes[0].stop_until_ms, c->now_ms);
}

static void test_a_stop_under_way_is_shortened_when_the_session_is_over(void **state)
{
    struct cluster *c = *state;
    cluster_stand(c, 0, &needs_time);
    cluster_stand(c, 1, &needs_time);
    cluster_event(c, 0, EVENT_RESIGN);
    assert_int_equal(c->nodes[0].stop_until_ms, c->now_ms + needs_time.stop_ms);
    cluster_wait(c, 100);
    cluster_session_ended(c, 0);
    assert_int_equal(c->nodes[0].stop_until_ms, c->now_ms);
}

static void test_a_stop_under_way_is_shortened_when_the_presence_is_removed(void **state)
{
    struct cluster *c = *state;
    int64_t deadline_ms;
    uint32_t ttl_ms;
    char key[80];
    cluster_stand(c, 0, &needs_time);
    cluster_put(c, "elections/e/hold", "{\"v\":1,\"by\":\"x\",\"why\":\"\",\"since\":1,\"nonce\":\"n\"}");
    assert_int_equal(c->nodes[0].stop_until_ms, c->now_ms + needs_time.stop_ms);
    cluster_wait(c, 100);
    uint64_t session = core_session(c->nodes[0].core, &deadline_ms, &ttl_ms);
    snprintf(key, sizeof(key), "elections/e/candidates/%llx-1", (unsigned long long)session);
    cluster_remove(c, key);
    assert_int_equal(c->nodes[0].stop_until_ms, c->now_ms);
}

static void test_a_deadline_that_has_passed_is_the_end_of_the_stop(void **state)
{
    struct cluster *c = *state;
    int64_t deadline_ms;
    uint32_t ttl_ms;
    cluster_stand(c, 0, &needs_time);
    (void)core_session(c->nodes[0].core, &deadline_ms, &ttl_ms);
    c->nodes[0].cut = true;
    c->now_ms = deadline_ms + 5000; /* it stood still */
    cluster_event(c, 0, EVENT_TICK);
    assert_int_equal(c->nodes[0].stop_until_ms, deadline_ms);
}

static void test_a_hold_stops_the_leader_until_the_release(void **state)
{
    struct cluster *c = *state;
    cluster_stand(c, 0, NULL);
    cluster_stand(c, 1, NULL);
    uint64_t term = cluster_term(c);
    struct cluster_node *asker = &c->nodes[1];
    core_hold(asker->core, asker->election, 1, "upgrade", c->now_ms + 5000);
    cluster_event(c, 1, EVENT_TICK);
    assert_int_equal(cluster_leader(c), -1);
    cluster_wait(c, 3 * CLUSTER_TTL_MS);
    assert_int_equal(cluster_leader(c), -1);
    core_hold(asker->core, asker->election, 2, "again", c->now_ms + 5000);
    cluster_event(c, 1, EVENT_TICK);
    assert_true(cluster_told(c, 1, 0, "REPLY conflict: the election 'e' is on hold already, by n1"));
    core_release(asker->core, asker->election, 3, c->now_ms + 5000);
    cluster_event(c, 1, EVENT_TICK);
    cluster_wait(c, 1000);
    assert_int_equal(cluster_leader(c), 0);
    assert_true(cluster_term(c) > term);
    core_release(asker->core, asker->election, 4, c->now_ms + 5000);
    cluster_event(c, 1, EVENT_TICK);
    assert_true(cluster_told(c, 1, 0, "REPLY conflict: the election 'e' is not on hold"));
}

static void test_two_with_one_id_the_younger_waits(void **state)
{
    struct cluster *c = *state;
    cluster_stand(c, 0, NULL);
    cluster_put(c, "elections/e/candidates/ff-1", "{\"v\":1,\"id\":\"n1\",\"host\":\"other\"}");
    cluster_stand(c, 1, NULL);
    assert_true(cluster_told(c, 1, 0, "DUPLICATE"));
    cluster_kill(c, 0);
    cluster_wait(c, 1000);
    assert_int_equal(cluster_leader(c), -1);
    cluster_remove(c, "elections/e/candidates/ff-1");
    cluster_wait(c, 1000);
    assert_int_equal(cluster_leader(c), 1);
}

static void test_a_decision_that_is_not_json_is_never_overwritten(void **state)
{
    struct cluster *c = *state;
    cluster_put(c, LEADER_KEY, "oops");
    cluster_stand(c, 0, NULL);
    cluster_wait(c, 2 * CLUSTER_TTL_MS);
    assert_int_equal(cluster_leader(c), -1);
    assert_string_equal(store_get(c->store, LEADER_KEY)->value, "oops");
    assert_non_null(election_roster(c->nodes[0].election)->order.trouble);
    cluster_remove(c, LEADER_KEY);
    cluster_wait(c, 1000);
    assert_int_equal(cluster_leader(c), 0);
}

static void test_a_decision_of_a_newer_version_is_never_overwritten(void **state)
{
    struct cluster *c = *state;
    const char *newer = "{\"v\":2,\"cid\":\"\",\"term\":5}";
    cluster_put(c, LEADER_KEY, newer);
    cluster_stand(c, 0, NULL);
    cluster_wait(c, 2 * CLUSTER_TTL_MS);
    assert_int_equal(cluster_leader(c), -1);
    assert_string_equal(store_get(c->store, LEADER_KEY)->value, newer);
    assert_int_equal(election_roster(c->nodes[0].election)->order.trouble->code, BATON_NEWER);
}

static void test_a_decision_that_names_a_candidate_that_never_was_is_vacant(void **state)
{
    struct cluster *c = *state;
    cluster_put(c, LEADER_KEY, "{\"v\":1,\"cid\":\"ghost\",\"term\":41,\"colour\":\"blue\"}");
    cluster_stand(c, 0, NULL);
    assert_int_equal(cluster_leader(c), 0);
    assert_int_equal(cluster_term(c), 42);
    assert_non_null(strstr(store_get(c->store, LEADER_KEY)->value, "\"colour\":\"blue\""));
}

static void test_the_last_16_terms_are_kept(void **state)
{
    struct cluster *c = *state;
    cluster_stand(c, 0, NULL);
    cluster_stand(c, 1, NULL);
    for (int i = 0; i < 30; i++) {
        core_transfer(c->nodes[0].core, c->nodes[0].election, (uint64_t)i + 1, NULL, c->now_ms + 5000);
        cluster_event(c, 0, EVENT_TICK);
        cluster_wait(c, 1000);
    }
    const struct decision *decision = election_roster(c->nodes[0].election)->decision;
    assert_int_equal(decision->term_count, TERMS_KEPT);
    for (size_t i = 0; i < decision->term_count; i++)
        assert_int_equal(decision->terms[i].term, decision->term - i);
}

static void test_a_deleted_decision_does_not_bring_old_terms_back(void **state)
{
    struct cluster *c = *state;
    cluster_stand(c, 0, NULL);
    cluster_stand(c, 1, NULL);
    for (int i = 0; i < 5; i++) {
        core_transfer(c->nodes[0].core, c->nodes[0].election, (uint64_t)i + 1, NULL, c->now_ms + 5000);
        cluster_event(c, 0, EVENT_TICK);
        cluster_wait(c, 1000);
    }
    uint64_t term = cluster_term(c);
    cluster_event(c, 0, EVENT_RESIGN);
    cluster_event(c, 1, EVENT_RESIGN);
    cluster_remove(c, LEADER_KEY);
    cluster_stand(c, 1, NULL);
    assert_int_equal(cluster_leader(c), 1);
    assert_true(cluster_term(c) > term);
}

static void test_one_session_renews_for_all_and_ends_with_the_last(void **state)
{
    struct cluster *c = *state;
    cluster_stand(c, 0, NULL);
    cluster_wait(c, 5 * CLUSTER_TTL_MS);
    assert_int_equal(cluster_leader(c), 0);
    assert_int_equal(c->session_count, 1);
    uint64_t session = c->sessions[0].id;
    assert_true(store_session_alive(c->store, session));
    cluster_event(c, 0, EVENT_RESIGN);
    assert_false(store_session_alive(c->store, session));
    assert_true(cluster_told(c, 0, 0, "RESIGNED"));
}

static void test_a_lost_session_is_followed_by_a_new_candidacy(void **state)
{
    struct cluster *c = *state;
    cluster_stand(c, 0, NULL);
    uint64_t term = cluster_term(c);
    store_session_end(c->store, c->sessions[0].id);
    cluster_wait(c, CLUSTER_TTL_MS);
    assert_int_equal(cluster_leader(c), 0);
    assert_true(cluster_term(c) > term);
    assert_int_equal(c->session_count, 2);
}

static void test_a_program_that_has_not_stopped_is_not_told_to_lead_again(void **state)
{
    struct cluster *c = *state;
    cluster_stand(c, 0, &needs_time);
    c->nodes[0].cut = true;
    cluster_wait(c, CLUSTER_TTL_MS + 1000);
    c->nodes[0].cut = false;
    cluster_wait(c, 2 * CLUSTER_TTL_MS);
    assert_int_equal(cluster_leader(c), -1);
    cluster_event(c, 0, EVENT_STOPPED);
    cluster_wait(c, 1000);
    assert_int_equal(cluster_leader(c), 0);
}

static void write_more_than_a_view_can_show(struct cluster *c)
{
    struct baton_write write = {.kind = BATON_WRITE_PUT, .value = "x", .if_revision = BATON_REVISION_ANY};
    for (int i = 0; i < VIEW_RECORDS_MAX; i++) {
        struct baton_reply reply;
        char key[40];
        snprintf(key, sizeof(key), "elections/e/other/%06d", i);
        write.key = key;
        store_write(c->store, &write, &reply);
    }
}

/* What is not read is not judged by: who leads leads on, and everybody is told, once. */
static void test_more_records_than_a_view_can_show_are_refused_in_words(void **state)
{
    struct cluster *c = *state;
    cluster_stand(c, 0, NULL);
    uint64_t term = cluster_term(c);
    write_more_than_a_view_can_show(c);
    const char *words = "TROUBLE more than 262144 records under one prefix: not looked at";
    cluster_wait(c, 1000);
    assert_true(cluster_told(c, 0, 0, words));
    size_t told = c->nodes[0].told_count;
    cluster_put(c, "elections/e/other/more", "x");
    cluster_wait(c, 3 * CLUSTER_TTL_MS);
    assert_int_equal(c->nodes[0].told_count, told);
    assert_int_equal(cluster_leader(c), 0);
    cluster_stand(c, 1, NULL); /* from its first look on */
    assert_true(cluster_told(c, 1, 0, words));
    cluster_wait(c, 1000);
    assert_int_equal(cluster_leader(c), 0);
    assert_int_equal(cluster_term(c), term);
}

static void test_a_leader_that_sees_nothing_stops_in_time_and_can_resign(void **state)
{
    struct cluster *c = *state;
    struct cluster_node *node = &c->nodes[0];
    int64_t deadline_ms;
    uint32_t ttl_ms;
    cluster_stand(c, 0, &needs_time);
    cluster_stand(c, 1, &needs_time);
    write_more_than_a_view_can_show(c);
    cluster_wait(c, 1000);
    cluster_event(c, 1, EVENT_RESIGN); /* it waits */
    assert_true(cluster_told(c, 1, 0, "RESIGNED"));
    node->cut = true;
    core_session(node->core, &deadline_ms, &ttl_ms);
    cluster_wait(c, deadline_ms - 900 - c->now_ms);
    assert_int_equal(node->stop_until_ms, deadline_ms);
    assert_int_equal(cluster_leader(c), -1);
    cluster_event(c, 0, EVENT_RESIGN);
    cluster_event(c, 0, EVENT_STOPPED);
    assert_true(cluster_told(c, 0, 0, "RESIGNED"));
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        STORY(test_the_first_to_stand_leads),
        STORY(test_a_takeover_is_one_write_whatever_the_number_of_candidates),
        STORY(test_a_testament_passes_the_place_on_without_a_claim),
        STORY(test_an_old_testament_has_no_effect),
        STORY(test_a_testament_for_one_who_is_gone_leaves_a_vacancy),
        STORY(test_who_has_nothing_to_pass_on_has_no_testament),
        STORY(test_a_dead_first_candidate_does_not_block_the_claim),
        STORY(test_the_highest_priority_claims_first),
        STORY(test_preempt_asks_a_lower_priority_to_hand_over),
        STORY(test_who_resigns_does_not_preempt_its_successor),
        STORY(test_a_leader_that_cannot_renew_stops_before_its_session_ends),
        STORY(test_the_new_leader_begins_only_after_the_old_has_stopped),
        STORY(test_who_does_not_answer_a_stop_loses_its_session),
        STORY(test_a_stop_that_is_answered_late_keeps_the_session),
        STORY(test_a_stop_that_says_it_takes_longer_keeps_the_place),
        STORY(test_a_stop_that_takes_longer_than_it_said_has_an_end),
        STORY(test_a_long_stop_is_told_when_renewals_fail),
        STORY(test_a_session_is_not_ended_before_its_program_has_stopped),
        STORY(test_each_is_told_to_stop_as_long_before_the_deadline_as_it_needs),
        STORY(test_an_answer_for_an_earlier_session_does_not_end_the_next_one),
        STORY(test_a_stop_of_an_earlier_session_does_not_end_the_next_one),
        STORY(test_a_transfer_goes_to_the_one_that_was_named),
        STORY(test_a_leader_that_does_not_answer_has_not_transferred),
        STORY(test_a_leader_that_dies_in_a_transfer_has_its_guard_hand_over),
        STORY(test_a_transfer_that_cannot_be_is_told_why),
        STORY(test_a_transfer_that_cannot_be_read_is_never_overwritten),
        STORY(test_a_transfer_for_which_no_session_can_be_opened_says_why),
        STORY(test_a_session_that_is_over_before_its_deadline_leaves_no_time_to_stop),
        STORY(test_a_stop_under_way_is_shortened_when_the_session_is_over),
        STORY(test_a_stop_under_way_is_shortened_when_the_presence_is_removed),
        STORY(test_a_deadline_that_has_passed_is_the_end_of_the_stop),
        STORY(test_a_hold_stops_the_leader_until_the_release),
        STORY(test_two_with_one_id_the_younger_waits),
        STORY(test_a_decision_that_is_not_json_is_never_overwritten),
        STORY(test_a_decision_of_a_newer_version_is_never_overwritten),
        STORY(test_a_decision_that_names_a_candidate_that_never_was_is_vacant),
        STORY(test_the_last_16_terms_are_kept),
        STORY(test_a_deleted_decision_does_not_bring_old_terms_back),
        STORY(test_one_session_renews_for_all_and_ends_with_the_last),
        STORY(test_a_lost_session_is_followed_by_a_new_candidacy),
        STORY(test_a_program_that_has_not_stopped_is_not_told_to_lead_again),
        STORY(test_a_leader_that_sees_nothing_stops_in_time_and_can_resign),
        STORY(test_more_records_than_a_view_can_show_are_refused_in_words),
    };
    return cmocka_run_group_tests_name("election", tests, NULL, NULL);
}
