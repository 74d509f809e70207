/* names.c: names and keys. */
#include "core/names.h"

#include <string.h>

#include "base/base.h"

static bool is_alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
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

/* locks/NAME/CID; other keys below it are not ours. */
static enum key_kind split_lock(const char *key, const char **ret_name, size_t *ret_name_length, const char **ret_cid)
{
    const char *name = key + strlen(LOCKS_PREFIX), *slash = strchr(name, '/');
    if (slash == NULL || slash == name || slash[1] == '\0' || strchr(slash + 1, '/') != NULL)
        return KEY_OTHER;
    *ret_name = name;
    *ret_name_length = (size_t)(slash - name);
    *ret_cid = slash + 1;
    return KEY_ENTRY;
}

enum key_kind key_split(const char *key, const char **ret_name, size_t *ret_name_length, const char **ret_cid)
{
    *ret_cid = NULL;
    if (text_starts(key, LOCKS_PREFIX))
        return split_lock(key, ret_name, ret_name_length, ret_cid);
    if (!text_starts(key, ELECTIONS_PREFIX))
        return KEY_OTHER;
    const char *name = key + strlen(ELECTIONS_PREFIX);
    const char *slash = strchr(name, '/');
    if (slash == NULL || slash == name)
        return KEY_OTHER;
    *ret_name = name;
    *ret_name_length = (size_t)(slash - name);
    const char *rest = slash + 1;
    if (strcmp(rest, "leader") == 0)
        return KEY_LEADER;
    if (strcmp(rest, "hold") == 0)
        return KEY_HOLD;
    if (strcmp(rest, "transfer") == 0)
        return KEY_TRANSFER;
    if (text_starts(rest, "candidates/") && rest[strlen("candidates/")] != '\0') {
        *ret_cid = rest + strlen("candidates/");
        return KEY_CANDIDATE;
    }
    return KEY_OTHER;
}

char *key_prefix(const char *name)
{
    return mem_format(ELECTIONS_PREFIX "%s/", name);
}

char *key_candidate(const char *name, const char *cid)
{
    return mem_format(ELECTIONS_PREFIX "%s/candidates/%s", name, cid);
}

char *key_leader(const char *name)
{
    return mem_format(ELECTIONS_PREFIX "%s/leader", name);
}

char *key_hold(const char *name)
{
    return mem_format(ELECTIONS_PREFIX "%s/hold", name);
}

char *key_transfer(const char *name)
{
    return mem_format(ELECTIONS_PREFIX "%s/transfer", name);
}

char *key_lock_prefix(const char *name)
{
    return mem_format(LOCKS_PREFIX "%s/", name);
}

char *key_entry(const char *name, const char *cid)
{
    return mem_format(LOCKS_PREFIX "%s/%s", name, cid);
}
