/* bench_stage.c: see bench_stage.h. */
#include "bench_stage.h"

#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LIMIT_MS 120000

void stage_open(struct bench_stage *stage, bool renewals)
{
    char url[80];
    struct baton_options options;
    struct baton_error err;
    *stage = (struct bench_stage){.folder = "/tmp/baton-bench-XXXXXX"};
    if (mkdtemp(stage->folder) == NULL)
        stage_give_up("cannot make %s", stage->folder);
    snprintf(url, sizeof(url), "local:%s", stage->folder);
    baton_options_init(&options);
    options.url = url;
    options.renewals = renewals;
    if (baton_open(&options, &stage->client, &err) < 0)
        stage_give_up("%s", err.text);
}

struct baton_election *stage_stand(struct bench_stage *stage, const char *name)
{
    struct baton_election *e;
    struct baton_error err;
    if (baton_stand(stage->client, name, NULL, &e, &err) < 0)
        stage_give_up("%s", err.text);
    return e;
}

/* One event, or false at `until_ms`. */
static bool take(struct bench_stage *stage, int64_t until_ms)
{
    struct baton_event event;
    while (!baton_next(stage->client, &event)) {
        int64_t left_ms = until_ms - baton_now_ms();
        if (left_ms <= 0)
            return false;
        struct pollfd ready = {.fd = baton_fd(stage->client), .events = POLLIN};
        poll(&ready, 1, (int)left_ms);
    }
    stage->led += event.kind == BATON_LEAD;
    stage->renewals += event.kind == BATON_RENEWED;
    if (event.kind == BATON_TROUBLE || event.kind == BATON_STOP || event.kind == BATON_LOST_SESSION)
        stage_give_up("%s: %s", baton_event_name(event.kind), event.text);
    return true;
}

void stage_wait_led(struct bench_stage *stage, size_t count)
{
    int64_t until_ms = baton_now_ms() + LIMIT_MS;
    while (stage->led < count)
        if (!take(stage, until_ms))
            stage_give_up("only %zu of %zu elections were led after %d ms", stage->led, count, LIMIT_MS);
}

void stage_idle(struct bench_stage *stage, int64_t time_ms)
{
    int64_t until_ms = baton_now_ms() + time_ms;
    while (take(stage, until_ms))
        ;
}

void stage_close(struct bench_stage *stage)
{
    baton_close(stage->client);
    DIR *folder = opendir(stage->folder);
    if (folder == NULL)
        return;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder))
        unlinkat(dirfd(folder), entry->d_name, 0);
    closedir(folder);
    rmdir(stage->folder);
}
