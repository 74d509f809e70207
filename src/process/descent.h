/* descent.h: from whom a process descends. */
#ifndef PROCESS_DESCENT_H
#define PROCESS_DESCENT_H

#include <sys/types.h>

enum descent {
    DESCENT_YES,
    DESCENT_NO,
    DESCENT_GONE /* the process, or one between it and the ancestor, is not there any more, or cannot be seen */
};

/* Does `pid` descend from `ancestor`? That one must be a child subreaper that is alive: a process that loses its parent
 * descends from it still. The caller must hold a pidfd of the process, or be able to bear an answer about another one
 * that has its number by now. */
enum descent descent_of(pid_t pid, pid_t ancestor);

#endif
