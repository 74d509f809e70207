/* plan_picture.h: four panels with lines in them, as SVG. For bench_plan.c. */
#ifndef BENCH_PLAN_PICTURE_H
#define BENCH_PLAN_PICTURE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct picture {
    FILE *file;
    unsigned panel;
    uint32_t points;                   /* of each line */
    double left, top, lowest, highest; /* of the panel */
};

void picture_begin(struct picture *picture, const char *path, uint32_t points);
/* Of 0 to 3: where it is, what it shows (two lines of text), and up to where. `from_one`: its axis begins at 1, else at
 * 0. */
void picture_panel(struct picture *picture, unsigned panel, const char *what, const char *of, double highest,
                   bool from_one);
void picture_line(struct picture *picture, unsigned style, const char *name, const double *values);
void picture_end(struct picture *picture);

#endif
