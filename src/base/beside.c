/* beside.c: see beside.h. */
#include "base/beside.h"

#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/environment.h"

/* The file that holds this code. Of a program itself the loader knows only the name that its caller gave it, which one
 * with more rights than its caller does not believe. NULL: it is not known. */
static const char *this_file(void)
{
    static const char here; /* an address of this file */
    struct link_map *loaded;
    Dl_info self;
    if (dladdr1(&here, &self, (void **)&loaded, RTLD_DL_LINKMAP) == 0)
        return NULL;
    if (loaded->l_name[0] != '\0')
        return loaded->l_name;
    return environment_is_believed() ? self.dli_fname : NULL;
}

char *file_beside(const char *installed, const char *built, const char *otherwise)
{
    const char *names[] = {installed, built}, *file = this_file(), *slash = file != NULL ? strrchr(file, '/') : NULL;
    if (slash == NULL)
        return mem_text(otherwise);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char *path = mem_format("%.*s/%s", (int)(slash - file), file, names[i]);
        if (access(path, F_OK) == 0)
            return path;
        free(path);
    }
    return mem_text(otherwise);
}
