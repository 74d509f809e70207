/* exports.c: a session that was exported is ended by another process. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "world.h"

/* `conformance guard URL TEXT FD`: what another process does with what was exported. */
int exports_guard(char **argv)
{
    struct baton_engine_guard *guard = NULL;
    struct baton_error err;
    const struct baton_engine_ops *ops = harness_ops(argv[0]);
    bool done = ops->guard_open(argv[1], atoi(argv[2]), &guard, &err) == 0 && ops->guard_end(guard, 5000, &err) == 0;
    if (!done)
        fprintf(stderr, "%s\n", err.text);
    ops->guard_close(guard);
    return done ? 0 : 1;
}

static void test_another_process_ends_a_session_that_was_exported(void **state)
{
    struct world *w = *state;
    char text[BATON_EXPORT_MAX], number[16];
    struct baton_error err = {0};
    int fd = -1, status = -1;
    uint64_t session = session_new(w->a, 60000), other = session_new(w->b, 60000);
    client_watch(w->b, 0, "e/");
    expect_done(put(w->a, "e/bound", "x", session, 0));
    expect_done(put(w->b, "e/other", "x", other, 0));
    wait_key(w->b, 0, "e/other", true);
    assert_int_equal(w->a->ops->session_export(w->a->engine, session, text, &fd, &err), 0);
    snprintf(number, sizeof(number), "%d", fd);
    pid_t child = fork();
    if (child == 0) {
        if (fd >= 0)
            fcntl(fd, F_SETFD, 0); /* it is for the child */
        execl("/proc/self/exe", "conformance", "guard", w->url, text, number, (char *)NULL);
        _exit(127);
    }
    if (fd >= 0)
        close(fd);
    wait_key(w->b, 0, "e/bound", false);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    expect_refused(renewal(w->a, session), BATON_LOST);
    assert_non_null(view_get(w->b, 0, "e/other"));
    expect_done(renewal(w->b, other));
}

static const struct CMUnitTest tests[] = {
    T(test_another_process_ends_a_session_that_was_exported),
};

const struct part part_exports = PART(tests, NEEDS_OTHER_PROCESSES);
