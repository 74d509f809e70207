/* test_local_folder.c: what is wrong with a directory of the local engine, and who shares it. What needs root or
 * namespaces is skipped, with a word, where they are not to be had. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
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

/* ---- what is wrong with the directory ---- */

static char *file_read(const char *path, size_t *ret_size)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char *bytes = mem_new(1 << 20);
    *ret_size = fread(bytes, 1, 1 << 20, file);
    fclose(file);
    return bytes;
}

/* Each name in the folder with its inode and its size, on the heap. */
static char *listing(const struct world *w)
{
    struct dirent **entries;
    int count = scandir(w->folder, &entries, NULL, alphasort);
    assert_true(count >= 0);
    char *text = mem_text("");
    for (int i = 0; i < count; i++) {
        char *before = text, *path = mem_format("%s/%s", w->folder, entries[i]->d_name);
        struct stat about;
        assert_int_equal(stat(path, &about), 0);
        text = mem_format("%s%s %llu %lld\n", before, entries[i]->d_name, (unsigned long long)about.st_ino,
                          S_ISREG(about.st_mode) ? (long long)about.st_size : 0);
        free(before);
        free(path);
        free(entries[i]);
    }
    free(entries);
    return text;
}

static void expect_refused_untouched(struct world *w, enum baton_code code)
{
    size_t before_size, after_size;
    char *before = file_read(w->db, &before_size), *before_listing = listing(w);
    struct baton_error err = {0};
    assert_null(client_try(w->url, &w->loop, &err));
    if (err.code != code)
        fail_msg("%s: %s", baton_code_name(err.code), err.text);
    assert_non_null(strstr(err.text, w->db));
    char *after = file_read(w->db, &after_size), *after_listing = listing(w);
    assert_int_equal(before_size, after_size);
    assert_memory_equal(before, after, before_size);
    assert_string_equal(before_listing, after_listing);
    free(before);
    free(after);
    free(before_listing);
    free(after_listing);
}

static void make_database(struct world *w)
{
    world_open(w);
    char value[2000] = {0};
    memset(value, 'v', sizeof(value) - 1);
    for (int i = 0; i < 50; i++) {
        char key[16];
        snprintf(key, sizeof(key), "e/%d", i);
        assert_int_equal(put(w->client, key, value, 0, 0)->answer, BATON_ANSWER_DONE);
    }
    world_close(w);
    execute(w, "PRAGMA wal_checkpoint(TRUNCATE)");
}

static void test_a_newer_database_is_refused_untouched(void **state)
{
    struct world w;
    world_init(&w);
    make_database(&w);
    execute(&w, "PRAGMA user_version = 99; PRAGMA wal_checkpoint(TRUNCATE)");
    expect_refused_untouched(&w, BATON_NEWER);
    world_release(&w);
}

static void test_a_database_of_another_program_is_refused_untouched(void **state)
{
    struct world w;
    world_init(&w);
    assert_int_equal(mkdir(w.folder, 0700), 0);
    execute(&w, "CREATE TABLE accounts(id); INSERT INTO accounts VALUES(7)");
    expect_refused_untouched(&w, BATON_CORRUPT);
    world_release(&w);
}

static void test_garbage_is_refused_untouched(void **state)
{
    struct world w;
    world_init(&w);
    assert_int_equal(mkdir(w.folder, 0700), 0);
    FILE *file = fopen(w.db, "w");
    for (int i = 0; i < 20000; i++)
        fputc((int)(random() & 0xff), file);
    fclose(file);
    expect_refused_untouched(&w, BATON_CORRUPT);
    world_release(&w);
}

static void test_a_truncated_database_is_refused_untouched(void **state)
{
    struct world w;
    struct stat about;
    world_init(&w);
    make_database(&w);
    assert_int_equal(stat(w.db, &about), 0);
    assert_int_equal(truncate(w.db, about.st_size / 2 / 4096 * 4096), 0);
    expect_refused_untouched(&w, BATON_CORRUPT);
    assert_int_equal(truncate(w.db, 50), 0);
    expect_refused_untouched(&w, BATON_CORRUPT);
    world_release(&w);
}

static bool has_trouble(void *ctx)
{
    return ((struct client *)ctx)->trouble.code != BATON_OK;
}

/* Not at the start, which does not read it all, but by whoever reads it. */
static void test_a_damaged_page_is_told_by_who_reads_it(void **state)
{
    struct world w;
    struct stat about;
    char zeros[4096] = {0};
    size_t before_size, after_size;
    world_init(&w);
    make_database(&w);
    assert_int_equal(stat(w.db, &about), 0);
    int fd = open(w.db, O_WRONLY);
    for (off_t at = about.st_size / 4096 / 2 * 4096; at < about.st_size; at += 4096)
        assert_int_equal(pwrite(fd, zeros, sizeof(zeros), at), sizeof(zeros));
    close(fd);
    char *before = file_read(w.db, &before_size);
    world_open(&w);
    client_watch(w.client, 0, "e/");
    wait_until(&w.loop, has_trouble, w.client);
    assert_int_equal(w.client->trouble.code, BATON_CORRUPT);
    assert_non_null(strstr(w.client->trouble.text, w.db));
    assert_int_equal(put(w.client, "e/7", "new", 0, ANY)->answer, BATON_ANSWER_REFUSED);
    assert_int_equal(w.client->reply.error.code, BATON_CORRUPT);
    char *after = file_read(w.db, &after_size);
    assert_int_equal(before_size, after_size);
    assert_memory_equal(before, after, before_size);
    free(before);
    free(after);
    world_release(&w);
}

/* How many changes are kept, and the first revision that is. */
static long log_rows(const struct world *w, long *ret_first)
{
    sqlite3 *handle;
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_open(w->db, &handle), SQLITE_OK);
    sqlite3_busy_timeout(handle, 5000);
    assert_int_equal(sqlite3_prepare_v2(handle, "SELECT count(*), min(revision) FROM changes", -1, &statement, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    long rows = sqlite3_column_int(statement, 0);
    *ret_first = sqlite3_column_int(statement, 1);
    sqlite3_finalize(statement);
    sqlite3_close(handle);
    return rows;
}

/* Each transaction has two changes, as that has in which a lock goes from hand to hand. */
static void test_the_log_of_changes_is_pruned(void **state)
{
    struct world w;
    long first;
    world_init(&w);
    world_open(&w);
    client_watch(w.client, 0, "e/");
    wait_view(w.client, 0, 0);
    assert_int_equal(put(w.client, "e/0", "x", 0, 0)->answer, BATON_ANSWER_DONE);
    /* As if much had happened: these revisions leap, and no row has one that is a multiple of anything. */
    execute(&w, "WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)"
                " INSERT INTO changes SELECT 10 + 7 * i, 0, 'e/1', 'x', 10, 0 FROM n;"
                " UPDATE meta SET value = 300001 WHERE name = 'revision'");
    for (int i = 0; i < 2000; i++) {
        uint64_t a = client_put(w.client, "e/2", "a", 0, ANY), b = client_put(w.client, "e/3", "b", 0, ANY);
        if (i % 100 == 0)
            wait_answer(w.client, a);
        wait_answer(w.client, b);
    }
    long rows = log_rows(&w, &first);
    assert_in_range(rows, 10000, 10000 + 512 + 200);
    assert_true(first > 10 + 7 * 20000);
    world_release(&w);
}

/* A lock that is kept, and taken back many times, moves the revision on by as much. */
static void test_a_leap_of_the_revision_does_not_make_views_begin_again(void **state)
{
    struct world w;
    world_init(&w);
    world_open(&w);
    client_watch(w.client, 0, "e/");
    assert_int_equal(put(w.client, "e/0", "x", 0, 0)->answer, BATON_ANSWER_DONE);
    wait_key(w.client, 0, "e/0", true);
    size_t resets = w.client->views[0].resets;
    execute(&w, "UPDATE meta SET value = value + 1000000 WHERE name = 'revision'");
    assert_int_equal(put(w.client, "e/1", "x", 0, 0)->answer, BATON_ANSWER_DONE);
    wait_key(w.client, 0, "e/1", true);
    assert_int_equal(w.client->views[0].resets, resets);
    world_release(&w);
}

static void expect_no_open(const char *url, enum baton_code code, const char *words)
{
    uv_loop_t loop;
    struct baton_error err = {0};
    uv_loop_init(&loop);
    assert_null(client_try(url, &loop, &err));
    if (err.code != code || strstr(err.text, words) == NULL)
        fail_msg("%s: %s: %s", url, baton_code_name(err.code), err.text);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void test_a_url_that_names_no_directory_is_refused(void **state)
{
    char url[200];
    expect_no_open("local:relative", BATON_INVALID, "relative");
    snprintf(url, sizeof(url), "local:%s/none/below", local_stage_top());
    expect_no_open(url, BATON_NOT_FOUND, "none/below");
    expect_no_open("local:/etc/passwd", BATON_INVALID, "not a directory");
    snprintf(url, sizeof(url), "local://%s/three-slashes", local_stage_top());
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct client *client = client_new(url, &loop);
    client_free(client);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void test_an_unknown_engine_is_named_with_those_there_are(void **state)
{
    struct baton_error err = {0};
    assert_null(engine_find("nosuch://x", &err));
    assert_int_equal(err.code, BATON_UNSUPPORTED);
    assert_non_null(strstr(err.text, "nosuch"));
    assert_non_null(strstr(err.text, "local"));
    assert_null(engine_find("no engine", &err));
    assert_int_equal(err.code, BATON_INVALID);
    assert_null(engine_find("", &err));
    assert_int_equal(err.code, BATON_INVALID);
    assert_null(engine_find("../../x:y", &err));
    assert_int_equal(err.code, BATON_INVALID);
}

static bool need_root(void)
{
    if (geteuid() == 0)
        return true;
    print_message("# skipped: it needs root\n");
    return false;
}

static void test_a_directory_that_cannot_be_written_is_denied(void **state)
{
    struct world w;
    if (!need_root())
        skip();
    world_init(&w);
    assert_int_equal(mkdir(w.folder, 0755), 0);
    struct child child =
        child_start(&(struct as){NOBODY, NOBODY, false}, (const char *const[]){"open", w.url, "e/x", NULL});
    char line[600];
    child_line(&child, line, sizeof(line));
    assert_true(text_starts(line, "denied "));
    assert_non_null(strstr(line, w.folder));
    child_kill(&child);
    world_release(&w);
}

/* At each place that opens something, one after the other. */
static void test_too_few_descriptors_are_told(void **state)
{
    struct world w;
    struct rlimit before;
    struct baton_error err = {0};
    unsigned told = 0;
    world_init(&w);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int next = dup(STDIN_FILENO); /* the first that is free */
    close(next);
    for (rlim_t limit = (rlim_t)next; w.client == NULL; limit++, told++) {
        struct rlimit few = {.rlim_cur = limit, .rlim_max = before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        w.client = client_try(w.url, &w.loop, &err);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        if (w.client == NULL && strstr(err.text, "Too many open files") == NULL)
            fail_msg("%d more: %s: %s", (int)limit - next, baton_code_name(err.code), err.text);
        assert_true(told < 40);
    }
    assert_true(told > 5);
    world_release(&w);
}

static void test_users_of_one_group_share_a_directory(void **state)
{
    struct world w;
    char line[600];
    if (!need_root())
        skip();
    world_init(&w);
    mode_t before = umask(077); /* the directory decides, not a umask */
    assert_int_equal(mkdir(w.folder, 0770), 0);
    assert_int_equal(chown(w.folder, 0, GROUP), 0);
    assert_int_equal(chmod(w.folder, 02770), 0);
    for (unsigned i = 0; i < 2; i++) {
        struct child child = child_start(&(struct as){2001 + i, GROUP, false},
                                         (const char *const[]){"open", w.url, i == 0 ? "e/a" : "e/b", NULL});
        child_line(&child, line, sizeof(line));
        if (!text_starts(line, "ok"))
            fail_msg("user %u: %s", 2001 + i, line);
        child_kill(&child);
    }
    umask(before);
    world_open(&w);
    client_watch(w.client, 0, "e/");
    wait_key(w.client, 0, "e/a", true);
    assert_non_null(view_get(w.client, 0, "e/b"));
    world_close(&w);
    /* Who is not in the group stays out. */
    struct child child =
        child_start(&(struct as){NOBODY, NOBODY, false}, (const char *const[]){"open", w.url, "e/c", NULL});
    child_line(&child, line, sizeof(line));
    assert_true(text_starts(line, "denied "));
    child_kill(&child);
    world_release(&w);
}

static void test_two_pid_namespaces_share_a_directory(void **state)
{
    struct world w;
    char line[64];
    if (!need_root())
        skip();
    world_init(&w);
    world_open(&w);
    client_watch(w.client, 0, "e/");
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDOUT_FILENO);
        char self[200];
        ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
        self[n > 0 ? n : 0] = '\0';
        execlp("unshare", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", self, "hold", w.url, "4000",
               (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    struct child child = {.pid = pid, .says = fdopen(fds[0], "r")};
    if (fgets(line, sizeof(line), child.says) == NULL) {
        child_kill(&child);
        world_release(&w);
        print_message("# skipped: no new pid namespace is to be had here\n");
        skip();
    }
    wait_key(w.client, 0, "e/bound", true);
    assert_false(wait_for(&w.loop, never, NULL, 5000)); /* its heartbeat counts here, too */
    assert_non_null(view_get(w.client, 0, "e/bound"));
    child_kill(&child);
    wait_key(w.client, 0, "e/bound", false);
    world_release(&w);
}

static void test_a_full_disk_refuses_and_loses_nothing(void **state)
{
    struct world w;
    if (!need_root())
        skip();
    world_init(&w);
    assert_int_equal(mkdir(w.folder, 0700), 0);
    if (mount("baton-test", w.folder, "tmpfs", 0, "size=3m,mode=700") < 0) {
        print_message("# skipped: no tmpfs can be mounted here\n");
        world_release(&w);
        skip();
    }
    world_open(&w);
    client_watch(w.client, 0, "e/");
    wait_view(w.client, 0, 0);
    uint64_t session = session_new(w.client, LONG_TTL_MS);
    char *value = mem_new(20001), key[16];
    memset(value, 'v', 20000);
    int stored = 0;
    for (;; stored++) {
        assert_true(stored < 1000);
        snprintf(key, sizeof(key), "e/%03d", stored);
        if (put(w.client, key, value, 0, 0)->answer != BATON_ANSWER_DONE)
            break;
    }
    if (w.client->reply.answer != BATON_ANSWER_REFUSED || w.client->reply.error.code != BATON_FULL)
        fail_msg("answer %d: %s", (int)w.client->reply.answer, w.client->reply.error.text);
    assert_true(stored > 5);
    assert_int_equal(renewal(w.client, session)->answer, BATON_ANSWER_DONE); /* a leader need not fall for it */
    assert_int_equal(w.client->views[0].count, (size_t)stored);
    assert_int_equal(mount("baton-test", w.folder, "tmpfs", MS_REMOUNT, "size=20m"), 0);
    assert_int_equal(put(w.client, "e/after", "x", session, 0)->answer, BATON_ANSWER_DONE);
    wait_key(w.client, 0, "e/after", true);
    world_close(&w);
    world_open(&w);
    client_watch(w.client, 0, "e/");
    wait_key(w.client, 0, "e/000", true);
    for (int i = 0; i < stored; i++) {
        snprintf(key, sizeof(key), "e/%03d", i);
        assert_non_null(view_get(w.client, 0, key));
        assert_string_equal(view_get(w.client, 0, key)->value, value);
    }
    free(value);
    world_release(&w);
    assert_int_equal(umount2(w.folder, MNT_DETACH), 0); /* this process has the session's lock as long as it lives */
}

static int run_stories(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_newer_database_is_refused_untouched),
        cmocka_unit_test(test_a_database_of_another_program_is_refused_untouched),
        cmocka_unit_test(test_garbage_is_refused_untouched),
        cmocka_unit_test(test_a_truncated_database_is_refused_untouched),
        cmocka_unit_test(test_a_damaged_page_is_told_by_who_reads_it),
        cmocka_unit_test(test_the_log_of_changes_is_pruned),
        cmocka_unit_test(test_a_leap_of_the_revision_does_not_make_views_begin_again),
        cmocka_unit_test(test_a_url_that_names_no_directory_is_refused),
        cmocka_unit_test(test_an_unknown_engine_is_named_with_those_there_are),
        cmocka_unit_test(test_a_directory_that_cannot_be_written_is_denied),
        cmocka_unit_test(test_too_few_descriptors_are_told),
        cmocka_unit_test(test_users_of_one_group_share_a_directory),
        cmocka_unit_test(test_two_pid_namespaces_share_a_directory),
        cmocka_unit_test(test_a_full_disk_refuses_and_loses_nothing),
    };
    return cmocka_run_group_tests_name("local-folder", tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return local_stage_main(argc, argv, run_stories);
}
