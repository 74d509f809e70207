/* boot.h: which boot of the machine is this, by whose clock? */
#ifndef LOCAL_BOOT_H
#define LOCAL_BOOT_H

#include <stdint.h>

#include "baton/error.h"

/* A number, not 0, for the present boot of the machine, from its boot_id, and for the clock that counts it: processes
 * in time namespaces with different offsets of CLOCK_BOOTTIME (time_namespaces(7)) have different ones. So have
 * versions of baton whose shared memory has another `layout`: they cannot read each other's heartbeats, either.
 * 0, or -1 with err. */
int boot_number(unsigned layout, uint64_t *ret, struct baton_error *err);

#endif
