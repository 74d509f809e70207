/* fence.c: which kind of database a URL means. PostgreSQL's is loaded when it is needed, so that its client library
 * need not be there for others. */
#include "fence/fence.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"

#define POSTGRESQL_FILE "baton-fence-postgresql.so"

/* Beside this program where it was built, or where it is installed; else where it was to be installed. */
static char *find_postgresql(void)
{
    static const char *const beside[] = {"src/fence/" POSTGRESQL_FILE, BATON_FENCE_FROM_BIN "/" POSTGRESQL_FILE};
    char program[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
    program[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(program, '/');
    for (size_t i = 0; slash != NULL && i < COUNT_OF(beside); i++) {
        char *path = mem_format("%.*s/%s", (int)(slash - program), program, beside[i]);
        if (access(path, F_OK) == 0)
            return path;
        free(path);
    }
    return mem_text(BATON_FENCE_FOLDER "/" POSTGRESQL_FILE);
}

static const struct fence_ops *load_postgresql(struct baton_error *err)
{
    char *path = find_postgresql();
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const struct fence_ops *ops = library != NULL ? dlsym(library, "fence_postgresql") : NULL;
    if (library == NULL) {
        error_set(err, BATON_UNSUPPORTED, "the part for PostgreSQL cannot be loaded: %.400s; is libpq5 installed?",
                  dlerror());
    } else if (ops == NULL || ops->abi != FENCE_ABI) {
        error_set(err, BATON_UNSUPPORTED, "%.300s is not of this version of baton", path);
        ops = NULL;
        dlclose(library);
    }
    free(path);
    return ops;
}

int fence_open(const char *url, uint32_t limit_ms, struct fence **ret, struct baton_error *err)
{
    const struct fence_ops *ops = NULL;
    if (text_starts(url, "sqlite:"))
        ops = &fence_sqlite;
    else if (!text_starts(url, "postgresql://") && !text_starts(url, "postgres://"))
        return error_set(err, BATON_INVALID,
                         "a fence is for postgresql://[USER@]HOST/DATABASE or sqlite:PATH; this URL begins otherwise");
    else if ((ops = load_postgresql(err)) == NULL)
        return -1;
    if (ops->open(url, limit_ms, ret, err) < 0)
        return -1;
    (*ret)->ops = ops;
    return 0;
}

void fence_close(struct fence *fence)
{
    if (fence != NULL)
        fence->ops->close(fence);
}

int fence_check_installed(struct fence *fence, struct baton_error *err)
{
    int version;
    if (fence->ops->version(fence, &version, err) < 0)
        return -1;
    if (version == 0)
        return error_set(err, BATON_NOT_FOUND, "there is no fence in %s; baton fence install puts one up",
                         fence->ops->describe(fence));
    if (version > FENCE_VERSION)
        return error_set(err, BATON_NEWER,
                         "the fence in %s is of version %d, of a newer baton; this one knows version %d",
                         fence->ops->describe(fence), version, FENCE_VERSION);
    if (version < FENCE_VERSION)
        return error_set(err, BATON_CONFLICT,
                         "the fence in %s is of version %d; baton fence install makes it version %d",
                         fence->ops->describe(fence), version, FENCE_VERSION);
    return 0;
}

void fence_tables_free(struct fence_table *tables, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(tables[i].table);
        free(tables[i].election);
        free(tables[i].since);
    }
    free(tables);
}
