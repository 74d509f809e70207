/* known.h: waiting for the first view of something that is observed. */
#ifndef CLI_KNOWN_H
#define CLI_KNOWN_H

#include "baton/baton.h"

/* Until known(handle), or until_ms. 0, or -1 with err: what the engine said, or that it did not answer. Takes the
 * client's events. */
int known_wait(struct baton *client, bool (*known)(const void *handle), const void *handle, int64_t until_ms,
               struct baton_error *err);
/* The answer to a request: 0, or -1 with what it says. */
int known_reply(struct baton *client, uint64_t request, int64_t until_ms, struct baton_error *err);

/* A trouble that does not pass by itself: a store that is damaged, or of a newer version. */
bool known_hopeless(const struct baton_error *trouble);

#endif
