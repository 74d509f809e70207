/* guard.h: the guard's functions of the contract (baton/engine.h, guard_open and the following). There is no testament:
 * this engine sees deaths itself. */
#ifndef LOCAL_GUARD_H
#define LOCAL_GUARD_H

#include "baton/engine.h"

int local_guard_open(const char *text, int fd, struct baton_engine_guard **ret, struct baton_error *err);
int local_guard_end(struct baton_engine_guard *guard, uint32_t timeout_ms, struct baton_error *err);
void local_guard_close(struct baton_engine_guard *guard);
int local_guard_renew(struct baton_engine_guard *guard, uint32_t timeout_ms, uint32_t *ret_ttl_ms,
                      struct baton_error *err);

#endif
