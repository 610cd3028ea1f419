/* CacheQuant's own measure (arXiv 2503.01323): sums of absolute differences between a feature at two
 * calls, for calls that are less than `window` apart.
 *
 *     struct l1_pairs p = {.calls = calls, .window = 2 * interval, .sum = sum, .room = room};   // zeros
 *     for (each sample)
 *         for (int t = 0; t < calls; t++)
 *             l1_add_call(&p, t, features, rows * channels, team, e);    // [t - window + 1] to [t] are read
 *     l1_errors(&p, error);              // error[t * calls + s] = |X_t - X_s|_1, what schedule.h takes
 *
 * Not normalised, as published; memory 8 x calls x window bytes. D(i, j) is the sum of error[t][i] over i
 * <= t < j. */
#ifndef HASTEN_METHOD_L1_H
#define HASTEN_METHOD_L1_H

#include "common/base/team.h"

/* The arrays are the caller's. */
struct l1_pairs {
    int calls, window; /* window: at most calls */
    double *sum;       /* calls x window: [t][d] = |X_t - X_(t-d)|_1 */
    double *room;      /* window */
};

/* HASTEN_EFAIL when a difference is not finite; then nothing was added. team may be NULL. */
int l1_add_call(struct l1_pairs *p, int t, const float *const *features, int64_t n, struct team *team,
                struct error *e) HASTEN_CHECKED;

/* calls x calls; INFINITY outside the window and where s > t. */
void l1_errors(const struct l1_pairs *p, double *error);

#endif
