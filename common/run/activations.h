/* What the branches of a denoiser do over whole trajectories: how much each one's output changes from call to
 * call, and where its attention looks (method/foreground.h; ProfilingDiT's foreground and background blocks).
 *
 *     struct activations a;
 *     activations_collect(&a, &measure, e);                  // images with the calibration seeds
 *     ... a.branch[i].change[call], a.branch[i].overlap ...
 *     activations_free(&a);
 *
 * Branches as graph_branches finds them. A block is foreground when its overlap is at least the median of
 * all; overlaps need an attention over a grid of patches of the picture. */
#ifndef HASTEN_RUN_ACTIVATIONS_H
#define HASTEN_RUN_ACTIVATIONS_H

#include "common/graph/branches.h"
#include "common/run/measure.h"

struct branch_activity {
    int node;       /* the branch's value */
    double *change; /* [calls] relative L2 to the call before, mean over images; [0] is 0 */
    double mean;    /* of calls 1 on */
    double overlap; /* of high attention with the foreground; -1: none of that */
    int foreground; /* overlap >= the median */
};

struct activations {
    struct branch_activity *branch;
    int count, calls, images;
};

/* m: model, graph, weights, backend, count (images), steps, guidance; the conditional passes are looked at.
 */
int activations_collect(struct activations *a, const struct measure *m, struct error *e) HASTEN_CHECKED;
void activations_free(struct activations *a);

#endif
