/* nearest.c: see nearest.h. */
#include "cli/nearest.h"

#include <stdbool.h>
#include <string.h>

#define WORD_MAX 32 /* bytes of a word that is compared; commands and options are shorter */

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* How many letters must be put in, left out, replaced, or exchanged with their neighbour, to make one word of the
 * other: the optimal string alignment distance. */
static unsigned distance_of(const char *a, size_t a_length, const char *b, size_t b_length)
{
    unsigned cost[WORD_MAX + 1][WORD_MAX + 1];
    for (size_t i = 0; i <= a_length; i++)
        cost[i][0] = (unsigned)i;
    for (size_t k = 0; k <= b_length; k++)
        cost[0][k] = (unsigned)k;
    for (size_t i = 1; i <= a_length; i++)
        for (size_t k = 1; k <= b_length; k++) {
            unsigned replaced = cost[i - 1][k - 1] + (a[i - 1] != b[k - 1]);
            cost[i][k] = least(replaced, 1 + least(cost[i - 1][k], cost[i][k - 1]));
            if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1])
                cost[i][k] = least(cost[i][k], cost[i - 2][k - 2] + 1);
        }
    return cost[a_length][b_length];
}

/* Is it the beginning of the candidate, or one of its parts: "stat" of status, "timeout" of engine-timeout? */
static bool is_part(const char *word, size_t length, const char *candidate)
{
    size_t whole = strlen(candidate);
    return length >= 3 &&
           (strncmp(candidate, word, length) == 0 || (whole > length + 1 && candidate[whole - length - 1] == '-' &&
                                                      strcmp(candidate + whole - length, word) == 0));
}

void nearest_look(struct nearest *nearest, const char *candidate)
{
    size_t length = strlen(nearest->word), other = strlen(candidate);
    if (length > WORD_MAX || other > WORD_MAX)
        return;
    unsigned distance = distance_of(nearest->word, length, candidate, other);
    if (is_part(nearest->word, length, candidate))
        distance = 1;
    if (distance > (length + 2) / 3 || distance >= length || (nearest->found != NULL && distance >= nearest->distance))
        return;
    nearest->found = candidate;
    nearest->distance = distance;
}
