/* engine.c: the built-in engines by name, the others by file. */
#include "engine/engine.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"

#ifndef BATON_ENGINE_DIR
#error "the build says where engines are installed"
#endif

extern const struct baton_engine_ops baton_engine_local, baton_engine_memory;

static const struct baton_engine_ops *const built_in[] = {&baton_engine_local, &baton_engine_memory};

static const char *engine_dir(void)
{
    /* A setuid program must not load what its caller names: secure_getenv(3). */
    const char *dir = secure_getenv("BATON_ENGINE_DIR");
    return dir != NULL && *dir != '\0' ? dir : BATON_ENGINE_DIR;
}

/* RFC 3986, section 3.1: a letter, then letters, digits, '+', '-', '.'; lower case here, and no '.' and '+', since it
 * becomes part of a file's name and of a symbol. */
static bool scheme_of(const char *url, char scheme[ENGINE_SCHEME_MAX + 1], struct baton_error *err)
{
    size_t n = strspn(url, "abcdefghijklmnopqrstuvwxyz0123456789-");
    if (url[0] < 'a' || url[0] > 'z' || url[n] != ':' || n > ENGINE_SCHEME_MAX) {
        error_set(err, BATON_INVALID,
                  "the URL \"%.200s\" does not begin with the name of an engine and a colon; try local: or "
                  "local:/var/lib/baton/NAME",
                  url);
        return false;
    }
    memcpy(scheme, url, n);
    scheme[n] = '\0';
    return true;
}

/* " local memory etcd": what can be used here. */
static void list_known(char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < COUNT_OF(built_in); i++)
        used += (size_t)snprintf(text + used, size - used, " %s", built_in[i]->scheme);
    DIR *dir = opendir(engine_dir());
    if (dir == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char scheme[ENGINE_SCHEME_MAX + 1];
        int length = 0;
        if (sscanf(entry->d_name, "libbaton-%32[a-z0-9-].so%n", scheme, &length) == 1 && length > 0 &&
            entry->d_name[length] == '\0' && used + strlen(scheme) + 2 < size)
            used += (size_t)snprintf(text + used, size - used, " %s", scheme);
    }
    closedir(dir);
}

static const struct baton_engine_ops *load(const char *scheme, struct baton_error *err)
{
    char path[4096], symbol[ENGINE_SCHEME_MAX + 16], known[200];
    if ((size_t)snprintf(path, sizeof(path), "%s/libbaton-%s.so", engine_dir(), scheme) >= sizeof(path)) {
        error_set(err, BATON_INVALID, "the directory of engines has too long a name; see BATON_ENGINE_DIR");
        return NULL;
    }
    if (access(path, F_OK) < 0) {
        list_known(known, sizeof(known));
        error_set(err, BATON_UNSUPPORTED, "there is no engine \"%s\" (no %s); there are:%s", scheme, path, known);
        return NULL;
    }
    /* Never closed: an engine may have threads and handlers of its libraries. */
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (library == NULL) {
        error_set(err, BATON_UNSUPPORTED, "the engine \"%s\" cannot be loaded: %s", scheme, dlerror());
        return NULL;
    }
    snprintf(symbol, sizeof(symbol), "baton_engine_%s", scheme);
    for (char *c = symbol; *c != '\0'; c++)
        if (*c == '-')
            *c = '_';
    const struct baton_engine_ops *ops = dlsym(library, symbol);
    if (ops == NULL) {
        error_set(err, BATON_UNSUPPORTED, "%s is not an engine of baton: it has no %s", path, symbol);
        return NULL;
    }
    if (ops->abi != BATON_ENGINE_ABI) {
        error_set(err, BATON_UNSUPPORTED, "%s is built for interface %u, this baton has %d; install the two together",
                  path, ops->abi, BATON_ENGINE_ABI);
        return NULL;
    }
    if (ops->scheme == NULL || strcmp(ops->scheme, scheme) != 0) {
        error_set(err, BATON_UNSUPPORTED, "%s is the engine \"%s\", not \"%s\"", path,
                  ops->scheme == NULL ? "" : ops->scheme, scheme);
        return NULL;
    }
    return ops;
}

const struct baton_engine_ops *engine_find(const char *url, struct baton_error *err)
{
    char scheme[ENGINE_SCHEME_MAX + 1];
    if (!scheme_of(url, scheme, err))
        return NULL;
    for (size_t i = 0; i < COUNT_OF(built_in); i++)
        if (strcmp(scheme, built_in[i]->scheme) == 0)
            return built_in[i];
    return load(scheme, err);
}
