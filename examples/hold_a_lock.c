/* hold_a_lock.c: work that must not be done twice at a time.
 *
 *     hold_a_lock [NAME [STEPS]]               (the lock; default: hold-a-lock; 10 steps)
 *
 * Start it in several terminals: one works, the others wait for it in the order of their coming. Each step is done only
 * while the lock is held, and carries the token, which grows from holder to holder: whoever stores something can refuse
 * an older one. Kill the one that works, and the next begins. SIGTERM and SIGINT end it between two steps.
 *
 *     cc hold_a_lock.c $(pkg-config --cflags --libs libbaton)
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <baton/baton.h>

#define STEP_MS 200

static volatile sig_atomic_t quit;

static void on_signal(int number)
{
    (void)number;
    quit = 1;
}

/* Until the lock is held: 0; or until it is known that it will not be: 1. */
static int wait_for_lock(struct baton *b)
{
    struct pollfd ready = {.fd = baton_fd(b), .events = POLLIN};
    struct baton_event event;
    while (!quit) {
        while (baton_next(b, &event)) {
            if (event.kind == BATON_ACQUIRED)
                return 0;
            if (event.kind == BATON_TROUBLE || event.kind == BATON_RELEASED)
                fprintf(stderr, "hold_a_lock: %s\n", event.text);
            if (event.kind == BATON_RELEASED)
                return 1;
        }
        (void)poll(&ready, 1, -1); /* a signal ends it, too */
    }
    return 1;
}

/* false: the lock was lost before the last step. */
static bool work(struct baton *b, struct baton_lock *lock, long steps)
{
    struct pollfd ready = {.fd = baton_fd(b), .events = POLLIN};
    struct baton_event event;
    uint64_t token;
    for (long step = 1; step <= steps && !quit; step++) {
        if (!baton_holds(lock, &token))
            return false;
        printf("step %ld, done with token %llu\n", step, (unsigned long long)token);
        fflush(stdout);
        (void)poll(&ready, 1, STEP_MS);
        while (baton_next(b, &event))
            if (event.kind == BATON_STOP) /* the session may be lost soon: nothing may be under way then */
                return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_signal}; /* without SA_RESTART: poll ends */
    struct baton_options options;
    struct baton_lock *lock;
    struct baton_error err;
    struct baton *b;
    int status = 1;

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    baton_options_init(&options);
    if (baton_open(&options, &b, &err) < 0) {
        fprintf(stderr, "hold_a_lock: %s\n", err.text);
        return 1;
    }
    if (baton_lock(b, argc > 1 ? argv[1] : "hold-a-lock", NULL, &lock, &err) < 0) {
        fprintf(stderr, "hold_a_lock: %s\n", err.text);
        baton_close(b);
        return 1;
    }
    printf("%s wants %s\n", baton_id(b), baton_lock_name(lock));
    fflush(stdout);
    if (wait_for_lock(b) == 0) {
        status = work(b, lock, argc > 2 ? strtol(argv[2], NULL, 10) : 10) ? 0 : 1;
        printf(status == 0 ? "has done its work\n" : "has lost the lock\n");
    }
    baton_close(b); /* unlocks: the next one holds it at once */
    return quit ? 0 : status;
}
