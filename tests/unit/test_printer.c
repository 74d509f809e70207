/* test_printer.c: what is printed never makes its writer wait, whatever is at the other end. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"
#include "process/printer.h"

#define LIMIT_MS 20000
#define LINE_BYTES 100

static void note(char text[PRINTER_NOTE_MAX], uint64_t count, int error)
{
    snprintf(text, PRINTER_NOTE_MAX, "dropped %ju, errno %d\n", (uintmax_t)count, error);
}

/* A printer cannot be taken away again: its thread may be in the middle of a write. */
static struct printer *printer_to(int fd)
{
    struct printer *printer = mem_new(sizeof(*printer));
    printer_init(printer, fd, note);
    return printer;
}

static void say(struct printer *printer, const char *text)
{
    printer_say(printer, text, strlen(text));
}

/* Line `number`, of LINE_BYTES bytes. */
static void say_line(struct printer *printer, int number)
{
    char line[LINE_BYTES + 1];
    snprintf(line, sizeof(line), "%*d\n", LINE_BYTES - 1, number);
    say(printer, line);
}

/* Reads a line, or fails. */
static void expect_line(FILE *from, const char *words)
{
    char line[1000];
    assert_non_null(fgets(line, sizeof(line), from));
    const char *begin = line + strspn(line, " ");
    line[strcspn(line, "\n")] = '\0';
    assert_string_equal(begin, words);
}

static void expect_number(FILE *from, int number)
{
    char words[20];
    snprintf(words, sizeof(words), "%d", number);
    expect_line(from, words);
}

/* Fill whatever is behind `fd` until it takes no more, by a descriptor that does not wait. */
static size_t fill(int fd)
{
    size_t size = 0;
    int flags = fcntl(fd, F_GETFL);
    assert_int_equal(fcntl(fd, F_SETFL, flags | O_NONBLOCK), 0);
    for (ssize_t got; (got = write(fd, "\n", 1)) > 0;)
        size += (size_t)got;
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(fcntl(fd, F_SETFL, flags), 0);
    return size;
}

static void test_what_is_said_is_written_in_order(void **state)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    struct printer *printer = printer_to(ends[1]);
    say(printer, "one\n");
    say(printer, "two\n");
    assert_true(printer_finish(printer, LIMIT_MS));
    FILE *from = fdopen(ends[0], "r");
    expect_line(from, "one");
    expect_line(from, "two");
    assert_int_equal(printer_error(printer), 0);
}

/* What is behind `write_fd` is full, and is read from `read_fd` later. All that fits in the queue comes in order, then
 * how many did not, then what came after that. */
static void dropped_and_counted(int read_fd, int write_fd)
{
    struct printer *printer = printer_to(write_fd);
    size_t filled = fill(write_fd);
    int lines = 2 * PRINTER_BYTES / LINE_BYTES, kept = PRINTER_BYTES / LINE_BYTES;
    for (int i = 0; i < lines; i++)
        say_line(printer, i);
    assert_int_equal(printer_room(printer), 0);
    assert_false(printer_finish(printer, 10)); /* it does not wait for longer */
    FILE *from = fdopen(read_fd, "r");
    setvbuf(from, NULL, _IONBF, 0);
    for (size_t i = 0; i < filled; i++)
        expect_line(from, "");
    for (int i = 0; i < kept; i++)
        expect_number(from, i);
    char words[40];
    snprintf(words, sizeof(words), "dropped %d, errno 0", lines - kept);
    expect_line(from, words);
    assert_true(printer_finish(printer, LIMIT_MS));
    say(printer, "after\n");
    expect_line(from, "after");
    assert_true(printer_finish(printer, LIMIT_MS));
    assert_int_equal(printer_room(printer), PRINTER_BYTES / 2);
    struct pollfd changed = {.fd = printer->changed_fd, .events = POLLIN};
    assert_int_equal(poll(&changed, 1, LIMIT_MS), 1); /* there is room again */
}

static void test_a_full_pipe_delays_nobody_and_what_is_lost_is_counted(void **state)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    dropped_and_counted(ends[0], ends[1]);
}

static void test_a_full_socket_delays_nobody(void **state)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    dropped_and_counted(ends[0], ends[1]);
}

/* The descriptor of some callers does not wait: what is written is none the less whole. */
static void test_a_descriptor_that_does_not_wait_loses_nothing(void **state)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    fcntl(ends[0], F_SETFL, 0);
    struct printer *printer = printer_to(ends[1]);
    size_t filled = fill(ends[1]);
    say(printer, "words\n");
    FILE *from = fdopen(ends[0], "r");
    for (size_t i = 0; i < filled; i++)
        expect_line(from, "");
    expect_line(from, "words");
}

/* A terminal without echo and translations: what it is told is what is read from its other end. */
static int open_terminal(int *ret_screen)
{
    int screen = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(screen >= 0);
    assert_int_equal(grantpt(screen), 0);
    assert_int_equal(unlockpt(screen), 0);
    int terminal = open(ptsname(screen), O_RDWR | O_NOCTTY);
    assert_true(terminal >= 0);
    struct termios modes;
    assert_int_equal(tcgetattr(terminal, &modes), 0);
    modes.c_oflag &= (tcflag_t)~OPOST;
    modes.c_lflag &= (tcflag_t)~ECHO;
    assert_int_equal(tcsetattr(terminal, TCSANOW, &modes), 0);
    *ret_screen = screen;
    return terminal;
}

static void test_a_stopped_terminal_delays_nobody(void **state)
{
    int screen, terminal = open_terminal(&screen);
    assert_int_equal(write(screen, "\x13", 1), 1); /* Ctrl-S */
    struct printer *printer = printer_to(terminal);
    for (int i = 0; i < 3 * PRINTER_BYTES / LINE_BYTES; i++)
        say_line(printer, i);
    assert_false(printer_finish(printer, 10));
    assert_int_equal(write(screen, "\x11", 1), 1); /* Ctrl-Q */
    FILE *from = fdopen(screen, "r");
    setvbuf(from, NULL, _IONBF, 0);
    for (int i = 0; i < PRINTER_BYTES / LINE_BYTES; i++)
        expect_number(from, i);
    assert_true(printer_finish(printer, LIMIT_MS));
}

/* As much as there is room for, to the byte: whoever waits for more room is woken when there is some. */
static void test_room_is_told_of_whenever_there_was_none(void **state)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    struct printer *printer = printer_to(ends[1]);
    size_t filled = fill(ends[1]);
    static char bytes[PRINTER_BYTES / 2];
    memset(bytes, '\n', sizeof(bytes));
    printer_say(printer, bytes, sizeof(bytes));
    printer_clear(printer);
    assert_int_equal(printer_room(printer), 0);
    FILE *from = fdopen(ends[0], "r");
    for (size_t i = 0; i < filled + sizeof(bytes); i++)
        expect_line(from, "");
    struct pollfd changed = {.fd = printer->changed_fd, .events = POLLIN};
    assert_int_equal(poll(&changed, 1, LIMIT_MS), 1);
    assert_true(printer_room(printer) > 0);
}

static void test_a_reader_that_is_gone_is_told_of(void **state)
{
    int ends[2];
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe(ends), 0);
    struct printer *printer = printer_to(ends[1]);
    close(ends[0]);
    say(printer, "words\n");
    assert_true(printer_finish(printer, LIMIT_MS));
    assert_int_equal(printer_error(printer), EPIPE);
    struct pollfd changed = {.fd = printer->changed_fd, .events = POLLIN};
    assert_int_equal(poll(&changed, 1, LIMIT_MS), 1);
}

/* A disk that is full for a while: what was lost is told when it takes something again. */
static void test_what_could_not_be_written_is_counted_too(void **state)
{
    char path[] = "/tmp/test_printer-XXXXXX";
    int full = open("/dev/full", O_WRONLY), fd = dup(full), file = mkstemp(path);
    assert_true(file >= 0);
    unlink(path);
    struct printer *printer = printer_to(fd);
    say(printer, "lost\n");
    assert_true(printer_finish(printer, LIMIT_MS));
    assert_int_equal(printer_error(printer), ENOSPC);
    say(printer, "lost too\n");
    assert_true(printer_finish(printer, LIMIT_MS));
    assert_int_equal(dup2(file, fd), fd);
    say(printer, "written\n");
    assert_true(printer_finish(printer, LIMIT_MS));
    assert_int_equal(printer_error(printer), 0);
    assert_int_equal(lseek(file, 0, SEEK_SET), 0);
    FILE *from = fdopen(file, "r");
    char words[40];
    snprintf(words, sizeof(words), "dropped 2, errno %d", ENOSPC);
    expect_line(from, words);
    expect_line(from, "written");
}

/* Its limit on the size of files is no reason for a supervisor to die. */
static void test_a_file_that_may_not_grow_does_not_kill(void **state)
{
    char path[] = "/tmp/test_printer-XXXXXX";
    int file = mkstemp(path);
    struct rlimit before, none;
    assert_true(file >= 0);
    unlink(path);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    struct printer *printer = printer_to(file);
    say(printer, "words\n");
    assert_true(printer_finish(printer, LIMIT_MS));
    assert_int_equal(printer_error(printer), EFBIG);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_said_is_written_in_order),
        cmocka_unit_test(test_a_full_pipe_delays_nobody_and_what_is_lost_is_counted),
        cmocka_unit_test(test_a_full_socket_delays_nobody),
        cmocka_unit_test(test_a_descriptor_that_does_not_wait_loses_nothing),
        cmocka_unit_test(test_a_stopped_terminal_delays_nobody),
        cmocka_unit_test(test_room_is_told_of_whenever_there_was_none),
        cmocka_unit_test(test_a_reader_that_is_gone_is_told_of),
        cmocka_unit_test(test_what_could_not_be_written_is_counted_too),
        cmocka_unit_test(test_a_file_that_may_not_grow_does_not_kill),
    };
    return cmocka_run_group_tests_name("printer", tests, NULL, NULL);
}
