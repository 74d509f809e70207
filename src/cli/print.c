/* print.c: what a command prints while it runs: errors, and the lines of those that run for long. Those never wait for
 * a reader: from cli_print_begin on, a printer writes for them (process/printer.h). */
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "cli/cli.h"
#include "process/outlet.h"
#include "process/printer.h"

/* How long the end of a command waits for the readers of what it has said. */
#define LAST_WORDS_MS 1000
#define CLI_TEXT_MAX 4096

static struct printer out, err;
static bool begun;
static const char *out_name, *err_name; /* not NULL: lines are JSON objects of this name */

/* ---- lines ---- */

static char *json_line(const char *event, const char *name, const char *text)
{
    char when[32];
    json_t *object = json_pack("{s:s,s:s,s:s,s:s}", "time", cli_time_iso(clock_wall_ms(), when), "event", event, "name",
                               name, "text", text);
    char *line = object != NULL ? json_dumps(object, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    json_decref(object);
    return line != NULL ? line : mem_text("{}");
}

static void note(char text[PRINTER_NOTE_MAX], uint64_t count, int error, const char *json_name)
{
    char words[200];
    snprintf(words, sizeof(words), "%ju %s dropped: %s%s", (uintmax_t)count,
             count == 1 ? "message was" : "messages were", error != 0 ? "not written: " : "nobody was reading",
             error != 0 ? strerror(error) : "");
    char *line = json_name != NULL ? json_line("dropped", json_name, words) : mem_format("baton: %s", words);
    snprintf(text, PRINTER_NOTE_MAX, "%.*s\n", PRINTER_NOTE_MAX - 2, line);
    free(line);
}

static void note_out(char text[PRINTER_NOTE_MAX], uint64_t count, int error)
{
    note(text, count, error, out_name);
}

static void note_err(char text[PRINTER_NOTE_MAX], uint64_t count, int error)
{
    note(text, count, error, err_name);
}

void cli_print_begin(void)
{
    if (begun)
        return;
    printer_init(&out, STDOUT_FILENO, note_out);
    printer_init(&err, STDERR_FILENO, note_err);
    begun = true;
}

void cli_print_wait(void)
{
    if (!begun)
        return;
    (void)printer_finish(&out, LAST_WORDS_MS);
    (void)printer_finish(&err, LAST_WORDS_MS);
    begun = false;
}

void cli_print_json(FILE *to, const char *name)
{
    *(to == stdout ? &out_name : &err_name) = name;
}

void cli_line(FILE *to, const char *line)
{
    if (!begun) {
        fprintf(to, "%s\n", line);
        return;
    }
    char *bytes = mem_format("%s\n", line);
    printer_say(to == stdout ? &out : &err, bytes, strlen(bytes));
    free(bytes);
}

void cli_say(const char *format, ...)
{
    va_list args;
    char *text = NULL;
    va_start(args, format);
    int length = vasprintf(&text, format, args);
    va_end(args);
    if (length < 0)
        IMPOSSIBLE("out of memory");
    cli_line(stdout, cli_printable(text));
    free(text);
}

struct printer *cli_printer(FILE *to)
{
    assert(begun);
    return to == stdout ? &out : &err;
}

/* ---- errors ---- */

void cli_error(const char *format, ...)
{
    char text[CLI_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    (void)cli_printable(text);
    char *line = err_name != NULL ? json_line("error", err_name, text) : mem_format("baton: %s", text);
    cli_line(stderr, line);
    free(line);
}

int cli_usage_error(const char *command, const char *format, ...)
{
    char text[2 * BATON_ERROR_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    fprintf(stderr, "baton %s: %s; see baton %s --help\n", command, cli_printable(text), command);
    return EX_USAGE;
}

/* ---- the state of the output ---- */

/* Why standard output cannot be written; 0: it can. */
static int output_error(void)
{
    if (begun) {
        printer_clear(&out);
        return printer_error(&out);
    }
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    /* An earlier flush, by a full buffer, may have failed and left no errno. */
    return errno != 0 ? errno : EIO;
}

enum cli_out cli_flush(void)
{
    static enum cli_out state = CLI_OUT_OK;
    if (state != CLI_OUT_OK)
        return state;
    int error = output_error();
    if (error == 0)
        return CLI_OUT_OK;
    state = error == EPIPE ? CLI_OUT_BROKEN : CLI_OUT_FAILED;
    if (state == CLI_OUT_FAILED)
        cli_error("the output could not be written: %s", strerror(error));
    return state;
}

int cli_out_changed_fd(void)
{
    return begun ? out.changed_fd : -1;
}

enum cli_out cli_print_end(void)
{
    if (!begun)
        return cli_flush();
    int64_t until_ms = clock_now_ms() + LAST_WORDS_MS;
    outlet_finish(LAST_WORDS_MS / 2);
    (void)printer_finish(&out, LAST_WORDS_MS / 2);
    enum cli_out state = cli_flush();
    int64_t left_ms = until_ms - clock_now_ms();
    (void)printer_finish(&err, left_ms > LAST_WORDS_MS / 10 ? (int)left_ms : LAST_WORDS_MS / 10);
    return state;
}
