/* json.h: what all records have in common as JSON objects: a version, text fields, numbers. Private to src/core. */
#ifndef CORE_JSON_H
#define CORE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "baton/error.h"

#define TEXT_MAX 512 /* bytes of a text field that is not told otherwise */

/* An object of a version that we know, or NULL with err. */
json_t *json_record_read(const char *value, struct baton_error *err);
json_t *json_record_new(void);
char *json_record_write(const json_t *object); /* on the heap */

/* A text field; absent is "". NULL when it is there but not text, or longer than limit. */
char *json_field_text(const json_t *object, const char *name, size_t limit);
int64_t json_field_number(const json_t *object, const char *name, int64_t otherwise);
/* A copy, fit to be stored: if it is not UTF-8, with "?" for each byte that is not ASCII. */
char *json_plain(const char *text);
/* As json_plain makes it. */
void json_set_text(json_t *object, const char *name, const char *text);
/* Any bytes: {"name": "text"}, or {"name": {"base64": "..."}} where it is none. */
void json_set_bytes(json_t *object, const char *name, const char *bytes, size_t size);
/* Absent: NULL and 0. false: it is there, and is neither, or longer than limit. *ret is on the heap. */
bool json_field_bytes(const json_t *object, const char *name, size_t limit, char **ret, size_t *ret_size);

#endif
