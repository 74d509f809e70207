/* url.h: a URL as it may be shown: in errors, in traces, in logs. */
#ifndef BASE_URL_H
#define BASE_URL_H

#define URL_SHOWN_MAX 240 /* with the final NUL */

/* The URL as it may be printed. The parts before an @ and behind a ? may be secrets, put there by mistake, and the URL
 * need not be legal: "..." stands for each of them. Returns `to`. */
const char *url_shown(const char *url, char to[URL_SHOWN_MAX]);

#endif
