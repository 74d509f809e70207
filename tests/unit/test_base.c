/* test_base.c: what every layer stands on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "base/descriptors.h"

static void die_of_the_impossible(void)
{
    IMPOSSIBLE("a %s", "wonder");
}

static void die_of_an_assertion(void)
{
    assert(getpid() < 0);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* they stop it themselves */
static void die_of_memory(void)
{
    (void)mem_grow(NULL, SIZE_MAX / 2);
}
#define DIE_OF_MEMORY , die_of_memory
#else
#define DIE_OF_MEMORY
#endif

static void (*const ways_to_die[])(void) = {die_of_the_impossible, die_of_an_assertion DIE_OF_MEMORY};

/* A child that dies with this as its stderr; what it says there goes to `said`, if it is read. */
static void expect_death(void (*die)(void), int stderr_fd)
{
    pid_t child = fork();
    int status;
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL); /* (cmocka catches it) */
        alarm(20);
        dup2(stderr_fd, STDERR_FILENO);
        die();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void test_who_must_die_says_why(void **state)
{
    static const char *const words[] = {"a wonder\n", "getpid() < 0", "memory"};
    for (size_t i = 0; i < COUNT_OF(ways_to_die); i++) {
        char said[2048] = "";
        int pair[2];
        assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
        expect_death(ways_to_die[i], pair[1]);
        assert_true(read(pair[0], said, sizeof(said) - 1) > 0);
        if (strncmp(said, "baton: ", 7) != 0 || strstr(said, words[i]) == NULL || strchr(said, '\n')[1] != '\0')
            fail_msg("'%s' does not say '%s'", said, words[i]);
        close(pair[0]);
        close(pair[1]);
    }
}

static void test_who_must_die_does_not_wait_for_who_reads(void **state)
{
    int pair[2];
    char byte = 'x';
    assert_int_equal(pipe2(pair, O_CLOEXEC | O_NONBLOCK), 0);
    while (write(pair[1], &byte, 1) == 1)
        continue;
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(fcntl(pair[1], F_SETFL, 0), 0);
    for (size_t i = 0; i < COUNT_OF(ways_to_die); i++)
        expect_death(ways_to_die[i], pair[1]);
    close(pair[0]);
    close(pair[1]);
}

static void test_a_descriptor_goes_with_its_message(void **state)
{
    int pair[2], ends[2], fd;
    char text[8], byte = 0;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(descriptor_send(pair[0], "first", 5, -1), 5);
    assert_int_equal(descriptor_send(pair[0], "second", 6, ends[1]), 6);
    assert_int_equal(close(ends[1]), 0);

    assert_int_equal(descriptor_receive(pair[1], text, sizeof(text), &fd), 5);
    assert_int_equal(fd, -1);
    assert_int_equal(descriptor_receive(pair[1], text, sizeof(text), &fd), 6);
    assert_memory_equal(text, "second", 6);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(write(fd, "x", 1), 1);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_equal(byte, 'x');
    close(fd);
    close(ends[0]);
    close(pair[0]);
    close(pair[1]);
}

static void test_no_message_and_no_reader_are_told_apart(void **state)
{
    int pair[2], fd = 0;
    char byte;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(descriptor_receive(pair[1], &byte, 1, &fd), -1); /* it does not wait, though the socket would */
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(fd, -1);
    close(pair[0]);
    assert_int_equal(descriptor_receive(pair[1], &byte, 1, &fd), 0);
    assert_int_equal(descriptor_send(pair[1], "x", 1, -1), -1); /* and no SIGPIPE */
    assert_int_equal(errno, EPIPE);
    close(pair[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_must_die_says_why),
        cmocka_unit_test(test_who_must_die_does_not_wait_for_who_reads),
        cmocka_unit_test(test_a_descriptor_goes_with_its_message),
        cmocka_unit_test(test_no_message_and_no_reader_are_told_apart),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
