/* Every block of a transformer with a schedule of its own (Block-wise Adaptive Caching, arXiv 2506.13456),
 * and how to make of that the few masks that a schedule file holds.
 *
 *     struct blocks_problem p = {.calls = 50, .blocks = 24, .error = error, .refreshes = 10};
 *     unsigned char *compute = ...;                       // blocks x calls
 *     if (blocks_each(&p, compute, e) < 0) return -1;     // per block: least sum of errors with 10 updates
 *     blocks_bubble(&p, layer, feed_forward, 4, compute, e);
 *     blocks_merge(&p, cost, 32, compute, mask_of, &masks, e);
 *
 * Per-block programs leave updates misaligned, which costs more than they gain on some networks: measure
 * blocks_together (one set of updates, by the sum of the errors) and a uniform schedule as well. */
#ifndef HASTEN_METHOD_SCHEDULE_BLOCKS_H
#define HASTEN_METHOD_SCHEDULE_BLOCKS_H

#include "common/base/error.h"

struct blocks_problem {
    int calls, blocks;
    const double
        *error;    /* blocks x calls x calls: [u][t][s] for s < t, >= 0 (1 - cosine, L1, relative square) */
    int refreshes; /* M: how often a block is computed, the first call included */
};

/* compute[u * calls + t]: 1 where block u is computed. Exact for the sum of errors of each block by itself.
 */
int blocks_each(const struct blocks_problem *p, unsigned char *compute, struct error *e) HASTEN_CHECKED;

/* The same updates for all blocks. */
int blocks_together(const struct blocks_problem *p, unsigned char *compute, struct error *e) HASTEN_CHECKED;

/* Bubbling union: of the blocks with feed_forward[u] the `most` with the largest mean error over all pairs of
 * calls; their updates are made by every feed-forward block of the same or a later layer too, so that what
 * they upset is not served from before. layer, feed_forward: blocks values. */
int blocks_bubble(const struct blocks_problem *p, const int *layer, const unsigned char *feed_forward,
                  int most, unsigned char *compute, struct error *e) HASTEN_CHECKED;

/* Make the sets of computed blocks of all calls `most` different ones or fewer, by uniting the two sets whose
 * union costs least, again and again; compute only grows. cost: blocks values (milliseconds). mask_of[t]: the
 * number of call t's set, in order of first use (so the first call's is 0); *masks: how many there are. */
int blocks_merge(const struct blocks_problem *p, const double *cost, int most, unsigned char *compute,
                 int *mask_of, int *masks, struct error *e) HASTEN_CHECKED;

#endif
