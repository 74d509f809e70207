/* title.c: see title.h. */
#include "process/title.h"

#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"

extern char **environ;

static char *begin;
static size_t arguments, size; /* bytes of the arguments, and of these with the environment */
static bool environment_moved;

/* The kernel puts them one after the other; but the environment may have been changed by who has called us. */
static char *end_of(char *const *texts, char *end)
{
    for (; *texts != NULL && *texts == end; texts++)
        end = *texts + strlen(*texts) + 1;
    return end;
}

void title_init(int argc, char **argv)
{
    if (argc < 1)
        return;
    begin = argv[0];
    char *end = end_of(argv, begin);
    arguments = (size_t)(end - begin);
    if (argv[argc - 1] + strlen(argv[argc - 1]) + 1 == end)
        end = end_of(environ, end);
    size = (size_t)(end - begin);
}

static void move_environment(void)
{
    size_t count = 0;
    while (environ[count] != NULL)
        count++;
    char **copy = mem_new((count + 1) * sizeof(*copy));
    for (size_t i = 0; i < count; i++)
        copy[i] = mem_text(environ[i]);
    environ = copy;
    environment_moved = true;
}

void title_set(const char *text)
{
    if (begin == NULL)
        return;
    if (!environment_moved)
        move_environment();
    size_t length = strnlen(text, size - 1);
    memcpy(begin, text, length);
    /* Of the environment no more is lost than is needed: it tells (proc(5)) whose process this is. */
    memset(begin + length, 0, length < arguments ? arguments - length : 1);
}
