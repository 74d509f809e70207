/* test_local.c: what is special to the local engine: processes that die or stop, and what is wrong with a directory.
 *
 * Other processes are this program, started again with the name of a part to play (see `parts`). What needs root or
 * namespaces is skipped, with a word, where they are not to be had. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/base.h"
#include "base/clock.h"
#include "engine/engine.h"
#include "engine/local/pulse.h"
#include "harness.h"

#define ANY BATON_REVISION_ANY
#define LONG_TTL_MS 60000 /* nothing that a test waits for may depend on it */
#define SOON_MS 10000     /* "at once", on a machine that is busy; well below LONG_TTL_MS */
#define KILLS 200
#define NOBODY 65534
#define GROUP 60

static char top[] = "/tmp/baton-local-XXXXXX";
static unsigned spaces;

struct world {
    uv_loop_t loop;
    char folder[100], url[120], db[120];
    struct client *client;
};

static void world_init(struct world *w)
{
    memset(w, 0, sizeof(*w));
    uv_loop_init(&w->loop);
    snprintf(w->folder, sizeof(w->folder), "%s/%u", top, ++spaces);
    snprintf(w->url, sizeof(w->url), "local:%s", w->folder);
    snprintf(w->db, sizeof(w->db), "%s/baton.db", w->folder);
}

static void world_open(struct world *w)
{
    w->client = client_new(w->url, &w->loop);
}

static void world_close(struct world *w)
{
    client_free(w->client);
    w->client = NULL;
}

static void world_release(struct world *w)
{
    if (w->client != NULL)
        world_close(w);
    assert_int_equal(uv_loop_close(&w->loop), 0);
}

/* ---- the parts that other processes play ---- */

static bool never(void *ctx)
{
    return false;
}

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vdprintf(STDOUT_FILENO, format, args);
    va_end(args);
}

/* hold URL TTL_MS [guarded]: a session and a record bound to it, renewed until the end of this process. "guarded": a
 * child, whose number is said, has a copy of the lock's descriptor, as a guard has. */
static int part_hold(int argc, char **argv)
{
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct client *client = client_new(argv[0], &loop);
    uint64_t session = session_new(client, (uint32_t)atoi(argv[1]));
    if (put(client, "e/bound", "x", session, ANY)->answer != BATON_ANSWER_DONE) {
        say("0\nlost\n");
        return pause();
    }
    int guard = 0;
    if (argc > 2) {
        char text[BATON_EXPORT_MAX];
        int fd;
        if (client->ops->session_export(client->engine, session, text, &fd, NULL) < 0)
            return 1;
        guard = fork();
        if (guard == 0) {
            dup2(fd, STDIN_FILENO); /* without close-on-exec */
            close(STDOUT_FILENO);
            execlp("sleep", "sleep", "300", (char *)NULL);
            _exit(127);
        }
        close(fd);
    }
    say("%d\n", guard);
    for (;;) {
        (void)wait_for(&loop, never, NULL, client->ttl_ms / 4);
        if (renewal(client, session)->answer != BATON_ANSWER_DONE)
            say("lost\n");
    }
}

/* write URL KEY: lasting values 1, 2, 3, ..., each said when it is answered. */
static int part_write(int argc, char **argv)
{
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct client *client = client_new(argv[0], &loop);
    for (int i = 1;; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%d", i);
        if (put(client, argv[1], text, 0, ANY)->answer != BATON_ANSWER_DONE)
            return 1;
        say("%d %llu\n", i, (unsigned long long)client->reply.revision);
    }
}

/* open URL KEY: can it be opened, and written? Says the code and the words. */
static int part_open(int argc, char **argv)
{
    uv_loop_t loop;
    struct baton_error err = {0};
    uv_loop_init(&loop);
    struct client *client = client_try(argv[0], &loop, &err);
    if (client != NULL && put(client, argv[1], "x", 0, ANY)->answer != BATON_ANSWER_DONE)
        err = client->reply.error;
    say("%s %s\n", baton_code_name(err.code), err.text);
    return 0;
}

/* locks FILE: does another process hold a lock on it? (On SQLite's bytes, sqlite.org/lockingv3.html.) */
static int part_locks(int argc, char **argv)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0x40000000, .l_len = 512};
    int fd = open(argv[0], O_RDWR);
    if (fd < 0 || fcntl(fd, F_GETLK, &lock) < 0)
        return 1;
    say("%s\n", lock.l_type == F_UNLCK ? "free" : "locked");
    return 0;
}

/* guard TEXT FD: end the session. */
static int part_guard(int argc, char **argv)
{
    struct baton_error err = {0};
    struct baton_engine_guard *guard;
    const struct baton_engine_ops *ops = harness_ops("local:");
    bool done = ops->guard_open(argv[0], atoi(argv[1]), &guard, &err) == 0 && ops->guard_end(guard, 5000, &err) == 0;
    say("%s\n", done ? "done" : err.text);
    return !done;
}

static const struct {
    const char *name;
    int (*play)(int argc, char **argv);
} parts[] = {
    {"hold", part_hold}, {"write", part_write}, {"open", part_open}, {"guard", part_guard}, {"locks", part_locks}};

struct child {
    pid_t pid;
    FILE *says;
};

struct as {
    uid_t uid;
    gid_t gid;
    bool pid_namespace;
};

static struct child child_start(const struct as *as, const char *const arguments[])
{
    int fds[2], self = open("/proc/self/exe", O_RDONLY);
    assert_true(self >= 0 && pipe(fds) == 0);
    char *argv[8] = {(char *)"test_local"};
    for (size_t i = 0; arguments[i] != NULL; i++)
        argv[i + 1] = (char *)arguments[i];
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDOUT_FILENO);
        close(fds[0]);
        close(fds[1]);
        if (as != NULL && as->gid != 0 && (setgroups(0, NULL) < 0 || setgid(as->gid) < 0 || setuid(as->uid) < 0))
            _exit(126);
        fexecve(self, argv, environ);
        _exit(127);
    }
    close(fds[1]);
    close(self);
    return (struct child){.pid = pid, .says = fdopen(fds[0], "r")};
}

static void child_kill(struct child *child)
{
    kill(child->pid, SIGKILL);
    assert_int_equal(waitpid(child->pid, NULL, 0), child->pid);
    fclose(child->says);
}

static void child_line(struct child *child, char *line, int size)
{
    if (fgets(line, size, child->says) == NULL)
        fail_msg("the other process said nothing");
    line[strcspn(line, "\n")] = '\0';
}

static struct child hold(const struct world *w, const char *ttl_ms, const char *guarded, int *ret_guard)
{
    struct child child = child_start(NULL, (const char *const[]){"hold", w->url, ttl_ms, guarded, NULL});
    char line[64];
    child_line(&child, line, sizeof(line));
    if (ret_guard != NULL)
        *ret_guard = atoi(line);
    return child;
}

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

static void execute(const struct world *w, const char *sql)
{
    sqlite3 *handle;
    char *words = NULL;
    assert_int_equal(sqlite3_open(w->db, &handle), SQLITE_OK);
    if (sqlite3_exec(handle, sql, NULL, NULL, &words) != SQLITE_OK)
        fail_msg("%s: %s", sql, words);
    sqlite3_close(handle);
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
    snprintf(url, sizeof(url), "local:%s/none/below", top);
    expect_no_open(url, BATON_NOT_FOUND, "none/below");
    expect_no_open("local:/etc/passwd", BATON_INVALID, "not a directory");
    snprintf(url, sizeof(url), "local://%s/three-slashes", top);
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

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < COUNT_OF(parts); i++)
        if (strcmp(argv[1], parts[i].name) == 0)
            return parts[i].play(argc - 2, argv + 2);
    if (mkdtemp(top) == NULL || chmod(top, 0755) < 0) {
        perror(top);
        return 1;
    }
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
    int failed = cmocka_run_group_tests_name("local", tests, NULL, NULL);
    char command[100];
    snprintf(command, sizeof(command), "rm -rf %s", top);
    return system(command) != 0 || failed != 0;
}
