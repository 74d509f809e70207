/* sqlite.c: a fence for tables of an SQLite database, as a loadable extension (sqlite.org/loadext.html):
 *
 *     SELECT load_extension('/usr/local/lib/x86_64-linux-gnu/baton/baton-fence-sqlite');
 *     SELECT baton_guard('orders', 'db-writer');       once; it stays in the database
 *
 * or `baton fence guard sqlite:FILE orders db-writer`, which does the same.
 *
 * - baton_term(): the term of this process: $BATON_TERM, which `baton run` gives its command; or NULL.
 * - baton_term(election): the same, and an error if it is a term of another one, as $BATON_NAME says.
 * - baton_fence(election, term): refuse a term that is over, remember one that is new; 1.
 * - baton_install(): make the table of terms, if it is not there.
 * - baton_guard(table, election): from now on the table takes changes only from who has a term that is not over.
 * - baton_unguard(table): no more.
 * - baton_reset(election): forget its terms; 1, or 0 if there were none.
 *
 * A guarded table's triggers call baton_term(), so a program that has not loaded this cannot change it ("no such
 * function"). The check and the change are in one transaction, and SQLite has one writer at a time: a transaction that
 * began to read before another one wrote cannot write any more (SQLITE_BUSY_SNAPSHOT). So in the order in which
 * transactions commit, terms only grow. Readers are not affected.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* secure_getenv(3) */
#endif
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3ext.h>
SQLITE_EXTENSION_INIT1

#define VERSION "2"                 /* of what is in a database: FENCE_VERSION of src/fence/fence.h */
#define TERM_MAX 9007199254740991LL /* 2^53 - 1, baton's largest */

static const char terms_table[] = "CREATE TABLE IF NOT EXISTS baton_terms (election TEXT PRIMARY KEY NOT NULL, "
                                  "term INTEGER NOT NULL CHECK (term > 0)) WITHOUT ROWID";

/* %w is a quoted name, %Q a quoted text (sqlite.org/printf.html). */
static const char guard_trigger[] =
    "CREATE TRIGGER \"%w\" BEFORE %s ON \"%w\" BEGIN "
    "SELECT RAISE(ABORT, 'baton: this process has no term: start it with baton run') WHERE baton_term(%Q) IS NULL; "
    "INSERT INTO baton_terms (election, term) VALUES (%Q, baton_term()) "
    "ON CONFLICT (election) DO UPDATE SET term = excluded.term WHERE excluded.term > term; "
    "SELECT RAISE(ABORT, 'baton: the term of this process is over: it must stop writing') FROM baton_terms "
    "WHERE election = %Q AND term > baton_term(); END";

/* A table's guards. SQLite takes a trigger along when its table gets another name, but lets it keep its own; so what it
 * is on counts, not what it is called. (The name's letter case does not matter to SQLite.) */
static const char guards_of[] =
    "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name LIKE 'baton!_guard!_%%' "
    "ESCAPE '!' AND sql LIKE '%%baton!_terms%%' ESCAPE '!' AND lower(tbl_name) = lower(%Q)";

static const char *const changes[] = {"INSERT", "UPDATE", "DELETE"};

static void fail(sqlite3_context *context, const char *format, const char *text)
{
    char *words = sqlite3_mprintf(format, text);
    sqlite3_result_error(context, words, -1);
    sqlite3_free(words);
}

/* With the database's own code, by which a caller knows a lock or a right that is missing from a mistake. */
static void fail_as(sqlite3_context *context, sqlite3 *db)
{
    int code = sqlite3_extended_errcode(db);
    fail(context, "baton: %s", sqlite3_errmsg(db));
    if (code != SQLITE_OK && code != SQLITE_ROW && code != SQLITE_DONE)
        sqlite3_result_error_code(context, code);
}

static void baton_term(sqlite3_context *context, int count, sqlite3_value **values)
{
    const char *text = secure_getenv("BATON_TERM");
    char *end;
    errno = 0;
    long long term = text != NULL ? strtoll(text, &end, 10) : 0;
    if (text == NULL || text[0] == '\0')
        sqlite3_result_null(context);
    else if (*end != '\0' || errno != 0 || term < 1 || term > TERM_MAX)
        fail(context, "baton: BATON_TERM is '%s', which is no term", text);
    else
        sqlite3_result_int64(context, term);
}

/* Prepare it with these two values, and run it. *ret: its first column, if there is a row. */
static int run(sqlite3 *db, const char *sql, sqlite3_value *first, sqlite3_int64 second, sqlite3_int64 *ret)
{
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
        return SQLITE_ERROR;
    if (first != NULL)
        sqlite3_bind_value(statement, 1, first);
    if (first != NULL && sqlite3_bind_parameter_count(statement) > 1)
        sqlite3_bind_int64(statement, 2, second);
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW && ret != NULL)
        *ret = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

static void baton_term_of(sqlite3_context *context, int count, sqlite3_value **values)
{
    const char *election = (const char *)sqlite3_value_text(values[0]), *name = secure_getenv("BATON_NAME");
    if (name != NULL && name[0] == '\0') /* of a variable that was not set: whose term it is must be known */
        fail(context, "baton: %s is set, and empty; it names the election that the term is of", "BATON_NAME");
    else if (election != NULL && name != NULL && strcmp(election, name) != 0)
        fail(context, "baton: the term of this process is of another election: '%s'", name);
    else
        baton_term(context, 0, NULL);
}

static void baton_fence(sqlite3_context *context, int count, sqlite3_value **values)
{
    sqlite3 *db = sqlite3_context_db_handle(context);
    sqlite3_int64 term = sqlite3_value_int64(values[1]), newest = 0;
    if (sqlite3_value_type(values[1]) != SQLITE_INTEGER || term < 1 || term > TERM_MAX) {
        fail(context, "baton: '%s' is no term", (const char *)sqlite3_value_text(values[1]));
        return;
    }
    if (run(db, terms_table, NULL, 0, NULL) != SQLITE_OK ||
        run(db,
            "INSERT INTO baton_terms (election, term) VALUES (?1, ?2) ON CONFLICT (election) DO UPDATE "
            "SET term = excluded.term WHERE excluded.term > term",
            values[0], term, NULL) != SQLITE_OK ||
        run(db, "SELECT term FROM baton_terms WHERE election = ?1", values[0], 0, &newest) != SQLITE_OK)
        fail_as(context, db);
    else if (newest > term)
        fail(context, "baton: the term of %s is over: it must stop writing",
             (const char *)sqlite3_value_text(values[0]));
    else
        sqlite3_result_int(context, 1);
}

static int run_format(sqlite3 *db, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    char *sql = sqlite3_vmprintf(format, values);
    va_end(values);
    int code = sqlite3_exec(db, sql, NULL, NULL, NULL);
    sqlite3_free(sql);
    return code;
}

/* Its first column, which the caller frees; NULL: there is no row, or there was an error. */
static char *first_text(sqlite3 *db, const char *format, const char *value, int *code)
{
    char *sql = sqlite3_mprintf(format, value), *text = NULL;
    sqlite3_stmt *statement = NULL;
    *code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (*code == SQLITE_OK && (*code = sqlite3_step(statement)) == SQLITE_ROW)
        text = sqlite3_mprintf("%s", sqlite3_column_text(statement, 0));
    if (*code == SQLITE_ROW || *code == SQLITE_DONE)
        *code = SQLITE_OK;
    sqlite3_finalize(statement);
    sqlite3_free(sql);
    return text;
}

static int drop_triggers(sqlite3 *db, const char *table)
{
    int code;
    char *name;
    while ((name = first_text(db, guards_of, table, &code)) != NULL) {
        code = run_format(db, "DROP TRIGGER \"%w\"", name);
        sqlite3_free(name);
        if (code != SQLITE_OK)
            return code;
    }
    return code;
}

/* A name that no other table's trigger has: one whose table was given another name keeps it. */
static char *trigger_name(sqlite3 *db, const char *table, const char *change, int *code)
{
    for (int number = 0;; number++) {
        char *name = number == 0 ? sqlite3_mprintf("baton_guard_%s_%s", table, change)
                                 : sqlite3_mprintf("baton_guard_%s_%s_%d", table, change, number);
        char *taken = first_text(db, "SELECT name FROM sqlite_schema WHERE lower(name) = lower(%Q)", name, code);
        if (taken == NULL)
            return name;
        sqlite3_free(taken);
        sqlite3_free(name);
    }
}

static int create_triggers(sqlite3 *db, const char *table, const char *election)
{
    int code = SQLITE_OK;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]) && code == SQLITE_OK; i++) {
        char *name = trigger_name(db, table, changes[i], &code);
        if (code == SQLITE_OK)
            code = run_format(db, guard_trigger, name, changes[i], table, election, election, election);
        sqlite3_free(name);
    }
    return code;
}

/* Several statements as one: when one fails, none was. It may be within a transaction, or make one of its own. */
static int begin(sqlite3 *db)
{
    return sqlite3_exec(db, "SAVEPOINT baton", NULL, NULL, NULL);
}

/* The end of it, and of the function that did it. */
static void end(sqlite3_context *context, sqlite3 *db, int code)
{
    if (code == SQLITE_OK)
        code = sqlite3_exec(db, "RELEASE baton", NULL, NULL, NULL);
    if (code == SQLITE_OK) {
        sqlite3_result_int(context, 1);
        return;
    }
    fail_as(context, db);
    sqlite3_exec(db, "ROLLBACK TO baton; RELEASE baton", NULL, NULL, NULL);
}

static int make_tables(sqlite3 *db)
{
    int code = sqlite3_exec(db, terms_table, NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_exec(db, "DROP VIEW IF EXISTS baton_version", NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_exec(db, "CREATE VIEW baton_version AS SELECT " VERSION " AS version", NULL, NULL, NULL);
    return code;
}

static void baton_install(sqlite3_context *context, int count, sqlite3_value **values)
{
    sqlite3 *db = sqlite3_context_db_handle(context);
    int code = begin(db);
    if (code == SQLITE_OK)
        code = make_tables(db);
    end(context, db, code);
}

static void baton_guard(sqlite3_context *context, int count, sqlite3_value **values)
{
    sqlite3 *db = sqlite3_context_db_handle(context);
    const char *table = (const char *)sqlite3_value_text(values[0]);
    const char *election = (const char *)sqlite3_value_text(values[1]);
    if (table == NULL || election == NULL || election[0] == '\0') {
        fail(context, "baton: baton_guard(%s, election): both are needed", table != NULL ? table : "table");
        return;
    }
    int code = begin(db);
    if (code == SQLITE_OK)
        code = make_tables(db);
    if (code == SQLITE_OK)
        code = drop_triggers(db, table);
    if (code == SQLITE_OK)
        code = create_triggers(db, table, election);
    end(context, db, code);
}

static void baton_reset(sqlite3_context *context, int count, sqlite3_value **values)
{
    sqlite3 *db = sqlite3_context_db_handle(context);
    if (run(db, "DELETE FROM baton_terms WHERE election = ?1", values[0], 0, NULL) != SQLITE_OK)
        fail_as(context, db);
    else
        sqlite3_result_int(context, sqlite3_changes(db) > 0);
}

static void baton_unguard(sqlite3_context *context, int count, sqlite3_value **values)
{
    sqlite3 *db = sqlite3_context_db_handle(context);
    const char *table = (const char *)sqlite3_value_text(values[0]);
    if (table == NULL) {
        fail(context, "baton: %s", "there is no table");
        return;
    }
    int code = begin(db);
    if (code == SQLITE_OK)
        code = drop_triggers(db, table);
    end(context, db, code);
}

__attribute__((visibility("default"))) int sqlite3_extension_init(sqlite3 *db, char **error,
                                                                  const sqlite3_api_routines *api);

int sqlite3_extension_init(sqlite3 *db, char **error, const sqlite3_api_routines *api)
{
    SQLITE_EXTENSION_INIT2(api)
    static const struct {
        const char *name;
        int arguments, flags;
        void (*run)(sqlite3_context *context, int count, sqlite3_value **values);
    } functions[] = {
        /* A schema may call only what is known to be harmless (sqlite.org/src/doc/latest/doc/trusted-schema.md). */
        {"baton_term", 0, SQLITE_UTF8 | SQLITE_INNOCUOUS, baton_term},
        {"baton_term", 1, SQLITE_UTF8 | SQLITE_INNOCUOUS, baton_term_of},
        {"baton_fence", 2, SQLITE_UTF8 | SQLITE_DIRECTONLY, baton_fence},
        {"baton_install", 0, SQLITE_UTF8 | SQLITE_DIRECTONLY, baton_install},
        {"baton_guard", 2, SQLITE_UTF8 | SQLITE_DIRECTONLY, baton_guard},
        {"baton_unguard", 1, SQLITE_UTF8 | SQLITE_DIRECTONLY, baton_unguard},
        {"baton_reset", 1, SQLITE_UTF8 | SQLITE_DIRECTONLY, baton_reset},
    };
    (void)error;
    int code = SQLITE_OK;
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]) && code == SQLITE_OK; i++)
        code = sqlite3_create_function(db, functions[i].name, functions[i].arguments, functions[i].flags, NULL,
                                       functions[i].run, NULL, NULL);
    return code;
}
