/* Mixed precision: a format for each layer, so that the result changes least for the bytes or milliseconds
 * saved (specs/quantize-and-prune.md 1.13).
 *
 * d[i][f][m] is the change of the result of image m, `size` numbers or a sketch of them, when layer i alone
 * has format f. For a choice a, J(a) = mean over images of w[m] ||sum_i d[i][a_i][m]||^2 has all terms
 * between layers; J is what is kept small. The first format of a layer costs most and changes nothing (d =
 * 0); formats of a layer that another one beats in both cost and change are never taken.
 *
 * Images: some answer to any change a hundred times as much as others, so w[m] is the inverse of the sum of
 * squares of all changes of image m (mean 1 over images that change at all); a choice is then right for all
 * of them. Terms between layers: for few images mostly chance, which a search for the least J would collect.
 * All are multiplied by the share of their squares that is not chance, as the variance over images says
 * (James and Stein, 1961): `kept`, 0 .. 1; with one image nothing is known of it, and none are kept.
 *
 *     struct changes c = {.layers = n, .formats = f, .images = 8, .size = 784, .change = d};
 *     changes_weights(&c, weight);
 *     double kept = changes_products(&c, weight, products);
 *     struct allocation a = {.layers = n, .formats = f, .products = products, .cost = {bytes, ms}};
 *     int moves = allocation_path(&a, 0, path, e);         // from exact to cheapest, by bytes
 *     allocation_at(&a, path, 40, choice);                 // the first 40 moves
 *     allocation_polish(&a, limits, choice);               // swaps that lower J inside the limits
 */
#ifndef HASTEN_METHOD_ALLOCATE_H
#define HASTEN_METHOD_ALLOCATE_H

#include "common/base/error.h"
#include <stdint.h>

enum { ALLOCATE_FORMATS = 8, ALLOCATE_COSTS = 2 };

struct changes {
    int layers, formats, images, size;
    const float *change; /* [layers][formats][images][size] */
    int separate;        /* 1: without the terms between layers, for comparison */
};

void changes_weights(const struct changes *c, double *weight);
/* products[(i,f)][(j,g)], room for (layers * formats)^2: J(a) is the sum of those of a's formats. Gives the
 * share of the terms between layers that was kept. */
double changes_products(const struct changes *c, const double *weight, double *products);

struct allocation {
    int layers, formats;
    const double *products;
    const unsigned char *allowed;       /* [layers][formats]; the first of each layer is */
    const double *cost[ALLOCATE_COSTS]; /* [layers][formats]: bytes, milliseconds; NULL: not of interest */
};

struct allocation_move {
    int layer, format;
};

/* Moves that each lower the cost `which`, the least J for it first, until nothing is cheaper: room for
 * layers * formats. Gives their number, -1: out of memory. */
int allocation_path(const struct allocation *a, int which, struct allocation_move *path,
                    struct error *e) HASTEN_CHECKED;
/* The choice after the first `moves` of a path. */
void allocation_at(const struct allocation *a, const struct allocation_move *path, int moves, int *choice);

double allocation_j(const struct allocation *a, const int *choice);
double allocation_cost(const struct allocation *a, int which, const int *choice);

/* Change one layer, or two at once, as long as J falls and no cost exceeds its limit (limits[c] <= 0: none).
 */
void allocation_polish(const struct allocation *a, const double limits[ALLOCATE_COSTS], int *choice);

#endif
