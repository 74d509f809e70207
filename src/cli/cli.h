/* cli.h: what every command of `baton` is built from.
 *
 * A command is one file, src/cli/NAME.c, that defines `const struct cli_command command_NAME`, and one line in
 * commands.h. It reads its arguments by cli_parse from one table of options; that table is also its --help, so the two
 * cannot differ.
 *
 * Messages go to stderr and begin with "baton: " (or, when they are about the use of one command, "baton run: ").
 * Exit codes are those of sysexits.h; cli_exit_code is the only place that chooses one for an error.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "baton/error.h"

#define CLI_ENGINE_TIMEOUT_MS 5000      /* how long a command waits for the first view */
#define CLI_DURATION_MAX_MS 86400000000 /* 1000 days: the longest duration that anybody can mean */

/* ---- commands ---- */

struct cli_command {
    const char *name;
    const char *summary;               /* one line, for `baton --help` */
    int (*run)(int argc, char **argv); /* argv[0] is the command's name; returns the exit status */
};

/* In the order of `baton --help`; ends with NULL. */
extern const struct cli_command *const cli_commands[];
const struct cli_command *cli_command_find(const char *name);
int cli_unknown_command(const char *word); /* the error, and the nearest one; returns EX_USAGE */
void cli_print_commands(FILE *to);
void cli_print_version(FILE *to);

/* ---- options ---- */

enum cli_kind {
    CLI_FLAG,          /* bool *: set to true */
    CLI_TEXT,          /* const char **: as it is; points into argv */
    CLI_URL,           /* const char **: not empty, the rest is the engine's to say */
    CLI_ID,            /* const char **: checked by baton_check_name */
    CLI_NUMBER,        /* int32_t *: min..max */
    CLI_DURATION,      /* uint32_t *: in ms, min..max */
    CLI_LONG_DURATION, /* uint64_t *: the same, up to CLI_DURATION_MAX_MS; or "never", which is 0 */
    CLI_WAIT,          /* uint32_t *: in ms, as cli_wait reads it */
    CLI_CHOICE,        /* const char **: one of `value`, "never|on-failure|always" */
    CLI_CONSTANT,      /* int32_t *: set to `min`; of several that say so, the last counts */
    CLI_REFUSED,       /* known, but not taken: `value` says why, in place of a line in --help */
    CLI_VERSION        /* print the version, and nothing else */
};

#define CLI_NAMES_MAX 3
struct cli_option {
    const char *name;                /* "ttl" for --ttl */
    char letter;                     /* 'j' for -j; 0: none */
    const char *also[CLI_NAMES_MAX]; /* its other names, "e" for -e, "nb" for --nb; then NULL */
    enum cli_kind kind;
    void *into;        /* what it is stored in; holds the default before */
    const char *value; /* as --help shows it: "DURATION"; NULL for a flag */
    const char *help;  /* one sentence, with the default; "\n" begins a new line */
    int64_t min, max;  /* of CLI_NUMBER and CLI_DURATION (ms); both 0: the widest */
};

/* What a command accepts. --help and -h are always there. */
struct cli_form {
    const char *command;  /* "status" */
    const char *synopsis; /* "[OPTIONS] [NAME]" */
    const char *about;    /* a paragraph or more for --help, in lines of at most 78 columns */
    const struct cli_option *options;
    size_t option_count;
    int operands_min, operands_max; /* before "--" */
    const char *operands;           /* each one's name, with blanks between them: "VERB URL" */
    bool names_election;            /* the first operand is an election's name, and is checked as one */
    bool takes_command;             /* a command must follow the operands, with or without "--" before it */
    bool command_optional;          /* ... or may */
    bool dashes_end_options;        /* "--" may stand before the operands, too; else a command begins there */
    const char *verbs;              /* ... but what follows these first operands is more operands: "list show" */
};

struct cli_args {
    char **operands; /* operand_count of them; then NULL, if there is no command */
    int operand_count;
    char **command; /* ends with NULL. NULL: there is none */
    int command_count;
};

/* Read the arguments into the options' places and *ret. CLI_GO: go on; otherwise the command is over and this is its
 * exit status (--help was printed, or the error was). */
#define CLI_GO (-1)
int cli_parse(const struct cli_form *form, int argc, char **argv, struct cli_args *ret);

/* The options that several commands have; each is one row of a table. */
#define CLI_OPTION_URL(place)                                                                                          \
    {                                                                                                                  \
        .name = "url", .kind = CLI_URL, .into = (place), .value = "URL",                                               \
        .help = "the engine and namespace (default: $BATON_URL, else local:)"                                          \
    }
#define CLI_OPTION_ID(place)                                                                                           \
    {                                                                                                                  \
        .name = "id", .kind = CLI_ID, .into = (place), .value = "ID",                                                  \
        .help = "the id of this instance, unique among those alive\n(default: HOST-PID-RANDOM)"                        \
    }
#define CLI_OPTION_ADDRESS(place)                                                                                      \
    {                                                                                                                  \
        .name = "address", .kind = CLI_TEXT, .into = (place), .value = "TEXT",                                         \
        .help = "where others reach this instance; shown by baton status"                                              \
    }
#define CLI_OPTION_PRIORITY(place)                                                                                     \
    {                                                                                                                  \
        .name = "priority", .kind = CLI_NUMBER, .into = (place), .value = "N", .min = -1000, .max = 1000,              \
        .help = "at a vacancy the highest goes first; -1000 to 1000 (default: 0)"                                      \
    }
#define CLI_OPTION_PREEMPT(place)                                                                                      \
    {                                                                                                                  \
        .name = "preempt", .kind = CLI_FLAG, .into = (place),                                                          \
        .help = "ask a live leader of lower priority to hand over"                                                     \
    }
#define CLI_OPTION_TTL(place)                                                                                          \
    {                                                                                                                  \
        .name = "ttl", .kind = CLI_DURATION, .into = (place), .value = "DURATION", .min = 1,                           \
        .help = "after how long a lost instance loses its place (default: 10s)"                                        \
    }
#define CLI_OPTION_JSON(place)                                                                                         \
    {                                                                                                                  \
        .name = "json", .kind = CLI_FLAG, .into = (place), .help = "print JSON, one object a line"                     \
    }
#define CLI_OPTION_ENGINE_TIMEOUT(place)                                                                               \
    {                                                                                                                  \
        .name = "engine-timeout", .kind = CLI_DURATION, .into = (place), .value = "DURATION", .min = 1,                \
        .help = "how long to wait for the engine (default: 5s)"                                                        \
    }

/* "500ms", "10s", "1.5m", "2h", "30d", or a plain number of seconds, as milliseconds. `what` begins the words of an
 * error:
 * "--ttl". BATON_INVALID when it is no duration or not within min_ms..max_ms. */
int cli_duration(const char *what, const char *text, int64_t min_ms, int64_t max_ms, int64_t *ret_ms,
                 struct baton_error *err);
/* As flock(1) reads it, too: a plain number of seconds in any way that strtod(3) takes, ".5" or "1e-9", rounded up. Too
 * long to be counted in *ret_ms is CLI_FOR_EVER. */
#define CLI_FOR_EVER UINT32_MAX
int cli_wait(const char *what, const char *text, uint32_t *ret_ms, struct baton_error *err);
/* The other way, exactly, in the largest unit that fits: "10s", "1500ms", "2h". */
const char *cli_duration_text(int64_t ms, char text[32]);

/* ---- errors ---- */

/* "baton: WORDS" on stderr, in one write. After cli_print_json(stderr, ..): an object with the event "error". */
void cli_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* "baton COMMAND: WORDS; see baton COMMAND --help" on stderr. Returns EX_USAGE. */
int cli_usage_error(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* cli_error with the error's words; returns its exit code. */
int cli_fail(const struct baton_error *err);
/* The exit code of an error, from sysexits.h. The table is in baton(1). */
int cli_exit_code(enum baton_code code);

/* ---- output ---- */

/* Does `to` take colour? A terminal that is not dumb, and no NO_COLOR (https://no-color.org). */
bool cli_colour(FILE *to);

/* From here on nothing that is printed by cli_error and cli_line makes the caller wait: what nobody reads is dropped
 * and counted, and the number is told when it is read again. For commands that hold a place, or serve clients;
 * they must not use printf(3). Must be called after the guards are forked (it begins threads), also if that has failed,
 * and before anything is told. */
void cli_print_begin(void);
/* Undo that, when nothing is held any more: what is printed from here on is written in any case, and waited for. */
void cli_print_wait(void);
/* From now on `to` gets JSON only: errors, and the number of what was dropped, are objects with this name. */
void cli_print_json(FILE *to, const char *name);
/* A line, to stdout or stderr, in one write. */
void cli_line(FILE *to, const char *line);
/* A line to stdout, whose texts may be those of others: made printable. */
void cli_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The printer of stdout or stderr. Only after cli_print_begin. */
struct printer *cli_printer(FILE *to);
/* A descriptor that is readable when cli_flush may say something else than before; -1 before cli_print_begin. */
int cli_out_changed_fd(void);

/* Is standard output still good? CLI_OUT_BROKEN when its reader is gone (end quietly), CLI_OUT_FAILED after a write
 * error, which is then told on stderr, once. Flushes; after cli_print_begin it does not wait, and knows what was
 * written so far. */
enum cli_out { CLI_OUT_OK, CLI_OUT_BROKEN, CLI_OUT_FAILED };
enum cli_out cli_flush(void);
/* The same, at the end of a command: waits a second at most until what was said last has been read. */
enum cli_out cli_print_end(void);

/* A wall-clock time for people, local: "2026-11-23 14:05:09". With milliseconds, UTC, for programs:
 * "2026-11-23T13:05:09.120Z". "-" or NULL for a time that is 0. */
const char *cli_time_text(int64_t wall_ms, char text[32]);
const char *cli_time_iso(int64_t wall_ms, char text[32]);

/* A table for people: columns as wide as they need to be, two spaces apart, the last one ragged. */
#define CLI_COLUMNS_MAX 8
struct cli_table {
    size_t columns, rows, room;
    char **cells; /* rows * columns */
};
void cli_table_row(struct cli_table *table, const char *const *cells); /* table->columns of them; copied */
void cli_table_print(const struct cli_table *table, FILE *to, const char *indent);
void cli_table_free(struct cli_table *table);

/* Text of another instance, made fit for a terminal: control characters, those that turn the direction of writing,
 * those that cannot be seen, and what is no UTF-8 become '?'. In place. */
char *cli_printable(char *text);
/* The same for some lines, which may have NULs: newlines and tabs stay. `text` has room for one more byte. Returns the
 * new size. */
size_t cli_printable_lines(char *text, size_t size);

#endif
