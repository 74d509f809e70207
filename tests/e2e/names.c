/* names.c: a resolver for tests, to be put in front of libc's (LD_PRELOAD): "NAME ADDRESS..." a line, in $TEST_NAMES. A
 * name that is not there, and ends with ".test", cannot be looked up now. */
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int resolver(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **ret);

static int join(resolver *real, char *addresses, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret)
{
    struct addrinfo **end = ret;
    *ret = NULL;
    for (char *word = strtok(addresses, " \n"); word != NULL; word = strtok(NULL, " \n")) {
        int code = real(word, service, hints, end);
        if (code != 0)
            return code;
        end = &(*end)->ai_next;
    }
    return *ret != NULL ? 0 : EAI_AGAIN;
}

__attribute__((visibility("default"))) int getaddrinfo(const char *node, const char *service,
                                                       const struct addrinfo *hints, struct addrinfo **ret);

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **ret)
{
    resolver *real;
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo"); /* POSIX's own way to convert it */
    const char *path = getenv("TEST_NAMES");
    size_t length = node != NULL ? strlen(node) : 0;
    if (path == NULL || length < 5 || strcmp(node + length - 5, ".test") != 0)
        return real(node, service, hints, ret);
    if ((hints->ai_flags & AI_NUMERICHOST) != 0)
        return EAI_NONAME;
    char line[400];
    int code = EAI_AGAIN;
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, node, length) == 0 && line[length] == ' ')
            code = join(real, line + length, service, hints, ret);
    if (file != NULL)
        fclose(file);
    return code;
}
