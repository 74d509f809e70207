/* base.h: what every layer stands on: errors with words, memory that is there, text, time as a number.
 *
 * Nothing here reads a clock or touches a file; clock.h does the first, for the layers that may.
 */
#ifndef BASE_BASE_H
#define BASE_BASE_H

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "baton/error.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* A time that never comes, in ms. */
#define NEVER_MS INT64_MAX

/* Write code and words into err (may be NULL). Returns -1, so that a function can end with it. */
int error_set(struct baton_error *err, enum baton_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Put "context: " before the words. Returns -1. */
int error_within(struct baton_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The code that fits an errno: EACCES, EROFS: denied; ENOSPC, EDQUOT: full; ... */
enum baton_code error_code_of_errno(int error);
/* error_set with the code that fits `error` (an errno value) and ": strerror" after the words. Returns -1. */
int error_errno(struct baton_error *err, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Memory. Never NULL: when there is none, the process stops with a message on stderr. A leader that cannot keep its
 * books must not go on leading, and a process that dies passes its places on. */
void *mem_new(size_t size); /* zeroed */
void *mem_grow(void *memory, size_t size);
char *mem_text(const char *text); /* a copy; NULL gives NULL */
char *mem_text_n(const char *text, size_t length);
char *mem_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* An impossible state: say where and stop. Stays on in every build. */
#define IMPOSSIBLE(...) impossible(__FILE__, __LINE__, __VA_ARGS__)
void impossible(const char *file, int line, const char *format, ...) __attribute__((noreturn, format(printf, 3, 4)));
/* The C library's would wait for whoever reads stderr. */
#undef assert
#define assert(condition) ((condition) ? (void)0 : IMPOSSIBLE("it does not hold that %s", #condition))

/* Copy into a fixed array, always ended by NUL; true if it fitted. */
bool text_copy(char *to, size_t size, const char *from);
bool text_starts(const char *text, const char *prefix);

#endif
