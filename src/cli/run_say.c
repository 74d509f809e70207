/* run_say.c: what `baton run` tells, on stderr: a line for people, or with --json an object a line. stdout is the
 * command's. */
#include <stdlib.h>

#include "base/base.h"
#include "cli/cli.h"
#include "cli/run.h"

static void say_json(const struct run *run, const char *event, const char *words)
{
    const char *id = run->supervisor.client != NULL ? baton_id(run->supervisor.client) : NULL;
    json_t *object = candidate_event(event, run->options->name, id, run->term, words);
    char *line = json_dumps(object, JSON_COMPACT | JSON_ENSURE_ASCII);
    cli_line(stderr, line != NULL ? line : "{}");
    free(line);
    json_decref(object);
}

void run_say(const struct run *run, const char *event, const char *format, ...)
{
    char words[TROUBLE_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof(words), format, args);
    va_end(args);
    if (run->options->candidate.json)
        say_json(run, event, words);
    else
        cli_error("%s", words);
}
