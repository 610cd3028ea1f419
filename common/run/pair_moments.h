/* Second moments of an edge's values in two versions of a network that are asked the same: what least squares
 * needs to make the values of the original out of those of the pruned network (method/obs.h).
 *
 *     struct edge_pair pair[] = {{.node = i, .node1 = j, .n = 768, .n1 = 576}, ...};
 *     pairs_open(pair, count, e);
 *     pairs_collect(pair, count, &states, g, w, g1, w1, e);      // g1 == g and w1 == w: one network
 *     ... pair[0].cross, pair[0].own ...                           // sums over pair[0].rows rows
 *     pairs_free(pair, count);
 *
 * Of each value at most PAIR_ROWS rows enter, evenly spread. Products are float32 over at most 512 rows, sums
 * double, in an order that does not depend on threads. */
#ifndef HASTEN_RUN_PAIR_MOMENTS_H
#define HASTEN_RUN_PAIR_MOMENTS_H

#include "common/run/states.h"

enum { PAIR_ROWS = 32 };

struct edge_pair {
    int node, node1;      /* in the original and in the other network */
    int n, n1;            /* channels */
    int64_t rows;         /* seen */
    double *mean, *mean1; /* [n], [n1] after pairs_collect; sums before */
    double *cross;        /* [n][n1] mean of x x1'; with one network the same as own */
    double *own;          /* [n1][n1] mean of x1 x1' */
    int same;             /* cross is own */
    float *wait, *wait1;  /* channel-first rows that wait for a product */
    int waiting;
};

int pairs_open(struct edge_pair *p, int count, int same, struct error *e) HASTEN_CHECKED;
int pairs_collect(struct edge_pair *p, int count, const struct states *s, const struct graph *g,
                  const struct weights *w, const struct graph *g1, const struct weights *w1,
                  struct backend *b, struct error *e) HASTEN_CHECKED;
void pairs_free(struct edge_pair *p, int count);

#endif
