/* test_client_edges.c: what a client promises when something is wrong: bad options, a fork, a program that hangs, does
 * not answer, or never looks. */
#include "client_stage.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- opening ---- */

static void expect_refused(struct baton_options options, enum baton_code code, const char *first, const char *second)
{
    struct baton *b = (struct baton *)&options;
    struct baton_error err = {0};
    assert_int_equal(baton_open(&options, &b, &err), -1);
    assert_code(err, code);
    assert_ptr_equal(b, &options); /* untouched */
    if (strstr(err.text, first) == NULL || strstr(err.text, second) == NULL)
        fail_msg("'%s' does not say '%s' and '%s'", err.text, first, second);
}

static void test_options_that_cannot_be_used_are_refused_with_words(void **state)
{
    const struct stage *stage = *state;
    struct baton_options good, options;
    char long_address[BATON_ADDRESS_MAX + 2];
    memset(long_address, 'x', sizeof(long_address) - 1);
    long_address[sizeof(long_address) - 1] = '\0';
    baton_options_init(&good);
    good.url = stage->url;

    options = good;
    options.id = "no/slash";
    expect_refused(options, BATON_INVALID, "no/slash", "id");
    options = good;
    options.id = "";
    expect_refused(options, BATON_INVALID, "empty", "id");
    options = good;
    options.guard = (enum baton_guard_use)7;
    expect_refused(options, BATON_INVALID, "guard", "7");
    options = good;
    options.url = "";
    expect_refused(options, BATON_INVALID, "the URL", "empty");
    options.url = NULL;
    setenv("BATON_URL", "", 1);
    expect_refused(options, BATON_INVALID, "BATON_URL", "empty");
    unsetenv("BATON_URL");
    options = good;
    options.url = "nowhere";
    expect_refused(options, BATON_INVALID, "nowhere", "engine");
    options = good;
    options.url = "abacus:x";
    expect_refused(options, BATON_UNSUPPORTED, "abacus", "local");
    options = good;
    options.address = long_address;
    expect_refused(options, BATON_INVALID, "256", "255");
    options = good;
    options.ttl_ms = 1;
    expect_refused(options, BATON_INVALID, "1 ms", stage_is_local() ? "500 ms" : "100 ms");
    options = good;
    options.ttl_ms = UINT32_MAX;
    expect_refused(options, BATON_INVALID, "4294967295 ms", "86400000 ms");
    options = good;
    options.watchdog_ms = good.ttl_ms;
    expect_refused(options, BATON_INVALID, "10000 ms", "watchdog");
}

static void test_names_and_stand_options_are_checked(void **state)
{
    struct baton *a = stage_open(*state, "a", 2000);
    struct baton_election *e = (struct baton_election *)state;
    struct baton_stand_options options;
    struct baton_error err;
    baton_stand_options_init(&options);
    assert_int_equal(baton_stand(a, "no name", NULL, &e, &err), -1);
    assert_code(err, BATON_INVALID);
    assert_int_equal(baton_observe(a, "", &e, &err), -1);
    assert_code(err, BATON_INVALID);
    options.priority = 1001;
    assert_int_equal(baton_stand(a, "writer", &options, &e, &err), -1);
    assert_code(err, BATON_INVALID);
    assert_non_null(strstr(err.text, "1000"));
    options.priority = 0;
    options.stop_ms = 1001;
    assert_int_equal(baton_stand(a, "writer", &options, &e, &err), -1);
    assert_code(err, BATON_INVALID);
    assert_non_null(strstr(err.text, "2000"));
    assert_ptr_equal(e, state);
    assert_int_equal(baton_check_name("the name", "-x", &err), -1);
    assert_true(text_starts(err.text, "the name"));
    assert_int_equal(baton_check_name("the name", "x.1_2-3:4@5+6", &err), 0);
    baton_close(a);
    baton_close(NULL);
    baton_election_free(NULL);
    baton_status_free(NULL, 0);
    baton_guard_free(NULL);
}

static void test_id_and_url_have_defaults(void **state)
{
    const struct stage *stage = *state;
    struct baton_options options;
    struct baton *a, *b;
    char pid[24];
    snprintf(pid, sizeof(pid), "-%d-", (int)getpid());
    baton_options_init(&options);
    setenv("BATON_URL", stage->url, 1);
    assert_int_equal(baton_open(&options, &a, NULL), 0);
    assert_int_equal(baton_open(&options, &b, NULL), 0);
    unsetenv("BATON_URL");
    assert_string_equal(baton_url(a), stage->url);
    assert_int_equal(baton_check_name("id", baton_id(a), NULL), 0);
    assert_non_null(strstr(baton_id(a), pid));
    assert_string_not_equal(baton_id(a), baton_id(b));
    baton_close(b);
    baton_close(a);
}

/* A program that was started without them: no file of ours is taken for its output, and libuv does not stop it. */
static void test_a_program_without_standard_descriptors_can_open(void **state)
{
    const struct stage *stage = *state;
    int kept[3], missing = 0;
    for (int fd = 0; fd < 3; fd++) {
        kept[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 10);
        close(fd);
    }
    struct baton_options options;
    struct baton *b = NULL;
    struct baton_error err = {0};
    baton_options_init(&options);
    options.url = stage->url;
    int opened = baton_open(&options, &b, &err);
    for (int fd = 0; fd < 3; fd++)
        missing += fcntl(fd, F_GETFD) != FD_CLOEXEC; /* what it executes finds them closed */
    int own = baton_fd(b);
    baton_close(b);
    for (int fd = 0; fd < 3; fd++) {
        dup2(kept[fd], fd);
        close(kept[fd]);
    }
    assert_int_equal(opened, 0);
    assert_int_equal(missing, 0);
    assert_true(own > 2);
}

static void test_a_program_that_has_used_up_its_descriptors_gets_words(void **state)
{
    const struct stage *stage = *state;
    struct rlimit before, few;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int used = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct baton_options options;
    baton_options_init(&options);
    options.url = stage->url;
    for (int left = 0; left < 8; left++) {
        few = (struct rlimit){.rlim_cur = (rlim_t)(used + 1 + left), .rlim_max = before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        expect_refused(options, BATON_FULL, "too few files may be open", "ulimit -n");
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    close(used);
}

/* ---- the queue ---- */

static void test_descriptor_is_readable_until_there_is_nothing(void **state)
{
    struct baton *a = stage_open(*state, "a", 0);
    struct baton_event event;
    assert_false(stage_readable(baton_fd(a)));
    assert_false(baton_next(a, &event));
    struct baton_election *e = stage_stand(a, "writer", 0);
    stage_expect(a, e, BATON_LEAD);
    bool any = true;
    for (int i = 0; i < 100 && any; i++) {
        assert_true(stage_readable(baton_fd(a))); /* also when the last one was just taken, which nobody knows yet */
        any = baton_next(a, &event);
    }
    assert_false(any);
    assert_false(stage_readable(baton_fd(a)));
    baton_resign(e);
    stage_wait(a, e, BATON_RESIGNED);
    baton_close(a);
}

static void test_queue_of_a_program_that_never_looks_stays_short(void **state)
{
    struct baton *a = stage_open(*state, "a", 0), *operator= stage_open(*state, "operator", 0);
    struct baton_election *e = stage_stand(a, "writer", 0), *watched = stage_observe(operator, "writer");
    baton_status_free(stage_wait_status(operator, watched, led_by, "a"), 1);
    for (int i = 0; i < 12; i++) {
        baton_hold(watched, NULL, STAGE_LIMIT_MS);
        stage_wait(operator, watched, BATON_REPLY);
        baton_status_free(stage_wait_status(operator, watched, led_by, NULL), 1);
        baton_release(watched, STAGE_LIMIT_MS);
        stage_wait(operator, watched, BATON_REPLY);
        baton_status_free(stage_wait_status(operator, watched, led_by, "a"), 1);
    }
    struct baton_event event;
    stage_wait(a, e, BATON_LEAD);
    enum baton_event_kind last = BATON_LEAD;
    unsigned count = 0, changed = 0;
    while (baton_next(a, &event)) {
        changed += event.kind == BATON_CHANGED;
        if (event.kind == BATON_LEAD || event.kind == BATON_STOP || event.kind == BATON_FOLLOW) {
            /* What is left is in order still. */
            assert_int_equal(event.kind, last == BATON_FOLLOW ? BATON_LEAD : last + 1);
            last = event.kind;
            count++;
        }
    }
    assert_true(changed <= 1);
    assert_in_range(count, 0, 6);
    baton_close(operator);
    baton_close(a);
}

static void test_elections_have_a_limit_and_a_place_is_used_again(void **state)
{
    struct baton *a = stage_open(*state, "a", 0);
    struct baton_election *e = NULL, *again = NULL;
    struct baton_error err;
    for (size_t i = 0; i < BATON_ELECTIONS_MAX; i++)
        assert_int_equal(baton_observe(a, "writer", &e, &err), 0);
    assert_int_equal(baton_observe(a, "writer", &again, &err), -1);
    assert_code(err, BATON_FULL);
    baton_election_free(e);
    /* It is freed in the background, and no event tells of it. */
    int64_t until_ms = baton_now_ms() + STAGE_LIMIT_MS;
    while (baton_observe(a, "writer", &again, &err) < 0 && baton_now_ms() < until_ms)
        stage_wait_until(baton_now_ms() + 10);
    assert_non_null(again);
    baton_close(a);
}

/* ---- fork ---- */

static int look_from_a_child(struct baton *b, struct baton_election *e, int fd)
{
    struct baton_event event;
    struct baton_error err;
    struct baton_election *other;
    struct baton_status *status;
    struct baton_lifeline lifeline;
    static char testament[BATON_TESTAMENT_MAX];
    size_t count;
    if (baton_leads(e, NULL))
        return 1;
    if (baton_next(b, &event))
        return 2;
    if (baton_stand(b, "other", NULL, &other, &err) == 0 || err.code != BATON_CLOSED)
        return 3;
    if (baton_observe(b, NULL, &other, &err) == 0 || err.code != BATON_CLOSED)
        return 4;
    if (baton_status(e, &status, &count, &err) == 0 || err.code != BATON_CLOSED)
        return 5;
    if (baton_lifeline(b, &lifeline, &err) == 0 || err.code != BATON_CLOSED)
        return 6;
    if (baton_transfer(e, NULL, 10) != 0 || baton_hold(e, NULL, 10) != 0 || baton_release(e, 10) != 0)
        return 7;
    if (baton_fd(b) >= 0 || baton_stop_takes(e, 1000))
        return 8;
    baton_testament(e, testament);
    if (testament[0] != '\0')
        return 10;
    baton_stopped(e);
    baton_resign(e);
    baton_alive(b);
    baton_election_free(e);
    baton_close(b);
    if (fcntl(fd, F_GETFD) >= 0)
        return 9; /* it was left open */
    return 0;
}

static void test_forked_child_does_not_lead_and_can_close(void **state)
{
    struct baton *a = stage_open(*state, "a", 0), *b = stage_open(*state, "b", 0);
    struct baton_election *ea = stage_stand(a, "writer", 0), *eb;
    uint64_t term = stage_expect(a, ea, BATON_LEAD).term, now;
    int fd = baton_fd(a), result;
    pid_t child = fork();
    if (child == 0)
        _exit(look_from_a_child(a, ea, fd));
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result));
    assert_int_equal(WEXITSTATUS(result), 0);

    /* Nothing of the parent's was touched: it leads on with the same term, and hands over when it wants to. */
    assert_true(baton_leads(ea, &now));
    assert_int_equal(now, term);
    eb = stage_stand(b, "writer", 0);
    size_t two = 2;
    baton_status_free(stage_wait_status(a, ea, has_candidates, &two), 1);
    stage_expect_nothing(a);
    baton_close(a);
    stage_expect(b, eb, BATON_LEAD);
    baton_close(b);
}

/* ---- losing the place ---- */

/* All threads but this one, stopped by a tracer (ptrace(2)): as if the machine gave them no time. */
struct stopped {
    pid_t tracer;
    int line;
};

static void trace(const pid_t *threads, size_t count, int line)
{
    char byte = 's';
    for (size_t i = 0; i < count; i++) {
        int result;
        if (ptrace(PTRACE_SEIZE, threads[i], NULL, NULL) < 0 || ptrace(PTRACE_INTERRUPT, threads[i], NULL, NULL) < 0 ||
            waitpid(threads[i], &result, __WALL) != threads[i])
            byte = 'x';
    }
    (void)!write(line, &byte, 1);
    (void)!read(line, &byte, 1); /* until the test lets go: who traces and exits detaches */
    _exit(0);
}

static bool stop_other_threads(struct stopped *ret)
{
    pid_t threads[64];
    size_t count = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *task = readdir(tasks); task != NULL; task = readdir(tasks))
        if (atoi(task->d_name) > 0 && atoi(task->d_name) != getpid() && count < COUNT_OF(threads))
            threads[count++] = atoi(task->d_name);
    closedir(tasks);
    assert_true(count > 0);
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    ret->tracer = fork();
    if (ret->tracer == 0) {
        close(pair[0]);
        trace(threads, count, pair[1]);
    }
    close(pair[1]);
    ret->line = pair[0];
    char byte = 'x';
    return read(ret->line, &byte, 1) == 1 && byte == 's';
}

static void let_go(struct stopped *stopped)
{
    close(stopped->line);
    waitpid(stopped->tracer, NULL, 0);
}

static void test_leads_is_false_after_the_deadline_without_any_thread(void **state)
{
    struct baton *a = stage_open(*state, "a", 1000);
    struct baton_election *e = stage_stand(a, "writer", 0);
    uint64_t term = stage_expect(a, e, BATON_LEAD).term;
    struct stopped stopped;
    if (!stop_other_threads(&stopped)) {
        let_go(&stopped);
        baton_close(a);
        print_message("# nothing was shown: this place permits no ptrace\n");
        return;
    }
    stage_wait_until(baton_now_ms() + 1000);
    bool leads = baton_leads(e, NULL); /* nothing takes a lock here, and nobody answers */
    let_go(&stopped);
    assert_false(leads);
    stage_expect(a, e, BATON_STOP);
    stage_expect(a, e, BATON_FOLLOW);
    stage_expect(a, NULL, BATON_LOST_SESSION);
    assert_true(stage_expect(a, e, BATON_LEAD).term > term);
    baton_close(a);
}

static void test_program_that_hangs_loses_its_place_until_it_is_alive_again(void **state)
{
    const struct stage *stage = *state;
    struct baton_options options;
    struct baton *a, *b = stage_open(stage, "b", 0);
    baton_options_init(&options);
    options.url = stage->url;
    options.id = "a";
    options.ttl_ms = 900;
    options.watchdog_ms = 300;
    assert_int_equal(baton_open(&options, &a, NULL), 0);
    struct baton_election *ea = stage_stand(a, "writer", 0), *eb = stage_stand(b, "writer", 0);
    stage_wait(a, NULL, BATON_LOST_SESSION); /* it may have led before: standing was all it did */
    assert_false(baton_leads(ea, NULL));
    stage_expect(b, eb, BATON_LEAD);
    baton_close(b);
    assert_false(baton_leads(ea, NULL));

    /* Each event that it takes is progress. */
    int64_t until_ms = baton_now_ms() + STAGE_LIMIT_MS;
    while (!baton_leads(ea, NULL) && baton_now_ms() < until_ms) {
        baton_alive(a);
        stage_wait_until(baton_now_ms() + 50);
    }
    assert_true(baton_leads(ea, NULL));
    baton_close(a);
}

/* ---- stops that nobody answers ---- */

static void test_close_passes_on_when_the_stop_is_over_and_nobody_answered(void **state)
{
    struct baton *a = stage_open(*state, "a", 60000), *b = stage_open(*state, "b", 0);
    struct baton_election *ea = stage_stand(a, "writer", 400);
    stage_expect(a, ea, BATON_LEAD);
    struct baton_election *eb = stage_stand(b, "writer", 0);
    size_t two = 2;
    baton_status_free(stage_wait_status(b, eb, has_candidates, &two), 1);
    int64_t start_ms = baton_now_ms();
    baton_close(a);
    int64_t took_ms = baton_now_ms() - start_ms;
    assert_true(took_ms >= 400);
    assert_true(took_ms < 400 + 2000 + 3000); /* its bound, and a busy machine */
    stage_expect(b, eb, BATON_LEAD);          /* long before the ttl */
    struct baton_status *status = stage_wait_status(b, eb, led_by, "b");
    assert_string_equal(status->terms[0].reason, "resign"); /* handed over, not claimed */
    baton_status_free(status, 1);
    baton_close(b);
}

static void *answer_stop(void *context)
{
    struct baton *b = context;
    struct baton_event stop = stage_wait(b, NULL, BATON_STOP);
    baton_stopped(stop.election);
    return NULL;
}

static void test_close_waits_for_the_answer_of_another_thread(void **state)
{
    struct baton *a = stage_open(*state, "a", 60000), *b = stage_open(*state, "b", 0);
    struct baton_election *ea = stage_stand(a, "writer", 30000);
    stage_expect(a, ea, BATON_LEAD);
    struct baton_election *eb = stage_stand(b, "writer", 0);
    size_t two = 2;
    baton_status_free(stage_wait_status(b, eb, has_candidates, &two), 1);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, answer_stop, a), 0);
    int64_t start_ms = baton_now_ms();
    baton_close(a);
    assert_true(baton_now_ms() - start_ms < 30000);
    pthread_join(thread, NULL);
    stage_expect(b, eb, BATON_LEAD);
    baton_close(b);
}

static void test_close_does_not_wait_for_requests(void **state)
{
    struct baton *a = stage_open(*state, "a", 0), *operator= stage_open(*state, "operator", 60000);
    struct baton_election *ea = stage_stand(a, "writer", 1000), *watched = stage_observe(operator, "writer");
    struct baton *b = stage_open(*state, "b", 0);
    stage_expect(a, ea, BATON_LEAD);
    stage_stand(b, "writer", 0);
    size_t two = 2;
    baton_status_free(stage_wait_status(operator, watched, has_candidates, &two), 1);
    baton_transfer(watched, NULL, 50000);
    stage_expect(a, ea, BATON_STOP); /* and nobody answers */
    int64_t start_ms = baton_now_ms();
    baton_close(operator);
    assert_true(baton_now_ms() - start_ms < 2000 + 3000);
    baton_close(a);
    baton_close(b);
}

static void test_freed_candidacy_passes_on_and_costs_the_others_nothing(void **state)
{
    const struct stage *stage = *state;
    struct baton_options options;
    struct baton *a, *b = stage_open(stage, "b", 0);
    baton_options_init(&options);
    options.url = stage->url;
    options.id = "a";
    options.ttl_ms = 9000; /* a third of it is waited for */
    options.renewals = true;
    assert_int_equal(baton_open(&options, &a, NULL), 0);
    struct baton_election *freed = stage_stand(a, "freed", 300), *kept = stage_stand(a, "kept", 0);
    stage_wait(a, NULL, BATON_LEAD);
    stage_wait(a, NULL, BATON_LEAD);
    uint64_t term, now;
    assert_true(baton_leads(kept, &term));
    struct baton_election *next = stage_stand(b, "freed", 0);
    size_t two = 2;
    baton_status_free(stage_wait_status(b, next, has_candidates, &two), 1);
    baton_election_free(freed);
    stage_expect(b, next, BATON_LEAD);

    /* The session is renewed as before. */
    stage_expect_nothing(a);
    for (int64_t until_ms = baton_now_ms() + options.ttl_ms, seen_ms = 0; seen_ms < until_ms;)
        seen_ms = stage_expect(a, NULL, BATON_RENEWED).until_ms;
    assert_true(baton_leads(kept, &now));
    assert_int_equal(now, term);
    int64_t start_ms = baton_now_ms();
    baton_close(a); /* nobody is left to wait for */
    assert_true(baton_now_ms() - start_ms < 1500);
    baton_close(b);
}

/* ---- requests ---- */

static void test_requests_that_cannot_be_are_answered(void **state)
{
    struct baton *a = stage_open(*state, "a", 0);
    struct baton_election *e = stage_observe(a, "writer"), *all = stage_observe(a, NULL);
    char why[202];
    memset(why, 'y', sizeof(why) - 1);
    why[sizeof(why) - 1] = '\0';
    uint64_t request = baton_hold(e, why, STAGE_LIMIT_MS);
    struct baton_event reply = stage_expect(a, e, BATON_REPLY);
    assert_int_equal(reply.request, request);
    assert_code(reply, BATON_INVALID);
    baton_hold(all, NULL, STAGE_LIMIT_MS);
    assert_code(stage_expect(a, all, BATON_REPLY), BATON_INVALID);
    baton_release(all, STAGE_LIMIT_MS);
    assert_code(stage_expect(a, all, BATON_REPLY), BATON_INVALID);
    baton_close(a);
}

/* ---- lifelines ---- */

static bool has_testament(const struct baton_election *e, char text[BATON_TESTAMENT_MAX])
{
    baton_testament(e, text);
    return text[0] != '\0';
}

/* On an engine that sees deaths itself, a guard writes none. */
static void guard_takes_no_testament(void **state)
{
    struct baton *a = stage_open(*state, "a", 60000), *b = stage_open(*state, "b", 0);
    struct baton_lifeline lifeline;
    struct baton_guard *guard;
    struct baton_error err;
    char text[BATON_TESTAMENT_MAX];
    size_t two = 2;
    struct baton_election *ea = stage_stand(a, "writer", 0);
    uint64_t term = stage_expect(a, ea, BATON_LEAD).term;
    struct baton_election *eb = stage_stand(b, "writer", 0);
    baton_status_free(stage_wait_status(a, ea, has_candidates, &two), 1);
    assert_false(has_testament(ea, text));
    assert_int_equal(baton_lifeline(a, &lifeline, &err), 0);
    assert_int_equal(baton_guard_open(&lifeline, &guard, &err), 0);
    assert_int_equal(baton_guard_testament(guard, "", &err), 0);
    assert_int_equal(baton_guard_testament(guard, "1 elections/writer/leader {}", &err), -1);
    assert_code(err, BATON_UNSUPPORTED);
    assert_int_equal(baton_guard_end(guard, 5000, &err), 0);
    baton_guard_free(guard);
    assert_in_range(stage_expect(b, eb, BATON_LEAD).term, term + 1, UINT64_MAX);
    stage_wait(a, NULL, BATON_LOST_SESSION);
    baton_close(a);
    baton_close(b);
}

static void guard_writes_the_testament(void **state)
{
    struct baton *a = stage_open(*state, "a", 60000), *b = stage_open(*state, "b", 0);
    struct baton_lifeline lifeline;
    struct baton_guard *guard;
    struct baton_error err;
    char text[BATON_TESTAMENT_MAX], follower[BATON_TESTAMENT_MAX];
    struct baton_election *ea = stage_stand(a, "writer", 0);
    uint64_t term = stage_expect(a, ea, BATON_LEAD).term;
    assert_false(has_testament(ea, text)); /* nobody is next */
    struct baton_election *eb = stage_stand(b, "writer", 0);
    while (!has_testament(ea, text))
        stage_wait(a, ea, BATON_CHANGED);
    assert_false(has_testament(eb, follower));
    assert_int_equal(baton_lifeline(a, &lifeline, &err), 0);
    assert_int_equal(baton_guard_open(&lifeline, &guard, &err), 0);
    assert_int_equal(baton_guard_testament(guard, "nonsense", &err), -1);
    assert_code(err, BATON_INVALID);
    assert_int_equal(baton_guard_testament(guard, text, &err), 0);
    assert_int_equal(baton_guard_testament(guard, "", &err), 0);
    assert_int_equal(baton_guard_testament(guard, text, &err), 0);
    assert_int_equal(baton_guard_end(guard, 5000, &err), 0);
    baton_guard_free(guard);
    assert_int_equal(stage_expect(b, eb, BATON_LEAD).term, term + 1);
    struct baton_status *status;
    size_t count;
    assert_int_equal(baton_status(eb, &status, &count, &err), 0);
    assert_string_equal(status->terms[0].reason, "death");
    baton_status_free(status, count);
    stage_wait(a, NULL, BATON_LOST_SESSION);
    baton_close(a);
    baton_close(b);
}

static void test_guard_passes_the_place_on_by_a_testament_or_takes_none(void **state)
{
    if (stage_is_local())
        guard_takes_no_testament(state);
    else
        guard_writes_the_testament(state);
}

static void test_guard_ends_the_session_of_its_lifeline(void **state)
{
    struct baton *a = stage_open(*state, "a", 60000), *b = stage_open(*state, "b", 0);
    struct baton_lifeline lifeline;
    struct baton_error err;
    assert_int_equal(baton_lifeline(a, &lifeline, &err), -1); /* it does not stand: there is no session */
    assert_code(err, BATON_LOST);
    struct baton_election *ea = stage_stand(a, "writer", 0);
    stage_expect(a, ea, BATON_LEAD);
    struct baton_election *eb = stage_stand(b, "writer", 0);
    size_t two = 2;
    baton_status_free(stage_wait_status(b, eb, has_candidates, &two), 1);
    assert_int_equal(baton_lifeline(a, &lifeline, &err), 0);
    assert_true(lifeline.session != 0);

    struct baton_guard *guard;
    assert_int_equal(baton_guard_open(&lifeline, &guard, &err), 0);
    int64_t before_ms = baton_now_ms(), deadline_ms = 0;
    assert_int_equal(baton_guard_renew(guard, 5000, &deadline_ms, &err), 0);
    assert_in_range(deadline_ms, before_ms + 60000 - 100, baton_now_ms() + 60000 - 1);
    assert_int_equal(baton_guard_end(guard, 5000, &err), 0);
    assert_int_equal(baton_guard_end(guard, 5000, &err), 0); /* an ended one is ended, too */
    assert_int_equal(baton_guard_renew(guard, 5000, &deadline_ms, &err), -1);
    assert_code(err, BATON_LOST);
    baton_guard_free(guard);
    stage_expect(b, eb, BATON_LEAD);
    stage_wait(a, NULL, BATON_LOST_SESSION);
    baton_close(a);
    baton_close(b);
}

static void test_guard_refuses_what_is_no_lifeline(void **state)
{
    struct baton_lifeline lifeline = {.fd = -1, .text = "nonsense"};
    struct baton_guard *guard;
    struct baton_error err;
    assert_int_equal(baton_guard_open(&lifeline, &guard, &err), -1);
    assert_code(err, BATON_INVALID);
    snprintf(lifeline.text, sizeof(lifeline.text), "abacus 1 2 3");
    assert_int_equal(baton_guard_open(&lifeline, &guard, &err), -1);
    assert_code(err, BATON_UNSUPPORTED);
}

int main(int argc, char **argv)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, stage_setup, stage_teardown)
    const struct CMUnitTest tests[] = {
        STORY(test_options_that_cannot_be_used_are_refused_with_words),
        STORY(test_a_program_without_standard_descriptors_can_open),
        STORY(test_a_program_that_has_used_up_its_descriptors_gets_words),
        STORY(test_names_and_stand_options_are_checked),
        STORY(test_id_and_url_have_defaults),
        STORY(test_descriptor_is_readable_until_there_is_nothing),
        STORY(test_queue_of_a_program_that_never_looks_stays_short),
        STORY(test_elections_have_a_limit_and_a_place_is_used_again),
        STORY(test_forked_child_does_not_lead_and_can_close),
        STORY(test_leads_is_false_after_the_deadline_without_any_thread),
        STORY(test_program_that_hangs_loses_its_place_until_it_is_alive_again),
        STORY(test_close_passes_on_when_the_stop_is_over_and_nobody_answered),
        STORY(test_close_waits_for_the_answer_of_another_thread),
        STORY(test_close_does_not_wait_for_requests),
        STORY(test_freed_candidacy_passes_on_and_costs_the_others_nothing),
        STORY(test_requests_that_cannot_be_are_answered),
        STORY(test_guard_ends_the_session_of_its_lifeline),
        STORY(test_guard_passes_the_place_on_by_a_testament_or_takes_none),
        STORY(test_guard_refuses_what_is_no_lifeline),
    };
    stage_engine(argc, argv);
    return cmocka_run_group_tests_name(argc > 1 ? argv[1] : "local", tests, NULL, NULL);
}
