/* url.h: a URL as it may be shown: in errors, in traces, in logs. */
#ifndef BASE_URL_H
#define BASE_URL_H

#define URL_SHOWN_MAX 240 /* with the final NUL */

/* What stands before an @ or behind a ? may be a secret, put there by mistake, and the URL need not be legal: "..."
 * stands for it. Returns `to`. */
const char *url_shown(const char *url, char to[URL_SHOWN_MAX]);

#endif
