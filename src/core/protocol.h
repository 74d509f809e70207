/* protocol.h: what one kind of contest adds to the machinery, which knows no kinds. Private to src/core.
 *
 * The machinery watches the contest, lets its presence come and go with the session, and sees to its tenures and its
 * writes. For everything else it calls these functions. They are called within a step, unless something else is said.
 * One that is NULL has nothing to add.
 *
 * To add a protocol: a folder with this table, its records (kinds.h), and what a client does with it; its line in
 * protocols.h; the worlds in which it is tried. What several protocols need is a part that they hold: leadership/,
 * queue/. docs/protocols.md tells it step by step, with an example.
 */
#ifndef CORE_PROTOCOL_H
#define CORE_PROTOCOL_H

#include "base/base.h"
#include "core/core.h"
#include "core/tenure.h"

struct attempt;
struct record_kinds;
struct rest_keys;

/* How a place is lost that was, or may be, had. */
enum loss {
    LOSS_OF_SESSION,  /* it is over */
    LOSS_OF_PRESENCE, /* somebody has removed it */
    LOSS_BY_TIME      /* the session is about to be over, and has not been renewed */
};

struct protocol {
    const char *word; /* for people: "lock" */
    const struct record_kinds *records;
    enum contest_kind kind;
    size_t part_size;          /* of what it keeps of each of its contests, contest->part: zeros to begin with */
    bool parks;                /* the view of one that nobody has any more stays for the next who wants it */
    bool stands_early;         /* its presence may be written before the view has come */
    bool latched;              /* its presence has a latch: see engine.h */
    bool ends_late;            /* who resigns is still told how it ends, by contest_end */
    enum core_rule seen_first; /* by which it does nothing before the view shows its presence; RULE_COUNT: always */

    /* The part begins, and ends. Also between two steps. */
    void (*init)(struct contest *contest);
    void (*release)(struct contest *contest);

    /* Keys and values, on the heap. */
    char *(*prefix)(const char *name);
    char *(*presence_key)(const struct contest *contest);
    char *(*presence_value)(const struct core *core, const struct contest *contest);

    /* The view of a single contest has moved. */
    void (*read)(struct core *core, struct contest *contest);
    /* Why a record in that view cannot be used; NULL: all can. */
    const struct baton_error *(*trouble)(const struct contest *contest);
    /* In each step of one that stands, with or without a session, and with or without a view. false: nothing else is to
     * be done with it in this step. */
    bool (*look)(struct core *core, struct contest *contest);
    /* In each step with a session and a view. `present`: the view shows its presence. */
    void (*act)(struct core *core, struct contest *contest, bool present);
    /* The place is lost. The tenures are told afterwards. */
    void (*lost)(struct core *core, struct contest *contest, enum loss loss);
    /* The program answers a stop, or ends by itself, before the tenure is told so. */
    void (*stopped)(struct core *core, struct contest *contest, struct tenure *tenure);

    /* It is resigned. */
    void (*resign)(struct core *core, struct contest *contest);
    /* Is something still to be recorded? Then the contest does not end, whatever else is over. */
    bool (*is_busy)(const struct contest *contest);
    /* It resigns, and nothing is had any more. false: its presence must not go yet. */
    bool (*may_leave)(struct core *core, struct contest *contest);
    /* Is an end of this code told at once (TELL_OUTCOME), not only when the presence is gone? */
    bool (*tells_outcome)(enum baton_code code);
    /* Nothing of it is left. Before TELL_RESIGNED. */
    void (*over)(struct core *core, struct contest *contest);
    /* The next presence will be another one. Also between two steps. */
    void (*forget_candidacy)(struct contest *contest);

    /* Its writes, besides the presence, from WRITE_FIRST on without a gap; NULL: it has no such one. */
    struct attempt *(*write)(struct contest *contest, unsigned which);
    /* One of its writes was answered. */
    void (*answered)(struct contest *contest, const struct baton_reply *reply);

    /* May the view rest, and until which keys change? See rest.c, which adds the key of the presence. */
    bool (*rests)(const struct core *core, const struct contest *contest, struct rest_keys *keys);
};

#define PROTOCOL_EXTERN(kind, name) extern const struct protocol name##_protocol;
PROTOCOLS(PROTOCOL_EXTERN)
#undef PROTOCOL_EXTERN

const struct protocol *protocol_of(enum contest_kind kind);

#endif
