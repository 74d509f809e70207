/* test_client_lock.c: stories of clients that want a lock, told with the library as a program uses it. */
#include "client_stage.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static struct baton_lock *want_with(struct baton *b, uint32_t slots, bool try_only, uint32_t wait_ms, uint32_t stop_ms)
{
    struct baton_lock_options options;
    struct baton_lock *lock;
    struct baton_error err;
    baton_lock_options_init(&options);
    options.slots = slots;
    options.try_only = try_only;
    options.wait_ms = wait_ms;
    options.stop_ms = stop_ms;
    if (baton_lock(b, "report", &options, &lock, &err) < 0)
        fail_msg("%s", err.text);
    return lock;
}

static struct baton_lock *want(struct baton *b, uint32_t slots)
{
    return want_with(b, slots, false, 0, 0);
}

static uint64_t expect_acquired(struct baton *b, const struct baton_lock *lock)
{
    struct baton_event event = stage_expect(b, NULL, BATON_ACQUIRED);
    uint64_t token = 0;
    assert_ptr_equal(event.lock, lock);
    assert_null(event.election);
    assert_true(baton_holds(lock, &token));
    assert_int_equal(token, event.term);
    assert_true(token > 0);
    return token;
}

static void expect_released(struct baton *b, const struct baton_lock *lock, enum baton_code code, const char *word)
{
    struct baton_event event = stage_expect(b, NULL, BATON_RELEASED);
    assert_ptr_equal(event.lock, lock);
    assert_string_equal(baton_code_name(event.code), baton_code_name(code));
    if (strstr(event.text, word) == NULL)
        fail_msg("'%s' does not say '%s'", event.text, word);
    assert_false(baton_holds(lock, NULL));
}

/* Until `count` stand in the queue. */
static void wait_queue(struct baton *b, const struct baton_lock *lock, size_t count)
{
    for (;;) {
        struct baton_lock_status *status;
        size_t one;
        assert_int_equal(baton_lock_status(lock, &status, &one, NULL), 0);
        bool all = status->entry_count == count;
        baton_lock_status_free(status, one);
        if (all)
            return;
        stage_wait(b, NULL, BATON_CHANGED);
    }
}

static void test_a_lock_goes_from_one_to_the_next_in_the_order_of_asking(void **state)
{
    struct baton *clients[4];
    struct baton_lock *locks[4];
    uint64_t token = 0;
    for (int i = 0; i < 4; i++) {
        char id[8];
        snprintf(id, sizeof(id), "c%d", i);
        clients[i] = stage_open(*state, id, 0);
        locks[i] = want(clients[i], 1);
        wait_queue(clients[i], locks[i], (size_t)i + 1);
    }
    for (int i = 0; i < 4; i++) {
        uint64_t next = expect_acquired(clients[i], locks[i]);
        assert_true(next > token);
        token = next;
        for (int k = i + 1; k < 4; k++)
            assert_false(baton_holds(locks[k], NULL));
        baton_unlock(locks[i]);
        baton_unlock(locks[i]); /* twice is once */
        expect_released(clients[i], locks[i], BATON_OK, "");
    }
    for (int i = 0; i < 4; i++)
        baton_close(clients[i]);
}

static void test_as_many_hold_as_there_are_slots(void **state)
{
    struct baton *clients[3];
    struct baton_lock *locks[3];
    for (int i = 0; i < 3; i++) {
        char id[8];
        snprintf(id, sizeof(id), "c%d", i);
        clients[i] = stage_open(*state, id, 0);
        locks[i] = want(clients[i], 2);
        wait_queue(clients[i], locks[i], (size_t)i + 1);
    }
    expect_acquired(clients[0], locks[0]);
    expect_acquired(clients[1], locks[1]);
    stage_expect_nothing(clients[2]);
    baton_unlock(locks[1]);
    expect_acquired(clients[2], locks[2]);
    assert_true(baton_holds(locks[0], NULL));
    for (int i = 0; i < 3; i++)
        baton_close(clients[i]);
}

static void test_shared_holders_stand_beside_each_other_and_nobody_is_overtaken(void **state)
{
    struct baton *a = stage_open(*state, "a", 0), *b = stage_open(*state, "b", 0), *c = stage_open(*state, "c", 0),
                 *d = stage_open(*state, "d", 0);
    struct baton_lock *la = want(a, BATON_SHARED);
    expect_acquired(a, la);
    struct baton_lock *lb = want(b, BATON_SHARED);
    expect_acquired(b, lb);
    struct baton_lock *lc = want(c, 1);
    wait_queue(c, lc, 3);
    struct baton_lock *ld = want(d, BATON_SHARED); /* behind the exclusive one */
    wait_queue(d, ld, 4);
    stage_expect_nothing(d);
    baton_unlock(la);
    stage_expect_nothing(c);
    baton_unlock(lb);
    expect_acquired(c, lc);
    stage_expect_nothing(d);
    baton_unlock(lc);
    expect_acquired(d, ld);
    baton_close(a);
    baton_close(b);
    baton_close(c);
    baton_close(d);
}

static void test_who_tries_or_waits_in_vain_is_told_who_holds_it(void **state)
{
    struct baton *a = stage_open(*state, "alpha", 0), *b = stage_open(*state, "b", 0);
    struct baton_lock *la = want(a, 1);
    expect_acquired(a, la);
    struct baton_lock *lb = want_with(b, 1, true, 0, 0);
    expect_released(b, lb, BATON_CONFLICT, "held by alpha");
    baton_lock_free(lb);
    lb = want_with(b, 1, false, 100, 0);
    expect_released(b, lb, BATON_TIMEOUT, "still held by alpha");
    baton_lock_free(lb);
    baton_unlock(la);
    stage_wait(a, NULL, BATON_RELEASED);
    lb = want_with(b, 1, true, 0, 0);
    expect_acquired(b, lb);
    baton_close(a);
    baton_close(b);
}

static void test_who_disagrees_about_the_slots_is_refused(void **state)
{
    struct baton *a = stage_open(*state, "alpha", 0), *b = stage_open(*state, "b", 0);
    struct baton_lock *la = want(a, 2);
    expect_acquired(a, la);
    struct baton_lock *lb = want(b, 3);
    expect_released(b, lb, BATON_INVALID, "of 2 slots for alpha");
    baton_lock_free(lb);
    lb = want(b, 1);
    expect_released(b, lb, BATON_INVALID, "exclusive here");
    baton_close(a);
    baton_close(b);
}

static void test_what_cannot_be_is_refused(void **state)
{
    struct baton *a = stage_open(*state, "a", 0);
    struct baton_lock_options options;
    struct baton_lock *lock;
    struct baton_error err;
    baton_lock_options_init(&options);
    options.slots = 0;
    assert_int_equal(baton_lock(a, "report", &options, &lock, &err), -1);
    assert_code(err, BATON_INVALID);
    options.slots = BATON_SLOTS_MAX + 1;
    assert_int_equal(baton_lock(a, "report", &options, &lock, &err), -1);
    assert_code(err, BATON_INVALID);
    options.slots = 1;
    options.stop_ms = STAGE_TTL_MS;
    assert_int_equal(baton_lock(a, "report", &options, &lock, &err), -1);
    assert_code(err, BATON_INVALID);
    assert_int_equal(baton_lock(a, "no/name", NULL, &lock, &err), -1);
    assert_code(err, BATON_INVALID);
    struct baton_lock *held = want(a, 1);
    assert_int_equal(baton_lock(a, "report", NULL, &lock, &err), -1);
    assert_code(err, BATON_CONFLICT);
    /* An election of that name is another thing. */
    struct baton_election *e = stage_stand(a, "report", 0);
    expect_acquired(a, held);
    stage_expect(a, e, BATON_LEAD);
    baton_lock_free(NULL);
    baton_lock_status_free(NULL, 0);
    baton_close(a);
}

static void test_a_holder_that_closes_or_frees_passes_the_lock_on(void **state)
{
    struct baton *a = stage_open(*state, "a", 0), *b = stage_open(*state, "b", 0), *c = stage_open(*state, "c", 0);
    struct baton_lock *la = want(a, 1);
    expect_acquired(a, la);
    struct baton_lock *lb = want(b, 1);
    wait_queue(b, lb, 2);
    struct baton_lock *lc = want(c, 1);
    wait_queue(c, lc, 3);
    baton_lock_free(la);
    expect_acquired(b, lb);
    baton_close(b);
    expect_acquired(c, lc);
    /* (Not a: nobody tells it when the release of a handle that it has freed is over.) */
    struct baton *d = stage_open(*state, "d", 0);
    struct baton_lock *ld = want(d, 1);
    wait_queue(d, ld, 2);
    baton_close(c);
    expect_acquired(d, ld);
    baton_close(d);
    baton_close(a);
}

static void test_a_lock_that_is_lost_is_over_and_is_not_taken_again(void **state)
{
    const struct stage *stage = *state;
    struct baton_options options;
    struct baton *a, *b = stage_open(stage, "b", 0);
    struct baton_error err;
    uint64_t token = 77;
    baton_options_init(&options);
    options.url = stage->url;
    options.id = "a";
    options.ttl_ms = 4000;
    options.watchdog_ms = 2000; /* it never says that it is alive: its session is not renewed */
    assert_int_equal(baton_open(&options, &a, &err), 0);
    struct baton_lock *la = want(a, 1);
    uint64_t first = expect_acquired(a, la);
    struct baton_lock *lb = want(b, 1);
    struct baton_event stop = stage_wait(a, NULL, BATON_STOP);
    assert_ptr_equal(stop.lock, la);
    assert_false(baton_holds(la, &token));
    assert_int_equal(token, 77);
    assert_int_equal(stage_wait(a, NULL, BATON_RELEASED).code, BATON_LOST);
    assert_true(expect_acquired(b, lb) > first);
    baton_unlock(la); /* of a lost one: nothing */
    assert_true(baton_holds(lb, NULL));
    assert_false(baton_holds(la, NULL));
    baton_close(a);
    baton_close(b);
}

static void test_a_holder_whose_stop_takes_longer_keeps_the_lock(void **state)
{
    const struct stage *stage = *state;
    struct baton_options options;
    struct baton *a, *b = stage_open(stage, "b", 0);
    struct baton_error err;
    baton_options_init(&options);
    options.url = stage->url;
    options.id = "a";
    options.ttl_ms = 3000;
    options.watchdog_ms = 2800;
    assert_int_equal(baton_open(&options, &a, &err), 0);
    struct baton_lock *la = want_with(a, 1, false, 0, 1400);
    uint64_t first = expect_acquired(a, la);
    assert_false(baton_lock_stop_takes(la, 1000));
    struct baton_lock *lb = want(b, 1);
    stage_wait(a, NULL, BATON_STOP); /* it has not said that it is alive; */
    for (int64_t end_ms = baton_now_ms() + 4500; baton_now_ms() < end_ms; stage_wait_until(baton_now_ms() + 100)) {
        baton_alive(a); /* it has only been slow */
        assert_true(baton_lock_stop_takes(la, 60000));
    }
    stage_expect_nothing(b);
    baton_unlock(la);
    assert_int_equal(stage_wait(a, NULL, BATON_RELEASED).code, BATON_LOST);
    assert_true(expect_acquired(b, lb) > first);
    baton_close(a);
    baton_close(b);
}

static void test_a_forked_child_holds_nothing(void **state)
{
    struct baton *a = stage_open(*state, "a", 0);
    struct baton_lock *lock = want(a, 1);
    expect_acquired(a, lock);
    pid_t pid = fork();
    if (pid == 0) {
        uint64_t token = 77;
        bool held = baton_holds(lock, &token);
        baton_unlock(lock); /* is not its to give up */
        baton_close(a);
        _exit(held || token != 77);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_true(baton_holds(lock, NULL));
    baton_close(a);
}

/* Holds the lock, has a child, and is dead. The child's pid. */
static pid_t die_as_holder(const struct stage *stage)
{
    int fds[2];
    pid_t child = 0;
    assert_int_equal(pipe(fds), 0);
    pid_t holder = fork();
    if (holder == 0) {
        struct baton *a = stage_open(stage, "a", 60000);
        expect_acquired(a, want(a, 1));
        child = fork();
        if (child != 0) {
            (void)!write(fds[1], &child, sizeof(child));
            raise(SIGKILL);
        }
        for (;;)
            pause();
    }
    assert_int_equal(waitpid(holder, NULL, 0), holder);
    assert_int_equal(read(fds[0], &child, sizeof(child)), sizeof(child));
    close(fds[0]);
    close(fds[1]);
    return child;
}

/* It may still do what the holder was about to do. */
static void test_a_forked_child_keeps_the_lock_of_a_holder_that_is_dead(void **state)
{
    if (!stage_is_local()) /* the other engine is in this process alone */
        return;
    pid_t child = die_as_holder(*state);
    struct baton *b = stage_open(*state, "b", 0);
    struct baton_lock *lock = want(b, 1);
    wait_queue(b, lock, 2);
    stage_wait_until(baton_now_ms() + 500); /* longer than a death takes to be seen */
    stage_expect_nothing(b);
    assert_false(baton_holds(lock, NULL));
    kill(child, SIGKILL);
    expect_acquired(b, lock);
    baton_close(b);
}

static void test_the_queue_is_told(void **state)
{
    struct baton *a = stage_open(*state, "alpha", 0), *b = stage_open(*state, "beta", 0);
    struct baton_lock *la = want(a, 1), *all, *one;
    uint64_t token = expect_acquired(a, la);
    struct baton_lock *lb = want(b, 1);
    wait_queue(b, lb, 2);
    struct baton_lock_status *status;
    size_t count;
    assert_int_equal(baton_lock_status(lb, &status, &count, NULL), 0);
    assert_int_equal(count, 1);
    assert_string_equal(status->name, "report");
    assert_int_equal(status->holders, 1);
    assert_string_equal(status->entries[0].id, "alpha");
    assert_true(status->entries[0].holds);
    assert_int_equal(status->entries[0].token, token);
    assert_string_equal(status->entries[1].id, "beta");
    assert_false(status->entries[1].holds);
    assert_null(status->trouble);
    baton_lock_status_free(status, count);
    assert_string_equal(baton_lock_name(la), "report");

    assert_int_equal(baton_observe_lock(b, NULL, &all, NULL), 0);
    assert_int_equal(baton_observe_lock(b, "nothing", &one, NULL), 0);
    while (!baton_lock_known(all) || !baton_lock_known(one))
        stage_wait(b, NULL, BATON_CHANGED);
    assert_int_equal(baton_lock_status(all, &status, &count, NULL), 0);
    assert_int_equal(count, 1);
    assert_string_equal(status->name, "report");
    assert_int_equal(status->entry_count, 2);
    baton_lock_status_free(status, count);
    assert_int_equal(baton_lock_status(one, &status, &count, NULL), 0);
    assert_true(count == 1 && status->known && status->entry_count == 0);
    baton_lock_status_free(status, count);
    baton_close(a);
    baton_close(b);
}

/* ---- a lock that is released, and perhaps taken again by the same client ---- */

static uint64_t revision_of(struct baton *b, const struct baton_lock *lock)
{
    struct baton_lock_status *status;
    size_t count;
    while (!baton_lock_known(lock))
        stage_wait(b, NULL, BATON_CHANGED);
    assert_int_equal(baton_lock_status(lock, &status, &count, NULL), 0);
    uint64_t revision = status->revision;
    baton_lock_status_free(status, count);
    return revision;
}

/* Nobody else wants it, so nothing is written, and whoever looks on sees nothing happen. */
static void test_a_lock_that_is_taken_again_is_not_written(void **state)
{
    struct baton *a = stage_open(*state, "a", 0), *b = stage_open(*state, "b", 0);
    struct baton_lock *seen, *lock = want(a, 1);
    uint64_t token = expect_acquired(a, lock);
    assert_int_equal(baton_observe_lock(b, "report", &seen, NULL), 0);
    wait_queue(b, seen, 1);
    uint64_t revision = revision_of(b, seen);
    for (int i = 0; i < 1000; i++) {
        baton_unlock(lock);
        assert_false(baton_holds(lock, NULL));
        baton_unlock(lock); /* twice is once */
        expect_released(a, lock, BATON_OK, "");
        baton_lock_free(lock);
        lock = want(a, 1);
        uint64_t next = expect_acquired(a, lock);
        assert_true(next > token);
        token = next;
    }
    assert_int_equal(revision_of(b, seen), revision);
    /* Who wants it now waits, and gets a token above all of them. */
    struct baton_lock *lb = want(b, 1);
    wait_queue(a, lock, 2);
    assert_true(baton_holds(lock, NULL));
    assert_false(baton_holds(lb, NULL));
    baton_unlock(lock);
    assert_true(expect_acquired(b, lb) > token);
    baton_close(a);
    baton_close(b);
}

static void release(struct baton *b, struct baton_lock *lock)
{
    baton_unlock(lock);
    expect_released(b, lock, BATON_OK, "");
    baton_lock_free(lock);
}

static void test_a_lock_that_was_released_is_there_for_who_only_tries(void **state)
{
    struct baton *a = stage_open(*state, "a", 0), *b = stage_open(*state, "b", 0);
    for (int i = 0; i < 20; i++) {
        struct baton_lock *la = want(a, 1);
        uint64_t token = expect_acquired(a, la);
        release(a, la);
        struct baton_lock *lb = want_with(b, 1, true, 0, 0);
        assert_true(expect_acquired(b, lb) > token);
        la = want_with(a, 1, true, 0, 0);
        expect_released(a, la, BATON_CONFLICT, "held by b");
        baton_lock_free(la);
        release(b, lb);
    }
    baton_close(a);
    baton_close(b);
}

/* Its handle may be given back late, or never; it is another attempt. */
static void test_a_lock_is_taken_again_before_its_handle_is_freed(void **state)
{
    struct baton *a = stage_open(*state, "a", 0);
    struct baton_lock *locks[5];
    uint64_t token = 0;
    for (int i = 0; i < 5; i++) {
        locks[i] = want(a, 1);
        uint64_t next = expect_acquired(a, locks[i]);
        assert_true(next > token);
        token = next;
        baton_unlock(locks[i]);
        expect_released(a, locks[i], BATON_OK, "");
    }
    for (int i = 0; i < 5; i++) {
        assert_false(baton_holds(locks[i], NULL));
        baton_lock_free(locks[i]);
    }
    stage_expect_nothing(a);
    baton_close(a);
}

/* ... and before that is seen by anybody; also of a lock that is written each time, and one that is only tried. */
static void test_a_lock_is_wanted_again_before_its_release_is_through(void **state)
{
    struct baton *a = stage_open(*state, "a", 0), *b = stage_open(*state, "b", 0);
    static const uint32_t slots[] = {2, BATON_SHARED, 2};
    for (size_t i = 0; i < COUNT_OF(slots); i++) {
        uint64_t token = 0;
        for (int k = 0; k < 50; k++) {
            struct baton_lock *lock = want_with(a, slots[i], k % 2 == 0, 0, 0);
            uint64_t next = expect_acquired(a, lock);
            assert_true(next > token);
            token = next;
            baton_lock_free(lock);
        }
    }
    stage_expect_nothing(a);
    /* With another one in the queue it is that one's turn. */
    struct baton_lock *la = want(a, 1);
    expect_acquired(a, la);
    struct baton_lock *lb = want(b, 1);
    wait_queue(a, la, 2);
    baton_lock_free(la);
    la = want(a, 1);
    expect_acquired(b, lb);
    assert_false(baton_holds(la, NULL));
    baton_lock_free(lb);
    expect_acquired(a, la);
    baton_close(a);
    baton_close(b);
}

static void test_a_released_lock_is_forgotten_after_a_while(void **state)
{
    struct baton *a = stage_open(*state, "a", 0), *b = stage_open(*state, "b", 0);
    struct baton_lock *kept = want(a, 1), *left, *seen;
    expect_acquired(a, kept);
    assert_int_equal(baton_lock(a, "other", NULL, &left, NULL), 0);
    stage_wait(a, NULL, BATON_ACQUIRED);
    assert_int_equal(baton_observe_lock(b, NULL, &seen, NULL), 0);
    baton_unlock(kept);
    expect_released(a, kept, BATON_OK, "");
    baton_lock_free(left);
    for (size_t entries = 1; entries > 0;) {
        struct baton_lock_status *status;
        size_t count;
        stage_wait(b, NULL, BATON_CHANGED);
        assert_int_equal(baton_lock_status(seen, &status, &count, NULL), 0);
        entries = status == NULL || !baton_lock_known(seen);
        for (size_t i = 0; i < count; i++)
            entries += status[i].entry_count;
        baton_lock_status_free(status, count);
    }
    wait_queue(a, kept, 0);
    stage_expect_nothing(a); /* it was told already */
    baton_close(a);
    baton_close(b);
}

static void test_more_locks_than_are_kept(void **state)
{
    struct baton *a = stage_open(*state, "a", 0);
    struct baton_lock *locks[50];
    uint64_t tokens[50] = {0};
    for (int turn = 0; turn < 4; turn++) {
        for (int i = 0; i < 50; i++) {
            char name[16];
            snprintf(name, sizeof(name), "lock%d", i);
            assert_int_equal(baton_lock(a, name, NULL, &locks[i], NULL), 0);
            struct baton_event event = stage_expect(a, NULL, BATON_ACQUIRED);
            assert_ptr_equal(event.lock, locks[i]);
            assert_true(event.term > tokens[i]);
            tokens[i] = event.term;
        }
        for (int i = 0; i < 50; i++) {
            baton_unlock(locks[i]);
            expect_released(a, locks[i], BATON_OK, "");
            baton_lock_free(locks[i]);
        }
    }
    baton_close(a);
}

/* A child that takes the lock so many times in all, and then stands still, or is dead, as a holder or not. */
static pid_t child_of_lock(const struct stage *stage, int times, bool holds, int number)
{
    int fds[2];
    char done;
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    if (child == 0) {
        struct baton *a = stage_open(stage, "a", 60000);
        for (int i = 1; i <= times; i++) {
            struct baton_lock *lock = want(a, 1);
            expect_acquired(a, lock);
            if (i < times || !holds)
                baton_lock_free(lock);
        }
        (void)!write(fds[1], "", 1);
        raise(number);
        for (;;)
            pause();
    }
    assert_int_equal(read(fds[0], &done, 1), 1);
    close(fds[0]);
    close(fds[1]);
    return child;
}

static void test_a_client_that_stands_still_after_a_release_is_in_nobodys_way(void **state)
{
    if (!stage_is_local())
        return;
    pid_t child = child_of_lock(*state, 3, false, SIGSTOP);
    struct baton *b = stage_open(*state, "b", 0);
    struct baton_lock *lock = want_with(b, 1, true, 0, 0);
    expect_acquired(b, lock);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    baton_close(b);
}

static void test_a_holder_that_has_taken_its_lock_back_is_followed_when_it_dies(void **state)
{
    if (!stage_is_local())
        return;
    pid_t child = child_of_lock(*state, 5, true, SIGSTOP);
    struct baton *b = stage_open(*state, "b", 0);
    struct baton_lock *lock = want_with(b, 1, true, 0, 0);
    expect_released(b, lock, BATON_CONFLICT, "held by a");
    baton_lock_free(lock);
    lock = want(b, 1);
    wait_queue(b, lock, 2);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    expect_acquired(b, lock);
    baton_close(b);
}

/* Several clients, in threads of their own, take it again and again: one at a time, each with a larger token. */
struct rival {
    const struct stage *stage;
    pthread_t thread;
    int number;
    bool failed;
};

static _Atomic int inside;
static _Atomic uint64_t last_token;

static void *take_again_and_again(void *context)
{
    struct rival *rival = context;
    char id[8];
    snprintf(id, sizeof(id), "r%d", rival->number);
    struct baton *b = stage_open(rival->stage, id, 0);
    for (int i = 0; i < 400 && !rival->failed; i++) {
        struct baton_lock *lock;
        uint64_t token = 0;
        if (baton_lock(b, "report", NULL, &lock, NULL) < 0) {
            stage_wait_until(baton_now_ms() + 1); /* the release of the last one is under way */
            continue;
        }
        (void)stage_wait(b, NULL, BATON_ACQUIRED);
        rival->failed = atomic_fetch_add(&inside, 1) != 0 || !baton_holds(lock, &token) ||
                        atomic_exchange(&last_token, token) >= token;
        atomic_fetch_sub(&inside, 1);
        baton_lock_free(lock);
    }
    baton_close(b);
    return NULL;
}

static void test_rivals_hold_one_at_a_time_with_tokens_that_grow(void **state)
{
    struct rival rivals[3];
    atomic_store(&last_token, 0);
    for (int i = 0; i < 3; i++) {
        rivals[i] = (struct rival){.stage = *state, .number = i};
        assert_int_equal(pthread_create(&rivals[i].thread, NULL, take_again_and_again, &rivals[i]), 0);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(rivals[i].thread, NULL);
        assert_false(rivals[i].failed);
    }
}

int main(int argc, char **argv)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, stage_setup, stage_teardown)
    const struct CMUnitTest tests[] = {
        STORY(test_a_lock_goes_from_one_to_the_next_in_the_order_of_asking),
        STORY(test_as_many_hold_as_there_are_slots),
        STORY(test_shared_holders_stand_beside_each_other_and_nobody_is_overtaken),
        STORY(test_who_tries_or_waits_in_vain_is_told_who_holds_it),
        STORY(test_who_disagrees_about_the_slots_is_refused),
        STORY(test_what_cannot_be_is_refused),
        STORY(test_a_holder_that_closes_or_frees_passes_the_lock_on),
        STORY(test_a_lock_that_is_lost_is_over_and_is_not_taken_again),
        STORY(test_a_holder_whose_stop_takes_longer_keeps_the_lock),
        STORY(test_a_forked_child_holds_nothing),
        STORY(test_a_forked_child_keeps_the_lock_of_a_holder_that_is_dead),
        STORY(test_the_queue_is_told),
        STORY(test_a_lock_that_is_taken_again_is_not_written),
        STORY(test_a_lock_that_was_released_is_there_for_who_only_tries),
        STORY(test_a_lock_is_taken_again_before_its_handle_is_freed),
        STORY(test_a_lock_is_wanted_again_before_its_release_is_through),
        STORY(test_a_released_lock_is_forgotten_after_a_while),
        STORY(test_more_locks_than_are_kept),
        STORY(test_a_client_that_stands_still_after_a_release_is_in_nobodys_way),
        STORY(test_a_holder_that_has_taken_its_lock_back_is_followed_when_it_dies),
        STORY(test_rivals_hold_one_at_a_time_with_tokens_that_grow),
    };
    stage_engine(argc, argv);
    return cmocka_run_group_tests_name(argc > 1 ? argv[1] : "local", tests, NULL, NULL);
}
