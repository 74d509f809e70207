/* present.c: elections in words and in JSON. */
#include "cli/present.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"
#include "cli/cli.h"

void present_leader(const struct baton_status *status, bool colour)
{
    const char *strong = colour ? "\033[1m" : "", *plain = colour ? "\033[0m" : "";
    char since[32], *leader = cli_printable(mem_text(status->leader != NULL ? status->leader : "nobody"));
    if (status->leader != NULL)
        printf("%s: %s%s%s leads, term %" PRIu64 ", since %s\n", status->name, strong, leader, plain, status->term,
               cli_time_text(status->since_wall_ms, since));
    else
        printf("%s: %s%s%s leads, last term %" PRIu64 "\n", status->name, strong, leader, plain, status->term);
    free(leader);
    if (!status->held)
        return;
    const char *why = status->held_why != NULL ? status->held_why : "";
    cli_say("%s: on hold by %s%s%s; baton release %s ends it", status->name,
            status->held_by != NULL ? status->held_by : "somebody", why[0] != '\0' ? ": " : "", why, status->name);
}

int present_no_election(const struct observer *observer)
{
    cli_error("there is no election '%s' in %s: nobody stands for it and nobody ever led it", observer->name,
              baton_url(observer->client));
    return cli_exit_code(BATON_NOT_FOUND);
}

json_t *present_text(const char *text)
{
    if (text == NULL)
        return json_null();
    json_t *json = json_string(text);
    if (json != NULL)
        return json;
    char *ascii = mem_text(text);
    for (char *c = ascii; *c != '\0'; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    json = json_string(ascii);
    free(ascii);
    return json;
}

json_t *present_time(int64_t wall_ms)
{
    char text[32];
    return present_text(cli_time_iso(wall_ms, text));
}

void present_line(json_t *json)
{
    char *line = json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII);
    if (line == NULL)
        IMPOSSIBLE("a JSON value that cannot be written");
    cli_line(stdout, line);
    free(line);
    json_decref(json);
}
