/* outlet.h: standard output and standard error for the hooks and health checks of this process.
 *
 * They must end in time, so what they print must not make them wait for whoever reads it. Where that could be, at a
 * pipe, a socket or a terminal, they print into a pipe of ours. A thread reads it and has a printer write it, which
 * drops and counts what nobody reads (printer.h). Files and /dev/null they have themselves.
 */
#ifndef PROCESS_OUTLET_H
#define PROCESS_OUTLET_H

/* What a child must have as its descriptor `fd` (STDOUT_FILENO or STDERR_FILENO): `fd` itself, or the end of the pipe,
 * which is closed at an exec. The first call in a process makes the pipes; the calls are those of one thread. */
int outlet_fd(int fd);
/* Print what children that have ended have printed, and wait for that, but not longer than `limit_ms`. */
void outlet_finish(int limit_ms);

#endif
