/* options.c: a command's arguments, read by getopt_long from the table that is also its --help. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/base.h"
#include "base/environment.h"
#include "baton/baton.h"
#include "cli/cli.h"
#include "cli/nearest.h"

#define OPTIONS_MAX 32
#define HELP_COLUMN 25

static const struct cli_option help_option = {
    .name = "help", .letter = 'h', .kind = CLI_FLAG, .help = "print this text"};

static const struct cli_option *option_at(const struct cli_form *form, size_t place)
{
    return place < form->option_count ? &form->options[place] : &help_option;
}

static bool takes_value(const struct cli_option *option)
{
    switch (option->kind) {
    case CLI_FLAG:
    case CLI_CONSTANT:
    case CLI_REFUSED:
    case CLI_VERSION:
        return false;
    default:
        return true;
    }
}

static bool is_one_of(const char *words, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = words; at != NULL; at = strchr(at, ' ')) {
        at += *at == ' ';
        if (strncmp(at, word, length) == 0 && (at[length] == ' ' || at[length] == '\0'))
            return true;
    }
    return false;
}

static bool is_letter(const char *name)
{
    return name[1] == '\0';
}

/* ---- --help ---- */

/* "-w, --wait, --timeout DURATION" */
static int print_names(const struct cli_option *option, FILE *to)
{
    int width = option->letter != 0 ? fprintf(to, "  -%c, ", option->letter) : fprintf(to, "      ");
    for (const char *const *name = option->also; *name != NULL; name++)
        if (is_letter(*name))
            width += fprintf(to, "-%s, ", *name);
    width += fprintf(to, "--%s", option->name);
    for (const char *const *name = option->also; *name != NULL; name++)
        if (!is_letter(*name))
            width += fprintf(to, ", --%s", *name);
    if (option->value != NULL)
        width += fprintf(to, " %s", option->value);
    return width;
}

static void print_option(const struct cli_option *option, FILE *to)
{
    int width = print_names(option, to);
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
    for (size_t i = 0; i <= form->option_count; i++)
        if (option_at(form, i)->kind != CLI_REFUSED)
            print_option(option_at(form, i), to);
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
    if (is_long && strcmp(value, "never") == 0) {
        *(uint64_t *)option->into = 0;
        return 0;
    }
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
    case CLI_WAIT:
        snprintf(what, sizeof(what), "--%s", option->name);
        return cli_wait(what, value, option->into, err);
    case CLI_CHOICE:
        return take_choice(option, value, err);
    case CLI_CONSTANT:
        *(int32_t *)option->into = (int32_t)option->min;
        return 0;
    case CLI_REFUSED:
        return error_set(err, BATON_INVALID, "--%s: %s", option->name, option->value);
    case CLI_VERSION:
        return 0;
    }
    IMPOSSIBLE("option kind %d", (int)option->kind);
}

/* ---- arguments ---- */

struct tables {
    struct option longs[(1 + CLI_NAMES_MAX) * OPTIONS_MAX + 2];
    char shorts[2 * (1 + CLI_NAMES_MAX) * OPTIONS_MAX + 8];
};

/* getopt_long returns 256 + the option's place; 256 + the count is --help. */
static void tables_fill(struct tables *tables, const struct cli_form *form)
{
    assert(form->option_count <= OPTIONS_MAX);
    size_t count = 0, used = 0;
    tables->shorts[used++] = '+'; /* stop at an operand: we collect them, to see where the command begins */
    tables->shorts[used++] = ':'; /* tell a missing value from an unknown option */
    for (size_t i = 0; i <= form->option_count; i++) {
        const struct cli_option *option = option_at(form, i);
        char letters[CLI_NAMES_MAX + 2] = {option->letter};
        int argument = takes_value(option) ? required_argument : no_argument;
        tables->longs[count++] = (struct option){option->name, argument, NULL, 256 + (int)i};
        for (const char *const *name = option->also; *name != NULL; name++)
            if (is_letter(*name))
                letters[strlen(letters)] = (*name)[0];
            else
                tables->longs[count++] = (struct option){*name, argument, NULL, 256 + (int)i};
        for (const char *letter = letters; *letter != '\0'; letter++) {
            tables->shorts[used++] = *letter;
            if (argument == required_argument)
                tables->shorts[used++] = ':';
        }
    }
    tables->longs[count] = (struct option){0};
    tables->shorts[used] = '\0';
}

static bool has_letter(const struct cli_option *option, int letter)
{
    if (option->letter == letter)
        return true;
    for (const char *const *name = option->also; *name != NULL; name++)
        if (is_letter(*name) && (*name)[0] == letter)
            return true;
    return false;
}

/* The option that getopt_long has found. */
static const struct cli_option *option_of(const struct cli_form *form, int found)
{
    if (found >= 256)
        return option_at(form, (size_t)found - 256);
    for (size_t i = 0; i <= form->option_count; i++)
        if (has_letter(option_at(form, i), found))
            return option_at(form, i);
    IMPOSSIBLE("option '%c'", found);
}

/* " (did you mean --wait?)", or nothing. */
static const char *meant(const struct cli_form *form, const char *word, char text[64])
{
    struct nearest nearest = {.word = word};
    for (size_t i = 0; i <= form->option_count; i++) {
        const struct cli_option *option = option_at(form, i);
        if (option->kind == CLI_REFUSED)
            continue;
        nearest_look(&nearest, option->name);
        for (const char *const *name = option->also; *name != NULL; name++)
            nearest_look(&nearest, *name);
    }
    text[0] = '\0';
    if (nearest.found != NULL)
        snprintf(text, 64, " (did you mean --%s?)", nearest.found);
    return text;
}

/* An abbreviation of several options: which? */
static bool is_ambiguous(const struct tables *tables, const char *word, char which[128])
{
    size_t used = 0;
    int count = 0;
    for (const struct option *each = tables->longs; each->name != NULL; each++)
        if (text_starts(each->name, word) && used < 128) {
            used += (size_t)snprintf(which + used, 128 - used, "%s--%s", count > 0 ? ", " : "", each->name);
            count++;
        }
    return count > 1;
}

/* What is wrong with `word`, which getopt_long refused by '?'. */
static int refuse(const struct cli_form *form, const struct tables *tables, const char *word)
{
    char text[64], which[128], name[64];
    if (!text_starts(word, "--"))
        return cli_usage_error(form->command, "unknown option '-%c'%s", optopt,
                               word[1] != '\0' && word[2] != '\0' ? meant(form, word + 1, text) : "");
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(word + 2, "="), word + 2);
    /* optopt is set when the option is known but was given a value that it does not take; see getopt_long(3). */
    if (optopt != 0)
        return cli_usage_error(form->command, "the option '--%s' takes no value", name);
    if (is_ambiguous(tables, name, which))
        return cli_usage_error(form->command, "ambiguous option '--%s': %s", name, which);
    return cli_usage_error(form->command, "unknown option '--%s'%s", name, meant(form, name, text));
}

/* Which of the operands are missing, of "VERB URL". */
static int refuse_missing(const struct cli_form *form, int given)
{
    const char *names = form->operands;
    for (int i = 0; i < given; i++)
        names += strcspn(names, " ") + 1;
    int first = (int)strcspn(names, " ");
    if (names[first] == '\0')
        return cli_usage_error(form->command, "%s is missing", names);
    return cli_usage_error(form->command, "%.*s and %s are missing", first, names, names + first + 1);
}

static int check_operands(const struct cli_form *form, const struct cli_args *args)
{
    struct baton_error err;
    if (args->operand_count < form->operands_min)
        return refuse_missing(form, args->operand_count);
    if (form->names_election && args->operand_count > 0 && baton_check_name("the name", args->operands[0], &err) < 0)
        return cli_usage_error(form->command, "%s", err.text);
    if (args->operand_count > form->operands_max)
        return cli_usage_error(form->command, "'%.60s' is one argument too many", args->operands[form->operands_max]);
    if (form->takes_command && !form->command_optional && args->command_count == 0)
        return cli_usage_error(form->command, "there is no command, as in baton %s %s -- ./job", form->command,
                               args->operands[0]);
    return CLI_GO;
}

/* The engine of tests and of programs that compete with themselves: two commands would hold one lock at once. */
static int check_engine(const struct cli_form *form)
{
    const char *url = environment_get("BATON_URL");
    bool used = false;
    for (size_t i = 0; i < form->option_count; i++) {
        if (form->options[i].kind != CLI_URL)
            continue;
        const char *asked = *(const char **)form->options[i].into;
        url = asked != NULL ? asked : url;
        used = true;
    }
    if (!used || url == NULL || !text_starts(url, "memory:"))
        return CLI_GO;
    return cli_usage_error(form->command,
                           "the engine 'memory' is within one process, so nobody else would know of this command; on "
                           "one machine it is local:");
}

/* Does the command begin here, at an operand or, `separated`, behind a "--"? */
static bool begins_command(const struct cli_form *form, const struct cli_args *args, bool separated)
{
    if (!form->takes_command)
        return false;
    if (args->operand_count < form->operands_min)
        return separated && !form->dashes_end_options;
    return separated || form->verbs == NULL || !is_one_of(form->verbs, args->operands[0]);
}

static void take_command(struct cli_args *args, int argc, char **argv)
{
    args->command = argv + optind;
    args->command_count = argc - optind;
}

/* Behind a "--" that is not the command's: no options any more. */
static void take_operands(const struct cli_form *form, int argc, char **argv, struct cli_args *ret)
{
    while (optind < argc && !begins_command(form, ret, false))
        argv[1 + ret->operand_count++] = argv[optind++];
    if (optind == argc)
        return;
    if (strcmp(argv[optind], "--") == 0)
        optind++;
    take_command(ret, argc, argv);
}

/* One option, found by getopt_long in `word`. CLI_GO, or an exit status. */
static int take_option(const struct cli_form *form, const struct tables *tables, int found, const char *word)
{
    struct baton_error err;
    if (found == '?')
        return refuse(form, tables, word);
    if (found == ':')
        return cli_usage_error(form->command, "the option '%s' needs a value", word);
    const struct cli_option *option = option_of(form, found);
    if (option == &help_option) {
        print_help(form, stdout);
        return 0;
    }
    if (option->kind == CLI_VERSION) {
        cli_print_version(stdout);
        return 0;
    }
    return take(option, optarg, &err) < 0 ? cli_usage_error(form->command, "%s", err.text) : CLI_GO;
}

int cli_parse(const struct cli_form *form, int argc, char **argv, struct cli_args *ret)
{
    struct tables tables;
    tables_fill(&tables, form);
    *ret = (struct cli_args){.operands = argv + 1};
    opterr = 0;
    optind = 0; /* begin anew: glibc's way, see getopt(3) */
    for (;;) {
        int before = optind > 0 ? optind : 1;
        optopt = 0;
        int found = getopt_long(argc, argv, tables.shorts, tables.longs, NULL);
        if (found != -1) {
            int status = take_option(form, &tables, found, argv[before]);
            if (status != CLI_GO)
                return status;
            continue;
        }
        bool separated = optind > before; /* it stepped over "--" */
        if ((separated || optind < argc) && begins_command(form, ret, separated)) {
            take_command(ret, argc, argv);
            break;
        }
        if (separated)
            take_operands(form, argc, argv, ret);
        if (separated || optind >= argc)
            break;
        argv[1 + ret->operand_count++] = argv[optind++];
    }
    if (ret->command == NULL)
        argv[1 + ret->operand_count] = NULL;
    int status = check_operands(form, ret);
    return status != CLI_GO ? status : check_engine(form);
}
