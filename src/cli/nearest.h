/* nearest.h: the word that somebody may have meant who wrote one that does not exist. */
#ifndef CLI_NEAREST_H
#define CLI_NEAREST_H

/*     struct nearest nearest = {.word = "stauts"};
 *     nearest_look(&nearest, "status");     ... each word that exists
 *     nearest.found                         "status"; NULL: none is like it
 */
struct nearest {
    const char *word, *found;
    unsigned distance; /* of `found` */
};

void nearest_look(struct nearest *nearest, const char *candidate);

#endif
