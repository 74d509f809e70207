/* key.c: see key.h. */
#include "core/task/key.h"

#include <string.h>

#include "base/base.h"

/* The length of the UTF-8 character at `text`, or 0: it is none (RFC 3629). */
static size_t utf8_length(const unsigned char *text)
{
    static const struct {
        unsigned char first_low, first_high, second_low, second_high;
        size_t length;
    } forms[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    if (text[0] < 0x80)
        return 1;
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        if (text[0] < forms[i].first_low || text[0] > forms[i].first_high || text[1] < forms[i].second_low ||
            text[1] > forms[i].second_high)
            continue;
        for (size_t k = 2; k < forms[i].length; k++)
            if (text[k] < 0x80 || text[k] > 0xbf)
                return 0;
        return forms[i].length;
    }
    return 0;
}

int task_key_check(const char *key, struct baton_error *err)
{
    if (key == NULL || key[0] == '\0')
        return error_set(err, BATON_INVALID, "the key of the task is empty; it needs 1 to %d bytes", NAME_MAX_BYTES);
    size_t length = strlen(key);
    if (length > NAME_MAX_BYTES)
        return error_set(err, BATON_INVALID,
                         "the key of the task is too long: %zu bytes, at most %d are allowed; a checksum of it would "
                         "do",
                         length, NAME_MAX_BYTES);
    for (size_t i = 0; i < length;) {
        size_t step = utf8_length((const unsigned char *)key + i);
        if (step == 0 || (unsigned char)key[i] < 0x20 || key[i] == 0x7f)
            return error_set(err, BATON_INVALID, "the key of the task is not legal: byte %zu is %s", i + 1,
                             step == 0 ? "not UTF-8" : "a control character");
        i += step;
    }
    return 0;
}

void task_path(char path[TASK_PATH_MAX + 1], const char *key)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t at = 0;
    for (const char *c = key; *c != '\0' && at + 3 <= TASK_PATH_MAX; c++) {
        if (name_may_hold(*c)) {
            path[at++] = *c;
            continue;
        }
        path[at++] = '%';
        path[at++] = hex[(unsigned char)*c >> 4];
        path[at++] = hex[(unsigned char)*c & 15];
    }
    path[at] = '\0';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool task_key_of_path(char key[NAME_MAX_BYTES + 1], const char *path, size_t length)
{
    size_t at = 0;
    for (size_t i = 0; i < length; i++) {
        if (at == NAME_MAX_BYTES)
            return false;
        if (path[i] != '%') {
            key[at++] = path[i];
            continue;
        }
        if (i + 2 >= length || hex_value(path[i + 1]) < 0 || hex_value(path[i + 2]) < 0)
            return false;
        key[at++] = (char)(hex_value(path[i + 1]) << 4 | hex_value(path[i + 2]));
        i += 2;
    }
    key[at] = '\0';
    /* One key has one path: what another one leads to would be shown in its place. */
    char own[TASK_PATH_MAX + 1];
    task_path(own, key);
    return task_key_check(key, NULL) == 0 && strlen(own) == length && memcmp(own, path, length) == 0;
}

static char *key_of_task(const char *key, const char *rest, const char *cid)
{
    char path[TASK_PATH_MAX + 1];
    task_path(path, key);
    return mem_format(TASKS_PREFIX "%s/%s%s", path, rest, cid);
}

char *key_task_prefix(const char *key)
{
    return key_of_task(key, "", "");
}

char *key_claim(const char *key)
{
    return key_of_task(key, "claim", "");
}

char *key_queue_prefix(const char *key)
{
    return key_of_task(key, "queue/", "");
}

char *key_worker(const char *key, const char *cid)
{
    return key_of_task(key, "queue/", cid);
}
