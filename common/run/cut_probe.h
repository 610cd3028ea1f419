/* What the predictions of a network become when an edge loses channels or a branch says nothing: for many
 * such changes at once, on recorded states, running only what follows the cut.
 *
 *     struct cut_probe p[] = {{.edge = {fc2_in}, .keep = mask, .edges = 1},    // mask[channel] 1: stays
 *                         {.edge = {branch_value}, .edges = 1}};           // keep NULL: nothing stays
 *     cut_probe_run(p, count, &states, g, w, original, sketch_dims, progress, context, e);
 *     ... p[0].change, p[0].latent ...
 *     cut_probes_free(p, count);
 *
 * change: a sketch of the differences of all predictions (guidance applied) to those of the network g itself,
 * so that joint effects can be summed (method/prune_choose.h). latent: LD-Pruner's statistics of them: the
 * change of mean and deviation over the images, element by element, in the mean over the calls. */
#ifndef HASTEN_RUN_CUT_PROBE_H
#define HASTEN_RUN_CUT_PROBE_H

#include "common/run/states.h"

enum { PROBE_EDGES = 4 };

struct cut_probe {
    int edge[PROBE_EDGES], edges;
    const unsigned char *keep; /* of edge[0]'s channels; NULL: none of any edge */
    float *change;             /* [dims] */
    double latent;
};

struct probe_report {
    void (*progress)(void *context, double done, double total);
    void *context;
};

/* base: [dims] for the sketch of the differences between g's predictions and those of the original (NULL:
 * not wanted); original, original_weights: that network. */
int cut_probe_run(struct cut_probe *p, int count, const struct states *s, const struct graph *g,
                  const struct weights *w, int dims, const struct probe_report *report,
                  struct error *e) HASTEN_CHECKED;
void cut_probes_free(struct cut_probe *p, int count);

/* The sketch of the differences of two networks' predictions. */
int cut_probe_base(const struct states *s, const struct graph *g, const struct weights *w,
                   const struct graph *g1, const struct weights *w1, int dims, float *change,
                   struct error *e) HASTEN_CHECKED;

#endif
