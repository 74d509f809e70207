/* engine.c: finds an engine by its URL. A built-in engine is one line of `built_in`; a loaded one needs none. */
#include "engine/engine.h"

#include <ctype.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/beside.h"
#include "base/environment.h"
#include "base/url.h"
#include "engine/faults.h"
#include "engine/memory/memory.h"
#include "engine/trace.h"

static const struct baton_engine_ops *const built_in[] = {&engine_local, &engine_memory};

#define SCHEME_MAX 32

static const struct {
    const char *scheme, *from;
} known[] = {{"etcd", "it is built where libcurl and protobuf-c are: -Detcd=enabled"}};

/* The file to load, which may not be there. The caller frees it. */
static char *find_file(const char *scheme)
{
    const char *folder = environment_get("BATON_ENGINE_DIR");
    if (folder != NULL && folder[0] != '\0')
        return mem_format("%s/libbaton-%s.so", folder, scheme);
    char *installed = mem_format("baton/libbaton-%s.so", scheme);
    char *built = mem_format("../engine/%s/libbaton-%s.so", scheme, scheme);
    char *configured = mem_format("%s/libbaton-%s.so", BATON_ENGINE_FOLDER, scheme);
    char *path = file_beside(installed, built, configured);
    free(installed);
    free(built);
    free(configured);
    return path;
}

static void tell_missing(const char *scheme, const char *path, struct baton_error *err)
{
    const char *from = "this baton knows: local, etcd";
    for (size_t i = 0; i < COUNT_OF(known); i++)
        if (strcmp(known[i].scheme, scheme) == 0)
            from = known[i].from;
    if (access(path, F_OK) == 0)
        error_set(err, BATON_UNSUPPORTED, "the engine '%s' cannot be loaded: %.300s", scheme, dlerror());
    else
        error_set(err, BATON_UNSUPPORTED, "there is no engine '%s' (no file %.200s); %s", scheme, path, from);
}

static const struct baton_engine_ops *load(const char *scheme, struct baton_error *err)
{
    char *path = find_file(scheme);
    char symbol[SCHEME_MAX + 16];
    const struct baton_engine_ops *ops = NULL;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        tell_missing(scheme, path, err);
        goto out;
    }
    snprintf(symbol, sizeof(symbol), "baton_engine_%s", scheme);
    for (char *dash; (dash = strchr(symbol, '-')) != NULL;)
        *dash = '_';
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
        legal = islower((unsigned char)url[i]) || (i > 0 && (isdigit((unsigned char)url[i]) || url[i] == '-'));
    if (!legal) {
        char shown[URL_SHOWN_MAX];
        error_set(err, BATON_INVALID,
                  "URL '%s' is not legal: it must begin with an engine and a colon, as in local:/var/lib/baton",
                  url_shown(url, shown));
        return NULL;
    }
    char scheme[SCHEME_MAX];
    const struct baton_engine_ops *ops = NULL;
    memcpy(scheme, url, length);
    scheme[length] = '\0';
    for (size_t i = 0; i < COUNT_OF(built_in); i++)
        if (strcmp(built_in[i]->scheme, scheme) == 0)
            ops = built_in[i];
    if (ops == NULL)
        ops = load(scheme, err);
    /* A trace shows what the owner sees: with the faults. */
    return ops != NULL && faults_maybe(&ops, err) == 0 && trace_maybe(&ops, err) == 0 ? ops : NULL;
}
