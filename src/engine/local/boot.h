/* boot.h: a number for the present boot of the machine and for the clock that this process sees. */
#ifndef LOCAL_BOOT_H
#define LOCAL_BOOT_H

#include <stdint.h>

#include "baton/error.h"

/* The number is not 0. It is made of the machine's boot_id, of the offset of CLOCK_BOOTTIME in the time namespace of
 * this process (time_namespaces(7)), and of the `layout` of the shared memory: processes with different numbers cannot
 * read each other's heartbeats. 0, or -1 with err. */
int boot_number(unsigned layout, uint64_t *ret, struct baton_error *err);

#endif
