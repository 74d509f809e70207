/* trouble.c: see trouble.h. */
#include "cli/trouble.h"

#include <stdio.h>

#include "base/base.h"
#include "base/clock.h"
#include "cli/cli.h"

/* Told after a minute, and then each time that it has lasted twice as long, at least once an hour. */
#define PAUSE_FIRST_MS 60000
#define PAUSE_LAST_MS 3600000

/* "7s", "12m", "3h": the last digits are of no use to anybody. */
static const char *lasted(int64_t ms, char text[32])
{
    int64_t unit_ms = ms < 1000 ? 1 : ms < 2 * 60000 ? 1000 : ms < 2 * 3600000 ? 60000 : 3600000;
    return cli_duration_text(ms / unit_ms * unit_ms, text);
}

const char *trouble_event(struct trouble *trouble, const char *url, const struct baton_event *event,
                          char text[TROUBLE_TEXT])
{
    char time[32];
    int64_t now_ms = clock_now_ms();
    if (event->kind == BATON_TROUBLE) {
        if (trouble->since_ms == 0) {
            trouble->since_ms = now_ms;
            trouble->pause_ms = PAUSE_FIRST_MS;
            trouble->again_ms = now_ms + PAUSE_FIRST_MS;
        }
        text_copy(trouble->last, sizeof(trouble->last), event->text);
        snprintf(text, TROUBLE_TEXT, "%s. It is tried again", event->text);
        return text;
    }
    assert(event->kind == BATON_RECOVERED);
    if (trouble->since_ms == 0)
        return NULL;
    snprintf(text, TROUBLE_TEXT, "%s can be used again, after %s", url, lasted(now_ms - trouble->since_ms, time));
    *trouble = (struct trouble){0};
    return text;
}

int64_t trouble_wake_ms(const struct trouble *trouble)
{
    return trouble->since_ms != 0 ? trouble->again_ms : NEVER_MS;
}

const char *trouble_due(struct trouble *trouble, const char *url, char text[TROUBLE_TEXT])
{
    char time[32];
    int64_t now_ms = clock_now_ms();
    if (now_ms < trouble_wake_ms(trouble))
        return NULL;
    snprintf(text, TROUBLE_TEXT, "%s cannot be used for %s now; it is tried again. The last error: %s", url,
             lasted(now_ms - trouble->since_ms, time), trouble->last);
    trouble->again_ms = now_ms + trouble->pause_ms;
    if (trouble->pause_ms < PAUSE_LAST_MS)
        trouble->pause_ms = 2 * trouble->pause_ms < PAUSE_LAST_MS ? 2 * trouble->pause_ms : PAUSE_LAST_MS;
    return text;
}
