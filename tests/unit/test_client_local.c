/* test_client_local.c: a client on a local engine that is made to fail, or whose records people have written. */
#include "client_stage.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

/* The lock that who writes to the local engine's database holds (open file description lock, fcntl(2)). */
static int hold_writers_lock(const struct stage *stage)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/writer", stage->folder);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    assert_int_equal(fcntl(fd, F_OFD_SETLKW, &lock), 0);
    return fd;
}

static void test_requests_under_way_have_a_limit_and_a_time(void **state)
{
    struct baton *a = stage_open(*state, "a", 0);
    struct baton_election *e = stage_observe(a, "writer");
    stage_wait(a, e, BATON_CHANGED);
    int fd = hold_writers_lock(*state);
    for (int i = 0; i < 1024; i++)
        baton_hold(e, NULL, 500);
    uint64_t over = baton_hold(e, NULL, 500);
    struct baton_event reply = stage_expect(a, e, BATON_REPLY);
    assert_int_equal(reply.request, over);
    assert_code(reply, BATON_FULL);
    for (int i = 0; i < 1024; i++)
        assert_code(stage_expect(a, e, BATON_REPLY), BATON_UNAVAILABLE);
    close(fd);
    assert_true(baton_hold(e, NULL, STAGE_LIMIT_MS) > over); /* there is room again */
    stage_expect(a, e, BATON_REPLY);
    baton_close(a);
}

static void test_a_leader_keeps_its_place_while_nobody_can_write(void **state)
{
    uint32_t ttl_ms = 3000;
    struct baton *a = stage_open(*state, "a", ttl_ms), *b = stage_open(*state, "b", ttl_ms);
    struct baton_election *ea = stage_stand(a, "writer", 0);
    uint64_t term = stage_expect(a, ea, BATON_LEAD).term, now;
    int fd = hold_writers_lock(*state);
    struct baton_election *eb = stage_stand(b, "writer", 0); /* writes, and waits for the lock */
    stage_wait_until(baton_now_ms() + 2 * ttl_ms);
    stage_expect_nothing(a);
    assert_true(baton_leads(ea, &now) && now == term);
    close(fd);
    size_t two = 2;
    baton_status_free(stage_wait_status(b, eb, has_candidates, &two), 1);
    stage_expect_nothing(a);
    assert_true(baton_leads(ea, &now) && now == term);
    baton_close(b);
    baton_close(a);
}

/* The local engine's worker waits for the lock and is cancelled in the end; what it has in hand is freed all the same
 * (AddressSanitizer looks). */
static void test_close_keeps_its_bound_when_the_engine_cannot_write(void **state)
{
    struct baton *a = stage_open(*state, "a", 3000), *b = stage_open(*state, "b", 0);
    struct baton_election *ea = stage_stand(a, "writer", 0);
    stage_expect(a, ea, BATON_LEAD);
    struct baton_election *eb = stage_stand(b, "writer", 0);
    size_t two = 2;
    baton_status_free(stage_wait_status(b, eb, has_candidates, &two), 1);
    int fd = hold_writers_lock(*state);
    int64_t start_ms = baton_now_ms();
    baton_close(a);
    assert_true(baton_now_ms() - start_ms < 2000 + 2000 + 4000); /* its bound, the engine's, and a busy machine */
    close(fd);
    stage_expect(b, eb, BATON_LEAD);
    baton_close(b);
}

static void test_trouble_is_told_once_and_so_is_its_end(void **state)
{
    struct baton *a = stage_open(*state, "a", 1000);
    struct rlimit was, none;
    getrlimit(RLIMIT_FSIZE, &was);
    none = was;
    none.rlim_cur = 0;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &none); /* every write to a file fails with EFBIG */
    struct baton_election *e = stage_stand(a, "writer", 0);
    struct baton_event trouble = stage_expect(a, NULL, BATON_TROUBLE);
    assert_true(trouble.code != BATON_OK);
    assert_non_null(strstr(trouble.text, "local"));
    /* Several more tries to open a session, and not a word of them. */
    stage_wait_until(baton_now_ms() + 500);
    stage_expect_nothing(a);
    setrlimit(RLIMIT_FSIZE, &was);
    stage_expect(a, NULL, BATON_RECOVERED);
    stage_expect(a, e, BATON_LEAD);
    baton_close(a);
}

/* Put `field` into a record of the local engine's database, as a person with sqlite3 would. */
static void edit_record(const struct stage *stage, const char *key, const char *field)
{
    char path[128];
    sqlite3 *handle;
    sqlite3_stmt *update;
    snprintf(path, sizeof(path), "%s/baton.db", stage->folder);
    assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(handle,
                                        "UPDATE records SET value = '{' || ?1 || ',' || substr(value, 2) "
                                        "WHERE key = ?2",
                                        -1, &update, NULL),
                     SQLITE_OK);
    sqlite3_bind_text(update, 1, field, -1, SQLITE_STATIC);
    sqlite3_bind_text(update, 2, key, -1, SQLITE_STATIC);
    assert_int_equal(sqlite3_step(update), SQLITE_DONE);
    assert_int_equal(sqlite3_changes(handle), 1);
    sqlite3_finalize(update);
    sqlite3_close(handle);
}

/* Decisions of the last moments before a loss of power may be gone. What is left is an old one, and no term that was
 * given after it may come again. */
static void test_terms_leap_over_what_a_loss_of_power_may_have_taken(void **state)
{
    const struct stage *stage = *state;
    char path[128];
    struct baton *a = stage_open(stage, "a", 0);
    struct baton_election *e = stage_stand(a, "writer", 0);
    uint64_t before = stage_expect(a, e, BATON_LEAD).term;
    baton_close(a);
    sqlite3 *db;
    snprintf(path, sizeof(path), "%s/baton.db", stage->folder);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "UPDATE meta SET value = 12345 WHERE name = 'boot'", NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    a = stage_open(stage, "a", 0);
    e = stage_stand(a, "writer", 0);
    uint64_t after = stage_expect(a, e, BATON_LEAD).term;
    assert_true(after >= before + (1 << 24));
    baton_resign(e);
    stage_wait(a, e, BATON_RESIGNED);
    e = stage_stand(a, "writer", 0);
    assert_int_equal(stage_expect(a, e, BATON_LEAD).term, after + 2); /* and then one by one: "nobody", and again a */
    baton_close(a);
}

/* {"other": [[[...]]]} */
static void nest(char field[5000], size_t depth)
{
    strcpy(field, "\"other\":");
    size_t used = strlen(field);
    memset(field + used, '[', depth);
    memset(field + used + depth, ']', depth);
    field[used + 2 * depth] = '\0';
}

static void test_a_record_that_is_nested_too_deep_is_told_and_left_alone(void **state)
{
    char field[5000];
    struct baton *a = stage_open(*state, "a", 0);
    stage_expect(a, stage_stand(a, "writer", 0), BATON_LEAD);
    baton_close(a);
    nest(field, 2000);
    edit_record(*state, "elections/writer/leader", field);
    a = stage_open(*state, "a", 0);
    struct baton_election *e = stage_stand(a, "writer", 0);
    struct baton_status *status;
    size_t count;
    do {
        stage_wait(a, e, BATON_CHANGED);
        assert_int_equal(baton_status(e, &status, &count, NULL), 0);
        bool told = status->trouble != NULL && strstr(status->trouble, "deep") != NULL;
        baton_status_free(status, count);
        if (told)
            break;
    } while (true);
    assert_false(baton_leads(e, NULL));
    baton_close(a);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* they need more stack themselves */
struct small {
    struct baton *b;
    struct baton_election *leads;
    bool read; /* who leads */
};

/* Everything that a program may call from any of its threads, however little stack that has. */
static void *call_everything(void *arg)
{
    struct small *small = arg;
    struct baton *b = small->b;
    struct baton_election *e;
    struct baton_lock *lock;
    struct baton_task *task;
    struct baton_status *status;
    struct baton_lock_status *locks;
    struct baton_task_status *tasks;
    struct baton_lifeline lifeline;
    struct baton_event event;
    struct baton_error err;
    const struct baton_task_result result = {.out = "x", .out_size = 1};
    size_t count;
    char testament[BATON_TESTAMENT_MAX];
    baton_testament(small->leads, testament);
    small->read = baton_status(small->leads, &status, &count, &err) == 0;
    if (small->read)
        baton_status_free(status, count);
    if (baton_lifeline(b, &lifeline, &err) == 0 && lifeline.fd >= 0)
        close(lifeline.fd);
    if (baton_stand(b, "another", NULL, &e, &err) == 0) {
        (void)baton_hold(e, "why", 1000);
        (void)baton_release(e, 1000);
        (void)baton_transfer(e, "b", 1000);
        baton_resign(e);
        (void)baton_stop_takes(e, 1);
        baton_stopped(e);
        baton_election_free(e);
    }
    if (baton_lock(b, "lock", NULL, &lock, &err) == 0) {
        if (baton_lock_status(lock, &locks, &count, &err) == 0)
            baton_lock_status_free(locks, count);
        baton_unlock(lock);
        baton_lock_free(lock);
    }
    if (baton_once(b, "task", NULL, &task, &err) == 0) {
        if (baton_task_status(task, &tasks, &count, &err) == 0)
            baton_task_status_free(tasks, count);
        baton_done(task, &result);
        baton_task_free(task);
    }
    while (baton_next(b, &event))
        continue;
    baton_alive(b);
    return NULL;
}

static void test_a_thread_with_little_stack_may_call_everything(void **state)
{
    char field[5000];
    struct small small;
    pthread_attr_t attributes;
    pthread_t thread;
    size_t two = 2;
    struct baton *a = stage_open(*state, "a", 0), *b = stage_open(*state, "b", 0);
    stage_expect(a, stage_stand(a, "writer", 0), BATON_LEAD);
    baton_close(a);
    nest(field, 30); /* as deep as a record may be */
    edit_record(*state, "elections/writer/leader", field);
    small.b = a = stage_open(*state, "a", 0);
    small.leads = stage_stand(a, "writer", 0);
    stage_expect(a, small.leads, BATON_LEAD);
    (void)stage_stand(b, "writer", 0);
    baton_status_free(stage_wait_status(a, small.leads, has_candidates, &two), 1);
    pthread_attr_init(&attributes);
    assert_int_equal(pthread_attr_setstacksize(&attributes, 64 * 1024), 0);
    assert_int_equal(pthread_create(&thread, &attributes, call_everything, &small), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attributes);
    assert_true(small.read);
    baton_close(a);
    baton_close(b);
}
#endif

int main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, stage_setup, stage_teardown)
    const struct CMUnitTest tests[] = {
        STORY(test_requests_under_way_have_a_limit_and_a_time),
        STORY(test_a_leader_keeps_its_place_while_nobody_can_write),
        STORY(test_close_keeps_its_bound_when_the_engine_cannot_write),
        STORY(test_trouble_is_told_once_and_so_is_its_end),
        STORY(test_terms_leap_over_what_a_loss_of_power_may_have_taken),
        STORY(test_a_record_that_is_nested_too_deep_is_told_and_left_alone),
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        STORY(test_a_thread_with_little_stack_may_call_everything),
#endif
    };
    return cmocka_run_group_tests_name("local", tests, NULL, NULL);
}
