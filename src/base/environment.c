/* environment.c: see environment.h. */
#include "base/environment.h"

#include <stdlib.h>
#include <sys/auxv.h>
#include <unistd.h>

bool environment_is_believed(void)
{
    return getauxval(AT_SECURE) == 0;
}

const char *environment_get(const char *name)
{
    return environment_is_believed() ? getenv(name) : NULL;
}

char *const *environment_all(void)
{
    static char *const none[] = {NULL};
    return environment_is_believed() ? environ : none;
}
