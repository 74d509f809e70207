/* error.h: what went wrong, in a code for programs and in words for people.
 *
 * Every function that can fail takes `struct baton_error *err`. It is the caller's memory, may be NULL, and is
 * written only on failure. The words name what failed, where, and what to try; they end without a newline.
 */
#ifndef BATON_ERROR_H
#define BATON_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

enum baton_code {
    BATON_OK = 0,
    BATON_INVALID,     /* a name, option, URL or argument that cannot be used as it is */
    BATON_UNSUPPORTED, /* understood, but this engine, file system or kernel cannot do it */
    BATON_UNAVAILABLE, /* the engine cannot be reached now; trying again may help */
    BATON_DENIED,      /* permission, or a read-only place */
    BATON_FULL,        /* no space, or a limit of the engine is reached */
    BATON_CORRUPT,     /* what is stored is damaged or was not written by baton; nothing was changed */
    BATON_NEWER,       /* written by a newer version of baton; nothing was changed */
    BATON_CONFLICT,    /* somebody else was first, or holds it */
    BATON_NOT_FOUND,   /* no such election, candidate or record */
    BATON_TIMEOUT,     /* not done in the time given */
    BATON_LOST,        /* the session is over, and what was held with it */
    BATON_CLOSED,      /* the handle is closed, or belongs to the process that forked this one */
    BATON_SYSTEM       /* a system call failed in a way that has no better code */
};

#define BATON_ERROR_TEXT 480

struct baton_error {
    enum baton_code code;
    char text[BATON_ERROR_TEXT];
};

/* The code's name as a lower-case word: "unavailable". Never NULL. Safe from any thread. */
const char *baton_code_name(enum baton_code code);

#ifdef __cplusplus
}
#endif
#endif
