/* kinds.c: see kinds.h. */
#include "core/kinds.h"

#include <string.h>

#include "base/base.h"

static bool matches(const char *kind_path, const char *path, const char **ret_cid)
{
    size_t fixed = strlen(kind_path);
    const char *last = fixed > 0 ? &kind_path[fixed - 1] : kind_path;
    if (*last != '*' && *last != '+')
        return strcmp(kind_path, path) == 0;
    fixed--;
    if (strncmp(kind_path, path, fixed) != 0 || path[fixed] == '\0' || strchr(path + fixed, '/') != NULL)
        return false;
    if (*last == '*')
        *ret_cid = path + fixed;
    return true;
}

const struct record_kind *record_kind(const struct record_kinds *kinds, const char *key, const char **ret_name,
                                      size_t *ret_name_length, const char **ret_cid)
{
    *ret_cid = NULL;
    if (!text_starts(key, kinds->root))
        return NULL;
    const char *name = key + strlen(kinds->root), *slash = strchr(name, '/');
    if (slash == NULL || slash == name)
        return NULL;
    *ret_name = name;
    *ret_name_length = (size_t)(slash - name);
    for (size_t i = 0; i < kinds->count; i++)
        if (matches(kinds->kinds[i].path, slash + 1, ret_cid))
            return &kinds->kinds[i];
    return NULL;
}
