/* test_local.c: what is special to the local engine: processes that die or stop. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/base.h"
#include "base/clock.h"
#include "engine/engine.h"
#include "engine/local/pulse.h"
#include "local_stage.h"

/* ---- deaths ---- */

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void test_a_death_is_seen_without_waiting_for_the_ttl(void **state)
{
    struct world w;
    int64_t took_us[20];
    world_init(&w);
    world_open(&w);
    client_watch(w.client, 0, "e/");
    (void)session_new(w.client, LONG_TTL_MS); /* as a candidate has: who only looks lets the others act first */
    for (size_t i = 0; i < COUNT_OF(took_us); i++) {
        struct child child = hold(&w, "60000", NULL, NULL);
        wait_key(w.client, 0, "e/bound", true);
        int64_t killed_us = now_us();
        kill(child.pid, SIGKILL);
        wait_key(w.client, 0, "e/bound", false);
        took_us[i] = now_us() - killed_us;
        assert_true(took_us[i] < SOON_MS * 1000);
        child_kill(&child);
    }
    qsort(took_us, COUNT_OF(took_us), sizeof(*took_us), by_size);
    print_message("# from the kill to the view of another process: p50 %lld us, max %lld us\n", (long long)took_us[10],
                  (long long)took_us[19]);
    world_release(&w);
}

static void test_a_guard_that_holds_the_lock_keeps_the_session_of_a_dead_process(void **state)
{
    struct world w;
    int guard;
    world_init(&w);
    world_open(&w);
    client_watch(w.client, 0, "e/");
    struct child child = hold(&w, "60000", "guarded", &guard);
    wait_key(w.client, 0, "e/bound", true);
    child_kill(&child);
    assert_false(wait_for(&w.loop, never, NULL, 500));
    assert_int_equal(put(w.client, "e/other", "x", 0, 0)->answer, BATON_ANSWER_DONE);
    wait_key(w.client, 0, "e/other", true);
    assert_non_null(view_get(w.client, 0, "e/bound"));
    int64_t killed_ms = clock_now_ms();
    kill(guard, SIGKILL);
    wait_key(w.client, 0, "e/bound", false);
    assert_true(clock_now_ms() - killed_ms < SOON_MS);
    world_release(&w);
}

static void test_a_guard_in_another_process_ends_the_session(void **state)
{
    struct world w;
    char text[BATON_EXPORT_MAX], number[16], line[600];
    int fd;
    struct baton_error err = {0};
    world_init(&w);
    world_open(&w);
    client_watch(w.client, 0, "e/");
    uint64_t session = session_new(w.client, LONG_TTL_MS);
    assert_int_equal(put(w.client, "e/bound", "x", session, 0)->answer, BATON_ANSWER_DONE);
    wait_key(w.client, 0, "e/bound", true);
    assert_int_equal(w.client->ops->session_export(w.client->engine, session, text, &fd, &err), 0);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    fcntl(fd, F_SETFD, 0);
    snprintf(number, sizeof(number), "%d", fd);
    struct child guard = child_start(NULL, (const char *const[]){"guard", text, number, NULL});
    child_line(&guard, line, sizeof(line));
    assert_string_equal(line, "done");
    wait_key(w.client, 0, "e/bound", false);
    assert_int_equal(renewal(w.client, session)->answer, BATON_ANSWER_REFUSED);
    close(fd);
    child_kill(&guard);
    world_release(&w);
}

/* Renewed by its process, a session outlives its ttl. On a machine that is so busy that the process was too late for
 * it, it is tried again with a longer one. */
static struct child hold_beyond_its_ttl(struct world *w)
{
    for (int ttl_ms = 1000;; ttl_ms *= 2) {
        char number[16], line[64];
        snprintf(number, sizeof(number), "%d", ttl_ms);
        struct child child = hold(w, number, NULL, NULL);
        wait_view(w->client, 0, 0);
        (void)wait_for(&w->loop, never, NULL, 2 * ttl_ms);
        if (view_get(w->client, 0, "e/bound") != NULL)
            return child;
        assert_true(ttl_ms < 8000);
        child_line(&child, line, sizeof(line));
        assert_string_equal(line, "lost");
        child_kill(&child);
    }
}

static void test_a_stopped_process_loses_its_session_by_its_heartbeat(void **state)
{
    struct world w;
    world_init(&w);
    world_open(&w);
    client_watch(w.client, 0, "e/");
    struct child child = hold_beyond_its_ttl(&w);
    kill(child.pid, SIGSTOP);
    wait_key(w.client, 0, "e/bound", false);
    kill(child.pid, SIGCONT);
    char line[64];
    child_line(&child, line, sizeof(line));
    assert_string_equal(line, "lost");
    child_kill(&child);
    world_release(&w);
}

static void test_a_pid_that_another_process_took_does_not_keep_a_session(void **state)
{
    struct world w;
    world_init(&w);
    struct child child = hold(&w, "60000", NULL, NULL);
    child_kill(&child); /* nobody is there to see it */
    char sql[100];
    snprintf(sql, sizeof(sql), "UPDATE sessions SET pid = %d", getppid());
    execute(&w, sql); /* the number is another live process's now */
    int64_t begin_ms = clock_now_ms();
    world_open(&w);
    client_watch(w.client, 0, "e/");
    wait_key(w.client, 0, "e/bound", false);
    assert_true(clock_now_ms() - begin_ms < SOON_MS);
    world_release(&w);
}

/* What was answered is there, and revisions only grow, whenever the writer is killed. */
static void test_nothing_answered_is_lost_when_writers_are_killed(void **state)
{
    struct world w;
    world_init(&w);
    world_open(&w);
    client_watch(w.client, 0, "e/");
    wait_view(w.client, 0, 0);
    srandom(20261124);
    uint64_t greatest = 0;
    long wrote = 0;
    for (int i = 0; i < KILLS / 2; i++) {
        struct child children[2];
        char keys[2][24], line[64];
        for (int j = 0; j < 2; j++) {
            snprintf(keys[j], sizeof(keys[j]), "e/%d-%d", i, j);
            children[j] = child_start(NULL, (const char *const[]){"write", w.url, keys[j], NULL});
            child_line(&children[j], line, sizeof(line));
        }
        long done[2] = {1, 1};
        struct timespec pause = {.tv_nsec = random() % 8000000}; /* the moment of the kill, not a wait */
        nanosleep(&pause, NULL);
        for (int j = 0; j < 2; j++)
            kill(children[j].pid, SIGKILL);
        for (int j = 0; j < 2; j++) {
            unsigned long long revision = 0;
            while (fgets(line, sizeof(line), children[j].says) != NULL && strchr(line, '\n') != NULL)
                assert_int_equal(sscanf(line, "%ld %llu", &done[j], &revision), 2);
            child_kill(&children[j]);
        }
        assert_int_equal(put(w.client, "e/mark", "x", 0, ANY)->answer, BATON_ANSWER_DONE);
        assert_true(w.client->reply.revision > greatest);
        greatest = w.client->reply.revision;
        wait_view(w.client, 0, greatest);
        for (int j = 0; j < 2; j++) {
            const struct baton_record *record = view_get(w.client, 0, keys[j]);
            assert_non_null(record);
            assert_true(atol(record->value) >= done[j] && atol(record->value) <= done[j] + 1);
            assert_true(record->revision < greatest);
            wrote += done[j];
        }
    }
    assert_true(wrote >= KILLS);
    world_close(&w);
    world_open(&w); /* and all of it is there for who comes later */
    client_watch(w.client, 0, "e/");
    wait_key(w.client, 0, "e/mark", true);
    assert_int_equal(w.client->views[0].count, KILLS + 1);
    assert_int_equal(put(w.client, "e/after", "x", 0, 0)->answer, BATON_ANSWER_DONE);
    assert_true(w.client->reply.revision > greatest);
    world_release(&w);
}

static void test_a_boot_drops_sessions_and_jumps_over_what_may_be_lost(void **state)
{
    struct world w;
    world_init(&w);
    world_open(&w);
    struct child child = hold(&w, "60000", NULL, NULL);
    client_watch(w.client, 0, "e/");
    wait_key(w.client, 0, "e/bound", true);
    uint64_t session = view_get(w.client, 0, "e/bound")->session;
    assert_int_equal(put(w.client, "e/lasting", "kept", 0, 0)->answer, BATON_ANSWER_DONE);
    uint64_t revision = w.client->reply.revision;
    world_close(&w);
    child_kill(&child); /* with nobody there to see it */
    execute(&w, "UPDATE meta SET value = 12345 WHERE name = 'boot'");
    world_open(&w);
    client_watch(w.client, 0, "e/");
    wait_key(w.client, 0, "e/lasting", true);
    assert_null(view_get(w.client, 0, "e/bound"));
    assert_string_equal(view_get(w.client, 0, "e/lasting")->value, "kept");
    assert_int_equal(put(w.client, "e/lasting", "new", 0, ANY)->answer, BATON_ANSWER_DONE);
    assert_true(w.client->reply.revision >= revision + (1 << 24));
    assert_true(session_new(w.client, LONG_TTL_MS) >= session + (1 << 24));
    world_close(&w);
    revision = w.client == NULL ? revision + (1 << 24) : 0;
    world_open(&w); /* once a boot */
    assert_int_equal(put(w.client, "e/lasting", "new", 0, ANY)->answer, BATON_ANSWER_DONE);
    assert_true(w.client->reply.revision < revision + (1 << 24));
    world_release(&w);
}

static void test_more_sessions_than_there_is_room_for_are_refused(void **state)
{
    struct world w;
    char words[200];
    world_init(&w);
    world_open(&w);
    uint64_t session = session_new(w.client, LONG_TTL_MS);
    struct pulse pulse; /* what others see of the sessions, written to by hand */
    struct folder folder;
    assert_int_equal(folder_open_again(&folder, w.folder, NULL), 0);
    assert_int_equal(pulse_open(&pulse, &folder, NULL), 0);
    struct heartbeat *slots = pulse.slots;
    assert_int_equal(slots[0].session, session);
    for (int i = 1; i < PULSE_SLOTS; i++)
        heartbeat_begin(&slots[i], 1000000 + (uint64_t)i, 3600000, clock_now_ms());
    wait_answer(w.client, client_session_open(w.client, LONG_TTL_MS));
    assert_int_equal(w.client->session, 0);
    assert_int_equal(w.client->error.code, BATON_FULL);
    snprintf(words, sizeof(words), "local: %s has %d sessions, and room for no more", w.folder, PULSE_SLOTS);
    assert_string_equal(w.client->error.text, words);
    assert_int_equal(renewal(w.client, session)->answer, BATON_ANSWER_DONE); /* who is there stays */
    /* One that was left behind, by a process that was killed just then, makes room. */
    slots[PULSE_SLOTS / 2].word = HEARTBEAT_DEAD;
    session_new(w.client, LONG_TTL_MS);
    assert_int_equal(slots[PULSE_SLOTS / 2].session, w.client->session);
    pulse_close(&pulse);
    folder_close(&folder);
    world_release(&w);
}

static void test_a_second_client_of_one_process_leaves_the_locks_of_the_first(void **state)
{
    struct world w;
    char line[64];
    world_init(&w);
    world_open(&w);
    client_watch(w.client, 0, "e/");
    wait_view(w.client, 0, 0);
    for (int i = 0; i < 2; i++) {
        struct child child = child_start(NULL, (const char *const[]){"locks", w.db, NULL});
        child_line(&child, line, sizeof(line));
        assert_string_equal(line, "locked");
        child_kill(&child);
        if (i == 0)
            client_free(client_new(w.url, &w.loop));
    }
    world_release(&w);
}

static int run_stories(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_death_is_seen_without_waiting_for_the_ttl),
        cmocka_unit_test(test_a_guard_that_holds_the_lock_keeps_the_session_of_a_dead_process),
        cmocka_unit_test(test_a_guard_in_another_process_ends_the_session),
        cmocka_unit_test(test_a_stopped_process_loses_its_session_by_its_heartbeat),
        cmocka_unit_test(test_a_pid_that_another_process_took_does_not_keep_a_session),
        cmocka_unit_test(test_nothing_answered_is_lost_when_writers_are_killed),
        cmocka_unit_test(test_a_boot_drops_sessions_and_jumps_over_what_may_be_lost),
        cmocka_unit_test(test_more_sessions_than_there_is_room_for_are_refused),
        cmocka_unit_test(test_a_second_client_of_one_process_leaves_the_locks_of_the_first),
    };
    return cmocka_run_group_tests_name("local", tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return local_stage_main(argc, argv, run_stories);
}
