/* present.h: elections in words and in JSON, the same way in every command. */
#ifndef CLI_PRESENT_H
#define CLI_PRESENT_H

#include <jansson.h>

#include "cli/observer.h"

/* "db-writer: alpha leads, term 12, since 2026-11-23 14:05:09", with a newline. */
void present_leader(const struct baton_status *status, bool colour);

/* "baton: there is no election 'x' in local:…" on stderr; returns its exit code. */
int present_no_election(const struct observer *observer);

/* JSON values: null for NULL, and for a time that is 0. Bytes that are not UTF-8 become '?'. */
json_t *present_text(const char *text);
json_t *present_time(int64_t wall_ms);
/* One object, on one line; frees it. */
void present_line(json_t *json);

#endif
