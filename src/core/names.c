/* names.c: names and keys. */
#include "core/names.h"

#include <string.h>

#include "base/base.h"

static bool is_alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool name_may_hold(char c)
{
    return is_alphanumeric(c) || (c != '\0' && strchr("._-:@+", c) != NULL);
}

int name_check(const char *what, const char *name, struct baton_error *err)
{
    if (name == NULL || name[0] == '\0')
        return error_set(err, BATON_INVALID, "%s is empty; it needs 1 to %d characters", what, NAME_MAX_BYTES);
    size_t length = strlen(name);
    if (length > NAME_MAX_BYTES)
        return error_set(err, BATON_INVALID, "%s is too long: %zu bytes, at most %d are allowed", what, length,
                         NAME_MAX_BYTES);
    for (const char *c = name; *c != '\0'; c++) {
        if (is_alphanumeric(*c) || (c > name && strchr("._-:@+", *c) != NULL))
            continue;
        if (c == name)
            return error_set(err, BATON_INVALID, "%s '%s' is not legal: it must begin with a letter or a digit", what,
                             name);
        return error_set(err, BATON_INVALID,
                         "%s '%s' is not legal: character %zu is not one of A-Z a-z 0-9 . _ - : @ +", what, name,
                         (size_t)(c - name) + 1);
    }
    return 0;
}

bool name_of_path(char name[NAME_MAX_BYTES + 1], const char *path, size_t length)
{
    if (length > NAME_MAX_BYTES)
        return false;
    memcpy(name, path, length);
    name[length] = '\0';
    return name_check("name", name, NULL) == 0;
}
