/* guard.c: the guard has a copy of the descriptor that holds the session's lock, so the lock lasts while the guard
 * lives. It has opened the database beforehand, so the end takes one transaction. */
#include "engine/local/guard.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "engine/local/db.h"
#include "engine/local/folder.h"
#include "engine/local/pulse.h"
#include "engine/local/worker.h"

struct baton_engine_guard {
    uint64_t session;
    int slot, lock_fd, writer_fd;
    struct folder folder;
    struct pulse pulse;
    struct db *db;
};

void local_guard_close(struct baton_engine_guard *guard)
{
    if (guard == NULL)
        return;
    db_close(guard->db);
    pulse_close(&guard->pulse);
    folder_close(&guard->folder);
    if (guard->lock_fd >= 0)
        close(guard->lock_fd);
    if (guard->writer_fd >= 0)
        close(guard->writer_fd);
    free(guard);
}

int local_guard_open(const char *text, int fd, struct baton_engine_guard **ret, struct baton_error *err)
{
    struct baton_engine_guard *guard = mem_new(sizeof(*guard));
    guard->lock_fd = fd;
    guard->writer_fd = guard->pulse.lock_fd = guard->folder.fd = -1;
    unsigned long long session;
    int path_at = 0;
    if (sscanf(text, "1 %llu %d %n", &session, &guard->slot, &path_at) != 2 || path_at == 0 || text[path_at] != '/') {
        error_set(err, BATON_INVALID, "local: '%.100s' does not describe a session", text);
        goto fail;
    }
    guard->session = session;
    if (folder_open_again(&guard->folder, text + path_at, err) < 0 ||
        pulse_open(&guard->pulse, &guard->folder, err) < 0 ||
        (guard->writer_fd = folder_file(&guard->folder, "writer", err)) < 0)
        goto fail;
    guard->db = db_open_again(guard->writer_fd, &guard->pulse, err);
    if (guard->db == NULL)
        goto fail;
    *ret = guard;
    return 0;
fail:
    local_guard_close(guard);
    return -1;
}

static int write_end(struct baton_engine_guard *guard, struct baton_error *err)
{
    int slot;
    if (db_begin(guard->db, false, err) < 0)
        return -1;
    if (db_session_end(guard->db, guard->session, &slot, err) < 0) {
        db_rollback(guard->db);
        return -1;
    }
    return db_commit(guard->db, err);
}

int local_guard_end(struct baton_engine_guard *guard, uint32_t timeout_ms, struct baton_error *err)
{
    assert(guard->session != 0 && guard->db != NULL);
    bool whole = pulse_look(&guard->pulse, err) == 0;
    int result = whole ? write_end(guard, err) : -1;
    /* Also if the disk is full: nobody holds the lock any more then, so a process that can write may end the session.
     */
    if (whole)
        pulse_end(&guard->pulse, guard->slot, guard->session);
    if (guard->lock_fd >= 0)
        pulse_unlock(guard->lock_fd, guard->session);
    if (whole)
        pulse_ring(&guard->pulse, db_changed_keys(guard->db), NULL);
    return result;
}

/* The guard's descriptor holds the lock; any process that knows the session can renew its heartbeat. */
int local_guard_renew(struct baton_engine_guard *guard, uint32_t timeout_ms, uint32_t *ret_ttl_ms,
                      struct baton_error *err)
{
    int64_t now_ms = clock_now_ms();
    if (pulse_look(&guard->pulse, NULL) < 0 || !pulse_renew(&guard->pulse, guard->slot, guard->session, now_ms))
        return error_set(err, BATON_LOST, "local: session %llu is over", (unsigned long long)guard->session);
    int64_t left_ms = pulse_expires_ms(&guard->pulse, guard->slot, guard->session) - now_ms;
    *ret_ttl_ms = left_ms > 0 ? (uint32_t)left_ms : 0;
    return 0;
}
