/* test_cli.c: what the commands stand on: durations, exit codes, times, tables. Options are tested end to end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/trouble.h"

#define HOUR_MS 3600000

static int64_t duration(const char *text)
{
    struct baton_error err = {0};
    int64_t ms = -1;
    if (cli_duration("--ttl", text, 0, INT64_MAX, &ms, &err) < 0) {
        assert_int_equal(err.code, BATON_INVALID);
        assert_int_equal(ms, -1); /* untouched on failure */
        return -1;
    }
    return ms;
}

static void test_durations_are_read_as_people_write_them(void **state)
{
    assert_int_equal(duration("500ms"), 500);
    assert_int_equal(duration("10s"), 10000);
    assert_int_equal(duration("10"), 10000);
    assert_int_equal(duration("1.5m"), 90000);
    assert_int_equal(duration("2h"), 2 * HOUR_MS);
    assert_int_equal(duration("0"), 0);
    assert_int_equal(duration("0.1"), 100);
    assert_int_equal(duration("0.001s"), 1);
    assert_int_equal(duration("007s"), 7000);
    assert_int_equal(duration("0.25h"), HOUR_MS / 4);
    assert_int_equal(duration("1.000000s"), 1000);
    assert_int_equal(duration("24000h"), CLI_DURATION_MAX_MS);
    assert_int_equal(duration("1000d"), CLI_DURATION_MAX_MS);
}

static uint32_t wait_of(const char *text)
{
    struct baton_error err = {0};
    uint32_t ms = 4711;
    if (cli_wait("--wait", text, &ms, &err) == 0)
        return ms;
    assert_int_equal(err.code, BATON_INVALID);
    assert_int_equal(ms, 4711); /* untouched on failure */
    return 4711;
}

static void test_a_wait_is_read_as_flock_reads_it_too(void **state)
{
    assert_int_equal(wait_of("0"), 0);
    assert_int_equal(wait_of("10"), 10000);
    assert_int_equal(wait_of("0.3"), 300);
    assert_int_equal(wait_of("1.5m"), 90000);
    assert_int_equal(wait_of("250ms"), 250);
    assert_int_equal(wait_of(".5"), 500);
    assert_int_equal(wait_of("5."), 5000);
    assert_int_equal(wait_of("1e1"), 10000);
    assert_int_equal(wait_of("0.0001"), 1); /* not the same as 0 */
    assert_int_equal(wait_of("1e-9"), 1);
    assert_int_equal(wait_of("2.0001"), 2001);
    assert_int_equal(wait_of("4294967"), 4294967000);
    assert_int_equal(wait_of("4294968"), CLI_FOR_EVER);
    assert_int_equal(wait_of("1e30"), CLI_FOR_EVER);
    assert_int_equal(wait_of("400d"), CLI_FOR_EVER);
    const char *const wrong[] = {"", " ", "soon", "-1", "-0.5", "nan", "1x", ".5s", "1e", "1 2", "½"};
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        assert_int_equal(wait_of(wrong[i]), 4711);
}

static void test_what_is_no_duration_is_refused(void **state)
{
    const char *const wrong[] = {"",
                                 " ",
                                 "s",
                                 "ms",
                                 "-1",
                                 "-1s",
                                 "+1s",
                                 "1.s",
                                 ".5s",
                                 "1 s",
                                 "1s ",
                                 "1S",
                                 "1w",
                                 "1sec",
                                 "1m30s",
                                 "0x10",
                                 "1e3",
                                 "1,5s",
                                 "nan",
                                 "inf",
                                 "1..5",
                                 "1.5.",
                                 "ten",
                                 "0.0001s",
                                 "0.5ms",
                                 "½s",
                                 "1\n",
                                 "24001h",
                                 "99999999999999999999",
                                 "9999999999999999999999ms",
                                 "1.0000001s"};
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        if (duration(wrong[i]) != -1)
            fail_msg("'%s' was read as %lld ms", wrong[i], (long long)duration(wrong[i]));
}

static void refused(const char *text, int64_t min_ms, int64_t max_ms, const char *words)
{
    struct baton_error err = {0};
    int64_t ms;
    assert_int_equal(cli_duration("--ttl", text, min_ms, max_ms, &ms, &err), -1);
    assert_int_equal(err.code, BATON_INVALID);
    assert_string_equal(err.text, words);
}

static void test_a_refused_duration_says_what_would_do(void **state)
{
    refused("soon", 0, HOUR_MS, "--ttl: 'soon' is no duration; write it like 500ms, 10s, 1.5m, 2h or 30d");
    refused("10ms", 100, HOUR_MS, "--ttl: 10ms is too short, the least is 100ms");
    refused("0", 1, HOUR_MS, "--ttl: 0 is too short, the least is 1ms");
    refused("90m", 100, HOUR_MS, "--ttl: 90m is too long, the most is 1h");
}

static void test_bounds_of_a_duration_are_included(void **state)
{
    struct baton_error err;
    int64_t ms = -1;
    assert_int_equal(cli_duration("--ttl", "100ms", 100, 200, &ms, &err), 0);
    assert_int_equal(ms, 100);
    assert_int_equal(cli_duration("--ttl", "0.2", 100, 200, &ms, &err), 0);
    assert_int_equal(ms, 200);
}

static void test_a_duration_is_written_and_read_back_the_same(void **state)
{
    const int64_t each[] = {0, 1, 500, 999, 1000, 1500, 60000, 61000, 90000, HOUR_MS, 36 * HOUR_MS, 12345678};
    char text[32];
    for (size_t i = 0; i < COUNT_OF(each); i++)
        assert_int_equal(duration(cli_duration_text(each[i], text)), each[i]);
    assert_string_equal(cli_duration_text(10000, text), "10s");
    assert_string_equal(cli_duration_text(1500, text), "1500ms");
    assert_string_equal(cli_duration_text(2 * HOUR_MS, text), "2h");
}

static void test_exit_codes_are_those_of_sysexits(void **state)
{
    assert_int_equal(cli_exit_code(BATON_OK), 0);
    assert_int_equal(cli_exit_code(BATON_INVALID), EX_USAGE);
    assert_int_equal(cli_exit_code(BATON_CORRUPT), EX_DATAERR);
    assert_int_equal(cli_exit_code(BATON_NOT_FOUND), EX_NOINPUT);
    assert_int_equal(cli_exit_code(BATON_UNAVAILABLE), EX_UNAVAILABLE);
    assert_int_equal(cli_exit_code(BATON_FULL), EX_CANTCREAT);
    assert_int_equal(cli_exit_code(BATON_TIMEOUT), EX_TEMPFAIL);
    assert_int_equal(cli_exit_code(BATON_NEWER), EX_PROTOCOL);
    assert_int_equal(cli_exit_code(BATON_DENIED), EX_NOPERM);
    assert_int_equal(cli_exit_code(BATON_UNSUPPORTED), EX_CONFIG);
    /* None can be taken for success, or for `baton status`'s "no leader". */
    for (int code = BATON_INVALID; code <= BATON_SYSTEM; code++)
        assert_in_range(cli_exit_code((enum baton_code)code), EX__BASE, EX__MAX);
}

static void test_times_are_written_for_people_and_for_programs(void **state)
{
    char text[32];
    setenv("TZ", "UTC", 1);
    assert_string_equal(cli_time_text(1763906709120, text), "2025-11-23 14:05:09");
    assert_string_equal(cli_time_iso(1763906709120, text), "2025-11-23T14:05:09.120Z");
    assert_string_equal(cli_time_text(0, text), "-");
    assert_null(cli_time_iso(0, text));
}

static void test_a_table_is_as_wide_as_its_widest_cell(void **state)
{
    struct cli_table table = {.columns = 3};
    const char *const head[] = {"NAME", "TERM", "ADDRESS"};
    const char *const rows[][3] = {{"a", "1234567", ""}, {"long-name", "2", "x"}};
    cli_table_row(&table, head);
    cli_table_row(&table, rows[0]);
    cli_table_row(&table, rows[1]);
    char *text;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    cli_table_print(&table, to, "  ");
    fclose(to);
    assert_string_equal(text, "  NAME       TERM     ADDRESS\n"
                              "  a          1234567\n"
                              "  long-name  2        x\n");
    free(text);
    cli_table_free(&table);
}

static void test_text_of_others_cannot_steer_a_terminal(void **state)
{
    char text[] = "a\033[2Jb\nc\177";
    assert_string_equal(cli_printable(text), "a?[2Jb?c?");
    struct cli_table table = {.columns = 1};
    const char *const cell[] = {"x\ry"};
    cli_table_row(&table, cell);
    assert_string_equal(table.cells[0], "x?y");
    cli_table_free(&table);
}

static void test_what_a_terminal_obeys_or_hides_is_replaced(void **state)
{
    static const struct {
        const char *text, *shown;
    } each[] = {{"plain", "plain"},
                {"gr\303\274n \342\202\254 \360\237\220\230", "gr\303\274n \342\202\254 \360\237\220\230"},
                {"\302\2335n", "?5n"},                            /* U+009B: CSI, as ESC [ */
                {"\302\200\302\237\302\240", "??\302\240"},       /* the first and the last of C1, and what follows */
                {"\302\235title\302\234", "?title?"},             /* OSC, ST */
                {"\2335n", "?5n"},                                /* the same byte alone is no UTF-8 */
                {"\342\200\256gnp.exe\342\200\254", "?gnp.exe?"}, /* U+202E: from right to left */
                {"\342\201\246a\342\201\251", "?a?"},             /* U+2066, U+2069: isolates */
                {"\330\234a\342\200\216b\342\200\217", "?a?b?"},  /* U+061C, U+200E, U+200F: marks */
                {"a\342\200\250b\342\200\251", "a?b?"},           /* U+2028, U+2029: separators */
                {"a\342\200\213b\357\273\277", "a?b?"},           /* U+200B, U+FEFF: nothing to see */
                {"\363\240\201\201", "?"},                        /* U+E0041: a tag */
                {"\342\200\215", "\342\200\215"},                 /* U+200D joins the parts of a picture */
                {"\300\233", "??"},                               /* longer than it needs to be */
                {"\340\202\233", "???"},                          /* the same in three bytes */
                {"\355\240\200", "???"},                          /* half of a pair of UTF-16 */
                {"\364\220\200\200", "????"},                     /* beyond Unicode */
                {"cut \342\202", "cut ??"},                       /* its end is missing */
                {"\377\376", "??"},
                {"\t\r\n\v", "????"},
                {"", ""}};
    for (size_t i = 0; i < COUNT_OF(each); i++) {
        char text[64];
        assert_true(text_copy(text, sizeof(text), each[i].text));
        assert_string_equal(cli_printable(text), each[i].shown);
        assert_string_equal(cli_printable(text), each[i].shown);
    }
}

static void test_lines_of_others_keep_their_newlines(void **state)
{
    char text[] = "one\ttwo\n\033[31mred\0\r\n\302\233K";
    size_t size = cli_printable_lines(text, sizeof(text) - 1);
    assert_int_equal(size, strlen("one\ttwo\n?[31mred??\n?K"));
    assert_string_equal(text, "one\ttwo\n?[31mred??\n?K");
}

/* Of now: the clock that it reads is not turned by hand. */
static void test_trouble_is_told_when_it_begins_from_time_to_time_and_when_it_is_over(void **state)
{
    struct trouble trouble = {0};
    char text[TROUBLE_TEXT];
    struct baton_event event = {.kind = BATON_RECOVERED};
    assert_null(trouble_event(&trouble, "etcd://h/x", &event, text)); /* there was none */
    assert_int_equal(trouble_wake_ms(&trouble), NEVER_MS);
    event = (struct baton_event){.kind = BATON_TROUBLE, .text = "etcd at h: refused; check the URL"};
    assert_string_equal(trouble_event(&trouble, "etcd://h/x", &event, text),
                        "etcd at h: refused; check the URL. It is tried again");
    assert_null(trouble_due(&trouble, "etcd://h/x", text));
    int64_t pauses_min[] = {1, 2, 4, 8, 16, 32, 60, 60}, lasted_min = 1;
    for (size_t i = 0; i < COUNT_OF(pauses_min); i++) {
        char words[200], lasted[32];
        trouble.since_ms = clock_now_ms() - lasted_min * 60000;
        trouble.again_ms = clock_now_ms();
        const char *shown = lasted_min < 120 ? cli_duration_text(lasted_min * 60000, lasted)
                                             : cli_duration_text(lasted_min / 60 * HOUR_MS, lasted);
        if (lasted_min < 2)
            shown = "1m";
        snprintf(
            words, sizeof(words),
            "etcd://h/x cannot be used for %s now; it is tried again. The last error: etcd at h: refused; check the "
            "URL",
            shown);
        assert_string_equal(trouble_due(&trouble, "etcd://h/x", text), words);
        assert_in_range(trouble_wake_ms(&trouble) - clock_now_ms(), pauses_min[i] * 60000 - 1000,
                        pauses_min[i] * 60000);
        lasted_min += pauses_min[i];
    }
    trouble.since_ms = clock_now_ms() - 7000;
    event = (struct baton_event){.kind = BATON_RECOVERED};
    assert_string_equal(trouble_event(&trouble, "etcd://h/x", &event, text), "etcd://h/x can be used again, after 7s");
    assert_int_equal(trouble_wake_ms(&trouble), NEVER_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations_are_read_as_people_write_them),
        cmocka_unit_test(test_a_wait_is_read_as_flock_reads_it_too),
        cmocka_unit_test(test_what_is_no_duration_is_refused),
        cmocka_unit_test(test_a_refused_duration_says_what_would_do),
        cmocka_unit_test(test_bounds_of_a_duration_are_included),
        cmocka_unit_test(test_a_duration_is_written_and_read_back_the_same),
        cmocka_unit_test(test_exit_codes_are_those_of_sysexits),
        cmocka_unit_test(test_times_are_written_for_people_and_for_programs),
        cmocka_unit_test(test_a_table_is_as_wide_as_its_widest_cell),
        cmocka_unit_test(test_text_of_others_cannot_steer_a_terminal),
        cmocka_unit_test(test_what_a_terminal_obeys_or_hides_is_replaced),
        cmocka_unit_test(test_lines_of_others_keep_their_newlines),
        cmocka_unit_test(test_trouble_is_told_when_it_begins_from_time_to_time_and_when_it_is_over),
    };
    return cmocka_run_group_tests_name("cli", tests, NULL, NULL);
}
