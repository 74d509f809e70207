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

char *cli_printable(char *text)
{
    for (char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    return text;
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
