/* json.c: what all records have in common as JSON objects. */
#include "core/json.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/base64.h"

/* jansson calls itself for each level, with the stack of whoever reads; and no record of ours is deep. */
static bool is_deep(const char *value)
{
    int depth = 0;
    bool in_text = false;
    for (const char *c = value; *c != '\0' && depth <= RECORD_DEPTH_MAX; c++) {
        if (in_text && *c == '\\' && c[1] != '\0')
            c++;
        else if (*c == '"')
            in_text = !in_text;
        else if (!in_text)
            depth += (*c == '{' || *c == '[') - (*c == '}' || *c == ']');
    }
    return depth > RECORD_DEPTH_MAX;
}

json_t *json_record_read(const char *value, struct baton_error *err)
{
    json_error_t why;
    if (is_deep(value)) {
        error_set(err, BATON_CORRUPT, "is nested more than %d deep", RECORD_DEPTH_MAX);
        return NULL;
    }
    json_t *object = json_loads(value, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    if (object == NULL) {
        error_set(err, BATON_CORRUPT, "is not JSON (%.100s)", why.text);
        return NULL;
    }
    const json_t *version = json_object_get(object, "v");
    if (!json_is_object(object) || !json_is_integer(version) || json_integer_value(version) < 1) {
        error_set(err, BATON_CORRUPT, "is not a record of baton (no version \"v\")");
        json_decref(object);
        return NULL;
    }
    if (json_integer_value(version) > RECORD_VERSION) {
        error_set(err, BATON_NEWER, "is of version %lld, written by a newer baton; this one knows version %d",
                  (long long)json_integer_value(version), RECORD_VERSION);
        json_decref(object);
        return NULL;
    }
    return object;
}

json_t *json_record_again(const char *before)
{
    json_t *object = before != NULL ? json_loads(before, JSON_ALLOW_NUL, NULL) : NULL;
    return object != NULL ? object : json_record_new();
}

json_t *json_record_new(void)
{
    json_t *object = json_object();
    if (object == NULL)
        IMPOSSIBLE("out of memory for a JSON object");
    json_object_set_new(object, "v", json_integer(RECORD_VERSION));
    return object;
}

char *json_record_write(const json_t *object)
{
    char *value = json_dumps(object, JSON_COMPACT);
    if (value == NULL)
        IMPOSSIBLE("a record cannot be written as JSON");
    return value;
}

/* A text without a NUL: what others take for its end. */
static bool is_plain(const json_t *text)
{
    return json_is_string(text) && strlen(json_string_value(text)) == json_string_length(text);
}

char *json_field_text(const json_t *object, const char *name, size_t limit)
{
    const json_t *field = json_object_get(object, name);
    if (field == NULL)
        return mem_text("");
    if (!is_plain(field) || json_string_length(field) > limit)
        return NULL;
    return mem_text(json_string_value(field));
}

int64_t json_field_number(const json_t *object, const char *name, int64_t otherwise)
{
    const json_t *field = json_object_get(object, name);
    return json_is_integer(field) ? json_integer_value(field) : otherwise;
}

int64_t json_field_between(const json_t *object, const char *name, int64_t least, int64_t most)
{
    int64_t number = json_field_number(object, name, 0);
    return number < least ? least : number > most ? most : number;
}

char *json_plain(const char *text)
{
    char *plain = mem_text(text);
    json_t *good = json_string(text);
    for (char *c = plain; good == NULL && *c != '\0'; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    json_decref(good);
    return plain;
}

/* Text that may hold any bytes (an address, a reason) must be UTF-8 in JSON. */
void json_set_text(json_t *object, const char *name, const char *text)
{
    char *plain = json_plain(text);
    json_object_set_new(object, name, json_string(plain));
    free(plain);
}

/* As text where that is what it is, so that people can read it; otherwise in base64, which costs a third more. Text
 * that would cost more than that (each control character takes six bytes) goes the same way, and so does what holds a
 * NUL: many that read JSON take that for the end, or refuse it. */
static json_t *bytes_text(const char *bytes, size_t size)
{
    json_t *text = memchr(bytes, '\0', size) == NULL ? json_stringn(bytes, size) : NULL;
    if (text == NULL)
        return NULL;
    size_t cost = json_dumpb(text, NULL, 0, JSON_ENCODE_ANY);
    if (cost > BASE64_SIZE(size) + 2) {
        json_decref(text);
        return NULL;
    }
    return text;
}

void json_set_bytes(json_t *object, const char *name, const char *bytes, size_t size)
{
    json_t *field = bytes_text(bytes, size);
    if (field == NULL) {
        char *encoded = mem_new(BASE64_SIZE(size) + 1);
        base64_encode(encoded, bytes, size);
        field = json_pack("{s:s}", "base64", encoded);
        free(encoded);
    }
    json_object_set_new(object, name, field);
}

bool json_field_bytes(const json_t *object, const char *name, size_t limit, char **ret, size_t *ret_size)
{
    const json_t *field = json_object_get(object, name);
    const json_t *encoded = json_object_get(field, "base64");
    *ret = NULL;
    *ret_size = 0;
    if (field == NULL)
        return true;
    if (json_is_string(field) && json_string_length(field) <= limit) {
        *ret_size = json_string_length(field);
        *ret = mem_text_n(json_string_value(field), *ret_size);
        return true;
    }
    if (!is_plain(encoded) || json_string_length(encoded) > BASE64_SIZE(limit))
        return false;
    *ret = mem_new(json_string_length(encoded) + 1);
    if (base64_decode(*ret, ret_size, json_string_value(encoded)) && *ret_size <= limit)
        return true;
    free(*ret);
    *ret = NULL;
    *ret_size = 0;
    return false;
}
