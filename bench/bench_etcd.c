/* bench_etcd.c: the library on a remote engine; bench/etcd.py runs it on an etcd of its own. Prints JSON.
 *
 *     bench_etcd rtt URL COUNT              bare compare-and-sets, one every 20 ms, each from its sending to its answer
 *     bench_etcd herd URL CANDIDATES KILLS  the leader's guard acts as it does when the leader is killed; until another
 *                                           candidate leads; and the writes that it takes until all stand again
 *     bench_etcd campaign URL CYCLES        stand, lead, resign, one after the other; and as many bare writes, in turns
 *     bench_etcd lock URL CYCLES            acquire and release a lock that nobody else wants; two bare writes each,
 *                                           and flock(2), in turns
 *     bench_etcd line URL WAITERS TURNS     a lock that so many clients wait for goes from one to the next
 *     bench_etcd many URL ELECTIONS IDLE_S  lead them all, in one client; renewals while idle
 */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <time.h>

#include "baton/baton.h"
#include "engine/engine.h"

#define LIMIT_MS 60000
#define PAUSE_MS 20
#define TTL_MS 30000 /* nothing ends here but what is ended */
#define NAME "bench"

#define give_up(...) (fprintf(stderr, "bench_etcd: " __VA_ARGS__), fputc('\n', stderr), exit(2))

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* ---- an engine without a client: bare writes ---- */

struct raw {
    uv_loop_t loop;
    const struct baton_engine_ops *ops;
    struct baton_engine *engine;
    struct baton_reply reply;
    bool answered;
};

static void on_written(void *ctx, uint64_t ticket, const struct baton_reply *reply)
{
    struct raw *raw = ctx;
    raw->reply = *reply;
    raw->answered = true;
}

static void on_trouble(void *ctx, const struct baton_error *err)
{
    if (err != NULL)
        give_up("%s", err->text);
}

static void raw_open(struct raw *raw, const char *url)
{
    static const struct baton_engine_callbacks callbacks = {.written = on_written, .trouble = on_trouble};
    struct baton_error err;
    uv_loop_init(&raw->loop);
    raw->ops = engine_find(url, &err);
    if (raw->ops == NULL || raw->ops->open(url, true, &raw->loop, &callbacks, raw, &raw->engine, &err) < 0)
        give_up("%s", err.text);
}

/* The revision that it got. */
static uint64_t raw_write(struct raw *raw, const char *value, uint64_t if_revision)
{
    struct baton_write write = {.kind = BATON_WRITE_PUT, .key = "bare", .value = value, .if_revision = if_revision};
    raw->answered = false;
    raw->ops->write(raw->engine, 1, &write);
    while (!raw->answered)
        uv_run(&raw->loop, UV_RUN_ONCE);
    if (raw->reply.answer != BATON_ANSWER_DONE)
        give_up("a bare write was not done: %s", raw->reply.error.text);
    return raw->reply.revision;
}

static int run_rtt(const char *url, int count)
{
    static struct raw raw;
    raw_open(&raw, url);
    uint64_t revision = raw_write(&raw, "{}", BATON_REVISION_ANY);
    printf("[");
    for (int i = 0; i < count; i++) {
        poll(NULL, 0, PAUSE_MS); /* a takeover does not come right after another write, either */
        double begin = now_ms();
        revision = raw_write(&raw, "{\"v\":1,\"cid\":\"2a-1\",\"id\":\"a\",\"term\":7,\"terms\":[]}", revision);
        printf("%s%.3f", i > 0 ? ", " : "", now_ms() - begin);
    }
    printf("]\n");
    return 0;
}

/* ---- clients ---- */

struct member {
    struct baton *client;
    struct baton_election *election;
    bool leads;
};

static void member_open(struct member *member, const char *url, const char *id)
{
    struct baton_options options;
    struct baton_error err;
    baton_options_init(&options);
    options.guard = BATON_GUARD_OFF; /* this program is not killed */
    options.url = url;
    options.id = id;
    options.ttl_ms = TTL_MS;
    if (baton_open(&options, &member->client, &err) < 0 ||
        baton_stand(member->client, NAME, NULL, &member->election, &err) < 0)
        give_up("%s", err.text);
}

/* What was told, until `kind` comes. */
static void wait_for(struct member *member, enum baton_event_kind kind)
{
    struct baton_event event = {0};
    double end = now_ms() + LIMIT_MS;
    while (event.kind != kind) {
        struct pollfd ready = {.fd = baton_fd(member->client), .events = POLLIN};
        while (event.kind != kind && baton_next(member->client, &event))
            if (event.kind == BATON_TROUBLE)
                give_up("%s", event.text);
        if (event.kind != kind && (now_ms() > end || poll(&ready, 1, LIMIT_MS) <= 0))
            give_up("no %s in time", baton_event_name(kind));
    }
}

/* Until some member but `dead` leads; which. Everything that is told is taken. */
static int wait_leader(struct member *members, struct pollfd *ready, int count, int dead)
{
    double end = now_ms() + LIMIT_MS;
    while (now_ms() < end) {
        for (int i = 0; i < count; i++) {
            struct baton_event event;
            bool looked = ready[i].revents != 0;
            ready[i] = (struct pollfd){.fd = baton_fd(members[i].client), .events = POLLIN};
            while (looked && baton_next(members[i].client, &event))
                if (event.kind == BATON_LEAD && i != dead)
                    return i;
        }
        poll(ready, (nfds_t)count, LIMIT_MS);
    }
    give_up("nobody leads in time");
}

static void wait_standing(struct member *member, size_t count)
{
    for (double end = now_ms() + LIMIT_MS; now_ms() < end;) {
        struct baton_status *status;
        size_t statuses;
        struct baton_error err;
        if (baton_status(member->election, &status, &statuses, &err) < 0)
            give_up("%s", err.text);
        bool all = status->candidate_count == count;
        baton_status_free(status, statuses);
        if (all)
            return;
        wait_for(member, BATON_CHANGED);
    }
    give_up("not all stand in time");
}

static void *end_session(void *guard)
{
    struct baton_error err;
    if (baton_guard_end(guard, LIMIT_MS, &err) < 0)
        give_up("%s", err.text);
    return NULL;
}

static int run_herd(const char *url, int count, int kills)
{
    struct member *members = calloc((size_t)count, sizeof(*members));
    struct pollfd *ready = calloc((size_t)count, sizeof(*ready));
    static struct raw raw;
    raw_open(&raw, url);
    member_open(&members[0], url, "m0");
    wait_for(&members[0], BATON_LEAD);
    for (int i = 1; i < count; i++) {
        char id[16];
        snprintf(id, sizeof(id), "m%d", i);
        member_open(&members[i], url, id);
    }
    wait_standing(&members[0], (size_t)count);
    poll(NULL, 0, 1000); /* what is still under way */
    printf("{\"candidates\": %d, \"takeover_ms\": [", count);
    uint64_t before = 0;
    for (int kill = 0, leader = 0; kill < kills; kill++) {
        struct baton_lifeline lifeline;
        struct baton_guard *guard;
        struct baton_error err;
        char testament[BATON_TESTAMENT_MAX];
        pthread_t thread;
        wait_standing(&members[leader], (size_t)count);
        poll(NULL, 0, PAUSE_MS);
        if (kill == 0)
            before = raw_write(&raw, "{}", BATON_REVISION_ANY);
        baton_testament(members[leader].election, testament);
        if (baton_lifeline(members[leader].client, &lifeline, &err) < 0 ||
            baton_guard_open(&lifeline, &guard, &err) < 0 || baton_guard_testament(guard, testament, &err) < 0)
            give_up("%s", err.text);
        double begin = now_ms();
        if (pthread_create(&thread, NULL, end_session, guard) != 0)
            give_up("no thread");
        int next = wait_leader(members, ready, count, leader);
        printf("%s%.3f", kill > 0 ? ", " : "", now_ms() - begin);
        pthread_join(thread, NULL);
        baton_guard_free(guard);
        leader = next;
        if (kill == kills - 1)
            wait_standing(&members[leader], (size_t)count);
    }
    uint64_t writes = raw_write(&raw, "{}", BATON_REVISION_ANY) - before - 1;
    printf("], \"writes\": %llu}\n", (unsigned long long)writes);
    fflush(stdout);
    _Exit(0); /* to resign one after the other would take long, and nobody measures it */
}

static int run_campaign(const char *url, int cycles)
{
    static struct raw raw;
    struct member member = {0};
    struct baton_error err;
    double campaign_ms = 0, bare_ms = 0;
    uint64_t writes = 0;
    raw_open(&raw, url);
    member_open(&member, url, "m0"); /* it keeps the session while the other election comes and goes */
    wait_for(&member, BATON_LEAD);
    for (int i = 0; i < cycles; i++) {
        struct baton_election *e;
        uint64_t before = raw_write(&raw, "{}", BATON_REVISION_ANY);
        double begin = now_ms();
        if (baton_stand(member.client, "campaign", NULL, &e, &err) < 0)
            give_up("%s", err.text);
        wait_for(&member, BATON_LEAD);
        baton_resign(e);
        wait_for(&member, BATON_RESIGNED);
        campaign_ms += now_ms() - begin;
        baton_election_free(e);
        uint64_t wrote = raw_write(&raw, "{}", BATON_REVISION_ANY) - before - 1;
        writes += wrote;
        begin = now_ms();
        for (uint64_t w = 0; w < wrote; w++)
            (void)raw_write(&raw, "{\"v\":1,\"cid\":\"2a-1\",\"id\":\"a\",\"term\":7,\"terms\":[]}",
                            BATON_REVISION_ANY);
        bare_ms += now_ms() - begin;
    }
    printf("{\"cycles\": %d, \"writes\": %llu, \"campaign_ms\": %.1f, \"bare_ms\": %.1f}\n", cycles,
           (unsigned long long)writes, campaign_ms, bare_ms);
    fflush(stdout);
    _Exit(0);
}

#define BLOCK 25

/* So many times, and then wait until all is released. `waits`: each time. ms. */
static double lock_again_and_again(struct member *member, int times, bool waits)
{
    struct baton_lock *lock;
    struct baton_error err;
    double begin = now_ms();
    for (int i = 1; i <= times; i++) {
        if (baton_lock(member->client, "lock", NULL, &lock, &err) < 0)
            give_up("%s", err.text);
        wait_for(member, BATON_ACQUIRED);
        baton_unlock(lock);
        if (waits || i == times)
            wait_for(member, BATON_RELEASED);
        baton_lock_free(lock);
    }
    return now_ms() - begin;
}

/* One client acquires and releases, next to two bare writes for each; an election that it leads keeps its session. */
static int run_lock(const char *url, int cycles)
{
    static struct raw raw;
    struct member member = {0};
    double lock_ms = 0, waiting_ms = 0, bare_ms = 0, flock_ms = 0;
    FILE *file = tmpfile();
    raw_open(&raw, url);
    member_open(&member, url, "m0");
    wait_for(&member, BATON_LEAD);
    (void)lock_again_and_again(&member, BLOCK, true);
    for (int done = 0; done < cycles; done += BLOCK) {
        lock_ms += lock_again_and_again(&member, BLOCK, false);
        waiting_ms += lock_again_and_again(&member, BLOCK, true);
        double begin = now_ms();
        for (int i = 0; i < 2 * BLOCK; i++)
            (void)raw_write(&raw, "{\"v\":1,\"id\":\"m0\",\"host\":\"h\",\"slots\":1,\"since\":1}", BATON_REVISION_ANY);
        bare_ms += now_ms() - begin;
        begin = now_ms();
        for (int i = 0; i < BLOCK; i++)
            if (file == NULL || flock(fileno(file), LOCK_EX) < 0 || flock(fileno(file), LOCK_UN) < 0)
                give_up("flock(2) fails");
        flock_ms += now_ms() - begin;
    }
    printf("{\"cycles\": %d, \"lock_ms\": %.3f, \"waiting_ms\": %.3f, \"bare_ms\": %.3f, \"flock_ms\": %.3f}\n",
           (cycles + BLOCK - 1) / BLOCK * BLOCK, lock_ms, waiting_ms, bare_ms, flock_ms);
    fflush(stdout);
    _Exit(0);
}

static void wait_entries(struct member *member, const struct baton_lock *lock, size_t count)
{
    for (bool stands = false; !stands;) {
        struct baton_lock_status *status;
        struct baton_error err;
        size_t one;
        if (baton_lock_status(lock, &status, &one, &err) < 0)
            give_up("%s", err.text);
        stands = status->entry_count == count;
        baton_lock_status_free(status, one);
        if (!stands)
            wait_for(member, BATON_CHANGED);
    }
}

static uint64_t revision_seen(const struct baton_lock *lock)
{
    struct baton_lock_status *status;
    struct baton_error err;
    size_t one;
    if (baton_lock_status(lock, &status, &one, &err) < 0)
        give_up("%s", err.text);
    uint64_t revision = status->revision;
    baton_lock_status_free(status, one);
    return revision;
}

/* All clients are in this process; a hand-over is from the unlock of one to what the next one is told, and its writes
 * are the revisions between what the one and the other see then. */
static int run_line(const char *url, int waiters, int turns)
{
    struct member *members = calloc((size_t)waiters, sizeof(*members));
    struct baton_lock **locks = calloc((size_t)waiters, sizeof(*locks));
    struct baton_options options;
    struct baton_error err;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max; /* each client has some */
    setrlimit(RLIMIT_NOFILE, &files);
    baton_options_init(&options);
    options.guard = BATON_GUARD_OFF;
    options.url = url;
    options.ttl_ms = TTL_MS;
    for (int i = 0; i < waiters; i++) {
        if (baton_open(&options, &members[i].client, &err) < 0 ||
            baton_lock(members[i].client, "line", NULL, &locks[i], &err) < 0)
            give_up("%s", err.text);
        if (i == 0)
            wait_for(&members[0], BATON_ACQUIRED);
        wait_entries(&members[i], locks[i], (size_t)i + 1);
    }
    printf("{\"waiters\": %d, \"handover_ms\": [", waiters - 1);
    poll(NULL, 0, 1000); /* what is still under way */
    uint64_t writes = 0;
    for (int i = 0; i < turns; i++) {
        int from = i % waiters, to = (i + 1) % waiters;
        poll(NULL, 0, PAUSE_MS);
        uint64_t before = revision_seen(locks[from]);
        double begin = now_ms();
        baton_unlock(locks[from]);
        wait_for(&members[to], BATON_ACQUIRED);
        printf("%s%.3f", i > 0 ? ", " : "", now_ms() - begin);
        writes += revision_seen(locks[to]) - before;
        wait_for(&members[from], BATON_RELEASED);
        baton_lock_free(locks[from]);
        /* To the end of the line, so that as many wait as before. */
        if (baton_lock(members[from].client, "line", NULL, &locks[from], &err) < 0)
            give_up("%s", err.text);
        wait_entries(&members[from], locks[from], (size_t)waiters);
    }
    printf("], \"writes\": %llu, \"turns\": %d}\n", (unsigned long long)writes, turns);
    fflush(stdout);
    _Exit(0);
}

static int run_many(const char *url, int count, int idle_s)
{
    struct member member = {0};
    struct baton_options options;
    struct baton_error err;
    struct baton_event event;
    int led = 0, renewals = 0;
    baton_options_init(&options);
    options.guard = BATON_GUARD_OFF; /* this program is not killed */
    options.url = url;
    options.renewals = true;
    options.ttl_ms = 6000;
    if (baton_open(&options, &member.client, &err) < 0)
        give_up("%s", err.text);
    for (int i = 0; i < count; i++) {
        char name[32];
        struct baton_election *e;
        snprintf(name, sizeof(name), "many-%d", i);
        if (baton_stand(member.client, name, NULL, &e, &err) < 0)
            give_up("%s", err.text);
    }
    double begin = now_ms(), end = begin + 5 * LIMIT_MS, led_ms = 0;
    while (now_ms() < end) {
        struct pollfd ready = {.fd = baton_fd(member.client), .events = POLLIN};
        while (baton_next(member.client, &event)) {
            led += event.kind == BATON_LEAD;
            renewals += event.kind == BATON_RENEWED;
            if (event.kind == BATON_LOST_SESSION)
                give_up("the session was lost: %s", event.text);
        }
        if (led == count && led_ms == 0) {
            led_ms = now_ms() - begin;
            poll(NULL, 0, 1000); /* what is still under way */
            end = now_ms() + idle_s * 1000.0;
            renewals = 0;
        }
        if (end - now_ms() > 0)
            poll(&ready, 1, (int)(end - now_ms()));
    }
    printf("{\"elections\": %d, \"led\": %d, \"led_after_ms\": %.0f, \"renewals\": %d, \"idle_s\": %d}\n", count, led,
           led_ms, renewals, idle_s);
    fflush(stdout);
    _Exit(led == count ? 0 : 1);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    if (argc == 4 && strcmp(argv[1], "rtt") == 0)
        return run_rtt(argv[2], atoi(argv[3]));
    if (argc == 5 && strcmp(argv[1], "herd") == 0)
        return run_herd(argv[2], atoi(argv[3]), atoi(argv[4]));
    if (argc == 4 && strcmp(argv[1], "campaign") == 0)
        return run_campaign(argv[2], atoi(argv[3]));
    if (argc == 4 && strcmp(argv[1], "lock") == 0)
        return run_lock(argv[2], atoi(argv[3]));
    if (argc == 5 && strcmp(argv[1], "line") == 0)
        return run_line(argv[2], atoi(argv[3]), atoi(argv[4]));
    if (argc == 5 && strcmp(argv[1], "many") == 0)
        return run_many(argv[2], atoi(argv[3]), atoi(argv[4]));
    fprintf(stderr, "usage: bench_etcd rtt URL COUNT | herd URL CANDIDATES KILLS | campaign URL CYCLES | "
                    "lock URL CYCLES | line URL WAITERS TURNS | many URL ELECTIONS IDLE_S\n");
    return 2;
}
