/* postgresql.c: the fence of a PostgreSQL database. The fence itself is fence/postgresql.sql, which is compiled into
 * this file. */
#include <inttypes.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/clock.h"
#include "fence/fence.h"
#include "fence/postgresql_sql.h"

struct postgresql_fence {
    struct fence fence;
    PGconn *connection;
    char *description;
};

/* ---- errors ---- */

/* By the class of its SQLSTATE (PostgreSQL's documentation, appendix A). */
static enum baton_code code_of(const char *state)
{
    static const struct {
        const char *begins;
        enum baton_code code;
    } codes[] = {
        {"42501", BATON_DENIED},    {"28", BATON_DENIED},      {"25006", BATON_DENIED}, /* read only */
        {"42P01", BATON_NOT_FOUND}, {"3D", BATON_NOT_FOUND},   {"3F", BATON_NOT_FOUND},
        {"57014", BATON_TIMEOUT},   {"55P03", BATON_TIMEOUT},  {"40", BATON_CONFLICT},
        {"2BP01", BATON_CONFLICT},  {"BT005", BATON_CONFLICT}, {"53300", BATON_UNAVAILABLE}, /* too many clients */
        {"53", BATON_FULL},         {"08", BATON_UNAVAILABLE}, {"57P", BATON_UNAVAILABLE}};
    for (size_t i = 0; state != NULL && i < COUNT_OF(codes); i++)
        if (text_starts(state, codes[i].begins))
            return codes[i].code;
    return state == NULL ? BATON_UNAVAILABLE : BATON_SYSTEM;
}

/* libpq ends its words with a newline, and has several lines at times. */
static void one_line(char *to, size_t size, const char *from)
{
    text_copy(to, size, from);
    for (char *end = to + strlen(to); end > to && end[-1] == '\n';)
        *--end = '\0';
    for (char *c = to; *c != '\0'; c++)
        if (*c == '\n' || *c == '\t')
            *c = ' ';
}

static int fail(struct postgresql_fence *own, const PGresult *result, struct baton_error *err)
{
    char words[600];
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    one_line(words, sizeof(words), primary != NULL ? primary : PQerrorMessage(own->connection));
    size_t used = strlen(words);
    if (detail != NULL)
        snprintf(words + used, sizeof(words) - used, " (%.200s)", detail);
    return error_set(err, code_of(state), "%s: %s%s%s", own->description, words, state != NULL ? ", SQLSTATE " : "",
                     state != NULL ? state : "");
}

/* ---- statements ---- */

/* With up to two texts. NULL with err. */
static PGresult *query(struct postgresql_fence *own, const char *sql, const char *first, const char *second,
                       struct baton_error *err)
{
    const char *values[] = {first, second};
    int count = (first != NULL) + (second != NULL);
    PGresult *result = PQexecParams(own->connection, sql, count, NULL, values, NULL, NULL, 0);
    if (PQresultStatus(result) == PGRES_TUPLES_OK || PQresultStatus(result) == PGRES_COMMAND_OK)
        return result;
    fail(own, result, err);
    PQclear(result);
    return NULL;
}

static int run(struct postgresql_fence *own, const char *sql, const char *first, const char *second,
               struct baton_error *err)
{
    PGresult *result = query(own, sql, first, second, err);
    PQclear(result);
    return result != NULL ? 0 : -1;
}

/* Several statements at once, without parameters. */
static int run_script(struct postgresql_fence *own, const char *sql, struct baton_error *err)
{
    PGresult *result = PQexec(own->connection, sql);
    bool good = PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK;
    if (!good)
        fail(own, result, err);
    PQclear(result);
    if (!good) /* it was in a transaction of its own */
        PQclear(PQexec(own->connection, "ROLLBACK"));
    return good ? 0 : -1;
}

/* ---- open and close ---- */

static void postgresql_close(struct fence *fence)
{
    struct postgresql_fence *own = (struct postgresql_fence *)fence;
    PQfinish(own->connection);
    free(own->description);
    free(own);
}

static void quiet(void *context, const char *message)
{
    (void)context; /* "skipping": what is there already need not be told */
    (void)message;
}

/* The seconds that the URL gives a connection, or else we. */
static int64_t connect_limit_ms(PGconn *connection)
{
    int64_t limit_ms = 0;
    PQconninfoOption *options = PQconninfo(connection);
    for (const PQconninfoOption *at = options; at != NULL && at->keyword != NULL; at++)
        if (strcmp(at->keyword, "connect_timeout") == 0 && at->val != NULL)
            limit_ms = 1000 * (int64_t)atoi(at->val);
    PQconninfoFree(options);
    return limit_ms;
}

/* False: it came to nothing. *ret_late: within its time. */
static bool wait_connected(PGconn *connection, bool *ret_late)
{
    int64_t limit_ms = connect_limit_ms(connection), until_ms = clock_now_ms() + limit_ms;
    PostgresPollingStatusType state =
        PQstatus(connection) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;
    *ret_late = false;
    while (state == PGRES_POLLING_READING || state == PGRES_POLLING_WRITING) {
        struct pollfd ready = {.fd = PQsocket(connection), .events = state == PGRES_POLLING_READING ? POLLIN : POLLOUT};
        int64_t left_ms = limit_ms > 0 ? until_ms - clock_now_ms() : -1; /* 0: no limit */
        *ret_late = limit_ms > 0 && left_ms <= 0;
        if (*ret_late)
            return false;
        if (poll(&ready, 1, (int)left_ms) > 0)
            state = PQconnectPoll(connection);
    }
    return state == PGRES_POLLING_OK;
}

/* libpq has no field for the SQLSTATE of a refused connection, but its verbose words have it before the server's own,
 * which may be in any language: "FATAL:  28P01: ...". It is taken out of them; NULL: there is none. */
static const char *take_state(char *words, char state[6])
{
    for (char *at = strstr(words, ":  "); at != NULL; at = strstr(at + 1, ":  ")) {
        char *code = at + 3, *location = strstr(code, " LOCATION:  ");
        if (strspn(code, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 5 || strncmp(code + 5, ": ", 2) != 0)
            continue;
        text_copy(state, 6, code);
        if (location != NULL)
            *location = '\0';
        memmove(code, code + 7, strlen(code + 7) + 1);
        return state;
    }
    return NULL;
}

static int not_connected(PGconn *connection, bool late, struct baton_error *err)
{
    char words[600], text[6];
    one_line(words, sizeof(words), PQerrorMessage(connection));
    if (late)
        return error_set(err, BATON_UNAVAILABLE, "PostgreSQL: %s did not answer in time",
                         PQhost(connection) != NULL ? PQhost(connection) : "the server");
    const char *state = take_state(words, text);
    enum baton_code code = PQconnectionNeedsPassword(connection) ? BATON_DENIED : code_of(state);
    return error_set(err, code, "PostgreSQL: %s%s%s", words, state != NULL ? ", SQLSTATE " : "",
                     state != NULL ? state : "");
}

static int check_url(const char *url, struct baton_error *err)
{
    char *words = NULL, line[500];
    PQconninfoOption *options = PQconninfoParse(url, &words);
    if (options == NULL) {
        one_line(line, sizeof(line), words != NULL ? words : "it cannot be read");
        PQfreemem(words);
        return error_set(err, BATON_INVALID, "PostgreSQL: %s", line);
    }
    PQconninfoFree(options);
    return 0;
}

static int postgresql_open(const char *url, uint32_t limit_ms, struct fence **ret, struct baton_error *err)
{
    char seconds[24], limits[128];
    bool late;
    if (check_url(url, err) < 0)
        return -1;
    struct postgresql_fence *own = mem_new(sizeof(*own));
    snprintf(seconds, sizeof(seconds), "%" PRIu32, limit_ms / 1000 + 1);
    /* The URL comes last, so its parameters win. */
    const char *const names[] = {"connect_timeout", "application_name", "dbname", NULL};
    const char *const values[] = {seconds, "baton fence", url, NULL};
    own->connection = PQconnectStartParams(names, values, 1);
    PQsetErrorVerbosity(own->connection, PQERRORS_VERBOSE);
    if (!wait_connected(own->connection, &late)) {
        not_connected(own->connection, late, err);
        postgresql_close(&own->fence);
        return -1;
    }
    PQsetErrorVerbosity(own->connection, PQERRORS_DEFAULT);
    PQsetNoticeProcessor(own->connection, quiet, NULL);
    own->description =
        mem_format("PostgreSQL's database %.100s on %.200s", PQdb(own->connection), PQhost(own->connection));
    snprintf(limits, sizeof(limits), "SET statement_timeout = %" PRIu32 "; SET lock_timeout = %" PRIu32, limit_ms,
             limit_ms);
    if (run_script(own, limits, err) < 0) {
        postgresql_close(&own->fence);
        return -1;
    }
    *ret = &own->fence;
    return 0;
}

static const char *postgresql_describe(struct fence *fence)
{
    return ((struct postgresql_fence *)fence)->description;
}

/* ---- install and remove ---- */

static int postgresql_version(struct fence *fence, int *ret, struct baton_error *err)
{
    struct postgresql_fence *own = (struct postgresql_fence *)fence;
    PGresult *result = query(own, "SELECT to_regproc('baton.version') IS NOT NULL", NULL, NULL, err);
    if (result == NULL)
        return -1;
    bool there = strcmp(PQgetvalue(result, 0, 0), "t") == 0;
    PQclear(result);
    *ret = 0;
    if (!there)
        return 0;
    result = query(own, "SELECT baton.version()", NULL, NULL, err);
    if (result == NULL)
        return -1;
    *ret = atoi(PQgetvalue(result, 0, 0)); // NOLINT(cert-err34-c): an integer, as the database says
    PQclear(result);
    return 0;
}

static int postgresql_install(struct fence *fence, struct baton_error *err)
{
    return run_script((struct postgresql_fence *)fence, postgresql_sql, err);
}

static int postgresql_remove(struct fence *fence, struct baton_error *err)
{
    return run_script(
        (struct postgresql_fence *)fence,
        "BEGIN; SELECT baton.unguard(guarded) FROM baton.status WHERE NOT EXISTS (SELECT FROM pg_inherits "
        "JOIN pg_trigger ON tgrelid = inhparent WHERE inhrelid = guarded AND tgname = 'baton_guard'); "
        "DROP VIEW baton.status; "
        "DROP FUNCTION baton.guard(regclass, text), baton.unguard(regclass), baton.holes(regclass), "
        "baton.is_reached_from_above(regclass), baton.below(regclass), baton.check_change(), "
        "baton.reset(text), baton.fence(text), baton.fence(text, bigint), baton.version(); "
        "DROP TABLE baton.terms; DROP FUNCTION IF EXISTS baton.term_changed(); "
        "DROP SEQUENCE IF EXISTS baton.changes; DROP SCHEMA baton; COMMIT",
        err);
}

/* ---- guards ---- */

static int postgresql_guard(struct fence *fence, const char *table, const char *election, struct baton_error *err)
{
    return run((struct postgresql_fence *)fence, "SELECT baton.guard($1::regclass, $2)", table, election, err);
}

static int check_guarded(struct postgresql_fence *own, const char *table, struct baton_error *err)
{
    PGresult *result = query(own, "SELECT FROM baton.status WHERE guarded = $1::regclass", table, NULL, err);
    if (result == NULL)
        return -1;
    int rows = PQntuples(result);
    PQclear(result);
    if (rows == 0)
        return error_set(err, BATON_NOT_FOUND, "the table '%.100s' in %s is not guarded", table, own->description);
    return 0;
}

static int postgresql_unguard(struct fence *fence, const char *table, struct baton_error *err)
{
    struct postgresql_fence *own = (struct postgresql_fence *)fence;
    if (check_guarded(own, table, err) < 0)
        return -1;
    return run(own, "SELECT baton.unguard($1::regclass)", table, NULL, err);
}

static int postgresql_reset(struct fence *fence, const char *election, bool *ret_known, struct baton_error *err)
{
    struct postgresql_fence *own = (struct postgresql_fence *)fence;
    PGresult *result = query(own, "SELECT baton.reset($1)", election, NULL, err);
    if (result == NULL)
        return -1;
    *ret_known = strcmp(PQgetvalue(result, 0, 0), "t") == 0;
    PQclear(result);
    return 0;
}

static int postgresql_tables(struct fence *fence, struct fence_table **ret, size_t *ret_count, struct baton_error *err)
{
    PGresult *result =
        query((struct postgresql_fence *)fence,
              "SELECT guarded::text, election, coalesce(term, 0), coalesce(to_char(since AT TIME ZONE 'UTC', "
              "'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), '') FROM baton.status ORDER BY 1",
              NULL, NULL, err);
    if (result == NULL)
        return -1;
    *ret_count = (size_t)PQntuples(result);
    *ret = mem_new((*ret_count + 1) * sizeof(**ret));
    for (size_t i = 0; i < *ret_count; i++)
        (*ret)[i] = (struct fence_table){
            .table = mem_text(PQgetvalue(result, (int)i, 0)),
            .election = mem_text(PQgetvalue(result, (int)i, 1)),
            .term = strtoull(PQgetvalue(result, (int)i, 2), NULL, 10),
            .since = mem_text(PQgetvalue(result, (int)i, 3)),
        };
    PQclear(result);
    return 0;
}

/* ---- test ---- */

/* A change of no row at all: a statement's trigger is run all the same. *ret_state: "": it was let through. */
static int try_change(struct postgresql_fence *own, const char *change, const char *term, char ret_state[8],
                      char words[BATON_ERROR_TEXT], struct baton_error *err)
{
    PGresult *result;
    if (run(own, "SAVEPOINT baton_test", NULL, NULL, err) < 0 ||
        run(own, "SELECT set_config('baton.term', $1, true)", term, NULL, err) < 0)
        return -1;
    result = PQexec(own->connection, change);
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    bool by_fence = state == NULL || text_starts(state, "BT");
    int answer = by_fence ? 0 : fail(own, result, err);
    text_copy(ret_state, 8, state != NULL ? state : "");
    one_line(words, BATON_ERROR_TEXT, state != NULL ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : "");
    PQclear(result);
    if (answer == 0)
        answer = run(own, "ROLLBACK TO SAVEPOINT baton_test", NULL, NULL, err);
    return answer;
}

/* The newest term there is, in this transaction, is one that the writer below has brought. */
static int prove(struct postgresql_fence *own, const char *change, uint64_t term, struct fence_proof *proof,
                 struct baton_error *err)
{
    char newest[24], older[24], state[8], words[BATON_ERROR_TEXT];
    snprintf(newest, sizeof(newest), "%" PRIu64, term + 2);
    snprintf(older, sizeof(older), "%" PRIu64, term + 1);
    /* The first change stays until the end: the second writer finds its term. */
    if (run(own, "SELECT set_config('baton.term', $1, true)", newest, NULL, err) < 0 ||
        run(own, change, NULL, NULL, err) < 0)
        return -1;
    proof->newest_passes = true;
    if (try_change(own, change, older, state, proof->words, err) < 0)
        return -1;
    proof->older_is_refused = strcmp(state, "BT001") == 0;
    if (try_change(own, change, "", state, words, err) < 0)
        return -1;
    proof->no_term_is_refused = strcmp(state, "BT002") == 0;
    return 0;
}

/* The first table that the guard should be on, too, and is not. */
static int find_hole(struct postgresql_fence *own, const char *table, struct fence_proof *proof,
                     struct baton_error *err)
{
    PGresult *result = query(own, "SELECT baton.holes($1::regclass)::text", table, NULL, err);
    if (result == NULL)
        return -1;
    proof->is_whole = PQntuples(result) == 0;
    if (!proof->is_whole)
        text_copy(proof->hole, sizeof(proof->hole), PQgetvalue(result, 0, 0));
    PQclear(result);
    return 0;
}

static char *change_of(struct postgresql_fence *own, const char *table, uint64_t *ret_term, struct baton_error *err)
{
    PGresult *result =
        query(own,
              "SELECT format('DELETE FROM %s WHERE false', guarded), coalesce(term, 0) FROM baton.status "
              "WHERE guarded = $1::regclass",
              table, NULL, err);
    char *change = NULL;
    if (result != NULL && PQntuples(result) == 1) {
        change = mem_text(PQgetvalue(result, 0, 0));
        *ret_term = strtoull(PQgetvalue(result, 0, 1), NULL, 10);
    }
    PQclear(result);
    return change;
}

static int postgresql_test(struct fence *fence, const char *table, struct fence_proof ret[FENCE_PROOFS_MAX],
                           size_t *ret_count, struct baton_error *err)
{
    static const char *const levels[FENCE_PROOFS_MAX] = {"READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"};
    struct postgresql_fence *own = (struct postgresql_fence *)fence;
    uint64_t term = 0;
    if (check_guarded(own, table, err) < 0)
        return -1;
    char *change = change_of(own, table, &term, err);
    int result = change != NULL ? 0 : -1;
    for (size_t i = 0; i < FENCE_PROOFS_MAX && result == 0; i++) {
        char begin[64];
        snprintf(begin, sizeof(begin), "BEGIN ISOLATION LEVEL %s", levels[i]);
        ret[i] = (struct fence_proof){.where = levels[i]};
        result = run(own, begin, NULL, NULL, err);
        if (result == 0)
            result = find_hole(own, table, &ret[i], err);
        if (result == 0)
            result = prove(own, change, term, &ret[i], err);
        PQclear(PQexec(own->connection, "ROLLBACK"));
    }
    *ret_count = FENCE_PROOFS_MAX;
    free(change);
    return result;
}

__attribute__((visibility("default"))) extern const struct fence_ops fence_postgresql;

const struct fence_ops fence_postgresql = {
    .abi = FENCE_ABI,
    .open = postgresql_open,
    .close = postgresql_close,
    .describe = postgresql_describe,
    .version = postgresql_version,
    .install = postgresql_install,
    .remove = postgresql_remove,
    .guard = postgresql_guard,
    .unguard = postgresql_unguard,
    .reset = postgresql_reset,
    .tables = postgresql_tables,
    .test = postgresql_test,
};
