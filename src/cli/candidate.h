/* candidate.h: what `baton run` and `baton elect` share: they stand in an election, need some time to stop, and tell
 * what happens. */
#ifndef CLI_CANDIDATE_H
#define CLI_CANDIDATE_H

#include <jansson.h>
#include <signal.h>

#include "baton/baton.h"
#include "cli/cli.h"
#include "process/guard.h"

#define CANDIDATE_GRACE_MS 3000
/* The slack: how long the kill of a command that has not stopped may take on a busy machine, until its end is seen. It
 * is taken off the end of the lease. For short ttls it is a tenth of them. */
#define CANDIDATE_SLACK_MS 200

struct candidate {
    const char *url, *id, *address;
    int32_t priority;
    bool preempt, json;
    bool attentive; /* it tells each change */
    bool allow_privileges;
    uint32_t ttl_ms;
    uint32_t grace_ms; /* UINT32_MAX: not given */
    uint32_t slack_ms; /* UINT32_MAX: not given */
};

/* Rows of a table of options. */
#define CANDIDATE_OPTIONS(place)                                                                                       \
    CLI_OPTION_URL(&(place)->url), CLI_OPTION_ID(&(place)->id), CLI_OPTION_ADDRESS(&(place)->address),                 \
        CLI_OPTION_PRIORITY(&(place)->priority), CLI_OPTION_PREEMPT(&(place)->preempt),                                \
        CLI_OPTION_TTL(&(place)->ttl_ms), CLI_OPTION_JSON(&(place)->json)

#define CANDIDATE_OPTION_SLACK(place)                                                                                  \
    {                                                                                                                  \
        .name = "slack", .kind = CLI_DURATION, .into = (place), .value = "DURATION", .min = 1,                         \
        .help = "from SIGKILL to the end of the lease: what the kernel may take to\nend it all (default: 200ms, or a " \
                "tenth of --ttl if that is less)"                                                                      \
    }

#define CANDIDATE_OPTION_PRIVILEGES(place)                                                                             \
    {                                                                                                                  \
        .name = "allow-privileges", .kind = CLI_FLAG, .into = (place),                                                 \
        .help = "COMMAND may raise its privileges (sudo), though what it becomes\ncannot be killed by this user"       \
    }

/* The defaults before options are parsed. */
void candidate_init(struct candidate *candidate);
/* Fill in the grace and the slack, when the options are parsed. A whole stop must fit into the part of the lease that
 * is left when a renewal was missed. CLI_GO, or the exit status of a usage error of `command` that shows the sum. */
int candidate_fit(struct candidate *candidate, const char *command);

/* Open a client, and stand. `supervised`: the caller has a guard of its own, and is told of renewals. `needs_time`: a
 * stop may take up to grace and slack. */
int candidate_open(const struct candidate *candidate, bool supervised, struct baton **ret, struct baton_error *err);
int candidate_stand(const struct candidate *candidate, struct baton *client, const char *name, bool needs_time,
                    struct baton_election **ret, struct baton_error *err);

/* A stop must be over before until_ms. The time at which a guard that has not done it must be held to hang. */
int64_t candidate_limit_ms(const struct candidate *candidate, int64_t until_ms);

/* How whoever started us has left the signals. Before candidate_signals. */
void candidate_inherited(struct guard_signals *ret);
/* Take these signals from a descriptor, which is returned, instead of by handlers; ignore SIGPIPE. Those that are
 * ignored stay so, but SIGTERM, and SIGCHLD, without which no end of a child would be seen. -1: it was told. */
int candidate_signals(const int *numbers, size_t count);

/* One event for --json. id NULL, term 0, text "": not there. */
json_t *candidate_event(const char *event, const char *name, const char *id, uint64_t term, const char *text);

#endif
