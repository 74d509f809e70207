/* client_stage.c: see client_stage.h. */
#include "client_stage.h"

#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

static const char *engine = "local";

void stage_engine(int argc, char **argv)
{
    if (argc > 1)
        engine = argv[1];
}

bool stage_is_local(void)
{
    return strcmp(engine, "local") == 0;
}

int stage_setup(void **state)
{
    static unsigned count;
    struct stage *stage = mem_new(sizeof(*stage));
    if (stage_is_local()) {
        const char *tmp = getenv("TMPDIR");
        snprintf(stage->folder, sizeof(stage->folder), "%.40s/baton-client-XXXXXX", tmp != NULL ? tmp : "/tmp");
        if (mkdtemp(stage->folder) == NULL)
            return -1;
        snprintf(stage->url, sizeof(stage->url), "local:%s", stage->folder);
    } else {
        snprintf(stage->url, sizeof(stage->url), "%s:stage-%u", engine, ++count);
    }
    *state = stage;
    return 0;
}

int stage_teardown(void **state)
{
    struct stage *stage = *state;
    DIR *folder = stage->folder[0] != '\0' ? opendir(stage->folder) : NULL;
    if (folder != NULL) {
        for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder))
            unlinkat(dirfd(folder), entry->d_name, 0);
        closedir(folder);
        rmdir(stage->folder);
    }
    free(stage);
    return 0;
}

struct baton *stage_open(const struct stage *stage, const char *id, uint32_t ttl_ms)
{
    struct baton_options options;
    struct baton_error err;
    struct baton *b;
    baton_options_init(&options);
    options.url = stage->url;
    options.id = id;
    options.ttl_ms = ttl_ms > 0 ? ttl_ms : STAGE_TTL_MS;
    if (baton_open(&options, &b, &err) < 0)
        fail_msg("cannot open %s: %s", stage->url, err.text);
    return b;
}

struct baton_election *stage_stand(struct baton *b, const char *name, uint32_t stop_ms)
{
    struct baton_stand_options options;
    struct baton_election *e;
    struct baton_error err;
    baton_stand_options_init(&options);
    options.stop_ms = stop_ms;
    if (baton_stand(b, name, &options, &e, &err) < 0)
        fail_msg("cannot stand in '%s': %s", name, err.text);
    return e;
}

struct baton_election *stage_observe(struct baton *b, const char *name)
{
    struct baton_election *e;
    struct baton_error err;
    if (baton_observe(b, name, &e, &err) < 0)
        fail_msg("cannot observe: %s", err.text);
    return e;
}

bool stage_readable(int fd)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    return poll(&ready, 1, 0) == 1;
}

void stage_wait_until(int64_t at_ms)
{
    for (int64_t now_ms = baton_now_ms(); now_ms < at_ms; now_ms = baton_now_ms())
        poll(NULL, 0, (int)(at_ms - now_ms));
}

/* The next event, or false after the limit. */
static bool next_event(struct baton *b, int64_t until_ms, struct baton_event *ret)
{
    while (!baton_next(b, ret)) {
        struct pollfd ready = {.fd = baton_fd(b), .events = POLLIN};
        int64_t left_ms = until_ms - baton_now_ms();
        if (left_ms <= 0)
            return false;
        poll(&ready, 1, (int)left_ms);
    }
    return true;
}

static bool is_leadership(enum baton_event_kind kind)
{
    return kind != BATON_CHANGED && kind != BATON_SESSION && kind != BATON_RENEWED;
}

struct baton_event stage_wait(struct baton *b, const struct baton_election *e, enum baton_event_kind kind)
{
    int64_t until_ms = baton_now_ms() + STAGE_LIMIT_MS;
    struct baton_event event;
    char seen[1024] = "";
    while (next_event(b, until_ms, &event)) {
        if (event.kind == kind && (e == NULL || event.election == e))
            return event;
        size_t used = strlen(seen);
        snprintf(seen + used, sizeof(seen) - used, " %s", baton_event_name(event.kind));
    }
    fail_msg("%s was not told '%s' in %d ms, but:%s", baton_id(b), baton_event_name(kind), STAGE_LIMIT_MS, seen);
    abort();
}

struct baton_event stage_expect(struct baton *b, const struct baton_election *e, enum baton_event_kind kind)
{
    int64_t until_ms = baton_now_ms() + STAGE_LIMIT_MS;
    struct baton_event event = {0};
    do
        if (!next_event(b, until_ms, &event))
            fail_msg("%s was not told '%s' in %d ms", baton_id(b), baton_event_name(kind), STAGE_LIMIT_MS);
    while (!is_leadership(event.kind) && event.kind != kind);
    if (event.kind != kind || event.election != e)
        fail_msg("%s was told '%s' of '%s' (%s), not '%s'", baton_id(b), baton_event_name(event.kind),
                 event.election != NULL ? baton_election_name(event.election) : "the client", event.text,
                 baton_event_name(kind));
    return event;
}

void stage_expect_nothing(struct baton *b)
{
    struct baton_event event;
    while (baton_next(b, &event))
        if (is_leadership(event.kind))
            fail_msg("%s was told '%s' (%s)", baton_id(b), baton_event_name(event.kind), event.text);
}

struct baton_status *stage_wait_status(struct baton *b, const struct baton_election *e,
                                       bool (*fits)(const struct baton_status *status, const void *what),
                                       const void *what)
{
    for (;;) {
        struct baton_status *status;
        size_t count;
        assert_int_equal(baton_status(e, &status, &count, NULL), 0);
        assert_int_equal(count, 1);
        if (status->known && fits(status, what))
            return status;
        baton_status_free(status, count);
        stage_wait(b, e, BATON_CHANGED);
    }
}

bool led_by(const struct baton_status *status, const void *id)
{
    return id == NULL ? status->leader == NULL : status->leader != NULL && strcmp(status->leader, id) == 0;
}

bool has_candidates(const struct baton_status *status, const void *count)
{
    return status->candidate_count == *(const size_t *)count;
}
