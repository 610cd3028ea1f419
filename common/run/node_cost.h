/* Milliseconds of the layers of a graph in one network call, from the kernels of its plan: products belong to
 * their node, and a pass that quantizes or rotates a product's input to the first product behind it.
 *
 *     double *ms = mem_array(g->count, sizeof *ms, e), all;
 *     node_cost(&timing, ms, &all, e);
 */
#ifndef HASTEN_RUN_NODE_COST_H
#define HASTEN_RUN_NODE_COST_H

#include "common/run/measure.h"

/* ms: one number a node, 0 for what is no product; total: of the whole call. Medians of o->repeats. */
int node_cost(const struct timing *o, double *ms, double *total, struct error *e) HASTEN_CHECKED;

#endif
