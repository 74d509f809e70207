/* key.h: the keys of tasks, and of their records.
 *
 *     tasks/KEY/claim        who does a task, and how it ended (lasting)
 *     tasks/KEY/queue/CID    who does a task or waits for its end (bound)
 *
 * A task's key may be any text: it stands in its records' keys with all but A-Z a-z 0-9 . _ - : @ + as %XX, as in URLs,
 * so that it is one level, too, and people can read it.
 */
#ifndef CORE_TASK_KEY_H
#define CORE_TASK_KEY_H

#include "core/names.h"

#define TASKS_PREFIX "tasks/"
#define TASK_PATH_MAX (3 * NAME_MAX_BYTES) /* bytes of a task's key where every one of them is written as %XX */

/* Legal keys of tasks: 1..NAME_MAX_BYTES of UTF-8 without control characters. */
int task_key_check(const char *key, struct baton_error *err);
/* As it is in the keys of records, and back; `path` ends at the length. */
void task_path(char path[TASK_PATH_MAX + 1], const char *key);
bool task_key_of_path(char key[NAME_MAX_BYTES + 1], const char *path, size_t length);

/* Keys, on the heap. */
char *key_task_prefix(const char *key);
char *key_claim(const char *key);
char *key_queue_prefix(const char *key);
char *key_worker(const char *key, const char *cid);

#endif
