/* closing.h: how a client is closed. Private to src/client.
 *
 * What the client has is given back, then its session is ended, then its engine is closed; each only as long as there
 * is time. The program's thread asks for it and watches the time (baton_close); the loop does it. The state is under
 * the client's mutex, and moves by closing_after() only.
 */
#ifndef CLIENT_CLOSING_H
#define CLIENT_CLOSING_H

struct baton;

enum client_state {
    CLIENT_OPEN,
    CLIENT_RESIGNING,  /* baton_close() was called; what stands is being resigned */
    CLIENT_ENDING,     /* the session is to be ended */
    CLIENT_UNANSWERED, /* the engine was asked to end it, and has not answered */
    CLIENT_CLOSING,    /* the engine is to be closed, or is being closed */
    CLIENT_CLOSED,     /* the loop's thread touches nothing any more */
    CLIENT_STATES
};

enum closing_event {
    CLOSING_ASKED,     /* by baton_close() */
    CLOSING_RESIGNED,  /* nothing stands but what may go with the session */
    CLOSING_LATE,      /* the time for the present state is over */
    CLOSING_END_ASKED, /* the engine was asked to end the session */
    CLOSING_ENDED,     /* the engine has answered; or no session is there; or one that must end by itself */
    CLOSING_OVER,      /* the engine is closed and the loop is done */
    CLOSING_EVENTS
};

/* The state after `event`; CLIENT_STATES: the event cannot happen in this state. Any thread. */
enum client_state closing_after(enum client_state state, enum closing_event event);

/* Move on. An event that cannot happen stops the program. With the mutex held. */
void closing_move(struct baton *b, enum closing_event event);

/* On the loop, without the mutex, after each callback: what closing can do next is done. */
void closing_follow(struct baton *b);

#endif
