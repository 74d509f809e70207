/* test_records.c: what records are made of: base64, keys of tasks, claims. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/base64.h"
#include "core/json.h"
#include "core/leadership/record.h"
#include "core/queue/entry.h"
#include "core/task/claim.h"
#include "core/task/key.h"

/* The vectors of RFC 4648, section 10. */
static void test_base64_is_that_of_the_rfc(void **state)
{
    static const char *const vectors[][2] = {{"", ""},
                                             {"f", "Zg=="},
                                             {"fo", "Zm8="},
                                             {"foo", "Zm9v"},
                                             {"foob", "Zm9vYg=="},
                                             {"fooba", "Zm9vYmE="},
                                             {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        char text[16], bytes[16];
        size_t size;
        base64_encode(text, vectors[i][0], strlen(vectors[i][0]));
        assert_string_equal(text, vectors[i][1]);
        assert_int_equal(strlen(text), BASE64_SIZE(strlen(vectors[i][0])));
        assert_true(base64_decode(bytes, &size, text));
        assert_int_equal(size, strlen(vectors[i][0]));
        assert_memory_equal(bytes, vectors[i][0], size);
    }
}

static void test_what_is_no_base64_is_refused(void **state)
{
    static const char *const wrong[] = {
        "Z", "Zg", "Zg=", "Zg===", "=Zg=", "Z===", "====", "Zm9v!m9v", "Zm9vZg=a", "Zm 9v==="};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        char bytes[16];
        size_t size;
        if (base64_decode(bytes, &size, wrong[i]))
            fail_msg("'%s' was taken", wrong[i]);
    }
}

static void test_keys_of_tasks_come_back_from_their_paths(void **state)
{
    static const char *const keys[][2] = {{"migrate", "migrate"},
                                          {"2026-11-23/invoices", "2026-11-23%2Finvoices"},
                                          {"50% of it", "50%25%20of%20it"},
                                          {"Stra\xc3\x9f"
                                           "e",
                                           "Stra%C3%9Fe"},
                                          {".", "."},
                                          {"a:b@c+d_e", "a:b@c+d_e"}};
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        char path[TASK_PATH_MAX + 1], key[NAME_MAX_BYTES + 1];
        assert_int_equal(task_key_check(keys[i][0], NULL), 0);
        task_path(path, keys[i][0]);
        assert_string_equal(path, keys[i][1]);
        assert_true(task_key_of_path(key, path, strlen(path)));
        assert_string_equal(key, keys[i][0]);
    }
}

static void test_a_path_that_nobody_could_write_has_no_key(void **state)
{
    static const char *const wrong[] = {"", "%", "%61", "a/b", "a b", "%2", "%2f", "%00", "%0A", "a%ZZ", "%FF"};
    char key[NAME_MAX_BYTES + 1], longest[TASK_PATH_MAX + 4] = "";
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        if (task_key_of_path(key, wrong[i], strlen(wrong[i])))
            fail_msg("'%s' was taken", wrong[i]);
    for (size_t i = 0; i < NAME_MAX_BYTES; i++)
        strcat(longest, "%20");
    assert_true(task_key_of_path(key, longest, strlen(longest)));
    strcat(longest, "x");
    assert_false(task_key_of_path(key, longest, strlen(longest)));
}

/* Unicode's own edges: what is too long, a surrogate, beyond the last character. */
static void test_a_key_is_utf8(void **state)
{
    static const char *const good[] = {"\xc2\x80",     "\xdf\xbf",         "\xe0\xa0\x80",
                                       "\xed\x9f\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
    static const char *const wrong[] = {
        "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xc2",
        "\x80",     "\xe2\x82",     "a\xffz"};
    for (size_t i = 0; i < COUNT_OF(good); i++)
        assert_int_equal(task_key_check(good[i], NULL), 0);
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        assert_int_equal(task_key_check(wrong[i], NULL), -1);
}

static void test_a_claim_keeps_what_it_does_not_know(void **state)
{
    static const char before[] = "{\"v\":1,\"state\":\"running\",\"cid\":\"2a-1\",\"id\":\"a\",\"host\":\"h\","
                                 "\"attempt\":1,\"again\":true,\"colour\":\"green\",\"out\":\"old\"}";
    struct baton_error err;
    struct claim *claim = claim_read(before, &err);
    assert_non_null(claim);
    assert_true(claim->again && claim->state == CLAIM_RUNNING && claim->out.size == 3);
    free(claim->out.bytes);
    claim->out = (struct claim_output){0};
    claim->state = CLAIM_FAILED;
    claim->status = 3;
    char *value = claim_write(before, claim);
    assert_non_null(strstr(value, "\"colour\":\"green\""));
    assert_null(strstr(value, "old"));
    claim_free(claim);
    claim = claim_read(value, &err);
    assert_true(claim != NULL && claim->status == 3 && claim->out.bytes == NULL);
    claim_free(claim);
    free(value);
}

static char *nested(int depth)
{
    char *value = mem_new(4 * (size_t)depth + 100);
    strcpy(value, "{\"v\":1,\"cid\":\"\",\"id\":\"\",\"term\":0,\"x\":");
    size_t at = strlen(value);
    memset(value + at, '[', (size_t)depth);
    memset(value + at + depth, ']', (size_t)depth);
    strcat(value, "}");
    return value;
}

static void test_a_record_that_is_nested_deep_is_refused_before_it_is_parsed(void **state)
{
    struct baton_error err;
    char *good = nested(RECORD_DEPTH_MAX - 1), *deep = nested(RECORD_DEPTH_MAX), *hostile = nested(100000);
    struct decision *decision = decision_read(good, &err);
    assert_non_null(decision);
    char *next = decision_next(good, "2a-1", "a", 1, "claim", 1);
    decision_free(decision);
    decision = decision_read(next, &err); /* with what it does not know */
    assert_true(decision != NULL && strstr(next, "[[[]]]") != NULL);
    decision_free(decision);
    assert_null(decision_read(deep, &err));
    assert_int_equal(err.code, BATON_CORRUPT);
    assert_null(decision_read(hostile, &err));
    assert_non_null(strstr(err.text, "deep"));
    /* Brackets in a text are text. */
    static const char text[] =
        "{\"v\":1,\"state\":\"done\",\"cid\":\"\",\"out\":\"{[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[\\\\\"}";
    struct claim *claim = claim_read(text, &err);
    assert_true(claim != NULL && claim->out.size == 39);
    claim_free(claim);
    free(good);
    free(next);
    free(deep);
    free(hostile);
}

static void test_hostile_records_are_read_or_refused(void **state)
{
    static const char *const refused[] = {
        "",
        "null",
        "[]",
        "{",
        "{\"v\":1}x",
        "{\"v\":99999999999999999999,\"state\":\"done\"}",
        "{\"v\":1.0}",
        "{\"v\":true}",
        "{\"v\":1,\"v\":1,\"state\":\"done\"}",              /* twice */
        "{\"v\":1,\"state\":\"done\",\"x\":\"\\ud800\"}",    /* half a character */
        "{\"v\":1,\"state\":\"done\",\"x\":\"\xff\"}",       /* no UTF-8 */
        "{\"v\":1,\"state\":\"done\",\"id\":\"a\\u0000b\"}", /* a name with an end in it */
        "{\"v\":1,\"state\":\"done\",\"x\\u0000\":1}",       /* ... or a field */
        "{\"v\":1,\"state\":\"done\\u0000\"}",
        "{\"v\":1,\"state\":\"done\",\"x\":1e999}", /* beyond all numbers */
        "{\"v\":1,\"state\":\"done\",\"attempt\":2147483648}",
        "{\"v\":1,\"state\":\"done\",\"status\":-1}",
        "{\"v\":1,\"state\":\"done\",\"out\":{\"base64\":\"Zm9v\\u0000\"}}",
    };
    struct baton_error err;
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        struct claim *claim = claim_read(refused[i], &err);
        if (claim != NULL)
            fail_msg("'%s' was taken", refused[i]);
        assert_int_equal(err.code, BATON_CORRUPT);
    }
    /* What an earlier version has stored. */
    struct claim *claim = claim_read("{\"v\":1,\"state\":\"done\",\"out\":\"a\\u0000b\"}", &err);
    assert_true(claim != NULL && claim->out.size == 3 && memcmp(claim->out.bytes, "a\0b", 3) == 0);
    claim_free(claim);
}

static void test_numbers_of_a_record_are_bounded(void **state)
{
    struct baton_error err;
    struct claim *claim = claim_read("{\"v\":1,\"state\":\"failed\",\"ended\":9223372036854775807,\"keep_ms\":"
                                     "9223372036854775807,\"since\":-9223372036854775808,\"out_left_out\":-1}",
                                     &err);
    assert_non_null(claim);
    assert_int_equal(claim->ended_wall_ms, WALL_MS_MAX);
    assert_int_equal(claim->keep_ms, CLAIM_KEEP_MS_MAX);
    assert_int_equal(claim->since_wall_ms, 0);
    assert_int_equal(claim->out.left_out, 0);
    assert_false(claim_expired(claim, 0));
    claim_free(claim);
    struct candidate *candidate =
        candidate_read("{\"v\":1,\"id\":\"a\",\"priority\":-9223372036854775808,\"since\":9223372036854775807}", &err);
    assert_non_null(candidate);
    assert_int_equal(candidate->priority, -1000);
    assert_int_equal(candidate->since_wall_ms, WALL_MS_MAX);
    candidate_free(candidate);
}

static void test_a_claim_expires_by_its_own_end(void **state)
{
    const struct claim claim = {.state = CLAIM_DONE, .ended_wall_ms = 1000, .keep_ms = 50};
    struct claim running = claim;
    running.state = CLAIM_RUNNING;
    assert_false(claim_expired(&claim, 1049));
    assert_true(claim_expired(&claim, 1050));
    assert_false(claim_expired(&running, 5000)); /* what is being done has no end yet */
    running = claim;
    running.keep_ms = 0;
    assert_false(claim_expired(&running, INT64_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64_is_that_of_the_rfc),
        cmocka_unit_test(test_what_is_no_base64_is_refused),
        cmocka_unit_test(test_keys_of_tasks_come_back_from_their_paths),
        cmocka_unit_test(test_a_path_that_nobody_could_write_has_no_key),
        cmocka_unit_test(test_a_key_is_utf8),
        cmocka_unit_test(test_a_claim_keeps_what_it_does_not_know),
        cmocka_unit_test(test_a_record_that_is_nested_deep_is_refused_before_it_is_parsed),
        cmocka_unit_test(test_hostile_records_are_read_or_refused),
        cmocka_unit_test(test_numbers_of_a_record_are_bounded),
        cmocka_unit_test(test_a_claim_expires_by_its_own_end),
    };
    return cmocka_run_group_tests_name("records", tests, NULL, NULL);
}
