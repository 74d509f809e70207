/* sqlite.c: the fence of an SQLite database. The fence itself is fence/sqlite.c, an extension that writers load; it is
 * compiled into this file, too. */
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "fence/fence.h"

struct sqlite3_api_routines;
int sqlite3_extension_init(sqlite3 *db, char **error, const struct sqlite3_api_routines *api);

struct sqlite_fence {
    struct fence fence;
    sqlite3 *db;
    char *description;
    sqlite3_int64 term; /* that baton_term() tells; 0: none */
};

static int fail(struct sqlite_fence *own, struct baton_error *err)
{
    enum baton_code code = BATON_SYSTEM;
    switch (sqlite3_errcode(own->db) & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        code = BATON_CONFLICT;
        break;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        code = BATON_DENIED;
        break;
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        code = BATON_CORRUPT;
        break;
    case SQLITE_FULL:
        code = BATON_FULL;
        break;
    default:
        break;
    }
    return error_set(err, code, "%s: %s", own->description, sqlite3_errmsg(own->db));
}

static void tell_term(sqlite3_context *context, int count, sqlite3_value **values)
{
    const struct sqlite_fence *own = sqlite3_user_data(context);
    (void)count;
    (void)values;
    if (own->term != 0)
        sqlite3_result_int64(context, own->term);
    else
        sqlite3_result_null(context);
}

static void sqlite_close(struct fence *fence)
{
    struct sqlite_fence *own = (struct sqlite_fence *)fence;
    sqlite3_close(own->db);
    free(own->description);
    free(own);
}

static int sqlite_open(const char *url, uint32_t limit_ms, struct fence **ret, struct baton_error *err)
{
    const char *path = url + strlen("sqlite:");
    if (path[0] == '\0')
        return error_set(err, BATON_INVALID, "sqlite: needs the path of a database, as in sqlite:/srv/app/data.db");
    if (access(path, F_OK) < 0)
        return errno == ENOENT ? error_set(err, BATON_NOT_FOUND, "there is no database %.300s", path)
                               : error_errno(err, errno, "%.300s", path);
    struct sqlite_fence *own = mem_new(sizeof(*own));
    own->description = mem_format("the SQLite database %.300s", path);
    int code = sqlite3_open_v2(path, &own->db, SQLITE_OPEN_READWRITE, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_busy_timeout(own->db, limit_ms < INT32_MAX ? (int)limit_ms : INT32_MAX);
    if (code == SQLITE_OK)
        code = sqlite3_extension_init(own->db, NULL, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_create_function(own->db, "baton_term", 0, SQLITE_UTF8 | SQLITE_INNOCUOUS, own, tell_term, NULL,
                                       NULL);
    if (code == SQLITE_OK)
        code = sqlite3_create_function(own->db, "baton_term", 1, SQLITE_UTF8 | SQLITE_INNOCUOUS, own, tell_term, NULL,
                                       NULL);
    if (code == SQLITE_OK) /* is it a database at all? */
        code = sqlite3_exec(own->db, "SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL);
    if (code == SQLITE_OK) {
        *ret = &own->fence;
        return 0;
    }
    if (fail(own, err) < 0)
        sqlite_close(&own->fence);
    return -1;
}

static const char *sqlite_describe(struct fence *fence)
{
    return ((struct sqlite_fence *)fence)->description;
}

/* A statement with up to two texts. NULL with err. */
static sqlite3_stmt *prepare(struct sqlite_fence *own, const char *sql, const char *first, const char *second,
                             struct baton_error *err)
{
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(own->db, sql, -1, &statement, NULL) != SQLITE_OK) {
        fail(own, err);
        return NULL;
    }
    if (first != NULL)
        sqlite3_bind_text(statement, 1, first, -1, SQLITE_TRANSIENT);
    if (second != NULL)
        sqlite3_bind_text(statement, 2, second, -1, SQLITE_TRANSIENT);
    return statement;
}

/* Its first column as a number; 0: there is no row. */
static int ask(struct sqlite_fence *own, const char *sql, const char *first, const char *second, sqlite3_int64 *ret,
               struct baton_error *err)
{
    sqlite3_stmt *statement = prepare(own, sql, first, second, err);
    if (statement == NULL)
        return -1;
    int code = sqlite3_step(statement), result = 0;
    if (ret != NULL)
        *ret = code == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        result = fail(own, err);
    sqlite3_finalize(statement);
    return result;
}

/* Version 1 had no view that tells it. */
static int sqlite_version(struct fence *fence, int *ret, struct baton_error *err)
{
    struct sqlite_fence *own = (struct sqlite_fence *)fence;
    static const char there[] = "SELECT count(*) FROM sqlite_schema WHERE name = ?1";
    sqlite3_int64 terms, told, version = 1;
    if (ask(own, there, "baton_terms", NULL, &terms, err) < 0 || ask(own, there, "baton_version", NULL, &told, err) < 0)
        return -1;
    if (told > 0 && ask(own, "SELECT version FROM baton_version", NULL, NULL, &version, err) < 0)
        return -1;
    *ret = terms > 0 ? (int)version : 0;
    return 0;
}

static int check_table(struct sqlite_fence *own, const char *table, struct baton_error *err)
{
    sqlite3_int64 there;
    if (ask(own, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND lower(name) = lower(?1)", table, NULL,
            &there, err) < 0)
        return -1;
    if (there == 0)
        return error_set(err, BATON_NOT_FOUND, "there is no table '%.100s' in %s", table, own->description);
    return 0;
}

static int sqlite_guard(struct fence *fence, const char *table, const char *election, struct baton_error *err)
{
    struct sqlite_fence *own = (struct sqlite_fence *)fence;
    if (check_table(own, table, err) < 0)
        return -1;
    return ask(own, "SELECT baton_guard(?1, ?2)", table, election, NULL, err);
}

/* The guarded tables: a trigger's text has its election in quotes, after VALUES. The table that the trigger is on
 * counts, not the trigger's name: a table that is renamed keeps its triggers, under their old names. */
static const char guarded[] =
    "SELECT name, election, (SELECT term FROM baton_terms AS known WHERE known.election = found.election) FROM "
    "(SELECT lower(tbl_name) AS lowered, max(replace(substr(sql, instr(sql, 'VALUES (''') + 9, "
    "instr(sql, ''', baton_term()') - instr(sql, 'VALUES (''') - 9), '''''', '''')) AS election "
    "FROM sqlite_schema WHERE type = 'trigger' AND name LIKE 'baton!_guard!_%' ESCAPE '!' AND "
    "sql LIKE '%baton!_terms%' ESCAPE '!' GROUP BY lowered) AS found "
    "JOIN sqlite_schema AS made ON made.type = 'table' AND lower(made.name) = lowered ORDER BY lowered";

static int sqlite_tables(struct fence *fence, struct fence_table **ret, size_t *ret_count, struct baton_error *err)
{
    struct sqlite_fence *own = (struct sqlite_fence *)fence;
    sqlite3_stmt *statement = prepare(own, guarded, NULL, NULL, err);
    if (statement == NULL)
        return -1;
    int code;
    *ret = NULL;
    *ret_count = 0;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        *ret = mem_grow(*ret, (*ret_count + 1) * sizeof(**ret));
        (*ret)[(*ret_count)++] = (struct fence_table){
            .table = mem_text((const char *)sqlite3_column_text(statement, 0)),
            .election = mem_text((const char *)sqlite3_column_text(statement, 1)),
            .term = (uint64_t)sqlite3_column_int64(statement, 2),
            .since = mem_text(""),
        };
    }
    sqlite3_finalize(statement);
    return code == SQLITE_DONE ? 0 : fail(own, err);
}

/* The guarded table of this name, or BATON_NOT_FOUND; the caller frees it. */
static int find_guard(struct sqlite_fence *own, const char *table, struct fence_table *ret, struct baton_error *err)
{
    struct fence_table *tables = NULL;
    size_t count = 0, found = SIZE_MAX;
    if (check_table(own, table, err) < 0 || sqlite_tables(&own->fence, &tables, &count, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (sqlite3_stricmp(tables[i].table, table) == 0)
            found = i;
    if (found == SIZE_MAX) {
        fence_tables_free(tables, count);
        return error_set(err, BATON_NOT_FOUND, "the table '%.100s' in %s is not guarded", table, own->description);
    }
    *ret = tables[found];
    tables[found] = (struct fence_table){0};
    fence_tables_free(tables, count);
    return 0;
}

static int sqlite_unguard(struct fence *fence, const char *table, struct baton_error *err)
{
    struct sqlite_fence *own = (struct sqlite_fence *)fence;
    struct fence_table guard = {0};
    if (find_guard(own, table, &guard, err) < 0)
        return -1;
    int result = ask(own, "SELECT baton_unguard(?1)", guard.table, NULL, NULL, err);
    free(guard.table);
    free(guard.election);
    free(guard.since);
    return result;
}

static int rollback_with(struct sqlite_fence *own, int result)
{
    sqlite3_exec(own->db, "ROLLBACK", NULL, NULL, NULL);
    return result;
}

/* The guards of an older version are made anew. */
static int sqlite_install(struct fence *fence, struct baton_error *err)
{
    struct sqlite_fence *own = (struct sqlite_fence *)fence;
    struct fence_table *tables = NULL;
    size_t count = 0;
    int version;
    if (sqlite_version(fence, &version, err) < 0 || ask(own, "BEGIN IMMEDIATE", NULL, NULL, NULL, err) < 0)
        return -1;
    int result = ask(own, "SELECT baton_install()", NULL, NULL, NULL, err);
    if (result == 0 && version != 0 && version < FENCE_VERSION)
        result = sqlite_tables(fence, &tables, &count, err);
    for (size_t i = 0; i < count && result == 0; i++)
        result = ask(own, "SELECT baton_guard(?1, ?2)", tables[i].table, tables[i].election, NULL, err);
    fence_tables_free(tables, count);
    if (result == 0)
        result = ask(own, "COMMIT", NULL, NULL, NULL, err);
    return result == 0 ? 0 : rollback_with(own, -1);
}

static int sqlite_reset(struct fence *fence, const char *election, bool *ret_known, struct baton_error *err)
{
    sqlite3_int64 known;
    if (ask((struct sqlite_fence *)fence, "SELECT baton_reset(?1)", election, NULL, &known, err) < 0)
        return -1;
    *ret_known = known != 0;
    return 0;
}

static int sqlite_remove(struct fence *fence, struct baton_error *err)
{
    struct sqlite_fence *own = (struct sqlite_fence *)fence;
    struct fence_table *tables = NULL;
    size_t count = 0;
    if (ask(own, "BEGIN IMMEDIATE", NULL, NULL, NULL, err) < 0)
        return -1;
    if (sqlite_tables(fence, &tables, &count, err) < 0)
        return rollback_with(own, -1);
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++)
        result = ask(own, "SELECT baton_unguard(?1)", tables[i].table, NULL, NULL, err);
    fence_tables_free(tables, count);
    if (result == 0)
        result = ask(own, "DROP VIEW IF EXISTS baton_version", NULL, NULL, NULL, err);
    if (result == 0)
        result = ask(own, "DROP TABLE baton_terms", NULL, NULL, NULL, err);
    if (result == 0)
        result = ask(own, "COMMIT", NULL, NULL, NULL, err);
    return result == 0 ? 0 : rollback_with(own, -1);
}

/* Does the guard let a row in? A table may have other reasons to refuse an empty one; they come after the guard. */
static bool passes(struct sqlite_fence *own, const char *insert, sqlite3_int64 term, char words[BATON_ERROR_TEXT])
{
    own->term = term;
    int code = sqlite3_exec(own->db, insert, NULL, NULL, NULL);
    text_copy(words, BATON_ERROR_TEXT, code == SQLITE_OK ? "" : sqlite3_errmsg(own->db));
    return !text_starts(words, "baton: ");
}

static int sqlite_test(struct fence *fence, const char *table, struct fence_proof ret[FENCE_PROOFS_MAX],
                       size_t *ret_count, struct baton_error *err)
{
    struct sqlite_fence *own = (struct sqlite_fence *)fence;
    struct fence_table guard = {0};
    char words[BATON_ERROR_TEXT];
    if (find_guard(own, table, &guard, err) < 0)
        return -1;
    char *insert = sqlite3_mprintf("INSERT INTO \"%w\" DEFAULT VALUES", guard.table);
    sqlite3_int64 newest = (sqlite3_int64)guard.term + 2;
    char number[24];
    snprintf(number, sizeof(number), "%lld", (long long)newest);
    int result = ask(own, "BEGIN IMMEDIATE", NULL, NULL, NULL, err);
    if (result == 0) {
        /* The table itself may refuse the first row: then that has not left its term. */
        result = ask(own, "SELECT baton_fence(?1, CAST(?2 AS INTEGER))", guard.election, number, NULL, err);
        ret[0] = (struct fence_proof){.is_whole = true, .newest_passes = passes(own, insert, newest, words)};
        ret[0].older_is_refused = !passes(own, insert, newest - 1, ret[0].words);
        ret[0].no_term_is_refused = !passes(own, insert, 0, words);
        *ret_count = 1;
        (void)rollback_with(own, 0);
    }
    sqlite3_free(insert);
    free(guard.table);
    free(guard.election);
    free(guard.since);
    return result;
}

const struct fence_ops fence_sqlite = {
    .abi = FENCE_ABI,
    .open = sqlite_open,
    .close = sqlite_close,
    .describe = sqlite_describe,
    .version = sqlite_version,
    .install = sqlite_install,
    .remove = sqlite_remove,
    .guard = sqlite_guard,
    .unguard = sqlite_unguard,
    .reset = sqlite_reset,
    .tables = sqlite_tables,
    .test = sqlite_test,
};
