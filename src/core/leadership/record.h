/* record.h: the records of a leadership as JSON objects, read and written.
 *
 * Each object has a version, "v". A record of a newer version, or one that is not what it should be, is not used and
 * never overwritten: reading gives an error with words, and who needs the record waits for a person. Fields that this
 * version does not know are kept when a decision is rewritten.
 */
#ifndef CORE_LEADERSHIP_RECORD_H
#define CORE_LEADERSHIP_RECORD_H

#include "core/view.h"

#define TERMS_KEPT 16
/* The largest term: the largest integer that every JSON reader keeps exact (RFC 8259, section 6). */
#define TERM_MAX ((1ULL << 53) - 1)

/* elections/NAME/candidates/CID. Another protocol's presence, that is a candidate as well, begins with it. */
struct candidate {
    char *id, *address, *host;
    int32_t priority;
    bool preempt;
    int64_t since_wall_ms;
};

/* One term of a decision's history. */
struct term_entry {
    uint64_t term;
    char *id; /* "": nobody */
    char *reason;
    int64_t since_wall_ms;
};

/* elections/NAME/leader: "so it is". terms[0] is the present one. */
struct decision {
    char *cid;     /* "": nobody leads */
    uint64_t term; /* 0: there was none yet, and nobody is named */
    struct term_entry terms[TERMS_KEPT];
    size_t term_count;
};

/* elections/NAME/hold and elections/NAME/transfer. `nonce` tells the asker its own record again. */
struct hold {
    char *by, *why, *nonce;
    int64_t since_wall_ms;
};
struct transfer {
    char *to; /* an id; "": whoever is next */
    char *by, *nonce;
    uint64_t term; /* of the leader that is asked; another one does not heed it */
};

/* Read a value. Returns a new object (free with its _free), or NULL with err (BATON_CORRUPT, BATON_NEWER). */
void *candidate_read(const char *value, struct baton_error *err);
void *decision_read(const char *value, struct baton_error *err);
void *hold_read(const char *value, struct baton_error *err);
void *transfer_read(const char *value, struct baton_error *err);
void candidate_free(void *candidate);
void decision_free(void *decision);
void hold_free(void *hold);
void transfer_free(void *transfer);

/* Write one: a value on the heap. */
char *candidate_write(const struct candidate *candidate);
char *hold_write(const struct hold *hold);
char *transfer_write(const struct transfer *transfer);

/* (A term of 0 opens an election: nobody is named, and the history stays empty.)
 * The value that follows `before` (the present decision's value, or NULL): cid and id lead ("" and "": nobody) with
 * `term`. Unknown fields of `before` are kept, and the last TERMS_KEPT terms. */
char *decision_next(const char *before, const char *cid, const char *id, uint64_t term, const char *reason,
                    int64_t wall_ms);

/* Of a record in a view; NULL: it cannot be read. */
static inline const struct candidate *candidate_of(const struct view_record *record)
{
    assert(record->cid != NULL);
    return record->object;
}
static inline const struct decision *decision_of(const struct view_record *record)
{
    return view_object(record, decision_read);
}
static inline const struct hold *hold_of(const struct view_record *record)
{
    return view_object(record, hold_read);
}
static inline const struct transfer *transfer_of(const struct view_record *record)
{
    return view_object(record, transfer_read);
}

/* Their keys, on the heap. */
#define CANDIDATES "candidates/" /* an election's folder of them */
char *candidate_key(const char *prefix, const char *folder, const char *cid);
char *decision_key(const char *prefix);
char *hold_key(const char *prefix);
char *transfer_key(const char *prefix);

/* What a leadership has below its prefix, besides its candidates. */
#define LEADERSHIP_RECORDS                                                                                             \
    {.path = "leader", .read = decision_read, .free = decision_free},                                                  \
        {.path = "hold", .read = hold_read, .free = hold_free},                                                        \
    {                                                                                                                  \
        .path = "transfer", .read = transfer_read, .free = transfer_free                                               \
    }

#endif
