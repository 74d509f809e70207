/* order.h: the presences under one prefix in an order of their own, which follows a view from batch to batch: of ten
 * thousand, that one comes or goes costs no sorting.
 *
 * It borrows from the view that it was read from, and is valid until that view moves.
 */
#ifndef CORE_ORDER_H
#define CORE_ORDER_H

#include "core/view.h"

struct order {
    const struct view_record **records;
    size_t count;
    const struct baton_error *trouble; /* of the first record under the prefix that cannot be used; NULL: all can */
    uint64_t batches;                  /* of the view that it was read from */
};

/* qsort's kind of function, of two `const struct view_record *const *`. Never 0 for two different ones. */
typedef int order_compare(const void *left, const void *right);

/* Read what may stand in the order (view_record_stands) under `prefix`; release it, or read into it again, from the
 * same view and with the same prefix and order. */
void order_read(struct order *order, const struct view *view, const char *prefix, order_compare *compare);
void order_release(struct order *order);

#endif
