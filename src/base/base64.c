/* base64.c: see base64.h. */
#include "base/base64.h"

#include <stdint.h>
#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char padding = '=';

void base64_encode(char *text, const char *bytes, size_t size)
{
    const unsigned char *from = (const unsigned char *)bytes;
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t group = (uint32_t)from[i] << 16 | (left > 1 ? (uint32_t)from[i + 1] << 8 : 0) |
                         (left > 2 ? (uint32_t)from[i + 2] : 0);
        char four[4] = {digits[group >> 18 & 63], digits[group >> 12 & 63], padding, padding};
        if (left > 1)
            four[2] = digits[group >> 6 & 63];
        if (left > 2)
            four[3] = digits[group & 63];
        memcpy(text, four, sizeof(four));
        text += sizeof(four);
    }
    *text = '\0';
}

bool base64_decode(char *bytes, size_t *ret_size, const char *text)
{
    size_t length = strlen(text), size = 0;
    size_t pads_at_end = length >= 4 ? (size_t)(text[length - 1] == padding) + (text[length - 2] == padding) : 0;
    if (length % 4 != 0)
        return false;
    for (size_t i = 0; i < length; i += 4) {
        uint32_t group = 0;
        size_t pads = i + 4 == length ? pads_at_end : 0;
        for (size_t k = 0; k < 4; k++) {
            const char *digit = k < 4 - pads ? strchr(digits, text[i + k]) : digits;
            if (digit == NULL)
                return false;
            group = group << 6 | (uint32_t)(digit - digits);
        }
        for (size_t k = 0; k < 3 - pads; k++)
            bytes[size++] = (char)(group >> (16 - 8 * k) & 255);
    }
    *ret_size = size;
    return true;
}
