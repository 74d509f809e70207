/* output.c: what a command says: exit codes, times, tables, texts of others. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

#include "base/base.h"
#include "cli/cli.h"

/* ---- errors ---- */

int cli_exit_code(enum baton_code code)
{
    switch (code) {
    case BATON_OK:
        return EX_OK;
    case BATON_INVALID:
        return EX_USAGE; /* 64 */
    case BATON_CORRUPT:
        return EX_DATAERR; /* 65 */
    case BATON_NOT_FOUND:
        return EX_NOINPUT; /* 66 */
    case BATON_UNAVAILABLE:
        return EX_UNAVAILABLE; /* 69 */
    case BATON_CLOSED:
        return EX_SOFTWARE; /* 70: only our own mistake can lead there */
    case BATON_SYSTEM:
        return EX_OSERR; /* 71 */
    case BATON_FULL:
        return EX_CANTCREAT; /* 73 */
    case BATON_CONFLICT:
    case BATON_TIMEOUT:
    case BATON_LOST:
        return EX_TEMPFAIL; /* 75: the same again, later, may succeed */
    case BATON_NEWER:
        return EX_PROTOCOL; /* 76: written in a language that this version does not speak */
    case BATON_DENIED:
        return EX_NOPERM; /* 77 */
    case BATON_UNSUPPORTED:
        return EX_CONFIG; /* 78: this engine, file system or kernel cannot do it: change the set-up */
    }
    IMPOSSIBLE("error code %d", (int)code);
}

int cli_fail(const struct baton_error *err)
{
    cli_error("%s", err->text);
    return cli_exit_code(err->code);
}

/* ---- output ---- */

bool cli_colour(FILE *to)
{
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    if (no_color != NULL && no_color[0] != '\0')
        return false;
    if (term == NULL || term[0] == '\0' || strcmp(term, "dumb") == 0)
        return false;
    return isatty(fileno(to)) == 1;
}

const char *cli_time_text(int64_t wall_ms, char text[32])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm broken;
    if (wall_ms <= 0 || localtime_r(&seconds, &broken) == NULL || strftime(text, 32, "%F %T", &broken) == 0)
        return "-";
    return text;
}

const char *cli_time_iso(int64_t wall_ms, char text[32])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm broken;
    char day[24];
    if (wall_ms <= 0 || gmtime_r(&seconds, &broken) == NULL || strftime(day, sizeof(day), "%FT%T", &broken) == 0)
        return NULL;
    snprintf(text, 32, "%s.%03dZ", day, (int)(wall_ms % 1000));
    return text;
}

/* The first character of `text` (RFC 3629: none is longer than it needs to be, no surrogates), and how many bytes it
 * has; 0 bytes: it is no character. */
static size_t character_of(const unsigned char *text, uint32_t *ret)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char first = text[0];
    size_t size = first < 0x80 ? 1 : first >> 5 == 6 ? 2 : first >> 4 == 14 ? 3 : first >> 3 == 30 ? 4 : 0;
    uint32_t character = size == 1 ? first : first & (0x7fU >> size);
    for (size_t i = 1; i < size; i++) {
        if (text[i] >> 6 != 2) /* also the end of the text */
            return 0;
        character = character << 6 | (text[i] & 0x3f);
    }
    if (size > 0 && (character < least[size] || character > 0x10ffff || (character >= 0xd800 && character < 0xe000)))
        return 0;
    *ret = character;
    return size;
}

/* Characters that a terminal would obey instead of showing them, and characters that make a text look like another one:
 * C0 and C1 controls, marks of the direction of writing (Unicode UAX #9), separators of lines, and characters of no
 * width. */
static bool is_harmful(uint32_t character)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {{0x00, 0x1f},     {0x7f, 0x9f},     {0xad, 0xad},      {0x61c, 0x61c},   {0x180e, 0x180e},
                  {0x200b, 0x200b}, {0x200e, 0x200f}, {0x2028, 0x202e},  {0x2060, 0x206f}, {0xfeff, 0xfeff},
                  {0xfff9, 0xfffb}, {0xfffe, 0xffff}, {0xe0000, 0xe007f}};
    for (size_t i = 0; i < COUNT_OF(ranges); i++)
        if (character >= ranges[i].first && character <= ranges[i].last)
            return true;
    return false;
}

/* Of a text with `size` bytes, which may have NULs; how many are left. */
static size_t make_printable(char *text, size_t size, const char *allowed)
{
    size_t from = 0, to = 0;
    while (from < size) {
        uint32_t character = 0;
        size_t length = character_of((const unsigned char *)text + from, &character);
        if (length == 0 || (is_harmful(character) &&
                            (character == 0 || character > 0x7f || strchr(allowed, (int)character) == NULL))) {
            text[to++] = '?';
            from += length > 0 ? length : 1;
            continue;
        }
        memmove(text + to, text + from, length);
        to += length;
        from += length;
    }
    text[to] = '\0';
    return to;
}

char *cli_printable(char *text)
{
    (void)make_printable(text, strlen(text), "");
    return text;
}

size_t cli_printable_lines(char *text, size_t size)
{
    return make_printable(text, size, "\n\t");
}

/* ---- tables ---- */

/* How many columns a terminal gives the text; its bytes where that cannot be known. */
static int width_of(const char *text)
{
    wchar_t wide[256];
    size_t length = mbstowcs(wide, text, COUNT_OF(wide));
    if (length == (size_t)-1 || length == COUNT_OF(wide))
        return (int)strlen(text);
    int width = wcswidth(wide, length);
    return width >= 0 ? width : (int)strlen(text);
}

void cli_table_row(struct cli_table *table, const char *const *cells)
{
    assert(table->columns > 0 && table->columns <= CLI_COLUMNS_MAX);
    if (table->rows == table->room) {
        table->room = table->room > 0 ? 2 * table->room : 8;
        table->cells = mem_grow(table->cells, table->room * table->columns * sizeof(*table->cells));
    }
    char **row = table->cells + table->rows++ * table->columns;
    for (size_t i = 0; i < table->columns; i++)
        row[i] = cli_printable(mem_text(cells[i]));
}

void cli_table_print(const struct cli_table *table, FILE *to, const char *indent)
{
    int widths[CLI_COLUMNS_MAX] = {0};
    for (size_t i = 0; i < table->rows * table->columns; i++) {
        int width = width_of(table->cells[i]);
        if (width > widths[i % table->columns])
            widths[i % table->columns] = width;
    }
    for (size_t row = 0; row < table->rows; row++) {
        char **cells = table->cells + row * table->columns;
        size_t last = table->columns - 1;
        while (last > 0 && cells[last][0] == '\0')
            last--;
        fputs(indent, to);
        for (size_t i = 0; i < last; i++)
            fprintf(to, "%s%*s  ", cells[i], widths[i] - width_of(cells[i]), "");
        fprintf(to, "%s\n", cells[last]);
    }
}

void cli_table_free(struct cli_table *table)
{
    for (size_t i = 0; i < table->rows * table->columns; i++)
        free(table->cells[i]);
    free(table->cells);
    *table = (struct cli_table){0};
}
