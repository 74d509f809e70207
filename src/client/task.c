/* task.c: libbaton's tasks. See handle.h for what they share with the other kinds. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "client/client.h"

static_assert(BATON_TASK_OUTPUT_MAX == CLAIM_OUTPUT_MAX && BATON_TASK_WHAT_MAX == CLAIM_WHAT_MAX,
              "the core's numbers are the public ones");

void baton_task_options_init(struct baton_task_options *options)
{
    *options = (struct baton_task_options){.expire_ms = BATON_TASK_EXPIRE_DEFAULT_MS};
}

static int check(const struct baton *b, const struct baton_task_options *options, struct baton_error *err)
{
    if (options->what != NULL && strlen(options->what) > BATON_TASK_WHAT_MAX)
        return error_set(err, BATON_INVALID, "what the task is said to be is too long: %zu bytes, at most %d are kept",
                         strlen(options->what), BATON_TASK_WHAT_MAX);
    if (options->expire_ms > CLAIM_KEEP_MS_MAX)
        return error_set(err, BATON_INVALID, "a result cannot be kept for %llu ms; 0 is for ever",
                         (unsigned long long)options->expire_ms);
    return handle_check_stop(b, options->stop_ms, err);
}

int baton_once(struct baton *b, const char *key, const struct baton_task_options *options, struct baton_task **ret,
               struct baton_error *err)
{
    struct baton_task_options defaults;
    baton_task_options_init(&defaults);
    if (options == NULL)
        options = &defaults;
    if (client_check(b, err) < 0 || task_key_check(key, err) < 0 || check(b, options, err) < 0)
        return -1;
    struct task_options task = {.what = options->what != NULL ? options->what : "",
                                .again = options->at_least_once,
                                .retries = options->retries,
                                .retry_after_ms = options->retry_after_ms,
                                .keep_ms = (int64_t)options->expire_ms,
                                .queue = {.try_only = options->try_only, .stop_ms = options->stop_ms}};
    client_wait(&task.queue, options->wait_ms);
    struct handle *handle = NULL;
    client_lock(b);
    if (handle_check_standing(b, CONTEST_TASK, key, err) == 0 &&
        (handle = handle_open(b, CONTEST_TASK, key, err)) != NULL) {
        core_once(b->core, handle->core, &task, NULL);
        handle_stands(handle, options->stop_ms);
    }
    client_unlock(b);
    if (handle == NULL)
        return -1;
    client_wake(b);
    *ret = (struct baton_task *)handle;
    return 0;
}

int baton_observe_task(struct baton *b, const char *key, struct baton_task **ret, struct baton_error *err)
{
    struct handle *handle = handle_observe(b, CONTEST_TASK, key, err);
    if (handle != NULL)
        *ret = (struct baton_task *)handle;
    return handle != NULL ? 0 : -1;
}

bool baton_works(const struct baton_task *task, uint64_t *ret_token)
{
    return handle_leads(&task->handle, ret_token);
}

/* ---- the result ---- */

/* The end of it. */
static struct claim_output keep(const char *bytes, size_t size, uint64_t left_out)
{
    size_t over = size > CLAIM_OUTPUT_MAX ? size - CLAIM_OUTPUT_MAX : 0;
    if (bytes == NULL)
        return (struct claim_output){0};
    left_out = left_out > UINT64_MAX - over ? UINT64_MAX : left_out + over;
    return (struct claim_output){.bytes = (char *)bytes + over, .size = size - over, .left_out = left_out};
}

void baton_done(struct baton_task *task, const struct baton_task_result *result)
{
    struct handle *handle = &task->handle;
    struct baton *b = handle->client;
    if (!client_is_ours(b))
        return;
    const struct task_result ended = {.state = result->status == 0  ? CLAIM_DONE
                                               : result->status > 0 ? CLAIM_FAILED
                                                                    : CLAIM_FREE,
                                      .status = result->status > 0 ? result->status : 0,
                                      .out = keep(result->out, result->out_size, result->out_left_out),
                                      .err = keep(result->err, result->err_size, result->err_left_out)};
    client_lock(b);
    handle->recording = handle->recording || atomic_load(&handle->term) != 0 || handle->stopping;
    core_ended(b->core, handle->core, &ended);
    client_unlock(b);
    client_wake(b);
}

bool baton_task_stop_takes(struct baton_task *task, uint32_t ms)
{
    return handle_stop_takes(&task->handle, ms);
}

void baton_give_up(struct baton_task *task)
{
    struct baton *b = task->handle.client;
    if (!client_is_ours(b))
        return;
    client_lock(b);
    task->handle.recording = task->handle.recording || atomic_load(&task->handle.term) != 0 || task->handle.stopping;
    task->handle.unlocked = true;
    client_unlock(b);
    handle_resign(&task->handle);
    handle_stopped(&task->handle);
}

void baton_task_free(struct baton_task *task)
{
    if (task == NULL || !client_is_ours(task->handle.client))
        return;
    baton_give_up(task);
    handle_release(&task->handle);
}

const char *baton_task_key(const struct baton_task *task)
{
    return task->handle.name;
}

static uint64_t forget(struct baton_task *task, enum forget what, uint32_t timeout_ms)
{
    struct handle *handle = &task->handle;
    struct baton *b = handle->client;
    uint64_t number;
    if (!client_is_ours(b))
        return 0;
    client_lock(b);
    if (handle_request(handle, "request to forget", &number))
        core_forget_task(b->core, handle->core, number, what, clock_now_ms() + timeout_ms);
    client_unlock(b);
    client_wake(b);
    return number;
}

uint64_t baton_forget(struct baton_task *task, bool force, uint32_t timeout_ms)
{
    return forget(task, force ? FORGET_ALWAYS : FORGET_IDLE, timeout_ms);
}

uint64_t baton_forget_expired(struct baton_task *task, uint32_t timeout_ms)
{
    return forget(task, FORGET_EXPIRED, timeout_ms);
}
