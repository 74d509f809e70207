/* url.c: see url.h. */
#include "base/url.h"

#include <stdio.h>
#include <string.h>

#define SHOWN 200 /* bytes of it */

const char *url_shown(const char *url, char to[URL_SHOWN_MAX])
{
    const char *slashes = strstr(url, "://"), *at = strrchr(url, '@'), *query = strchr(url, '?');
    int scheme = slashes != NULL && (at == NULL || slashes < at) ? (int)(slashes + 3 - url) : 0;
    if (scheme > SHOWN)
        scheme = 0;
    if (query != NULL && query < url + scheme)
        scheme = 0;
    const char *rest = url + scheme;
    if (at != NULL && query != NULL && query < at)
        rest = ""; /* which of the two is part of a secret cannot be told */
    else if (at != NULL)
        rest = at;
    size_t length = strcspn(rest, "?");
    const char *more = rest[length] != '\0' || length > SHOWN ? "..." : "";
    snprintf(to, URL_SHOWN_MAX, "%.*s%s%.*s%s", scheme, url, at != NULL ? "..." : "",
             (int)(length < SHOWN - (size_t)scheme ? length : SHOWN - (size_t)scheme), rest, more);
    return to;
}
