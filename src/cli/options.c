/* options.c: a command's arguments, read by getopt_long from the table that is also its --help. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/base.h"
#include "baton/baton.h"
#include "cli/cli.h"

#define OPTIONS_MAX 32
#define HELP_COLUMN 25

static const struct cli_option help_option = {
    .name = "help", .letter = 'h', .kind = CLI_FLAG, .help = "print this text"};

/* ---- --help ---- */

static void print_option(const struct cli_option *option, FILE *to)
{
    char left[96];
    char letter[8] = "    ";
    if (option->letter != 0)
        snprintf(letter, sizeof(letter), "-%c, ", option->letter);
    int width = snprintf(left, sizeof(left), "  %s--%s%s%s", letter, option->name, option->value != NULL ? " " : "",
                         option->value != NULL ? option->value : "");
    fputs(left, to);
    if (width > HELP_COLUMN - 2) {
        fputc('\n', to);
        width = 0;
    }
    for (const char *line = option->help; line != NULL; width = 0) {
        const char *end = strchr(line, '\n');
        int length = end != NULL ? (int)(end - line) : (int)strlen(line);
        fprintf(to, "%*s%.*s\n", HELP_COLUMN - width, "", length, line);
        line = end != NULL ? end + 1 : NULL;
    }
}

static void print_help(const struct cli_form *form, FILE *to)
{
    fprintf(to, "Usage: baton %s%s%s\n\n%s\n\nOptions:\n", form->command, form->synopsis[0] != '\0' ? " " : "",
            form->synopsis, form->about);
    for (size_t i = 0; i < form->option_count; i++)
        print_option(&form->options[i], to);
    print_option(&help_option, to);
}

/* ---- values ---- */

static int take_choice(const struct cli_option *option, const char *value, struct baton_error *err)
{
    size_t length = strlen(value);
    for (const char *choice = option->value; choice != NULL;) {
        const char *end = strchr(choice, '|');
        size_t size = end != NULL ? (size_t)(end - choice) : strlen(choice);
        if (size == length && strncmp(choice, value, size) == 0) {
            *(const char **)option->into = value;
            return 0;
        }
        choice = end != NULL ? end + 1 : NULL;
    }
    return error_set(err, BATON_INVALID, "--%s: '%.40s' is none of %s", option->name, value, option->value);
}

static int take_number(const struct cli_option *option, const char *value, struct baton_error *err)
{
    int64_t min = option->min, max = option->max;
    if (min == 0 && max == 0) {
        min = INT32_MIN;
        max = INT32_MAX;
    }
    char *end;
    long long number = strtoll(value, &end, 10);
    /* strtoll answers an overflow by its own limits, which are outside of ours. */
    if (end == value || *end != '\0' || number < min || number > max)
        return error_set(err, BATON_INVALID, "--%s: '%.40s' is no whole number from %lld to %lld", option->name, value,
                         (long long)min, (long long)max);
    *(int32_t *)option->into = (int32_t)number;
    return 0;
}

static int take_duration(const struct cli_option *option, const char *value, struct baton_error *err)
{
    char what[64];
    snprintf(what, sizeof(what), "--%s", option->name);
    int64_t ms;
    bool is_long = option->kind == CLI_LONG_DURATION;
    int64_t max = option->max > 0 ? option->max : is_long ? CLI_DURATION_MAX_MS : UINT32_MAX;
    if (cli_duration(what, value, option->min, max, &ms, err) < 0)
        return -1;
    if (is_long)
        *(uint64_t *)option->into = (uint64_t)ms;
    else
        *(uint32_t *)option->into = (uint32_t)ms;
    return 0;
}

static int take(const struct cli_option *option, const char *value, struct baton_error *err)
{
    char what[64];
    switch (option->kind) {
    case CLI_FLAG:
        *(bool *)option->into = true;
        return 0;
    case CLI_ID:
        snprintf(what, sizeof(what), "--%s", option->name);
        if (baton_check_name(what, value, err) < 0)
            return -1;
        *(const char **)option->into = value;
        return 0;
    case CLI_URL:
        /* Of a variable that is not set, in a script: not the moment to fall back to another namespace. */
        if (value[0] == '\0')
            return error_set(err, BATON_INVALID,
                             "--%s is empty; without it, it is $BATON_URL, else local:", option->name);
        *(const char **)option->into = value;
        return 0;
    case CLI_TEXT:
        *(const char **)option->into = value;
        return 0;
    case CLI_NUMBER:
        return take_number(option, value, err);
    case CLI_DURATION:
    case CLI_LONG_DURATION:
        return take_duration(option, value, err);
    case CLI_CHOICE:
        return take_choice(option, value, err);
    }
    IMPOSSIBLE("option kind %d", (int)option->kind);
}

/* ---- arguments ---- */

struct tables {
    struct option longs[OPTIONS_MAX + 2];
    char shorts[2 * OPTIONS_MAX + 8];
};

/* getopt_long returns 256 + the option's place; 256 + the count is --help. */
static void tables_fill(struct tables *tables, const struct cli_form *form)
{
    assert(form->option_count <= OPTIONS_MAX);
    size_t used = 0;
    tables->shorts[used++] = '+'; /* stop at an operand: we collect them, to see where a "--" stands */
    tables->shorts[used++] = ':'; /* tell a missing value from an unknown option */
    tables->shorts[used++] = 'h';
    for (size_t i = 0; i <= form->option_count; i++) {
        const struct cli_option *option = i < form->option_count ? &form->options[i] : &help_option;
        int argument = option->kind == CLI_FLAG ? no_argument : required_argument;
        tables->longs[i] = (struct option){option->name, argument, NULL, 256 + (int)i};
        if (option->letter == 0 || option == &help_option)
            continue;
        tables->shorts[used++] = option->letter;
        if (argument == required_argument)
            tables->shorts[used++] = ':';
    }
    tables->longs[form->option_count + 1] = (struct option){0};
    tables->shorts[used] = '\0';
}

/* The place of what getopt_long returned; -1: none. */
static int place_of(const struct cli_form *form, int found)
{
    if (found >= 256)
        return found - 256;
    if (found == 'h')
        return (int)form->option_count;
    for (size_t i = 0; i < form->option_count; i++)
        if (form->options[i].letter == found && found != 0)
            return (int)i;
    return -1;
}

/* What is wrong with `word`, which getopt_long refused by '?'. */
static int refuse(const struct cli_form *form, const char *word)
{
    if (!text_starts(word, "--"))
        return cli_usage_error(form->command, "unknown option '-%c'", optopt);
    size_t length = strcspn(word, "=");
    /* optopt is set when the option is known but was given a value that it does not take; see getopt_long(3). */
    if (optopt != 0)
        return cli_usage_error(form->command, "the option '%.*s' takes no value", (int)length, word);
    int alike = 0;
    for (size_t i = 0; i < form->option_count; i++)
        if (strncmp(form->options[i].name, word + 2, length - 2) == 0)
            alike++;
    return cli_usage_error(form->command, "%s option '%.*s'", alike > 1 ? "ambiguous" : "unknown", (int)length, word);
}

static int check_operands(const struct cli_form *form, const struct cli_args *args)
{
    if (args->operand_count < form->operands_min)
        return cli_usage_error(form->command, "%s is missing", form->operands);
    struct baton_error err;
    if (form->names_election && args->operand_count > 0 && baton_check_name("the name", args->operands[0], &err) < 0)
        return cli_usage_error(form->command, "%s", err.text);
    if (form->takes_command && !form->command_optional && args->operand_count <= form->operands_max &&
        args->command_count == 0)
        return cli_usage_error(form->command, "there is no command: write it after --, as in baton %s %s -- ./job",
                               form->command, args->operands[0]);
    if (args->operand_count <= form->operands_max)
        return CLI_GO;
    const char *extra = args->operands[form->operands_max];
    if (form->takes_command && args->command == NULL)
        return cli_usage_error(form->command, "'%.60s' is one argument too many; the command is written after --",
                               extra);
    return cli_usage_error(form->command, "'%.60s' is one argument too many", extra);
}

int cli_parse(const struct cli_form *form, int argc, char **argv, struct cli_args *ret)
{
    struct tables tables;
    tables_fill(&tables, form);
    *ret = (struct cli_args){.operands = argv + 1};
    opterr = 0;
    optind = 0; /* begin anew: glibc's way, see getopt(3) */
    bool separated = false;
    for (;;) {
        int before = optind > 0 ? optind : 1;
        optopt = 0;
        int found = getopt_long(argc, argv, tables.shorts, tables.longs, NULL);
        if (found == -1) {
            separated = optind > before; /* it stepped over "--" */
            if (separated || optind >= argc)
                break;
            argv[1 + ret->operand_count++] = argv[optind++];
            continue;
        }
        const char *word = argv[before];
        if (found == '?')
            return refuse(form, word);
        if (found == ':')
            return cli_usage_error(form->command, "the option '%s' needs a value", word);
        int place = place_of(form, found);
        if (place == (int)form->option_count) {
            print_help(form, stdout);
            return 0;
        }
        struct baton_error err;
        if (take(&form->options[place], optarg, &err) < 0)
            return cli_usage_error(form->command, "%s", err.text);
    }
    if (form->takes_command && separated) {
        ret->command = argv + optind;
        ret->command_count = argc - optind;
    } else {
        while (optind < argc)
            argv[1 + ret->operand_count++] = argv[optind++];
    }
    argv[1 + ret->operand_count] = NULL;
    return check_operands(form, ret);
}
