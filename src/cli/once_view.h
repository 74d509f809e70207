/* once_view.h: tasks for people and for programs: `baton once list`, `show` and `forget`. */
#ifndef CLI_ONCE_VIEW_H
#define CLI_ONCE_VIEW_H

#include "baton/baton.h"

struct once_view {
    const char *url;
    uint32_t timeout_ms;
    bool json;
    bool output;         /* show: only what it printed, as it was */
    bool force, expired; /* forget */
};

/* Each returns an exit status. */
int once_list(const struct once_view *view);
int once_show(const struct once_view *view, const char *key);
int once_forget(const struct once_view *view, char *const *keys, int count);

/* Print the outputs that a task has left, each on the same one of ours, and say how many bytes are missing. */
void once_print_output(const struct baton_task_status *status);

/* After a claim with this token, now and then: some of what has expired in the namespace, but `own_key`, is removed, so
 * that it does not pile up. Takes the client's events; lasts no longer than SWEEP_MS, and tells nothing. */
void once_sweep(struct baton *client, const char *own_key, uint64_t token);

#endif
