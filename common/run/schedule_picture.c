/* See schedule_picture.h. */
#include "common/run/schedule_picture.h"

#include <math.h>
#include <string.h>

enum { WIDTH = 960, LEFT = 70, RIGHT = 30, TOP = 50, PLOT = 380, STRIP = 24, LETTER = 7 };

static const char *const colours[] = {"#2f4b66", "#7aa457", "#c2653c", "#8e6aa8", "#3f9a93",
                                      "#b8a03a", "#4878a8", "#9a8f86", "#a84860", "#777777"};
enum { COLOURS = (int)(sizeof colours / sizeof *colours) };

/* Milliseconds and errors to pixels; the axis of errors has whole powers of ten at its ends. */
struct axes {
    double full_ms;
    int low, high;
};

static struct axes axes_of(const struct picture_point *p, int n, double full_ms)
{
    struct axes a = {full_ms > 0 ? full_ms : 1, 0, 0};
    double least = INFINITY, most = 0;
    for (int i = 0; i < n; i++) {
        if (p[i].error > 0 && isfinite(p[i].error)) {
            least = fmin(least, p[i].error);
            most = fmax(most, p[i].error);
        }
        a.full_ms = fmax(a.full_ms, p[i].ms);
    }
    a.high = most > 0 ? (int)ceil(log10(most) - 1e-9) : 0;
    a.low = most > 0 ? (int)floor(log10(least) + 1e-9) : -1;
    if (a.low >= a.high)
        a.low = a.high - 1;
    if (a.low < a.high - 6) /* below a millionth nothing is seen */
        a.low = a.high - 6;
    return a;
}

static double x_of(const struct axes *a, double ms)
{
    return LEFT + ms / a->full_ms * (WIDTH - LEFT - RIGHT - 10);
}

static double y_of(const struct axes *a, double error)
{
    double at = error > 0 ? log10(error) : a->low;
    at = fmin(a->high, fmax(a->low, at));
    return TOP + PLOT * (a->high - at) / (a->high - a->low);
}

/* A step of 1, 2 or 5 times a power of ten, about eight of them along the axis. */
static double step_of(double range)
{
    double power = pow(10, floor(log10(range / 8))), n = range / 8 / power;
    return (n > 5 ? 10 : n > 2 ? 5 : n > 1 ? 2 : 1) * power;
}

static void add_axes(struct buf *out, const struct axes *a, struct error *e)
{
    for (int k = a->low; k <= a->high; k++)
        buf_printf(
            out, e,
            "<path class=\"g\" d=\"M%d %.1fH%d\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n",
            LEFT, y_of(a, pow(10, k)), WIDTH - RIGHT, LEFT - 8, y_of(a, pow(10, k)) + 4, pow(10, k));
    double step = step_of(a->full_ms);
    for (double ms = 0; ms <= a->full_ms * 1.0001; ms += step)
        buf_printf(out, e,
                   "<path class=\"g\" d=\"M%.1f %dV%d\"/><text x=\"%.1f\" y=\"%d\" "
                   "text-anchor=\"middle\">%g</text>\n",
                   x_of(a, ms), TOP, TOP + PLOT, x_of(a, ms), TOP + PLOT + 17, ms);
    buf_printf(out, e, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">ms of a trajectory</text>\n",
               WIDTH - RIGHT, TOP + PLOT + 36);
    buf_printf(out, e, "<text x=\"%d\" y=\"%d\">relative error</text>\n", LEFT - 52, TOP - 14);
}

/* Labels that stand, and points: what another label must not cover. */
struct labels {
    const struct picture_point *point;
    int points;
    double x[64], y[64], width[64];
    int count;
};

/* May a label stand here, its middle at height y? The chosen one may in any case. */
static int is_free(struct labels *l, const struct axes *a, double x, double y, double width, int must)
{
    for (int i = 0; i < l->points && !must; i++) {
        double px = x_of(a, l->point[i].ms), py = y_of(a, l->point[i].error);
        if (fabs(py - y) < 9 && px > x - 4 && px < x + width + 4)
            return 0;
    }
    for (int i = 0; i < l->count && !must; i++)
        if (fabs(l->y[i] - y) < 13 && x < l->x[i] + l->width[i] + 6 && l->x[i] < x + width + 6)
            return 0;
    if (x < LEFT || l->count == 64)
        return must;
    l->x[l->count] = x;
    l->y[l->count] = y;
    l->width[l->count++] = width;
    return 1;
}

static void add_point(struct buf *out, const struct axes *a, const struct picture_point *p,
                      struct labels *labels, struct error *e)
{
    double x = x_of(a, p->ms), y = y_of(a, p->error), width = LETTER * (double)strlen(p->label);
    double at = x + 9 + width > WIDTH - 4 ? x - 9 - width : x + 9;
    buf_printf(out, e, "<g%s><title>", p->chosen ? " class=\"c\"" : "");
    buf_escaped(out, p->label, strlen(p->label), e);
    buf_printf(out, e, ": %.4g ms, error %.4g</title><circle cx=\"%.1f\" cy=\"%.1f\" r=\"%d\"/>", p->ms,
               p->error, x, y, p->chosen ? 7 : 4);
    if (is_free(labels, a, at, y - 6, width, p->chosen)) {
        buf_printf(out, e, "<text x=\"%.1f\" y=\"%.1f\">", at, y - 2);
        buf_escaped(out, p->label, strlen(p->label), e);
        buf_text(out, "</text>", e);
    }
    buf_text(out, "</g>\n", e);
}

static void add_points(struct buf *out, const struct axes *a, const struct picture_point *p, int n, int line,
                       struct error *e)
{
    struct labels labels = {.point = p, .points = n};
    if (line && n > 1) {
        buf_text(out, "<path class=\"f\" d=\"M", e);
        for (int i = 0; i < n; i++)
            buf_printf(out, e, "%s%.1f %.1f", i ? "L" : "", x_of(a, p[i].ms), y_of(a, p[i].error));
        buf_text(out, "\"/>\n", e);
    }
    for (int chosen = 1; chosen >= 0; chosen--)
        for (int i = 0; i < n; i++)
            if (!!p[i].chosen == chosen)
                add_point(out, a, &p[i], &labels, e);
}

static int rows_of(const struct cache_schedule *s)
{
    return memcmp(s->choice[0], s->choice[1], (size_t)s->calls * sizeof *s->choice[0]) ? 2 : 1;
}

static void add_strip(struct buf *out, const struct cache_schedule *s, int y, struct error *e)
{
    double width = (double)(WIDTH - LEFT - RIGHT) / s->calls;
    for (int row = 0; row < rows_of(s); row++) {
        buf_printf(out, e, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", LEFT - 8,
                   y + row * STRIP + 15,
                   rows_of(s) == 1 ? "calls"
                   : row           ? "negative"
                                   : "positive");
        for (int t = 0; t < s->calls; t++) {
            int action = s->choice[row][t];
            buf_printf(out, e,
                       "<rect x=\"%.2f\" y=\"%d\" width=\"%.2f\" height=\"%d\" fill=\"%s\"><title>call %d: ",
                       LEFT + t * width, y + row * STRIP, width > 3 ? width - 1 : width, STRIP - 3,
                       colours[action % COLOURS], t);
            buf_escaped(out, s->action[action].name, strlen(s->action[action].name), e);
            buf_text(out, "</title></rect>\n", e);
        }
    }
}

/* The actions that are taken, in columns of four. */
static void add_legend(struct buf *out, const struct cache_schedule *s, int y, struct error *e)
{
    for (int action = 0, seen = 0; action < s->actions; action++) {
        int count = 0;
        for (int row = 0; row < rows_of(s); row++)
            for (int t = 0; t < s->calls; t++)
                count += s->choice[row][t] == action;
        if (!count)
            continue;
        int x = LEFT + seen % 2 * (WIDTH - LEFT) / 2, at = y + seen / 2 * 20;
        const char *name = s->action[action].name;
        seen++;
        buf_printf(out, e,
                   "<rect x=\"%d\" y=\"%d\" width=\"12\" height=\"12\" fill=\"%s\"/><text x=\"%d\" y=\"%d\">",
                   x, at, colours[action % COLOURS], x + 18, at + 10);
        if (action)
            buf_text(out, "served: ", e);
        buf_escaped(out, name, strlen(name) > 46 ? 46 : strlen(name), e);
        buf_printf(out, e, " (%d)</text>\n", count);
    }
}

int schedule_picture(struct buf *out, const struct cache_schedule *s, const char *title, double full_ms,
                     const struct picture_point *point, int points, int line, struct error *e)
{
    struct axes a = axes_of(point, points, full_ms);
    int strip = TOP + PLOT + 56, legend = strip + rows_of(s) * STRIP + 12;
    int height = legend + (s->actions + 1) / 2 * 20 + 10;
    buf_printf(
        out, e,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
        "font-family=\"sans-serif\" font-size=\"12\">\n<style>.g{stroke:#e2ded6;fill:none}"
        ".f{stroke:#4878a8;fill:none;stroke-width:1.5}circle{fill:#4878a8}"
        ".c circle{fill:#c2653c}.c text{font-weight:bold}</style>\n"
        "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n<text x=\"%d\" y=\"22\" font-size=\"15\">",
        WIDTH, height, WIDTH, height, LEFT - 52);
    buf_escaped(out, title, strlen(title), e);
    buf_text(out, "</text>\n", e);
    add_axes(out, &a, e);
    add_points(out, &a, point, points, line, e);
    add_strip(out, s, strip, e);
    add_legend(out, s, legend, e);
    return buf_text(out, "</svg>\n", e);
}
