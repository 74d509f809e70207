/* world.c: see world.h. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"

static const char *base_url;
static char folder[] = "/tmp/baton-conformance-XXXXXX";
static unsigned spaces;

void world_engine(const char *url)
{
    base_url = url;
    if (mkdtemp(folder) == NULL) {
        perror(folder);
        exit(1);
    }
}

void world_engine_end(void)
{
    char command[100];
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    if (system(command) != 0)
        exit(1);
}

int world_setup(void **state)
{
    struct world *w = mem_new(sizeof(*w));
    uv_loop_init(&w->loop);
    spaces++;
    if (strcmp(base_url, "local:") == 0)
        snprintf(w->url, sizeof(w->url), "local:%s/%u", folder, spaces);
    else
        snprintf(w->url, sizeof(w->url), "%stest%d-%u", base_url, (int)getpid(), spaces);
    w->a = client_new(w->url, &w->loop);
    w->b = client_new(w->url, &w->loop);
    *state = w;
    return 0;
}

int world_teardown(void **state)
{
    struct world *w = *state;
    if (w->a != NULL)
        client_free(w->a);
    if (w->b != NULL)
        client_free(w->b);
    assert_int_equal(uv_loop_close(&w->loop), 0); /* nothing is left on it */
    free(w);
    return 0;
}

void expect_done(const struct baton_reply *reply)
{
    if (reply->answer != BATON_ANSWER_DONE)
        fail_msg("answer %d, not done: %s", (int)reply->answer, reply->error.text);
}

void expect_conflict(const struct baton_reply *reply)
{
    assert_int_equal(reply->answer, BATON_ANSWER_CONFLICT);
}

void expect_refused(const struct baton_reply *reply, enum baton_code code)
{
    assert_int_equal(reply->answer, BATON_ANSWER_REFUSED);
    assert_string_equal(baton_code_name(reply->error.code), baton_code_name(code));
}

bool all_answered(void *ctx)
{
    const struct client *client = ctx;
    return client->answers == client->last_ticket;
}

bool was_told_of_end(void *ctx)
{
    return ((const struct client *)ctx)->ended_count > 0;
}

bool never(void *ctx)
{
    return false;
}

void forget_history(const struct world *w, uint64_t revision)
{
    char command[200];
    if (!text_starts(w->url, "etcd:"))
        return;
    snprintf(command, sizeof(command), "ETCDCTL_API=3 etcdctl --endpoints 127.0.0.1:%d compact %llu >/dev/null 2>&1",
             server_port(w->url), (unsigned long long)revision);
    assert_int_equal(system(command), 0);
}

static const char *port_in(const char *url)
{
    const char *host = strstr(url, "//127.0.0.1:");
    return host != NULL ? host + strlen("//127.0.0.1:") : NULL;
}

int server_port(const char *url)
{
    const char *at = port_in(url);
    return at != NULL ? atoi(at) : 0;
}

void url_with_port(const struct world *w, int port, char url[220])
{
    const char *at = port_in(w->url);
    snprintf(url, 220, "%.*s%d%s", (int)(at - w->url), w->url, port, at + strspn(at, "0123456789"));
}
