/* tenure.h: something is had for a time, under a number, and given back by a stop with two sides.
 *
 * To lead an election, to hold a lock, to do a task: each is one tenure, the only one of its contest. A contest may
 * have several (contest->tenure), told apart by `part`. The program is told when it begins (TELL_LEAD), and when to
 * stop and by when (TELL_STOP); it answers (EVENT_STOPPED), and only then is anything written by which another one may
 * begin. A number is never had twice by the same candidacy.
 */
#ifndef CORE_TENURE_H
#define CORE_TENURE_H

#include <stdbool.h>
#include <stdint.h>

struct core;
struct contest;

enum tenure_state {
    TENURE_NONE,
    TENURE_HAD,      /* the program was told LEAD */
    TENURE_STOPPING, /* the program was told STOP, and has not answered */
    TENURE_STOPPED   /* it has answered; what it had may still be its by the view: the number is spent */
};

struct tenure {
    enum tenure_state state;
    uint32_t part;         /* which of its contest's */
    uint32_t stop_ms;      /* what a stop may take; 0: the program asks before each use and needs no time */
    uint64_t number;       /* the term, or the token: had, or being stopped */
    uint64_t spent;        /* this and lower ones are never had again by this cid */
    int64_t stop_until_ms; /* of the stop under way */
    int64_t faded_ms;      /* the deadline by which it was told to stop although it had asked for more time */
    uint64_t left_session; /* over before the program had answered a stop; it is ended when it has. 0: none */
};

/* To another state; one that cannot follow the present one stops the program. */
void tenure_move(struct tenure *tenure, enum tenure_state to);
/* It begins, and the program is told. */
void tenure_begin(struct core *core, struct contest *contest, struct tenure *tenure, uint64_t number);
/* The program is to stop, and has until then, but never longer than the session. */
void tenure_stop(struct core *core, struct contest *contest, struct tenure *tenure, int64_t until_ms, const char *why);
/* Of that part of the contest: the program answers that it has stopped. */
void contest_stopped(struct core *core, struct contest *contest, uint32_t part);
/* The program has: tells it so, and lets a session go, or live, that waited for it. */
void tenure_stopped(struct core *core, struct contest *contest, struct tenure *tenure);
/* TENURE_STOPPING: the session of a program that does not answer in its time is not renewed any more. */
void tenure_wait(struct core *core, struct contest *contest, struct tenure *tenure);
/* The place is lost, others may have it already: a stop that is due at once. */
void tenure_lost(struct core *core, struct contest *contest, struct tenure *tenure, const char *why);
/* Is it too late to begin, and time to stop? */
bool tenure_fading(const struct core *core, const struct tenure *tenure);
/* The session wakes every contest when the tenure that needs the longest to stop must be told; this one waits for its
 * own time. */
void tenure_wait_for_fading(struct core *core, struct contest *contest, const struct tenure *tenure);

/* End a session that is over, unless a program has not stopped what it had in it. */
void session_leave(struct core *core, uint64_t id);

#endif
