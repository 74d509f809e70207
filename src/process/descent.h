/* descent.h: from whom a process descends. */
#ifndef PROCESS_DESCENT_H
#define PROCESS_DESCENT_H

#include <sys/types.h>

enum descent {
    DESCENT_YES,
    DESCENT_NO,
    DESCENT_GONE /* the process, or one between it and the ancestor, is not there any more, or cannot be seen */
};

/* Does `pid` descend from `ancestor`, a child subreaper that is alive: who loses its parent descends from it still. The
 * caller holds the process (a pidfd), or can bear that the answer is about another one that has its number by now. */
enum descent descent_of(pid_t pid, pid_t ancestor);

#endif
