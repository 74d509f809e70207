/* trouble.h: the words about an engine that cannot be used: when that begins, from time to time while it lasts, and
 * when it is over. For all commands that go on meanwhile.
 *
 *     etcd at …: Connection refused; check that it runs there, and the URL. It is tried again
 *     etcd://… cannot be used for 5m now; it is tried again. The last error: etcd at …: Connection refused; …
 *     etcd://… can be used again, after 7m
 */
#ifndef CLI_TROUBLE_H
#define CLI_TROUBLE_H

#include <stdint.h>

#include "baton/baton.h"

#define TROUBLE_TEXT (BATON_ERROR_TEXT + BATON_URL_MAX + 100)

struct trouble {
    int64_t since_ms, again_ms; /* since_ms 0: there is none */
    int64_t pause_ms;
    char last[BATON_ERROR_TEXT];
};

/* The client itself (no election, lock or task) has told BATON_TROUBLE or BATON_RECOVERED. The words to print, or NULL:
 * say nothing. */
const char *trouble_event(struct trouble *trouble, const char *url, const struct baton_event *event,
                          char text[TROUBLE_TEXT]);
/* When to call trouble_due; NEVER_MS. */
int64_t trouble_wake_ms(const struct trouble *trouble);
/* The words that are due now, or NULL. */
const char *trouble_due(struct trouble *trouble, const char *url, char text[TROUBLE_TEXT]);

#endif
