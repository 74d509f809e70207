/* request.h: what an operator asks of a contest. Each request has a time limit and exactly one answer. What it does is
 * its protocol's. Private to src/core. */
#ifndef CORE_REQUEST_H
#define CORE_REQUEST_H

#include "core/state.h"

struct request_kind {
    bool needs_session;
    /* What is to be written, or answered, by this view. In each step, until it is answered. */
    void (*step)(struct core *core, struct request *request);
    /* It is answered: what it has left must go. NULL: it leaves nothing. */
    void (*over)(struct core *core, struct request *request);
    /* Its time is over, and the view is there: what has not happened, for people. NULL: the engine has not confirmed
     * it. */
    enum baton_code (*in_vain)(const struct request *request, const char **ret_words);
};

struct request {
    const struct request_kind *kind;
    uint64_t number; /* the caller's; 0: this place is free */
    struct contest *contest;
    char *text; /* to whom, or why */
    char nonce[CID_MAX_BYTES];
    int64_t until_ms;
    struct attempt attempt;
    bool written;
    unsigned how;   /* of its kind: enum forget */
    uint64_t about; /* whom it is about: the leader's term, the claim's `created`; 0: it was not asked yet */
    char *about_id; /* ... by its id */
};

struct request *request_add(struct core *core, struct contest *contest, const struct request_kind *kind,
                            uint64_t number, const char *text, int64_t until_ms);
/* The request is over, and gone. */
void request_answer(struct core *core, struct request *request, enum baton_code code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Of a write for it. */
uint32_t request_owner(const struct core *core, const struct request *request);

#endif
