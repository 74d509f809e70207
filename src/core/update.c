/* update.c: the list of things to do that a step fills. */
#include <stdio.h>
#include <stdlib.h>

#include "core/state.h"

void update_init(struct update *update)
{
    *update = (struct update){.deadline_ms = NEVER_MS};
}

void update_clear(struct update *update)
{
    for (size_t i = 0; i < update->count; i++) {
        free((char *)update->actions[i].write.key);
        free((char *)update->actions[i].write.value);
        for (size_t k = 0; k < update->actions[i].key_count; k++)
            free(update->actions[i].keys[k]);
        free(update->actions[i].text);
    }
    update->count = 0;
    update->deadline_ms = NEVER_MS;
}

void update_release(struct update *update)
{
    update_clear(update);
    free(update->actions);
    update_init(update);
    update->actions = NULL;
    update->room = 0;
}

struct action *todo_add(struct core *core, enum action_kind kind)
{
    struct update *update = core->todo;
    if (update == NULL)
        IMPOSSIBLE("an action outside of a step");
    if (update->count == update->room) {
        update->room = update->room > 0 ? 2 * update->room : 8;
        update->actions = mem_grow(update->actions, update->room * sizeof(*update->actions));
    }
    struct action *action = &update->actions[update->count++];
    *action = (struct action){.kind = kind};
    return action;
}

struct action *todo_tell(struct core *core, enum tell_kind tell, struct contest *contest, const char *format, ...)
{
    struct action *action = todo_add(core, ACTION_TELL);
    action->tell = tell;
    action->contest = contest;
    va_list args;
    va_start(args, format);
    char text[BATON_ERROR_TEXT];
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    action->text = mem_text(text);
    return action;
}

const char *tell_name(enum tell_kind tell)
{
    static const char *const names[] = {[TELL_LEAD] = "LEAD",
                                        [TELL_STOP] = "STOP",
                                        [TELL_FOLLOW] = "FOLLOW",
                                        [TELL_CHANGED] = "CHANGED",
                                        [TELL_RESIGNED] = "RESIGNED",
                                        [TELL_OUTCOME] = "OUTCOME",
                                        [TELL_DUPLICATE] = "DUPLICATE",
                                        [TELL_REPLY] = "REPLY",
                                        [TELL_SESSION] = "SESSION",
                                        [TELL_RENEWED] = "RENEWED",
                                        [TELL_SESSION_LOST] = "SESSION_LOST",
                                        [TELL_TROUBLE] = "TROUBLE",
                                        [TELL_GONE] = "GONE"};
    assert((size_t)tell < COUNT_OF(names) && names[tell] != NULL);
    return names[tell];
}
