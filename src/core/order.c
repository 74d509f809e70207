/* order.c: see order.h. */
#include "core/order.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"

void order_release(struct order *order)
{
    free(order->records);
    *order = (struct order){0};
}

/* Is the order that of before, but for those that came and went one by one? */
static bool still_in_order(const struct order *order, const struct view *view)
{
    return order->batches > 0 && order->batches + 1 == view->batches && !view->reordered && view->troubled == 0;
}

static void insert(struct order *order, const struct view_record *record, order_compare *compare)
{
    size_t low = 0, high = order->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(&order->records[middle], &record) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    assert(low == 0 || compare(&order->records[low - 1], &record) <= 0);
    assert(low == order->count || compare(&record, &order->records[low]) <= 0);
    order->records = mem_grow(order->records, (order->count + 1) * sizeof(order->records[0]));
    memmove(&order->records[low + 1], &order->records[low], (order->count - low) * sizeof(order->records[0]));
    order->records[low] = record;
    order->count++;
}

static void drop(struct order *order, const struct view_record *record)
{
    size_t at = 0;
    while (at < order->count && order->records[at] != record)
        at++;
    if (at == order->count)
        return; /* one that did not stand */
    order->count--;
    memmove(&order->records[at], &order->records[at + 1], (order->count - at) * sizeof(order->records[0]));
}

/* Those that have gone first: one that came may stand where another one was freed. */
static void move(struct order *order, const struct view *view, order_compare *compare)
{
    for (size_t i = 0; i < view->move_count; i++)
        if (view->moves[i].gone)
            drop(order, view->moves[i].record);
    for (size_t i = 0; i < view->move_count; i++)
        if (!view->moves[i].gone)
            insert(order, view->moves[i].record, compare);
}

static void read_afresh(struct order *order, const struct view *view, const char *prefix, order_compare *compare)
{
    size_t first = view_from(view, prefix), last = first;
    for (; last < view->count && text_starts(view->records[last]->key, prefix); last++)
        if (view->records[last]->trouble != NULL && order->trouble == NULL)
            order->trouble = view->records[last]->trouble;
    order->count = 0;
    order->records = mem_grow(order->records, (last - first) * sizeof(*order->records));
    for (size_t i = first; i < last; i++)
        if (view_record_stands(view->records[i]))
            order->records[order->count++] = view->records[i];
    qsort(order->records, order->count, sizeof(*order->records), compare);
}

void order_read(struct order *order, const struct view *view, const char *prefix, order_compare *compare)
{
    bool in_order = still_in_order(order, view);
    order->trouble = NULL;
    order->batches = view->batches;
    if (in_order)
        move(order, view, compare);
    else
        read_afresh(order, view, prefix, compare);
}
