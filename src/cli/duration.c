/* duration.c: durations as people write them. Whole-number arithmetic throughout: "0.1s" is 100 ms to the bit. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "cli/cli.h"

struct unit {
    const char *name;
    int64_t ms;
};

static const struct unit units[] = {{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* DIGITS[.DIGITS]UNIT in ms; false when it is not that, is not a whole number of ms, or cannot be counted. */
static bool parse(const char *text, int64_t *ret_ms)
{
    int64_t value = 0, scale = 1;
    const char *at = text;
    for (; is_digit(*at); at++)
        if (value < CLI_DURATION_MAX_MS)
            value = value * 10 + (*at - '0');
    if (at == text)
        return false;
    if (*at == '.') {
        const char *fraction = ++at;
        for (; is_digit(*at); at++) {
            if (scale >= 1000000 || value >= CLI_DURATION_MAX_MS)
                return false;
            value = value * 10 + (*at - '0');
            scale *= 10;
        }
        if (at == fraction)
            return false;
    }
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        if (strcmp(at, units[i].name) != 0)
            continue;
        if (value > INT64_MAX / units[i].ms || value * units[i].ms % scale != 0)
            return false;
        *ret_ms = value * units[i].ms / scale;
        return true;
    }
    return false;
}

int cli_duration(const char *what, const char *text, int64_t min_ms, int64_t max_ms, int64_t *ret_ms,
                 struct baton_error *err)
{
    int64_t ms;
    char limit[32];
    if (!parse(text, &ms))
        return error_set(err, BATON_INVALID, "%s: '%.40s' is no duration; write it like 500ms, 10s, 1.5m, 2h or 30d",
                         what, text);
    if (max_ms > CLI_DURATION_MAX_MS)
        max_ms = CLI_DURATION_MAX_MS;
    if (ms < min_ms)
        return error_set(err, BATON_INVALID, "%s: %.40s is too short, the least is %s", what, text,
                         cli_duration_text(min_ms, limit));
    if (ms > max_ms)
        return error_set(err, BATON_INVALID, "%s: %.40s is too long, the most is %s", what, text,
                         cli_duration_text(max_ms, limit));
    *ret_ms = ms;
    return 0;
}

static uint32_t rounded_up(double number)
{
    uint32_t whole = (uint32_t)number;
    return whole + (whole < number);
}

int cli_wait(const char *what, const char *text, uint32_t *ret_ms, struct baton_error *err)
{
    int64_t ms;
    char *end;
    double number = strtod(text, &end);
    bool plain = end != text && *end == '\0';
    if (plain && !(number >= 0))
        return error_set(err, BATON_INVALID, "%s: '%.40s' is no time to wait", what, text);
    if (parse(text, &ms))
        *ret_ms = ms < CLI_FOR_EVER ? (uint32_t)ms : CLI_FOR_EVER;
    else if (plain)
        *ret_ms = number < CLI_FOR_EVER / 1000 ? rounded_up(number * 1000) : CLI_FOR_EVER;
    else
        return cli_duration(what, text, 0, CLI_FOR_EVER, &ms, err);
    return 0;
}

const char *cli_duration_text(int64_t ms, char text[32])
{
    const struct unit *best = &units[1];
    for (size_t i = 1; i < COUNT_OF(units); i++)
        if (ms != 0 && ms % units[i].ms == 0)
            best = &units[i];
    snprintf(text, 32, "%" PRId64 "%s", ms / best->ms, best->name);
    return text;
}
