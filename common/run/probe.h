/* Fixed inputs of the network, taken from the trajectories of calibration images, and its outputs on them:
 * see mixed.h, which uses them to say what a change of the weights does. */
#ifndef HASTEN_RUN_PROBE_H
#define HASTEN_RUN_PROBE_H

#include "common/run/mixed.h"

/* m: model, graph, backend, steps. Room for `exact` is made, not filled. */
int probe_record(struct probe *p, const struct measure *m, struct error *e) HASTEN_CHECKED;
/* out: [calls][images][out_size]. */
int probe_outputs(const struct probe *p, const struct graph *g, const struct weights *w, float *out,
                  struct error *e) HASTEN_CHECKED;
void probe_free(struct probe *p);

#endif
