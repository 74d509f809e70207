/* run_say.c: what `baton run` tells, on stderr: a line for people, or with --json an object a line. stdout is the
 * command's. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/run.h"

static void say_json(const struct run *run, const char *event, const char *words)
{
    char time[32];
    json_t *object = json_object();
    json_object_set_new(object, "time", json_string(cli_time_iso(clock_wall_ms(), time)));
    json_object_set_new(object, "event", json_string(event));
    json_object_set_new(object, "name", json_string(run->options->name));
    if (run->client != NULL)
        json_object_set_new(object, "id", json_string(baton_id(run->client)));
    if (run->term != 0)
        json_object_set_new(object, "term", json_integer((json_int_t)run->term));
    if (words[0] != '\0')
        json_object_set_new(object, "text", json_stringn_nocheck(words, strlen(words)));
    char *line = json_dumps(object, JSON_COMPACT | JSON_ENSURE_ASCII);
    fprintf(stderr, "%s\n", line != NULL ? line : "{}");
    free(line);
    json_decref(object);
}

void run_say(const struct run *run, const char *event, const char *format, ...)
{
    char words[BATON_ERROR_TEXT + 200];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof(words), format, args);
    va_end(args);
    if (run->options->json)
        say_json(run, event, words);
    else
        cli_error("%s", words);
}
