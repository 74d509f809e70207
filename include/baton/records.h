/* records.h: the vocabulary that passes between the core and an engine.
 *
 * A record has a key, a value, the revision of its last write and the revision of its creation. It is bound to a
 * session (and vanishes with it) or lasting. Revisions grow by every write in the namespace.
 */
#ifndef BATON_RECORDS_H
#define BATON_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "baton/error.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BATON_KEY_MAX 511           /* bytes of a key, without the final NUL */
#define BATON_VALUE_MAX (64 * 1024) /* bytes of a value, without the final NUL */
#define BATON_REVISION_ANY UINT64_MAX

struct baton_record {
    const char *key;
    const char *value; /* text; the core keeps JSON objects there */
    uint64_t revision; /* of its last write; never 0 */
    uint64_t created;  /* revision of its creation; never 0 */
    uint64_t session;  /* the session that it is bound to; 0: it is lasting */
};

enum baton_change_kind { BATON_CHANGE_PUT, BATON_CHANGE_REMOVE };

/* One change in a view. For a removal only `record.key` and `record.revision` (of the removal) have a meaning. */
struct baton_change {
    enum baton_change_kind kind;
    struct baton_record record;
};

/* What a view becomes at `revision`: first `reset` (forget everything), then each change in order. All changes of one
 * revision are in one batch; a batch may hold those of several revisions. */
struct baton_batch {
    bool reset;
    uint64_t revision;
    const struct baton_change *changes;
    size_t count;
};

enum baton_write_kind { BATON_WRITE_PUT, BATON_WRITE_REMOVE };

/* A compare-and-set on one record. */
struct baton_write {
    enum baton_write_kind kind;
    const char *key;
    const char *value;    /* of a put; NULL for a removal */
    uint64_t session;     /* of a put: bind the record to this session; 0: lasting */
    uint64_t if_revision; /* the record's present revision; 0: it must not exist; BATON_REVISION_ANY: whatever it is */
    /* The write may be answered before it is on a disk: a loss of power may undo it, with all that came after it.
     * An engine that makes use of this ends all sessions with that loss, lets nothing that was sent before take
     * effect after it, and then goes on at a revision that is at least BATON_REVISION_LEAP above all it still has. */
    bool may_be_lost;
    /* Of an entry in a queue (the records whose keys differ only after their last slash): see engine.h, `latch`. */
    bool latched;
};

struct baton_latch; /* latch.h */

#define BATON_REVISION_LEAP (UINT64_C(1) << 24)

/* What wakes a view that rests: see engine.h. */
#define BATON_REST_KEYS_MAX 8
struct baton_rest {
    const char *const *keys;
    size_t count; /* at most BATON_REST_KEYS_MAX; 0: it is not to rest any more */
    const char *slow;
};

enum baton_answer {
    BATON_ANSWER_DONE,     /* the write took effect, at `revision` (to remove what is not there is done, too) */
    BATON_ANSWER_CONFLICT, /* it had no effect: the record was not at `if_revision` */
    BATON_ANSWER_UNKNOWN,  /* it may have taken effect, or may still do so; `error` says why we do not know */
    BATON_ANSWER_REFUSED   /* it had no effect and never will; `error` says why (a session that is over: BATON_LOST) */
};

struct baton_reply {
    enum baton_answer answer;
    uint64_t revision;
    struct baton_error error;
};

#ifdef __cplusplus
}
#endif
#endif
