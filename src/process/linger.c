/* linger.c: see linger.h. */
#include "process/linger.h"

#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STACK_BYTES 16384
#define TLS_BYTES 32768 /* zeros, on both sides of where thread-local variables are counted from */
#define LINGER_NS 5000000

#if (defined(__x86_64__) || defined(__aarch64__)) && defined(SYS_close_range) && !defined(__SANITIZE_ADDRESS__) &&     \
    !defined(__SANITIZE_THREAD__)
#define CAN_LINGER 1 /* (on other machines CLONE_SETTLS takes something else than an address) */
#else
#define CAN_LINGER 0
#endif

static pid_t child;
static char memory[STACK_BYTES + TLS_BYTES] __attribute__((aligned(4096))); /* the child's */

/* The child. It shares all memory with its parent, so it calls nothing that writes to it but to its own stack, and to
 * errno, which is in its own zeros: syscall(2) does no more than that. */
static int linger(void *context)
{
    pid_t parent = (pid_t)(intptr_t)context;
    uint64_t term = UINT64_C(1) << (SIGTERM - 1);
    struct timespec moment = {.tv_nsec = LINGER_NS};
#ifdef SYS_close_range
    syscall(SYS_close_range, 0, ~0U, 0); /* whoever reads from us sees our end */
#endif
    syscall(SYS_prctl, PR_SET_NAME, "baton-linger");
    syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGTERM);
    while (syscall(SYS_getppid) == parent) /* ... and others may send this signal as well */
        syscall(SYS_rt_sigtimedwait, &term, NULL, NULL, sizeof(term));
    syscall(SYS_nanosleep, &moment, NULL);
    syscall(SYS_exit, 0);
    return 0;
}

void linger_start(void)
{
    if (!CAN_LINGER || child > 0)
        return;
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before); /* as the child keeps it */
    child = clone(linger, memory + STACK_BYTES, CLONE_VM | CLONE_SETTLS, (void *)(intptr_t)getpid(), NULL,
                  memory + STACK_BYTES + TLS_BYTES / 2);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

void linger_end(void)
{
    if (child <= 0)
        return;
    kill(child, SIGKILL);
    (void)waitpid(child, NULL, __WALL); /* its death sends no signal */
    child = 0;
}
