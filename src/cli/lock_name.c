/* lock_name.c: see lock_name.h. */
#include "cli/lock_name.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

/* The path, which has a slash, without links, to be freed; NULL with errno. */
static char *resolve(const char *path)
{
    char *whole = realpath(path, NULL);
    const char *slash = strrchr(path, '/');
    if (whole != NULL || errno != ENOENT || slash == NULL || slash[1] == '\0')
        return whole;
    /* There is no such file. flock(1) would make it; here its folder is enough. */
    char *folder = mem_format("%.*s/", (int)(slash - path), path), *there = realpath(folder, NULL);
    int error = errno;
    whole = there != NULL ? mem_format("%s%s", strcmp(there, "/") == 0 ? "" : there, slash) : NULL;
    free(there);
    free(folder);
    errno = error;
    return whole;
}

int lock_name_of_path(const char *path, char name[BATON_NAME_MAX + 1], struct baton_error *err)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-@";
    char *with_slash = strchr(path, '/') != NULL ? mem_text(path) : mem_format("./%s", path),
         *whole = resolve(with_slash);
    int error = errno;
    free(with_slash);
    if (whole == NULL)
        return error_errno(err, error, "the lock's file '%.200s'", path);
    size_t used = (size_t)snprintf(name, BATON_NAME_MAX + 1, "file");
    for (const char *at = whole; *at != '\0' && used <= BATON_NAME_MAX; at++) {
        char text[4] = {*at};
        if (*at == '/')
            text[0] = ':';
        else if (strchr(plain, *at) == NULL)
            snprintf(text, sizeof(text), "+%02X", (unsigned)(unsigned char)*at);
        used += (size_t)snprintf(name + used, BATON_NAME_MAX + 1 - used, "%s", text);
    }
    free(whole);
    if (used > BATON_NAME_MAX)
        return error_set(err, BATON_INVALID,
                         "the path '%.200s' is too long for the name of a lock (%d bytes): choose a name without a "
                         "slash",
                         path, BATON_NAME_MAX);
    return 0;
}
