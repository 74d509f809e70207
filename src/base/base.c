/* base.c: errors, memory and text. */
#include "base/base.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const code_names[] = {
    [BATON_OK] = "ok",
    [BATON_INVALID] = "invalid",
    [BATON_UNSUPPORTED] = "unsupported",
    [BATON_UNAVAILABLE] = "unavailable",
    [BATON_DENIED] = "denied",
    [BATON_FULL] = "full",
    [BATON_CORRUPT] = "corrupt",
    [BATON_NEWER] = "newer",
    [BATON_CONFLICT] = "conflict",
    [BATON_NOT_FOUND] = "not-found",
    [BATON_TIMEOUT] = "timeout",
    [BATON_LOST] = "lost",
    [BATON_CLOSED] = "closed",
    [BATON_SYSTEM] = "system",
};

__attribute__((visibility("default"))) const char *baton_code_name(enum baton_code code)
{
    if ((size_t)code >= COUNT_OF(code_names) || code_names[code] == NULL)
        return "unknown";
    return code_names[code];
}

int error_set(struct baton_error *err, enum baton_code code, const char *format, ...)
{
    if (err == NULL)
        return -1;
    va_list args;
    va_start(args, format);
    /* The words may be built from err's own text. */
    char text[BATON_ERROR_TEXT];
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    err->code = code;
    memcpy(err->text, text, sizeof(text));
    return -1;
}

int error_within(struct baton_error *err, const char *format, ...)
{
    if (err == NULL)
        return -1;
    char context[BATON_ERROR_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(context, sizeof(context), format, args);
    va_end(args);
    return error_set(err, err->code, "%s: %s", context, err->text);
}

enum baton_code error_code_of_errno(int error)
{
    switch (error) {
    case 0:
        return BATON_OK;
    case EACCES:
    case EPERM:
    case EROFS:
        return BATON_DENIED;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
        return BATON_FULL;
    case ENOENT:
    case ENOTDIR:
        return BATON_NOT_FOUND;
    case EINVAL:
    case ENAMETOOLONG:
        return BATON_INVALID;
    case ENOSYS:
    case EOPNOTSUPP:
        return BATON_UNSUPPORTED;
    case ETIMEDOUT:
        return BATON_TIMEOUT;
    case ECONNREFUSED:
    case ECONNRESET:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EAGAIN:
        return BATON_UNAVAILABLE;
    default:
        return BATON_SYSTEM;
    }
}

int error_errno(struct baton_error *err, int error, const char *format, ...)
{
    if (err == NULL)
        return -1;
    char text[BATON_ERROR_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    char why[128];
    return error_set(err, error_code_of_errno(error), "%s: %s%s", text, strerror_r(error, why, sizeof(why)),
                     error == EMFILE ? " (ulimit -n raises the limit)" : "");
}

static void *or_stop(void *memory, size_t size)
{
    if (memory == NULL)
        impossible(__FILE__, __LINE__, "out of memory (%zu bytes)", size);
    return memory;
}

void *mem_new(size_t size)
{
    return or_stop(calloc(1, size > 0 ? size : 1), size);
}

void *mem_grow(void *memory, size_t size)
{
    return or_stop(realloc(memory, size > 0 ? size : 1), size);
}

char *mem_text(const char *text)
{
    return text == NULL ? NULL : mem_text_n(text, strlen(text));
}

char *mem_text_n(const char *text, size_t length)
{
    char *copy = mem_new(length + 1);
    memcpy(copy, text, length);
    return copy;
}

char *mem_format(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = NULL;
    int length = vasprintf(&text, format, args);
    va_end(args);
    return or_stop(length < 0 ? NULL : text, 0);
}

/* The words are worth no wait: a process that does not die does not pass its places on. stdio is left alone, too, since
 * another thread may hold its lock, and wait for who reads. */
void impossible(const char *file, int line, const char *format, ...)
{
    struct pollfd room = {.fd = STDERR_FILENO, .events = POLLOUT};
    char text[1024];
    size_t size = sizeof(text) - 1; /* without the end of the line */
    va_list args;
    int at = snprintf(text, size, "baton: %s:%d: ", file, line);
    va_start(args, format);
    vsnprintf(text + at, size - (size_t)at, format, args);
    va_end(args);
    size = strlen(text);
    text[size++] = '\n';
    if (poll(&room, 1, 0) == 1)
        (void)!write(STDERR_FILENO, text, size);
    abort();
}

bool text_copy(char *to, size_t size, const char *from)
{
    size_t length = strlen(from);
    bool fits = length < size;
    if (!fits)
        length = size - 1;
    memcpy(to, from, length);
    to[length] = '\0';
    return fits;
}

bool text_starts(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}
