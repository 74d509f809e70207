/* engine.c: the registry of engines. A new engine that is built in is one line here; one that is loaded is none. */
#include "engine/engine.h"

#include <ctype.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "engine/memory/memory.h"

static const struct baton_engine_ops *const built_in[] = {&engine_local, &engine_memory};

#define SCHEME_MAX 32

static const struct baton_engine_ops *load(const char *scheme, const char *url, struct baton_error *err)
{
    const char *folder = getenv("BATON_ENGINE_DIR");
    char *path = mem_format("%s/libbaton-%s.so", folder != NULL ? folder : BATON_ENGINE_FOLDER, scheme);
    const struct baton_engine_ops *ops = NULL;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        error_set(err, BATON_UNSUPPORTED,
                  "URL '%.100s': there is no engine '%s' (%s cannot be loaded); this baton has: local, memory", url,
                  scheme, path);
        goto out;
    }
    char symbol[SCHEME_MAX + 16];
    snprintf(symbol, sizeof(symbol), "baton_engine_%s", scheme);
    ops = dlsym(library, symbol);
    if (ops == NULL || ops->abi != BATON_ENGINE_ABI) {
        error_set(err, BATON_UNSUPPORTED, "%s is not an engine of this version of baton (it needs %s with ABI %d)",
                  path, symbol, BATON_ENGINE_ABI);
        ops = NULL;
        dlclose(library);
    }
out:
    free(path);
    return ops;
}

const struct baton_engine_ops *engine_find(const char *url, struct baton_error *err)
{
    const char *colon = strchr(url, ':');
    size_t length = colon != NULL ? (size_t)(colon - url) : 0;
    bool legal = length > 0 && length < SCHEME_MAX;
    for (size_t i = 0; legal && i < length; i++)
        legal = islower((unsigned char)url[i]) || (i > 0 && isdigit((unsigned char)url[i]));
    if (!legal) {
        error_set(err, BATON_INVALID,
                  "URL '%.200s' is not legal: it must begin with an engine and a colon, as in local:/var/lib/baton",
                  url);
        return NULL;
    }
    char scheme[SCHEME_MAX];
    memcpy(scheme, url, length);
    scheme[length] = '\0';
    for (size_t i = 0; i < COUNT_OF(built_in); i++)
        if (strcmp(built_in[i]->scheme, scheme) == 0)
            return built_in[i];
    return load(scheme, url, err);
}
