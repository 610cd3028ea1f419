/* Mixed precision: a format for each layer, so that the output changes least for the bytes or milliseconds
 * saved (specs/quantize-and-prune.md 1.13).
 *
 * d[i][f] is the change of the network's output, as a sketch of `dim` numbers, when layer i alone has format
 * f. For a choice a, J(a) = ||sum_i d[i][a_i]||^2 has all terms between layers; J is what is kept small. The
 * first format of a layer costs most and changes nothing (d = 0); formats of a layer that another one beats
 * in both cost and change are never taken.
 *
 *     struct allocation a = {.layers = n, .formats = f, .dim = 2048, .sketch = d, .cost = {bytes, ms}};
 *     int moves = allocation_path(&a, 0, path, e);         // from exact to cheapest, by bytes
 *     allocation_at(&a, path, 40, choice);                 // the first 40 moves
 *     allocation_polish(&a, limits, choice);               // swaps that lower J inside the limits
 */
#ifndef HASTEN_METHOD_ALLOCATE_H
#define HASTEN_METHOD_ALLOCATE_H

#include "common/base/error.h"
#include <stdint.h>

enum { ALLOCATE_FORMATS = 8, ALLOCATE_COSTS = 2 };

struct allocation {
    int layers, formats, dim;
    const float *sketch;                /* [layers][formats][dim] */
    const unsigned char *allowed;       /* [layers][formats]; the first of each layer is */
    const double *cost[ALLOCATE_COSTS]; /* [layers][formats]: bytes, milliseconds; NULL: not of interest */
    int diagonal;                       /* 1: without the terms between layers, for comparison */
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
 * -1: out of memory. */
int allocation_polish(const struct allocation *a, const double limits[ALLOCATE_COSTS], int *choice,
                      struct error *e) HASTEN_CHECKED;

#endif
