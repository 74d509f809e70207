/* plan_picture.c: see plan_picture.h. */
#include "plan_picture.h"

#include <math.h>
#include <stdlib.h>

#define WIDTH 330 /* of a panel's lines, in pixels */
#define HEIGHT 150
#define STEP_X 430
#define STEP_Y 235
#define POINTS 200 /* drawn of a line */

static const struct {
    const char *color, *rest;
} styles[] = {
    {"#0969da", "stroke-width='2.5'"},
    {"#d4a72c", "stroke-width='2' stroke-dasharray='5 5'"},
    {"#1a7f37", "stroke-width='1.2'"},
    {"#cf222e", "stroke-width='1.2'"},
};

void picture_begin(struct picture *picture, const char *path, uint32_t points)
{
    *picture = (struct picture){.file = fopen(path, "w"), .points = points};
    if (picture->file == NULL) {
        fprintf(stderr, "bench_plan: cannot write %s\n", path);
        exit(2);
    }
    fprintf(picture->file,
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 860 520' font-family='sans-serif' font-size='12'>\n"
            "<title>Shards moved, and load of the fullest member, over the same joins and leaves</title>\n"
            "<rect width='860' height='520' fill='white'/>\n");
}

/* 1, 2 or 5 times a power of ten, of which four to ten make the height. */
static double grid_of(double height)
{
    double power = pow(10, floor(log10(height / 4)));
    double steps = height / 4 / power;
    return power * (steps >= 5 ? 5 : steps >= 2 ? 2 : 1);
}

static double height_of(const struct picture *picture, double value)
{
    return picture->top + HEIGHT - HEIGHT * (value - picture->lowest) / (picture->highest - picture->lowest);
}

void picture_panel(struct picture *picture, unsigned panel, const char *what, const char *of, double highest,
                   bool from_one)
{
    picture->panel = panel;
    picture->left = 70 + STEP_X * (panel % 2);
    picture->top = panel < 2 ? 85 : 85 + STEP_Y;
    picture->lowest = from_one ? 1 : 0;
    picture->highest = highest * 1.05;
    if (picture->highest <= picture->lowest)
        picture->highest = picture->lowest + 1;
    fprintf(picture->file, "<text x='%g' y='%g' font-weight='bold'>%s</text>\n", picture->left, picture->top - 24,
            what);
    fprintf(picture->file, "<text x='%g' y='%g' fill='#57606a'>%s</text>\n", picture->left, picture->top - 8, of);
    double grid = grid_of(picture->highest - picture->lowest);
    for (unsigned i = 0; picture->lowest + i * grid <= picture->highest; i++) {
        double value = picture->lowest + i * grid, y = height_of(picture, value);
        fprintf(picture->file, "<path d='M%g %.1fh%d' stroke='#d0d7de'/>", picture->left, y, WIDTH);
        fprintf(picture->file, "<text x='%g' y='%.1f' text-anchor='end' fill='#57606a'>%g</text>\n", picture->left - 6,
                y + 4, value);
    }
    fprintf(picture->file, "<text x='%g' y='%g' text-anchor='end' fill='#57606a'>%u joins and leaves</text>\n",
            picture->left + WIDTH, picture->top + HEIGHT + 16, picture->points);
}

void picture_line(struct picture *picture, unsigned style, const char *name, const double *values)
{
    uint32_t points = picture->points < POINTS ? picture->points : POINTS;
    fprintf(picture->file, "<polyline fill='none' stroke='%s' %s points='", styles[style].color, styles[style].rest);
    for (uint32_t i = 0; i < points; i++) {
        uint32_t at = points == 1 ? 0 : (uint32_t)((uint64_t)i * (picture->points - 1) / (points - 1));
        fprintf(picture->file, "%.1f,%.1f ", picture->left + WIDTH * (at + 1.0) / picture->points,
                height_of(picture, values[at]));
    }
    fprintf(picture->file, "'><title>%s</title></polyline>\n", name);
    if (picture->panel > 0)
        return; /* the legend stands there once */
    double x = 70 + 190.0 * style;
    fprintf(picture->file, "<path d='M%g 22h28' stroke='%s' %s/><text x='%g' y='26'>%s</text>\n", x,
            styles[style].color, styles[style].rest, x + 34, name);
}

void picture_end(struct picture *picture)
{
    fprintf(picture->file, "</svg>\n");
    if (fclose(picture->file) != 0) {
        fprintf(stderr, "bench_plan: the picture cannot be written\n");
        exit(2);
    }
}
