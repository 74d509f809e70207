/* status.c: a copy, for the program, of an election's records as the client sees them. */
#include <stdlib.h>
#include <string.h>

#include "client/client.h"

static void fill_candidates(struct baton_status *status, const struct roster *roster)
{
    struct baton_candidate *candidates = mem_new((roster->order.count + 1) * sizeof(*candidates));
    for (size_t i = 0; i < roster->order.count; i++) {
        const struct candidate *from = candidate_of(roster->order.records[i]);
        candidates[i] = (struct baton_candidate){.id = mem_text(from->id),
                                                 .address = mem_text(from->address),
                                                 .host = mem_text(from->host),
                                                 .priority = from->priority,
                                                 .preempt = from->preempt,
                                                 .leads = roster->order.records[i] == roster->leader,
                                                 .since_wall_ms = from->since_wall_ms};
    }
    status->candidates = candidates;
    status->candidate_count = roster->order.count;
}

static void fill_terms(struct baton_status *status, const struct decision *decision)
{
    struct baton_term *terms = mem_new((decision->term_count + 1) * sizeof(*terms));
    for (size_t i = 0; i < decision->term_count; i++) {
        const struct term_entry *from = &decision->terms[i];
        terms[i] = (struct baton_term){.term = from->term,
                                       .id = mem_text(from->id),
                                       .reason = mem_text(from->reason),
                                       .since_wall_ms = from->since_wall_ms};
    }
    status->terms = terms;
    status->term_count = decision->term_count;
    status->term = decision->term;
    if (decision->term_count > 0)
        status->since_wall_ms = decision->terms[0].since_wall_ms;
}

static void fill(struct baton_status *status, const char *name, const struct view *view, const struct roster *roster)
{
    status->name = mem_text(name);
    status->known = view->ready;
    if (!view->ready)
        return;
    status->revision = view->revision;
    fill_candidates(status, roster);
    if (roster->decision != NULL)
        fill_terms(status, roster->decision);
    if (roster->leader != NULL && candidate_of(roster->leader) != NULL)
        status->leader = mem_text(candidate_of(roster->leader)->id);
    else
        status->since_wall_ms = 0;
    status->held = roster->hold_record != NULL;
    if (status->held && hold_of(roster->hold_record) != NULL) {
        status->held_by = mem_text(hold_of(roster->hold_record)->by);
        status->held_why = mem_text(hold_of(roster->hold_record)->why);
    }
    if (roster->order.trouble != NULL)
        status->trouble = mem_text(roster->order.trouble->text);
}

static void fill_all(const struct view *view, struct baton_status **ret, size_t *ret_count)
{
    struct view_name *names = view_names(view, ret_count);
    struct roster roster = {0};
    *ret = mem_new((*ret_count + 1) * sizeof(**ret));
    for (size_t i = 0; i < *ret_count; i++) {
        char *prefix = election_prefix(names[i].text);
        roster_read(&roster, view, prefix, CANDIDATES);
        free(prefix);
        fill(&(*ret)[i], names[i].text, view, &roster);
    }
    roster_release(&roster);
    free(names);
}

int baton_status(const struct baton_election *e, struct baton_status **ret, size_t *ret_count, struct baton_error *err)
{
    struct baton *b = e->handle.client;
    if (client_check(b, err) < 0)
        return -1;
    client_lock(b);
    const struct view *view = contest_view(e->handle.core);
    if (e->handle.all) {
        fill_all(view, ret, ret_count);
    } else {
        *ret = mem_new(sizeof(**ret));
        *ret_count = 1;
        fill(*ret, e->handle.name, view, election_roster(e->handle.core));
    }
    client_unlock(b);
    return 0;
}

void baton_status_free(struct baton_status *status, size_t count)
{
    if (status == NULL)
        return;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < status[i].candidate_count; j++) {
            free((char *)status[i].candidates[j].id);
            free((char *)status[i].candidates[j].address);
            free((char *)status[i].candidates[j].host);
        }
        for (size_t j = 0; j < status[i].term_count; j++) {
            free((char *)status[i].terms[j].id);
            free((char *)status[i].terms[j].reason);
        }
        free((struct baton_candidate *)status[i].candidates);
        free((struct baton_term *)status[i].terms);
        free((char *)status[i].name);
        free((char *)status[i].leader);
        free((char *)status[i].held_by);
        free((char *)status[i].held_why);
        free((char *)status[i].trouble);
    }
    free(status);
}
