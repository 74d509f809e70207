/* local_stage.c: see local_stage.h. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/base.h"
#include "engine/engine.h"
#include "local_stage.h"

static char top[] = "/tmp/baton-local-XXXXXX";
static unsigned spaces;

void world_init(struct world *w)
{
    memset(w, 0, sizeof(*w));
    uv_loop_init(&w->loop);
    snprintf(w->folder, sizeof(w->folder), "%s/%u", top, ++spaces);
    snprintf(w->url, sizeof(w->url), "local:%s", w->folder);
    snprintf(w->db, sizeof(w->db), "%s/baton.db", w->folder);
}

void world_open(struct world *w)
{
    w->client = client_new(w->url, &w->loop);
}

void world_close(struct world *w)
{
    client_free(w->client);
    w->client = NULL;
}

void world_release(struct world *w)
{
    if (w->client != NULL)
        world_close(w);
    assert_int_equal(uv_loop_close(&w->loop), 0);
}

/* ---- the parts that other processes play ---- */

bool never(void *ctx)
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

struct child child_start(const struct as *as, const char *const arguments[])
{
    int fds[2] = {-1, -1}, self = open("/proc/self/exe", O_RDONLY);
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

void child_kill(struct child *child)
{
    kill(child->pid, SIGKILL);
    assert_int_equal(waitpid(child->pid, NULL, 0), child->pid);
    fclose(child->says);
}

void child_line(struct child *child, char *line, int size)
{
    if (fgets(line, size, child->says) == NULL)
        fail_msg("the other process said nothing");
    line[strcspn(line, "\n")] = '\0';
}

struct child hold(const struct world *w, const char *ttl_ms, const char *guarded, int *ret_guard)
{
    struct child child = child_start(NULL, (const char *const[]){"hold", w->url, ttl_ms, guarded, NULL});
    char line[64];
    child_line(&child, line, sizeof(line));
    if (ret_guard != NULL)
        *ret_guard = atoi(line);
    return child;
}

void execute(const struct world *w, const char *sql)
{
    sqlite3 *handle;
    char *words = NULL;
    assert_int_equal(sqlite3_open(w->db, &handle), SQLITE_OK);
    if (sqlite3_exec(handle, sql, NULL, NULL, &words) != SQLITE_OK)
        fail_msg("%s: %s", sql, words);
    sqlite3_close(handle);
}

const char *local_stage_top(void)
{
    return top;
}

int local_stage_main(int argc, char **argv, int (*run_stories)(void))
{
    for (size_t i = 0; argc > 1 && i < COUNT_OF(parts); i++)
        if (strcmp(argv[1], parts[i].name) == 0)
            return parts[i].play(argc - 2, argv + 2);
    if (mkdtemp(top) == NULL || chmod(top, 0755) < 0) {
        perror(top);
        return 1;
    }
    int failed = run_stories();
    char command[100];
    snprintf(command, sizeof(command), "rm -rf %s", top);
    return system(command) != 0 || failed != 0;
}
