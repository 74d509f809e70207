/* names.h: what a name may be, and where records are kept.
 *
 *     elections/NAME/candidates/CID   presence of a candidate (bound)
 *     elections/NAME/leader           the decision: who leads (lasting)
 *     elections/NAME/hold             nobody may lead now (lasting)
 *     elections/NAME/transfer         an operator asks for a handover (bound to the operator's session)
 *     locks/NAME/CID                  an entry in the queue of a lock (bound)
 *     tasks/KEY/claim                 who does a task, and how it ended (lasting)
 *     tasks/KEY/queue/CID             who does a task or waits for its end (bound)
 *
 * A task's key may be any text: it stands in its records' keys with all but A-Z a-z 0-9 . _ - : @ + as %XX, as in URLs,
 * so that it is one level, too, and people can read it.
 */
#ifndef CORE_NAMES_H
#define CORE_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "baton/records.h"

#define NAME_MAX_BYTES 128
#define CID_MAX_BYTES 160
#define ELECTIONS_PREFIX "elections/"
#define LOCKS_PREFIX "locks/"
#define TASKS_PREFIX "tasks/"
#define TASK_PATH_MAX (3 * NAME_MAX_BYTES) /* bytes of a task's key where every one of them is written as %XX */

/* Legal names and ids: 1..NAME_MAX_BYTES of A-Z a-z 0-9 . _ - : @ +, beginning with a letter or a digit. No slash:
 * a name is one level of a key, so that no election's prefix contains another's. 0, or -1 with words. */
int name_check(const char *what, const char *name, struct baton_error *err);

/* The same of one level of a key, which ends at the length; false: it is not legal. */
bool name_of_path(char name[NAME_MAX_BYTES + 1], const char *path, size_t length);

/* Legal keys of tasks: 1..NAME_MAX_BYTES of UTF-8 without control characters. */
int task_key_check(const char *key, struct baton_error *err);
/* As it is in the keys of records, and back; `path` ends at the length. */
void task_path(char path[TASK_PATH_MAX + 1], const char *key);
bool task_key_of_path(char key[NAME_MAX_BYTES + 1], const char *path, size_t length);

/* Keys, on the heap. */
char *key_prefix(const char *name);
char *key_lock_prefix(const char *name);
char *key_entry(const char *name, const char *cid);
char *key_task_prefix(const char *key);
char *key_claim(const char *key);
char *key_queue_prefix(const char *key);
char *key_worker(const char *key, const char *cid);

#endif
