/* process.h: what tells one process from all others: its pid, its start time and its pid namespace. (A pid alone is
 * used again.) */
#ifndef LOCAL_PROCESS_H
#define LOCAL_PROCESS_H

#include <stdint.h>

/* When the process started (proc(5), /proc/PID/stat, field 22); 0: there is none, or it cannot be seen. */
uint64_t process_start(int pid);
/* The pid namespace of the calling process, as a number; 0: unknown. */
uint64_t process_namespace(void);

#endif
