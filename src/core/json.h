/* json.h: what all records have in common as JSON objects: a version, text fields, numbers. Private to src/core. */
#ifndef CORE_JSON_H
#define CORE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "baton/error.h"

#define RECORD_VERSION 1
#define TEXT_MAX 512 /* bytes of a text field that is not told otherwise */

#define RECORD_DEPTH_MAX 32         /* of objects and arrays in each other */
#define WALL_MS_MAX 253402300799999 /* the end of the year 9999: no time in a record is later, or lasts longer */

/* An object of a version that we know, or NULL with err. */
json_t *json_record_read(const char *value, struct baton_error *err);
/* Of a value that was read before: with all its fields. NULL: a new one. */
json_t *json_record_again(const char *before);
json_t *json_record_new(void);
char *json_record_write(const json_t *object); /* on the heap */

/* A text field; absent is "". NULL when it is there but not text, holds a NUL, or is longer than limit. */
char *json_field_text(const json_t *object, const char *name, size_t limit);
int64_t json_field_number(const json_t *object, const char *name, int64_t otherwise);
/* 0 if it is absent; what is beyond a bound is that bound. */
int64_t json_field_between(const json_t *object, const char *name, int64_t least, int64_t most);
/* A copy, fit to be stored: if it is not UTF-8, with "?" for each byte that is not ASCII. */
char *json_plain(const char *text);
/* As json_plain makes it. */
void json_set_text(json_t *object, const char *name, const char *text);
/* Any bytes: {"name": "text"}, or {"name": {"base64": "..."}} where it is none. */
void json_set_bytes(json_t *object, const char *name, const char *bytes, size_t size);
/* Absent: NULL and 0. false: it is there, and is neither, or longer than limit. *ret is on the heap. */
bool json_field_bytes(const json_t *object, const char *name, size_t limit, char **ret, size_t *ret_size);

#endif
