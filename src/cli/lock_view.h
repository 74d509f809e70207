/* lock_view.h: locks for people and for programs: who holds, who waits. */
#ifndef CLI_LOCK_VIEW_H
#define CLI_LOCK_VIEW_H

#include "baton/baton.h"

/* The status of the lock `name` (NULL: of all), as soon as a view has arrived, at until_ms at the latest; to be freed
 * by baton_lock_status_free. 0, or -1 with err. */
int lock_view_get(struct baton *client, const char *name, int64_t until_ms, struct baton_lock_status **ret,
                  size_t *ret_count, struct baton_error *err);

/* "exclusive", "shared", "3 slots" */
const char *lock_view_slots(uint32_t slots, char text[32]);

/* One lock's queue, as a table. */
void lock_view_print(const struct baton_lock_status *status);
/* All locks, a line each; nothing when there is none. */
void lock_view_print_all(const struct baton_lock_status *all, size_t count);
/* One lock as a JSON object on a line. */
void lock_view_print_json(const struct baton_lock_status *status);

#endif
