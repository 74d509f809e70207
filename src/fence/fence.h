/* fence.h: the fence of a database, as `baton fence` puts it up and looks at it: in each database the newest term of
 * each election, and tables that take changes only from who has a term that is not over.
 *
 * Everything here waits for the database; a limit is given when it is opened. Not thread-safe.
 */
#ifndef FENCE_FENCE_H
#define FENCE_FENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "baton/error.h"

#define FENCE_ABI 2
#define FENCE_VERSION 2 /* of what is installed in a database */

struct fence; /* an open database; each kind begins its own with this */

/* A guarded table. */
struct fence_table {
    char *table, *election;
    uint64_t term; /* the newest that was seen of the election; 0: none yet */
    char *since;   /* when it was seen, as the database says it; "": it does not say */
};

/* The results of fence_test. Each is false when the database did otherwise. */
struct fence_proof {
    const char *where;            /* under which isolation level; NULL: there is one only */
    bool newest_passes;           /* a writer of the newest term may write */
    bool older_is_refused;        /* one of an older term may not */
    bool no_term_is_refused;      /* one without a term may not */
    bool is_whole;                /* there is no way around: by the name of a partition, or of a table above */
    char hole[200];               /* if there is: the table that is not guarded as it should be */
    char words[BATON_ERROR_TEXT]; /* what the database said to the writer of the older term */
};
#define FENCE_PROOFS_MAX 3

/* A kind of database. Each function returns 0, or -1 with err: BATON_UNAVAILABLE, BATON_DENIED, BATON_NOT_FOUND (no
 * such database or table, or no guard), BATON_CONFLICT (others are in the way), BATON_TIMEOUT, BATON_NEWER,
 * BATON_SYSTEM. */
struct fence_ops {
    int abi;
    int (*open)(const char *url, uint32_t limit_ms, struct fence **ret, struct baton_error *err);
    void (*close)(struct fence *fence);
    /* "PostgreSQL 15.18, database mydb on /run/postgresql"; valid until close */
    const char *(*describe)(struct fence *fence);
    /* Which version is installed; 0: none. */
    int (*version)(struct fence *fence, int *ret, struct baton_error *err);
    int (*install)(struct fence *fence, struct baton_error *err);
    /* Take everything away, the triggers of guarded tables first. If something of others depends on it, nothing
     * changes. */
    int (*remove)(struct fence *fence, struct baton_error *err);
    int (*guard)(struct fence *fence, const char *table, const char *election, struct baton_error *err);
    int (*unguard)(struct fence *fence, const char *table, struct baton_error *err);
    /* Forget the election's terms. *ret_known: one had been seen. */
    int (*reset)(struct fence *fence, const char *election, bool *ret_known, struct baton_error *err);
    /* The guarded tables, on the heap (fence_tables_free). */
    int (*tables)(struct fence *fence, struct fence_table **ret, size_t *ret_count, struct baton_error *err);
    /* Try it, in transactions that are rolled back. *ret_count proofs. */
    int (*test)(struct fence *fence, const char *table, struct fence_proof ret[FENCE_PROOFS_MAX], size_t *ret_count,
                struct baton_error *err);
};

struct fence {
    const struct fence_ops *ops;
};

/* Open a database by its URL: postgresql://..., postgres://..., sqlite:PATH. Errors as above, and BATON_INVALID (the
 * URL), BATON_UNSUPPORTED (its kind cannot be loaded). */
int fence_open(const char *url, uint32_t limit_ms, struct fence **ret, struct baton_error *err);
void fence_close(struct fence *fence); /* NULL allowed */
/* Is this version of the fence installed? BATON_NOT_FOUND, BATON_NEWER; an older one is BATON_CONFLICT. */
int fence_check_installed(struct fence *fence, struct baton_error *err);
void fence_tables_free(struct fence_table *tables, size_t count);

extern const struct fence_ops fence_sqlite;

#endif
