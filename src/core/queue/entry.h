/* entry.h: an entry in a queue as a JSON object, read and written: see json.h. */
#ifndef CORE_QUEUE_ENTRY_H
#define CORE_QUEUE_ENTRY_H

#include "core/view.h"

#define SLOTS_SHARED UINT32_MAX /* as many as there are */
#define SLOTS_MAX 1000000

/* locks/NAME/CID: a place in the queue of a lock. `slots`: how many may hold it at once, as this entry was told. */
struct lock_entry {
    char *id, *host;
    uint32_t slots; /* 1: exclusive; SLOTS_SHARED */
    int64_t since_wall_ms;
};

/* A new object, or NULL with err (BATON_CORRUPT, BATON_NEWER). */
void *entry_read(const char *value, struct baton_error *err);
void entry_free(void *entry);
char *entry_write(const struct lock_entry *entry); /* on the heap */

/* Of a record in a view; NULL: it cannot be read. */
static inline const struct lock_entry *entry_of(const struct view_record *record)
{
    return view_object(record, entry_read);
}

#endif
