/* base64.h: bytes as text, and back (RFC 4648, section 4). */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include <stdbool.h>
#include <stddef.h>

#define BASE64_SIZE(size) (((size) + 2) / 3 * 4) /* without the final NUL */

/* `text` has room for BASE64_SIZE(size) + 1. */
void base64_encode(char *text, const char *bytes, size_t size);
/* `bytes` has room for 3/4 of the text. false: it is not base64, with its padding and nothing beside it. */
bool base64_decode(char *bytes, size_t *ret_size, const char *text);

#endif
