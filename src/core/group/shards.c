/* shards.c: see shards.h. */
#include "core/group/shards.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/base64.h"

#define RANGE_TEXT_MAX 16 /* "12345-12399," */

void shards_release(struct shards *shards)
{
    free(shards->words);
    *shards = (struct shards){0};
}

void shards_clear(struct shards *shards)
{
    if (shards->word_count > 0)
        memset(shards->words, 0, shards->word_count * sizeof(shards->words[0]));
}

static void grow(struct shards *shards, uint32_t word_count)
{
    if (word_count <= shards->word_count)
        return;
    shards->words = mem_grow(shards->words, word_count * sizeof(shards->words[0]));
    memset(shards->words + shards->word_count, 0, (word_count - shards->word_count) * sizeof(shards->words[0]));
    shards->word_count = word_count;
}

void shards_add(struct shards *shards, uint32_t shard)
{
    assert(shard < SHARDS_MAX);
    grow(shards, shard / 64 + 1);
    shards->words[shard / 64] |= UINT64_C(1) << shard % 64;
}

void shards_add_range(struct shards *shards, uint32_t first, uint32_t last)
{
    for (uint32_t shard = first; shard <= last; shard++)
        shards_add(shards, shard);
}

void shards_add_all(struct shards *shards, const struct shards *from)
{
    grow(shards, from->word_count);
    for (uint32_t i = 0; i < from->word_count; i++)
        shards->words[i] |= from->words[i];
}

void shards_add_common(struct shards *shards, const struct shards *a, const struct shards *b)
{
    uint32_t count = a->word_count < b->word_count ? a->word_count : b->word_count;
    grow(shards, count);
    for (uint32_t i = 0; i < count; i++)
        shards->words[i] |= a->words[i] & b->words[i];
}

void shards_drop_all(struct shards *shards, const struct shards *gone)
{
    for (uint32_t i = 0; i < shards->word_count && i < gone->word_count; i++)
        shards->words[i] &= ~gone->words[i];
}

static uint64_t word_of(const struct shards *shards, uint32_t i)
{
    return i < shards->word_count ? shards->words[i] : 0;
}

bool shards_equal(const struct shards *a, const struct shards *b)
{
    for (uint32_t i = 0; i < a->word_count || i < b->word_count; i++)
        if (word_of(a, i) != word_of(b, i))
            return false;
    return true;
}

bool shards_empty(const struct shards *shards)
{
    return shards_next(shards, 0) == NO_SHARD;
}

uint32_t shards_next(const struct shards *shards, uint32_t from)
{
    for (uint32_t i = from / 64; i < shards->word_count; i++) {
        uint64_t word = shards->words[i];
        if (i == from / 64)
            word &= ~UINT64_C(0) << from % 64;
        if (word != 0)
            return i * 64 + (uint32_t)__builtin_ctzll(word);
    }
    return NO_SHARD;
}

/* ---- in a record ---- */

static json_t *write_base64(const struct shards *shards, size_t size)
{
    char *bytes = mem_new(size + 1), *text = mem_new(BASE64_SIZE(size) + 1);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(word_of(shards, (uint32_t)(i / 8)) >> i % 8 * 8 & 0xff);
    base64_encode(text, bytes, size);
    json_t *field = json_pack("{s:s}", "base64", text);
    free(bytes);
    free(text);
    return field;
}

json_t *shards_write(const struct shards *shards)
{
    char *text = mem_new(RANGE_TEXT_MAX), *end = text;
    size_t room = RANGE_TEXT_MAX;
    uint32_t last = 0;
    for (uint32_t first = shards_next(shards, 0); first != NO_SHARD; first = shards_next(shards, last + 1)) {
        last = first;
        while (shards_has(shards, last + 1))
            last++;
        size_t used = (size_t)(end - text);
        if (used + 2 * RANGE_TEXT_MAX > room) {
            room = 2 * room + RANGE_TEXT_MAX;
            text = mem_grow(text, room);
            end = text + used;
        }
        end += sprintf(end, first == last ? "%s%u" : "%s%u-%u", used > 0 ? "," : "", (unsigned)first, (unsigned)last);
    }
    size_t size = (size_t)last / 8 + 1;
    json_t *field = (size_t)(end - text) > BASE64_SIZE(size) + strlen("{\"base64\":}") ? write_base64(shards, size)
                                                                                       : json_string(text);
    free(text);
    return field;
}

static bool read_number(const char **text, uint32_t *ret_number)
{
    char *end;
    if (!isdigit((unsigned char)**text))
        return false;
    unsigned long long number = strtoull(*text, &end, 10);
    if (number >= SHARDS_MAX)
        return false;
    *ret_number = (uint32_t)number;
    *text = end;
    return true;
}

/* Strictly: in order, and none twice. */
static bool read_ranges(struct shards *shards, const char *text)
{
    uint32_t first, last = 0;
    for (bool none = true; *text != '\0'; none = false) {
        if (!none && *text++ != ',')
            return false;
        uint32_t before = last;
        if (!read_number(&text, &first) || (!none && first <= before))
            return false;
        last = first;
        if (*text == '-' && (text++, !read_number(&text, &last) || last <= first))
            return false;
        shards_add_range(shards, first, last);
    }
    return true;
}

static bool read_base64(struct shards *shards, const char *text)
{
    size_t size = 0;
    char *bytes = mem_new(strlen(text) + 1);
    bool good = base64_decode(bytes, &size, text) && size <= SHARDS_MAX / 8;
    for (size_t i = 0; good && i < size * 8; i++)
        if (((unsigned char)bytes[i / 8] >> i % 8 & 1) != 0)
            shards_add(shards, (uint32_t)i);
    free(bytes);
    return good;
}

bool shards_read(struct shards *ret_shards, const json_t *field)
{
    *ret_shards = (struct shards){0};
    const char *encoded = json_string_value(json_object_get(field, "base64"));
    bool good = field == NULL           ? true
                : json_is_string(field) ? read_ranges(ret_shards, json_string_value(field))
                : encoded != NULL       ? read_base64(ret_shards, encoded)
                                        : false;
    if (!good)
        shards_release(ret_shards);
    return good;
}
