/* election.c: the protocol of elections: a leadership, and nothing else. */
#include "core/election/state.h"

enum { ELECTION_DECISION = WRITE_FIRST };

char *election_prefix(const char *name)
{
    return mem_format(ELECTIONS_PREFIX "%s/", name);
}

const struct roster *election_roster(const struct contest *election)
{
    return &leadership_of(election)->roster;
}

bool election_testament(const struct core *core, const struct contest *election, struct baton_write *ret)
{
    return election->protocol->kind == CONTEST_ELECTION && leadership_testament(core, leadership_of(election), ret);
}

static void init(struct contest *election)
{
    char *prefix = election->name != NULL ? election_prefix(election->name) : mem_text(ELECTIONS_PREFIX);
    leadership_init(leadership_of(election), election, prefix, CANDIDATES, 0, ELECTION_DECISION);
}

static char *presence_key(const struct contest *election)
{
    return leadership_presence_key(leadership_of(election));
}

static char *presence_value(const struct core *core, const struct contest *election)
{
    return leadership_presence_value(core, leadership_of(election));
}

static void election_read(struct core *core, struct contest *election)
{
    leadership_read(leadership_of(election));
}

static const struct baton_error *trouble(const struct contest *election)
{
    return leadership_of(election)->roster.order.trouble;
}

static void act(struct core *core, struct contest *election, bool present)
{
    leadership_act(core, leadership_of(election));
    if (present && leadership_leaves_nobody(leadership_of(election)))
        contest_remove_presence(core, election);
}

static bool may_leave(struct core *core, struct contest *election)
{
    return leadership_may_leave(core, leadership_of(election));
}

static void forget_candidacy(struct contest *election)
{
    leadership_forget_candidacy(leadership_of(election));
}

static struct attempt *write_of(struct contest *election, unsigned which)
{
    return which == ELECTION_DECISION ? &leadership_of(election)->decision : NULL;
}

static bool rests(const struct core *core, const struct contest *election, struct rest_keys *keys)
{
    return leadership_rests(core, leadership_of(election), keys);
}

static void release(struct contest *election)
{
    leadership_release(leadership_of(election));
}

static const struct record_kind kinds[] = {{.path = CANDIDATES "*", .read = candidate_read, .free = candidate_free},
                                           LEADERSHIP_RECORDS};
const struct record_kinds election_records = {ELECTIONS_PREFIX, kinds, COUNT_OF(kinds), name_of_path};

const struct protocol election_protocol = {
    .word = "election",
    .records = &election_records,
    .kind = CONTEST_ELECTION,
    .part_size = sizeof(struct leadership),
    .parks = true,
    .stands_early = true,
    .seen_first = RULE_CLAIM_AFTER_PRESENCE,
    .init = init,
    .prefix = election_prefix,
    .presence_key = presence_key,
    .presence_value = presence_value,
    .read = election_read,
    .trouble = trouble,
    .act = act,
    .may_leave = may_leave,
    .forget_candidacy = forget_candidacy,
    .write = write_of,
    .rests = rests,
    .release = release,
};
