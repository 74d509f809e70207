/* client.c: libbaton's functions: they check, note what is asked, and wake the loop. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/descriptors.h"
#include "base/environment.h"
#include "client/client.h"

#define DESCRIPTORS_NEEDED 20 /* by the loop and an engine */

static_assert(BATON_NAME_MAX == NAME_MAX_BYTES && BATON_ID_MAX == NAME_MAX_BYTES && BATON_TERMS_KEPT == TERMS_KEPT &&
                  BATON_RECORDS_MAX == VIEW_RECORDS_MAX && BATON_ELECTIONS_MAX == CONTESTS_MAX,
              "the core's numbers are the public ones");

/* ---- the mutex ---- */

static _Thread_local const struct baton *locked; /* whose mutex this thread holds; NULL: none's */

bool client_is_locked(const struct baton *b)
{
    return locked == b;
}

void client_lock(struct baton *b)
{
    assert(b != NULL && locked == NULL);
    pthread_mutex_lock(&b->mutex);
    locked = b;
}

void client_unlock(struct baton *b)
{
    assert(client_is_locked(b));
    locked = NULL;
    pthread_mutex_unlock(&b->mutex);
}

int client_wait_moved(struct baton *b, const struct timespec *until)
{
    assert(client_is_locked(b) && !driver_is_here(b)); /* the loop would wait for itself */
    locked = NULL;
    int error = until != NULL ? pthread_cond_clockwait(&b->moved, &b->mutex, CLOCK_MONOTONIC, until)
                              : pthread_cond_wait(&b->moved, &b->mutex);
    locked = b;
    assert(error == 0 || (error == ETIMEDOUT && until != NULL));
    return error;
}

/* ---- what is ours ---- */

bool client_is_ours(const struct baton *b)
{
    return b != NULL && atomic_load(&b->page->ours);
}

int client_check(const struct baton *b, struct baton_error *err)
{
    if (b == NULL)
        return error_set(err, BATON_INVALID, "there is no client");
    if (!client_is_ours(b))
        return error_set(err, BATON_CLOSED,
                         "this client belongs to the process that forked this one; open one of your own");
    return 0;
}

int client_check_open(const struct baton *b, struct baton_error *err)
{
    assert(client_is_locked(b));
    return b->state == CLIENT_OPEN ? 0 : error_set(err, BATON_CLOSED, "this client is being closed");
}

void client_wait(struct queue_options *queue, uint32_t wait_ms)
{
    queue->until_ms = queue->answer_ms = NEVER_MS;
    if (wait_ms == 0 && !queue->try_only)
        return;
    int64_t now_ms = clock_now_ms();
    queue->until_ms = now_ms + (wait_ms > 0 ? wait_ms : TRY_LIMIT_MS);
    queue->answer_ms = now_ms + (wait_ms == 0 ? TRY_LIMIT_MS : wait_ms > ANSWER_LEAST_MS ? wait_ms : ANSWER_LEAST_MS);
}

void client_wake(struct baton *b)
{
    uv_async_send(&b->asked);
}

int64_t baton_now_ms(void)
{
    return clock_now_ms();
}

int baton_check_name(const char *what, const char *name, struct baton_error *err)
{
    return name_check(what, name, err);
}

/* ---- open ---- */

void baton_options_init(struct baton_options *options)
{
    *options = (struct baton_options){.ttl_ms = BATON_TTL_DEFAULT_MS, .create = true};
}

static void legal_host(char *host, size_t size)
{
    if (gethostname(host, size) < 0 || host[0] == '\0')
        text_copy(host, size, "host");
    host[size - 1] = '\0';
    for (char *c = host; *c != '\0'; c++)
        if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-", *c) == NULL)
            *c = '-';
    if (host[0] == '.' || host[0] == '-')
        host[0] = 'h';
}

static char *new_id(const char *host)
{
    uint16_t random = 0;
    (void)!getrandom(&random, sizeof(random), 0);
    return mem_format("%.64s-%d-%04x", host, (int)getpid(), random);
}

static int check_options(struct baton *b, const struct baton_options *options, struct baton_error *err)
{
    if (options->id != NULL && name_check("id", options->id, err) < 0)
        return -1;
    if (options->address != NULL && strlen(options->address) > BATON_ADDRESS_MAX)
        return error_set(err, BATON_INVALID, "the address is too long: %zu bytes, at most %d are allowed",
                         strlen(options->address), BATON_ADDRESS_MAX);
    const char *url = options->url != NULL ? options->url : environment_get("BATON_URL");
    if (url != NULL && url[0] == '\0') /* of a variable that was not set, most likely: everybody would lead alone */
        return error_set(err, BATON_INVALID, "%s",
                         options->url != NULL ? "the URL is empty; without one, it is $BATON_URL, else local:"
                                              : "BATON_URL is set, and empty; name an engine, or unset it for local:");
    b->url = mem_text(url != NULL ? url : "local:");
    if (strlen(b->url) > BATON_URL_MAX)
        return error_set(err, BATON_INVALID, "the URL is too long: %zu bytes, at most %d are allowed", strlen(b->url),
                         BATON_URL_MAX);
    b->ops = engine_find(b->url, err);
    if (b->ops == NULL)
        return -1;
    b->full_url = b->ops->full_url != NULL ? b->ops->full_url(b->url) : NULL;
    if (options->ttl_ms < b->ops->ttl_min_ms || options->ttl_ms > b->ops->ttl_max_ms)
        return error_set(err, BATON_INVALID, "a ttl of %u ms is too %s for the engine '%s': it can do %u ms to %u ms",
                         options->ttl_ms, options->ttl_ms < b->ops->ttl_min_ms ? "short" : "long", b->ops->scheme,
                         b->ops->ttl_min_ms, b->ops->ttl_max_ms);
    if (options->watchdog_ms >= options->ttl_ms && options->watchdog_ms > 0)
        return error_set(err, BATON_INVALID, "a watchdog of %u ms is not shorter than the ttl of %u ms",
                         options->watchdog_ms, options->ttl_ms);
    return client_guard_check(options, err);
}

static struct shared_page *page_new(struct baton_error *err)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    struct shared_page *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        error_errno(err, errno, "no memory for a page");
        return NULL;
    }
    if (madvise(page, size, MADV_WIPEONFORK) < 0) {
        error_set(err, BATON_UNSUPPORTED,
                  "this kernel cannot keep a page from a forked child (madvise(2) with "
                  "MADV_WIPEONFORK: %s); it needs Linux 4.14 or newer",
                  strerror(errno));
        munmap(page, size);
        return NULL;
    }
    atomic_store(&page->ours, true);
    return page;
}

static void client_close_fds(struct baton *b)
{
    if (b->event_fd >= 0)
        close(b->event_fd);
    if (b->due_fd >= 0)
        close(b->due_fd);
    if (b->guard.fd >= 0)
        close(b->guard.fd);
    b->event_fd = b->due_fd = b->guard.fd = -1;
}

static void client_free(struct baton *b)
{
    queue_release(b);
    while (b->handles != NULL)
        handle_gone(b->handles);
    core_free(b->core);
    update_release(&b->todo);
    client_close_fds(b);
    if (b->page != NULL)
        munmap(b->page, (size_t)sysconf(_SC_PAGESIZE));
    free(b->id);
    free(b->url);
    free(b->full_url);
    free(b);
}

int baton_open(const struct baton_options *options, struct baton **ret, struct baton_error *err)
{
    char host[65];
    legal_host(host, sizeof(host));
    struct baton *b = mem_new(sizeof(*b));
    b->options = *options;
    b->event_fd = b->due_fd = b->guard.fd = -1;
    b->orphan_ms = NEVER_MS;
    update_init(&b->todo);
    pthread_mutex_init(&b->mutex, NULL);
    pthread_cond_init(&b->moved, NULL);
    if (descriptors_standard(err) < 0 || descriptors_room(DESCRIPTORS_NEEDED, err) < 0 ||
        check_options(b, options, err) < 0 || (b->page = page_new(err)) == NULL)
        goto fail;
    b->id = options->id != NULL ? mem_text(options->id) : new_id(host);
    b->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (b->event_fd < 0) {
        error_errno(err, errno, "cannot make an eventfd");
        goto fail;
    }
    b->core = core_new(&(struct core_options){.id = b->id,
                                              .address = options->address,
                                              .host = host,
                                              .ttl_ms = options->ttl_ms,
                                              .step_ms = b->ops->step_ms,
                                              .attentive = b->ops->goes_on_late ? ATTENTIVE_LATE : ATTENTIVE,
                                              .watchdog_ms = options->watchdog_ms});
    if (driver_start(b, err) < 0)
        goto fail;
    *ret = b;
    return 0;
fail:
    client_free(b);
    return -1;
}

const char *baton_id(const struct baton *b)
{
    return b->id;
}

const char *baton_url(const struct baton *b)
{
    return b->full_url != NULL ? b->full_url : b->url;
}

int baton_fd(const struct baton *b)
{
    return client_is_ours(b) ? b->event_fd : -1;
}

void baton_alive(struct baton *b)
{
    if (!client_is_ours(b))
        return;
    /* The core hears of it once in a quarter of the watchdog: never later than it was, so a program that hangs is
     * found in time; up to a quarter earlier, so a renewal may wait for the next sign, for which there is time. */
    int64_t now_ms = clock_now_ms();
    if (b->options.watchdog_ms == 0 || now_ms - atomic_load(&b->alive_ms) < b->options.watchdog_ms / 4)
        return;
    atomic_store(&b->alive_ms, now_ms);
    atomic_store(&b->alive_asked, true);
    client_wake(b);
}

void baton_close(struct baton *b)
{
    if (b == NULL)
        return;
    if (!client_is_ours(b)) {
        /* The parent's: its thread is not here, and its engine must not be touched. Only this copy of the memory goes,
         * unless the fork came in the middle of a step: then it is in pieces, and stays. */
        client_close_fds(b);
        if (pthread_mutex_trylock(&b->mutex) == 0)
            client_free(b);
        return;
    }
    closing_run(b);
    pthread_mutex_destroy(&b->mutex);
    pthread_cond_destroy(&b->moved);
    client_free(b);
}
