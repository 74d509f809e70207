/* gate.c: `baton gate NAME --listen ADDR`: the way to the leader. It watches the election and tells the relay whom to
 * connect to. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/base.h"
#include "base/hash.h"
#include "cli/candidate.h"
#include "cli/observer.h"
#include "cli/trouble.h"
#include "process/notify.h"
#include "relay/relay.h"

#define LISTEN_MAX 16
#define FDS_A_CONNECTION 6 /* two sockets, and two pipes when both ways are full */
#define FDS_OWN 40         /* of the gate itself, and of the engine's client */
#define GOALS_MAX (RELAY_TARGETS_MAX / ADDRESSES_MAX)
#define LOOK_UP_AGAIN_MS 1000

struct gate_options {
    const char *url, *name, *listen, *to;
    uint32_t hold_ms, connect_ms, idle_ms, blind_ms;
    int32_t connections_max;
    bool json;
};

/* One candidate that connections may go to. */
struct goal {
    uint64_t number;
    char *text; /* its address, as it was given */
    struct address addresses[ADDRESSES_MAX];
    size_t address_count;
    int look_up_fd;   /* -1: none is under way */
    int64_t again_ms; /* when to look up anew, if somebody waits; 0: no need */
};

struct gate {
    const struct gate_options *options;
    struct observer observer;
    struct relay *relay;
    struct goal goals[GOALS_MAX];
    size_t goal_count;
    uint64_t told; /* the number of the first goal that was told of; so that each is told once */
    bool ready, stopped, crowded;
    int64_t blind_at_ms; /* the engine is lost: when to believe no more what it said last; NEVER_MS */
    bool blind;
    struct trouble trouble;
    int signal_fd;
};

/* ---- options ---- */

static int parse(int argc, char **argv, struct gate_options *into)
{
    const struct cli_option options[] = {
        CLI_OPTION_URL(&into->url),
        {.name = "listen",
         .letter = 'l',
         .kind = CLI_TEXT,
         .into = &into->listen,
         .value = "ADDR[,ADDR...]",
         .help = "where clients connect: HOST:PORT, :PORT, [IPV6]:PORT or a path"},
        {.name = "to",
         .kind = CLI_CHOICE,
         .into = &into->to,
         .value = "leader|followers",
         .help = "whom to connect to (default: leader); followers take turns"},
        {.name = "hold",
         .kind = CLI_DURATION,
         .into = &into->hold_ms,
         .value = "DURATION",
         .help = "how long a new connection waits while there is nobody to connect\nto (default: 10s)"},
        {.name = "connect-timeout",
         .kind = CLI_DURATION,
         .into = &into->connect_ms,
         .value = "DURATION",
         .min = 1,
         .help = "how long one attempt to connect may take (default: 3s)"},
        {.name = "blind",
         .kind = CLI_DURATION,
         .into = &into->blind_ms,
         .value = "DURATION",
         .help = "how long to go on as it was when the engine cannot be asked any\nmore (default: 10s; 0: for ever)"},
        {.name = "idle-timeout",
         .kind = CLI_DURATION,
         .into = &into->idle_ms,
         .value = "DURATION",
         .help = "cut a connection on which nothing happens for so long (default:\n0: never)"},
        {.name = "max-connections",
         .kind = CLI_NUMBER,
         .into = &into->connections_max,
         .value = "N",
         .min = 1,
         .max = 1000000,
         .help = "more wait to be accepted (default: 10000)"},
        CLI_OPTION_JSON(&into->json),
    };
    const struct cli_form form = {
        .command = "gate",
        .synopsis = "[OPTIONS] --listen ADDR NAME",
        .about = "Relays each connection to the --address of the leader of the election NAME. The\n"
                 "connections of a leader that has lost its place are cut; new ones wait while there\n"
                 "is none. With --to followers, connections are spread over the candidates that do\n"
                 "not lead. Ends with SIGTERM.",
        .options = options,
        .option_count = COUNT_OF(options),
        .operands_min = 1,
        .operands_max = 1,
        .operands = "NAME",
        .names_election = true};
    struct cli_args args;
    int status = cli_parse(&form, argc, argv, &args);
    if (status != CLI_GO)
        return status;
    into->name = args.operands[0];
    if (into->listen == NULL || into->listen[0] == '\0')
        return cli_usage_error("gate", "--listen is missing: the address at which clients connect");
    return CLI_GO;
}

/* ---- for people, and for programs ---- */

static void say(const struct gate *gate, const char *event, uint64_t term, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void say(const struct gate *gate, const char *event, uint64_t term, const char *format, ...)
{
    char words[TROUBLE_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof(words), format, args);
    va_end(args);
    if (!gate->options->json) {
        cli_error("%s: %s", gate->options->name, words);
        return;
    }
    json_t *object = candidate_event(event, gate->options->name, NULL, term, words);
    char *line = json_dumps(object, JSON_COMPACT | JSON_ENSURE_ASCII);
    cli_line(stderr, line != NULL ? line : "{}");
    free(line);
    json_decref(object);
}

/* ---- whom to connect to ---- */

static void set_targets(struct gate *gate)
{
    static struct relay_target targets[RELAY_TARGETS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < gate->goal_count && !gate->blind; i++)
        for (size_t place = 0; place < gate->goals[i].address_count; place++)
            targets[count++] = (struct relay_target){
                .number = gate->goals[i].number, .otherwise = place > 0, .address = gate->goals[i].addresses[place]};
    relay_set_targets(gate->relay, targets, count);
}

static void goal_release(struct goal *goal)
{
    if (goal->look_up_fd >= 0)
        close(goal->look_up_fd);
    free(goal->text);
}

static void goal_init(struct gate *gate, struct goal *goal, uint64_t number, const char *id, const char *text)
{
    struct baton_error err;
    *goal = (struct goal){.number = number, .text = mem_text(text), .look_up_fd = -1};
    int parsed = text[0] != '\0' ? address_parse(text, false, &goal->addresses[0], &err) : 0;
    goal->address_count = text[0] != '\0' && parsed == 0;
    if (text[0] == '\0')
        say(gate, "no-address", 0, "%s has no address: start it with --address", id);
    else if (parsed == 1 && (goal->look_up_fd = address_look_up(text, &err)) < 0) {
        parsed = -1;
        goal->again_ms = baton_now_ms() + LOOK_UP_AGAIN_MS;
    }
    if (parsed < 0 && err.code != BATON_FULL)
        say(gate, "bad-address", 0, "%s: %s", id, err.text);
}

static const struct goal *find_goal(const struct goal *goals, size_t count, uint64_t number, const char *text)
{
    for (size_t i = 0; i < count; i++)
        if (goals[i].number == number && strcmp(goals[i].text, text) == 0)
            return &goals[i];
    return NULL;
}

/* Another candidacy is another number. */
static uint64_t number_of(const struct baton_candidate *candidate)
{
    char text[400];
    snprintf(text, sizeof(text), "%s|%s|%" PRId64, candidate->id, candidate->address, candidate->since_wall_ms);
    return hash_text(HASH_BEGIN, text) | 1ULL << 63; /* no term */
}

static bool is_goal(const struct gate *gate, const struct baton_status *status, const struct baton_candidate *candidate)
{
    if (strcmp(gate->options->to, "leader") == 0)
        return candidate->leads && status->leader != NULL;
    return !candidate->leads;
}

static void add_goal(struct gate *gate, const struct goal *before, size_t before_count,
                     const struct baton_status *status, const struct baton_candidate *candidate)
{
    uint64_t number = candidate->leads ? status->term : number_of(candidate);
    const struct goal *known = find_goal(before, before_count, number, candidate->address);
    struct goal *goal = &gate->goals[gate->goal_count++];
    if (known == NULL) {
        goal_init(gate, goal, number, candidate->id, candidate->address);
        return;
    }
    *goal = *known;
    ((struct goal *)known)->text = NULL; /* it has moved */
    ((struct goal *)known)->look_up_fd = -1;
}

static void tell_leader(struct gate *gate, const struct baton_status *status)
{
    if (strcmp(gate->options->to, "leader") != 0)
        return;
    uint64_t number = status->leader != NULL ? status->term : 0;
    if (number == gate->told && gate->ready)
        return;
    gate->told = number;
    if (number != 0)
        say(gate, "leader", number, "to %s, %s (term %" PRIu64 ")", status->leader,
            gate->goal_count > 0 ? gate->goals[0].text : "", number);
    else
        say(gate, "vacant", 0, "nobody leads: connections are held");
}

static void follow(struct gate *gate)
{
    static struct goal before[GOALS_MAX];
    size_t before_count = gate->goal_count;
    const struct baton_status *status = &gate->observer.status[0];
    memcpy(before, gate->goals, before_count * sizeof(before[0]));
    gate->goal_count = 0;
    size_t left_out = 0;
    for (size_t i = 0; i < status->candidate_count; i++) {
        if (!is_goal(gate, status, &status->candidates[i]))
            continue;
        if (gate->goal_count < GOALS_MAX)
            add_goal(gate, before, before_count, status, &status->candidates[i]);
        else
            left_out++;
    }
    if (left_out > 0 && !gate->crowded)
        say(gate, "too-many", 0, "%zu followers, and connections go to the first %d only", GOALS_MAX + left_out,
            GOALS_MAX);
    gate->crowded = left_out > 0;
    for (size_t i = 0; i < before_count; i++)
        if (before[i].text != NULL)
            goal_release(&before[i]);
    set_targets(gate);
    tell_leader(gate, status);
    if (!gate->ready) {
        gate->ready = true;
        notify_say("READY=1");
        say(gate, "ready", 0, "listens at %s", gate->options->listen);
    }
}

/* ---- events ---- */

/* The engine is lost, and with it what becomes of the leader: for a while it is believed to be as it was. */
static void lose_sight(struct gate *gate)
{
    if (gate->blind_at_ms == NEVER_MS && gate->options->blind_ms > 0)
        gate->blind_at_ms = baton_now_ms() + gate->options->blind_ms;
}

static void check_sight(struct gate *gate)
{
    char limit[32], text[TROUBLE_TEXT];
    const char *still = trouble_due(&gate->trouble, baton_url(gate->observer.client), text);
    if (still != NULL)
        say(gate, "trouble", 0, "%s", still);
    if (gate->blind || baton_now_ms() < gate->blind_at_ms)
        return;
    gate->blind = true;
    say(gate, "blind", 0, "the engine could not be asked for %s: nobody knows who leads; connections are cut and held",
        cli_duration_text(gate->options->blind_ms, limit));
    set_targets(gate);
}

static void see_again(struct gate *gate)
{
    struct baton_error err;
    gate->blind_at_ms = NEVER_MS;
    gate->blind = false;
    if (observer_refresh(&gate->observer, &err) == 0 && gate->observer.viewed)
        follow(gate);
}

static void on_trouble(struct gate *gate, const struct baton_event *event)
{
    char text[TROUBLE_TEXT];
    bool recovered = event->kind == BATON_RECOVERED;
    const char *words = trouble_event(&gate->trouble, baton_url(gate->observer.client), event, text);
    if (words != NULL)
        say(gate, recovered ? "recovered" : "trouble", 0, "%s", words);
    if (recovered)
        see_again(gate);
    else
        lose_sight(gate);
}

static void on_baton(struct gate *gate)
{
    struct baton_event event;
    struct baton_error err;
    while (baton_next(gate->observer.client, &event)) {
        if ((event.kind == BATON_TROUBLE || event.kind == BATON_RECOVERED) && event.election == NULL)
            on_trouble(gate, &event);
        if (event.kind == BATON_CHANGED && observer_refresh(&gate->observer, &err) == 0 && gate->observer.viewed)
            follow(gate);
    }
}

static void on_look_up(struct gate *gate, struct goal *goal)
{
    struct baton_error err;
    bool told = goal->again_ms != 0;
    int result = address_take(goal->look_up_fd, goal->addresses, &goal->address_count, &err);
    goal->look_up_fd = -1;
    goal->again_ms = result < 0 ? baton_now_ms() + LOOK_UP_AGAIN_MS : 0;
    if (result < 0)
        goal->address_count = 0;
    if (result < 0 && !told)
        say(gate, "bad-address", 0, "%s; it is tried again while connections wait", err.text);
    else if (result == 0 && told)
        say(gate, "address", 0, "'%s' was looked up", goal->text);
    set_targets(gate);
}

/* Look up again the names that could not be, while a client waits for them. The time of the next look-up, or NEVER_MS.
 */
static int64_t look_up_again(struct gate *gate)
{
    struct relay_counts counts;
    struct baton_error err;
    int64_t due_ms = NEVER_MS, now_ms = baton_now_ms();
    relay_count(gate->relay, &counts);
    for (size_t i = 0; i < gate->goal_count && counts.held > 0; i++) {
        struct goal *goal = &gate->goals[i];
        if (goal->again_ms == 0 || goal->look_up_fd >= 0)
            continue;
        if (now_ms >= goal->again_ms && (goal->look_up_fd = address_look_up(goal->text, &err)) >= 0)
            continue;
        if (now_ms >= goal->again_ms)
            goal->again_ms = now_ms + LOOK_UP_AGAIN_MS;
        due_ms = goal->again_ms < due_ms ? goal->again_ms : due_ms;
    }
    return due_ms;
}

static void on_signal(struct gate *gate)
{
    struct signalfd_siginfo info;
    struct relay_counts counts;
    while (read(gate->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo != SIGUSR1) {
            gate->stopped = true;
            continue;
        }
        relay_count(gate->relay, &counts);
        say(gate, "counts", 0, "%d open, %d held, %" PRIu64 " accepted, %" PRIu64 " cut, %" PRIu64 " refused",
            counts.open, counts.held, counts.accepted, counts.cut, counts.refused);
    }
}

static void turn(struct gate *gate)
{
    int64_t wake_ms = look_up_again(gate), relay_ms = relay_wake_ms(gate->relay), now_ms = baton_now_ms();
    struct pollfd polled[GOALS_MAX + 3] = {{.fd = baton_fd(gate->observer.client), .events = POLLIN},
                                           {.fd = relay_fd(gate->relay), .events = POLLIN},
                                           {.fd = gate->signal_fd, .events = POLLIN}};
    for (size_t i = 0; i < gate->goal_count; i++)
        polled[3 + i] = (struct pollfd){.fd = gate->goals[i].look_up_fd, .events = POLLIN};
    wake_ms = relay_ms < wake_ms ? relay_ms : wake_ms;
    if (!gate->blind && gate->blind_at_ms < wake_ms)
        wake_ms = gate->blind_at_ms;
    if (trouble_wake_ms(&gate->trouble) < wake_ms)
        wake_ms = trouble_wake_ms(&gate->trouble);
    int64_t wait_ms = wake_ms == NEVER_MS ? -1 : wake_ms > now_ms ? wake_ms - now_ms : 0;
    size_t count = 3 + gate->goal_count;
    if (poll(polled, (nfds_t)count, wait_ms > 60000 ? 60000 : (int)wait_ms) < 0)
        return;
    for (size_t i = 3; i < count; i++)
        if (polled[i].revents != 0)
            on_look_up(gate, &gate->goals[i - 3]);
    /* The changes of leader first: from then on the words of a deposed leader reach nobody. */
    if (polled[0].revents != 0)
        on_baton(gate);
    check_sight(gate);
    relay_turn(gate->relay, baton_now_ms());
    if (polled[2].revents != 0)
        on_signal(gate);
}

/* ---- begin and end ---- */

static int listen_all(struct gate *gate, struct baton_error *err)
{
    char *copy = mem_text(gate->options->listen), *rest = copy, *address;
    int result = 0;
    while (result == 0 && (address = strsep(&rest, ",")) != NULL)
        result = relay_listen(gate->relay, address, err);
    free(copy);
    return result;
}

/* As many connections as were asked for, if there are descriptors for so many. */
static int connections_max(const struct gate *gate)
{
    int wanted = gate->options->connections_max;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    rlim_t needed = (rlim_t)wanted * FDS_A_CONNECTION + FDS_OWN;
    if (files.rlim_cur < needed && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = needed < files.rlim_max ? needed : files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
        getrlimit(RLIMIT_NOFILE, &files);
    }
    if (files.rlim_cur >= needed)
        return wanted;
    return files.rlim_cur > FDS_OWN + FDS_A_CONNECTION ? (int)((files.rlim_cur - FDS_OWN) / FDS_A_CONNECTION) : 1;
}

static void tell_limit(const struct gate *gate, int possible)
{
    struct rlimit files;
    int wanted = gate->options->connections_max;
    getrlimit(RLIMIT_NOFILE, &files);
    if (possible == wanted)
        return;
    say(gate, "few-files", 0,
        "%d connections at once, not %d: %ju files may be open (ulimit -n), and each needs up to %d", possible, wanted,
        (uintmax_t)files.rlim_cur, FDS_A_CONNECTION);
}

/* A name to listen at is looked up, which may take long: before the signals that end it are blocked. */
static int open_relay(struct gate *gate, int most, struct baton_error *err)
{
    const struct gate_options *options = gate->options;
    const struct relay_options relay = {.hold_ms = options->hold_ms,
                                        .connect_ms = options->connect_ms,
                                        .idle_ms = options->idle_ms,
                                        .connections_max = most};
    gate->relay = relay_new(&relay, err);
    return gate->relay == NULL ? -1 : listen_all(gate, err);
}

static int relay_all(struct gate *gate, int most)
{
    static const int caught[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1};
    struct baton_error err;
    gate->signal_fd = candidate_signals(caught, COUNT_OF(caught));
    if (gate->signal_fd < 0)
        return EX_OSERR;
    cli_print_begin();
    if (gate->options->json)
        cli_print_json(stderr, gate->options->name);
    if (observer_open(&gate->observer, gate->options->url, gate->options->name, true, &err) < 0)
        return cli_fail(&err);
    tell_limit(gate, most); /* after what is wrong with the arguments */
    while (!gate->stopped)
        turn(gate);
    notify_say("STOPPING=1");
    close(gate->signal_fd);
    return 0;
}

static int run(int argc, char **argv)
{
    static struct gate gate = {.blind_at_ms = NEVER_MS};
    static struct gate_options options = {
        .to = "leader", .hold_ms = 10000, .connect_ms = 3000, .blind_ms = 10000, .connections_max = 10000};
    struct baton_error err;
    int status = parse(argc, argv, &options);
    if (status != CLI_GO)
        return status;
    gate.options = &options;
    (void)notify_init();
    int most = connections_max(&gate);
    status = open_relay(&gate, most, &err) < 0 ? cli_fail(&err) : relay_all(&gate, most);
    observer_close(&gate.observer);
    relay_free(gate.relay);
    for (size_t i = 0; i < gate.goal_count; i++)
        goal_release(&gate.goals[i]);
    return status;
}

const struct cli_command command_gate = {"gate", "relay connections to the leader", run};
