/* writer.c: the demo's program: it writes numbered rows, with the term it leads with, into a SQLite file, and knows
 * nothing of baton but the environment that `baton run` gives it.
 *
 *     writer FILE [INTERVAL_MS]
 */
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t stopping;

static void stop(int signal)
{
    (void)signal;
    stopping = 1;
}

static long long now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int fail(sqlite3 *db, const char *what)
{
    fprintf(stderr, "writer: %s: %s\n", what, db != NULL ? sqlite3_errmsg(db) : "out of memory");
    sqlite3_close(db);
    return 1;
}

int main(int argc, char **argv)
{
    const char *id = getenv("BATON_ID"), *term = getenv("BATON_TERM");
    if (argc < 2 || id == NULL || term == NULL) {
        fprintf(stderr, "usage: baton run NAME -- writer FILE [INTERVAL_MS]\n");
        return 64;
    }
    int interval_ms = argc > 2 ? atoi(argv[2]) : 10;
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = stop}, NULL);
    sqlite3 *db = NULL;
    if (sqlite3_open(argv[1], &db) != SQLITE_OK)
        return fail(db, argv[1]);
    sqlite3_busy_timeout(db, 2000);
    if (sqlite3_exec(db,
                     "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
                     "CREATE TABLE IF NOT EXISTS rows(n INTEGER PRIMARY KEY, id TEXT, term INTEGER, pid INTEGER,"
                     " at_us INTEGER)",
                     NULL, NULL, NULL) != SQLITE_OK)
        return fail(db, "create the table");
    sqlite3_stmt *insert;
    if (sqlite3_prepare_v2(db, "INSERT INTO rows(id, term, pid, at_us) VALUES(?, ?, ?, ?)", -1, &insert, NULL) !=
        SQLITE_OK)
        return fail(db, "prepare");
    sqlite3_bind_text(insert, 1, id, -1, SQLITE_STATIC);
    sqlite3_bind_text(insert, 2, term, -1, SQLITE_STATIC);
    sqlite3_bind_int(insert, 3, getpid());
    for (int first = 1; !stopping; first = 0) {
        long long at_us = now_us();
        sqlite3_bind_int64(insert, 4, at_us);
        if (sqlite3_step(insert) != SQLITE_DONE)
            return fail(db, "insert");
        sqlite3_reset(insert);
        if (first) {
            printf("writing %s %s %d %lld\n", id, term, getpid(), at_us);
            fflush(stdout);
        }
        poll(NULL, 0, interval_ms); /* the pace of the work; a signal ends it */
    }
    sqlite3_finalize(insert);
    sqlite3_close(db);
    return 0;
}
