/* opening.h: the two records of a barrier as JSON objects, read and written: see core/json.h. */
#ifndef SIM_BARRIER_OPENING_H
#define SIM_BARRIER_OPENING_H

#include "core/view.h"

/* barriers/NAME/here/CID */
struct arrival {
    char *id, *host;
    uint32_t size;
    int64_t since_wall_ms;
};

/* barriers/NAME/opening */
struct opening {
    uint64_t generation;
    char **cids;
    size_t count;
};

/* A new object, or NULL with err (BATON_CORRUPT, BATON_NEWER). What is written is on the heap. */
void *arrival_read(const char *value, struct baton_error *err);
void arrival_free(void *arrival);
char *arrival_write(const struct arrival *arrival);
void *opening_read(const char *value, struct baton_error *err);
void opening_free(void *opening);
/* `before`: the value of the last opening, whose other fields are kept; NULL: there is none. */
char *opening_write(const char *before, uint64_t generation, const struct view_record *const *named, size_t count);

bool opening_names(const struct opening *opening, const char *cid);

/* Of a record in a view; NULL: it cannot be read. */
static inline const struct arrival *arrival_of(const struct view_record *record)
{
    return view_object(record, arrival_read);
}
static inline const struct opening *opening_of(const struct view_record *record)
{
    return view_object(record, opening_read);
}

#endif
