/* notify.h: systemd's notify protocol (sd_notify(3)), in both directions. */
#ifndef PROCESS_NOTIFY_H
#define PROCESS_NOTIFY_H

#include <stdbool.h>
#include <sys/types.h>

#include "baton/error.h"

/* ---- toward the command: a socket of an address that the kernel chooses (abstract: no file to clean up) ---- */

struct notify_socket {
    int fd;
    char address[108]; /* for NOTIFY_SOCKET: "@..." */
};
int notify_listen(struct notify_socket *socket, struct baton_error *err);
void notify_close(struct notify_socket *socket);

/* What a command has said, all datagrams since the last look together. Fields that are not here (MAINPID, ERRNO,
 * FDSTORE, EXTEND_TIMEOUT_USEC, ...) are ignored. */
struct notify_said {
    bool ready, stopping, watchdog;
    bool watchdog_trigger; /* WATCHDOG=trigger: it gives itself up */
    char status[200];      /* STATUS=; "": not said */
    unsigned strangers;    /* datagrams that were dropped, and who sent the last of them */
    pid_t stranger_pid;
    uid_t stranger_uid;
};
/* Read all datagrams. The address is no secret, and anybody may send to it: only senders that descend from this guard
 * (0: none do) are heard. false: nothing came. */
bool notify_read(struct notify_socket *socket, pid_t guard, struct notify_said *ret);

/* ---- toward the process that started baton (systemd), if $NOTIFY_SOCKET says so ---- */

/* Remember and remove NOTIFY_SOCKET and WATCHDOG_* from the environment. Returns how often to say WATCHDOG=1, in ms; 0:
 * not at all. */
unsigned notify_init(void);
void notify_say(const char *text); /* "READY=1\nSTATUS=..." */

#endif
