/* See allocate.h. All products of sketches are made once: G[(i,f)][(j,g)] = <d_if, d_jg>; then a trial move
 * costs one row of G and not the sketches. */
#include "common/method/allocate.h"
#include "common/base/mem.h"

#include <math.h>
#include <string.h>

static int index_of(const struct allocation *a, int layer, int format) { return layer * a->formats + format; }

static double product(const struct allocation *a, int x, int y)
{
    const float *p = a->sketch + (size_t)x * (size_t)a->dim, *q = a->sketch + (size_t)y * (size_t)a->dim;
    double sum = 0;
    for (int i = 0; i < a->dim; i++)
        sum += (double)p[i] * (double)q[i];
    return sum;
}

static double *products(const struct allocation *a, struct error *e)
{
    int n = a->layers * a->formats;
    double *g = mem_array((size_t)n * (size_t)n, sizeof *g, e);
    for (int i = 0; g && i < n; i++)
        for (int j = 0; j <= i; j++) {
            int same = i / a->formats == j / a->formats;
            g[(size_t)i * (size_t)n + (size_t)j] = g[(size_t)j * (size_t)n + (size_t)i] =
                a->diagonal && !same ? 0 : product(a, i, j);
        }
    return g;
}

/* <d_(layer,format), sum of the others' d>, and with its own. */
static double against(const struct allocation *a, const double *g, const int *choice, int layer, int format)
{
    int n = a->layers * a->formats;
    const double *row = g + (size_t)index_of(a, layer, format) * (size_t)n;
    double sum = 0;
    for (int j = 0; j < a->layers; j++)
        sum += row[index_of(a, j, choice[j])];
    return sum;
}

/* J with that layer changed, less J. */
static double change(const struct allocation *a, const double *g, const int *choice, int layer, int format)
{
    int n = a->layers * a->formats, now = index_of(a, layer, choice[layer]),
        then = index_of(a, layer, format);
    double step = g[(size_t)then * (size_t)n + (size_t)then] + g[(size_t)now * (size_t)n + (size_t)now] -
                  2 * g[(size_t)then * (size_t)n + (size_t)now];
    return step + 2 * (against(a, g, choice, layer, format) - against(a, g, choice, layer, choice[layer]));
}

static double total(const struct allocation *a, const double *g, const int *choice)
{
    double sum = 0;
    for (int i = 0; i < a->layers; i++)
        sum += against(a, g, choice, i, choice[i]);
    return sum;
}

double allocation_j(const struct allocation *a, const int *choice)
{
    double j = 0;
    for (int k = 0; k < a->dim; k++) {
        double sum = 0, squares = 0;
        for (int i = 0; i < a->layers; i++) {
            double d = (double)a->sketch[(size_t)index_of(a, i, choice[i]) * (size_t)a->dim + (size_t)k];
            sum += d;
            squares += d * d;
        }
        j += a->diagonal ? squares : sum * sum;
    }
    return j;
}

double allocation_cost(const struct allocation *a, int which, const int *choice)
{
    double sum = 0;
    for (int i = 0; i < a->layers; i++)
        sum += a->cost[which][index_of(a, i, choice[i])];
    return sum;
}

int allocation_path(const struct allocation *a, int which, struct allocation_move *path, struct error *e)
{
    double *g = products(a, e);
    int *choice = mem_array((size_t)a->layers, sizeof *choice, e), moves = 0;
    const double *cost = a->cost[which];
    while (g && choice) {
        double least = INFINITY;
        struct allocation_move best = {-1, -1};
        for (int i = 0; i < a->layers; i++)
            for (int f = 0; f < a->formats; f++) {
                double saved = cost[index_of(a, i, choice[i])] - cost[index_of(a, i, f)];
                if (!a->allowed[index_of(a, i, f)] || saved <= 0)
                    continue;
                double key = change(a, g, choice, i, f);
                /* What saves and helps goes first, most helpful first. */
                key = key > 0 ? key / saved : key * saved;
                if (key < least) {
                    least = key;
                    best = (struct allocation_move){i, f};
                }
            }
        if (best.layer < 0)
            break;
        choice[best.layer] = best.format;
        path[moves++] = best;
    }
    int failed = !g || !choice;
    mem_free(g);
    mem_free(choice);
    return failed ? -1 : moves;
}

void allocation_at(const struct allocation *a, const struct allocation_move *path, int moves, int *choice)
{
    memset(choice, 0, (size_t)a->layers * sizeof *choice);
    for (int i = 0; i < moves; i++)
        choice[path[i].layer] = path[i].format;
}

/* ---- polish ---- */

struct polish {
    const struct allocation *a;
    const double *g, *limits;
    int *choice;
    double spent[ALLOCATE_COSTS];
};

static int fits(const struct polish *p, int layer, int format, const double extra[ALLOCATE_COSTS])
{
    for (int c = 0; c < ALLOCATE_COSTS; c++) {
        if (!p->a->cost[c] || p->limits[c] <= 0)
            continue;
        double more = p->a->cost[c][index_of(p->a, layer, format)] -
                      p->a->cost[c][index_of(p->a, layer, p->choice[layer])];
        if (p->spent[c] + more + extra[c] > p->limits[c])
            return 0;
    }
    return p->a->allowed[index_of(p->a, layer, format)];
}

static void take(struct polish *p, int layer, int format)
{
    for (int c = 0; c < ALLOCATE_COSTS; c++)
        if (p->a->cost[c])
            p->spent[c] += p->a->cost[c][index_of(p->a, layer, format)] -
                           p->a->cost[c][index_of(p->a, layer, p->choice[layer])];
    p->choice[layer] = format;
}

/* The best change of one layer; 0: none lowers J by more than rounding. */
static int one(struct polish *p, double slack)
{
    static const double none[ALLOCATE_COSTS] = {0, 0};
    double least = -slack;
    int layer = -1, format = 0;
    for (int i = 0; i < p->a->layers; i++)
        for (int f = 0; f < p->a->formats; f++)
            if (f != p->choice[i] && fits(p, i, f, none)) {
                double d = change(p->a, p->g, p->choice, i, f);
                if (d < least) {
                    least = d;
                    layer = i;
                    format = f;
                }
            }
    if (layer >= 0)
        take(p, layer, format);
    return layer >= 0;
}

/* A change of layer i, then the best of another layer: kept when both together lower J. */
static int two(struct polish *p, double slack)
{
    for (int i = 0; i < p->a->layers; i++)
        for (int f = 0, was = p->choice[i]; f < p->a->formats; f++) {
            if (f == was || !p->a->allowed[index_of(p->a, i, f)])
                continue;
            double first = change(p->a, p->g, p->choice, i, f), least = -slack - first;
            int layer = -1, format = 0;
            static const double none[ALLOCATE_COSTS] = {0, 0};
            take(p, i, f);
            for (int j = 0; j < p->a->layers; j++)
                for (int h = 0; j != i && h < p->a->formats; h++)
                    if (h != p->choice[j] && fits(p, j, h, none)) {
                        double d = change(p->a, p->g, p->choice, j, h);
                        if (d < least) {
                            least = d;
                            layer = j;
                            format = h;
                        }
                    }
            if (layer >= 0) {
                take(p, layer, format);
                return 1;
            }
            take(p, i, was);
        }
    return 0;
}

int allocation_polish(const struct allocation *a, const double limits[ALLOCATE_COSTS], int *choice,
                      struct error *e)
{
    double *g = products(a, e);
    struct polish p = {.a = a, .g = g, .limits = limits, .choice = choice};
    if (!g)
        return -1;
    for (int c = 0; c < ALLOCATE_COSTS; c++)
        p.spent[c] = a->cost[c] ? allocation_cost(a, c, choice) : 0;
    double slack = 1e-9 * (1e-300 + fabs(total(a, g, choice)));
    for (int tries = 0; tries < 50 * a->layers; tries++)
        if (!one(&p, slack) && !two(&p, slack))
            break;
    mem_free(g);
    return 0;
}
