/* beside.c: see beside.h. */
#include "base/beside.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"

char *file_beside(const char *installed, const char *built, const char *otherwise)
{
    static const char here; /* an address of this file */
    const char *names[] = {installed, built}, *slash;
    Dl_info self;
    if (dladdr(&here, &self) == 0 || (slash = strrchr(self.dli_fname, '/')) == NULL)
        return mem_text(otherwise);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char *path = mem_format("%.*s/%s", (int)(slash - self.dli_fname), self.dli_fname, names[i]);
        if (access(path, F_OK) == 0)
            return path;
        free(path);
    }
    return mem_text(otherwise);
}
