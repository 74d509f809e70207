/* fuzz_roster.c: whatever the records of an election hold, its roster can be read: an election is never led and vacant
 * at once, and who cannot be read is in no order. The input is lines, "KEY VALUE", each a record under elections/e/. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "core/election/election.h"

#define RECORDS_MAX 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t read_changes(char *text, struct baton_change *changes)
{
    size_t count = 0;
    char *rest = text;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL && count < RECORDS_MAX;
         line = strtok_r(NULL, "\n", &rest)) {
        char *space = strchr(line, ' ');
        if (space == NULL || space == line || space - line > 200)
            continue;
        *space = '\0';
        changes[count] = (struct baton_change){.kind = BATON_CHANGE_PUT,
                                               .record = {.key = mem_format("elections/e/%s", line),
                                                          .value = space + 1,
                                                          .revision = count + 1,
                                                          .created = count + 1}};
        count++;
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = mem_text_n((const char *)data, size);
    struct baton_change changes[RECORDS_MAX];
    size_t count = read_changes(text, changes);
    struct baton_batch batch = {.reset = true, .revision = count + 1, .changes = changes, .count = count};
    struct view view;
    struct roster roster = {0};
    view_init(&view, &election_records);
    view_apply(&view, &batch);
    roster_read(&roster, &view, "elections/e/", CANDIDATES);
    assert(roster.order.count <= count);
    if (roster_vacant(&roster))
        assert(roster.leader == NULL);
    if (roster.leader_record != NULL && roster.decision == NULL)
        assert(roster.order.trouble != NULL && !roster_vacant(&roster));
    for (size_t i = 0; i < roster.order.count; i++)
        assert(roster_place(&roster, roster.order.records[i]->cid) == i);
    roster_release(&roster);
    view_release(&view);
    for (size_t i = 0; i < count; i++)
        free((char *)changes[i].record.key);
    free(text);
    return 0;
}
