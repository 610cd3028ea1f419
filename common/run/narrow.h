/* Cutting channels of a network for good: smaller tensors over those of the model, adjusted attributes.
 *
 *     narrow_cut(g, &overlay, &cut, kept, count, e);               // weights just lose rows and columns
 *     narrow_refit(g, &overlay, cut.consumer, weight, bias, n, count, a, shift, e);   // W' = W A
 *     graph_infer(g, 0, 0, overlay_find, &overlay, e);             // afterwards, once for several cuts
 */
#ifndef HASTEN_RUN_NARROW_H
#define HASTEN_RUN_NARROW_H

#include "common/graph/cuts.h"
#include "common/run/overlay.h"

/* kept: channels that stay, growing. g is not inferred again. */
int narrow_cut(struct graph *g, struct overlay *o, const struct cut *c, const int *kept, int count,
               struct error *e) HASTEN_CHECKED;

/* stays: ones for the rows of a weight (a node's slot); those that the cut takes from it become 0. Then the
 * rows that stay, data from mem_array. */
void narrow_mark_rows(const struct cut *c, int node, int slot, const int *kept, int count,
                      unsigned char *stays);
int narrow_keep_rows(const struct tensor *t, const unsigned char *stays, struct tensor *smaller,
                     struct error *e) HASTEN_CHECKED;

/* The consumer's weight becomes weight * A and its bias `bias + (sum of taps of weight) * shift`: for an
 * input that was A x + shift and is now x. weight: n input channels (the original's), a: n x count. bias may
 * be NULL; then there is no shift. */
int narrow_refit(struct graph *g, struct overlay *o, int consumer, const struct tensor *weight,
                 const struct tensor *bias, int n, int count, const double *a, const double *shift,
                 struct error *e) HASTEN_CHECKED;

/* The weight as rows of n inputs, one for each output and tap: rows x n floats from mem_array. */
int narrow_rows(const struct tensor *weight, int n, float **w, int *rows, struct error *e) HASTEN_CHECKED;

/* gram[i][j]: products of the weights of input channels i and j, summed over outputs and taps. */
int narrow_gram(const struct tensor *weight, int n, double *gram, struct team *team,
                struct error *e) HASTEN_CHECKED;
/* squares[c]: of all weights that go with channel c. */
int narrow_squares(const struct graph *g, const struct cut *c, double *squares,
                   struct error *e) HASTEN_CHECKED;
/* Bytes that go with each channel. */
double narrow_bytes(const struct graph *g, const struct cut *c);

#endif
