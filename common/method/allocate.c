/* See allocate.h. A trial move costs one row of the products. */
#include "common/method/allocate.h"
#include "common/base/mem.h"

#include <math.h>
#include <string.h>

/* ---- products of changes ---- */

static double product(const struct changes *c, int x, int y, int image)
{
    const float *p = c->change + ((size_t)x * (size_t)c->images + (size_t)image) * (size_t)c->size,
                *q = c->change + ((size_t)y * (size_t)c->images + (size_t)image) * (size_t)c->size;
    double sum = 0;
    for (int i = 0; i < c->size; i++)
        sum += (double)p[i] * (double)q[i];
    return sum;
}

void changes_weights(const struct changes *c, double *weight)
{
    double mean = 0;
    int changed = 0;
    for (int m = 0; m < c->images; m++) {
        weight[m] = 0;
        for (int x = 0; x < c->layers * c->formats; x++)
            weight[m] += product(c, x, x, m);
        weight[m] = weight[m] > 0 ? 1 / weight[m] : 0;
        mean += weight[m];
        changed += weight[m] > 0;
    }
    for (int m = 0; m < c->images; m++)
        weight[m] *= changed ? changed / mean : 0;
}

/* What is known of a term between layers, relative to the layers' own. */
struct agreement {
    double squares, chance;
};

static double mean_product(const struct changes *c, const double *weight, int x, int y, double own,
                           struct agreement *g)
{
    double sum = 0, squares = 0;
    for (int m = 0; m < c->images; m++) {
        double p = weight[m] * product(c, x, y, m);
        sum += p;
        squares += p * p;
    }
    double n = c->images, mean = sum / n;
    if (own > 0 && n > 1) {
        g->squares += mean * mean / own;
        g->chance += (squares - sum * mean) / (n - 1) / n / own;
    }
    return mean;
}

double changes_products(const struct changes *c, const double *weight, double *products)
{
    size_t n = (size_t)c->layers * (size_t)c->formats;
    struct agreement g = {0};
    for (int x = 0; x < (int)n; x++) {
        double *row = products + (size_t)x * n;
        row[x] = mean_product(c, weight, x, x, 0, &g);
        for (int y = 0; y < x; y++) {
            int same = x / c->formats == y / c->formats;
            if (same || !c->separate)
                row[y] = mean_product(c, weight, x, y, same ? 0 : row[x] * products[(size_t)y * (n + 1)], &g);
        }
    }
    double kept = g.squares > g.chance ? 1 - g.chance / g.squares : 0;
    for (int x = 0; x < (int)n; x++)
        for (int y = 0; y < x; y++) {
            double *p = &products[(size_t)x * n + (size_t)y];
            *p = x / c->formats == y / c->formats ? *p : c->separate ? 0 : kept * *p;
            products[(size_t)y * n + (size_t)x] = *p;
        }
    return kept;
}

/* ---- choices ---- */

static int index_of(const struct allocation *a, int layer, int format) { return layer * a->formats + format; }

/* <d_(layer,format), sum of the others' d>, and with its own. */
static double against(const struct allocation *a, const int *choice, int layer, int format)
{
    int n = a->layers * a->formats;
    const double *row = a->products + (size_t)index_of(a, layer, format) * (size_t)n;
    double sum = 0;
    for (int j = 0; j < a->layers; j++)
        sum += row[index_of(a, j, choice[j])];
    return sum;
}

/* J with that layer changed, less J. */
static double change(const struct allocation *a, const int *choice, int layer, int format)
{
    const double *g = a->products;
    int n = a->layers * a->formats, now = index_of(a, layer, choice[layer]),
        then = index_of(a, layer, format);
    double step = g[(size_t)then * (size_t)n + (size_t)then] + g[(size_t)now * (size_t)n + (size_t)now] -
                  2 * g[(size_t)then * (size_t)n + (size_t)now];
    return step + 2 * (against(a, choice, layer, format) - against(a, choice, layer, choice[layer]));
}

double allocation_j(const struct allocation *a, const int *choice)
{
    double sum = 0;
    for (int i = 0; i < a->layers; i++)
        sum += against(a, choice, i, choice[i]);
    return sum;
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
    int *choice = mem_array((size_t)a->layers, sizeof *choice, e), moves = 0;
    const double *cost = a->cost[which];
    while (choice) {
        double least = INFINITY;
        struct allocation_move best = {-1, -1};
        for (int i = 0; i < a->layers; i++)
            for (int f = 0; f < a->formats; f++) {
                double saved = cost[index_of(a, i, choice[i])] - cost[index_of(a, i, f)];
                if (!a->allowed[index_of(a, i, f)] || saved <= 0)
                    continue;
                double key = change(a, choice, i, f);
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
    int failed = !choice;
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
    const double *limits;
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
                double d = change(p->a, p->choice, i, f);
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
            double first = change(p->a, p->choice, i, f), least = -slack - first;
            int layer = -1, format = 0;
            static const double none[ALLOCATE_COSTS] = {0, 0};
            take(p, i, f);
            for (int j = 0; j < p->a->layers; j++)
                for (int h = 0; j != i && h < p->a->formats; h++)
                    if (h != p->choice[j] && fits(p, j, h, none)) {
                        double d = change(p->a, p->choice, j, h);
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

void allocation_polish(const struct allocation *a, const double limits[ALLOCATE_COSTS], int *choice)
{
    struct polish p = {.a = a, .limits = limits, .choice = choice};
    for (int c = 0; c < ALLOCATE_COSTS; c++)
        p.spent[c] = a->cost[c] ? allocation_cost(a, c, choice) : 0;
    double slack = 1e-9 * (1e-300 + fabs(allocation_j(a, choice)));
    for (int tries = 0; tries < 50 * a->layers; tries++)
        if (!one(&p, slack) && !two(&p, slack))
            break;
}
