/* Which input channels a linear map can do without, and what takes their place: optimal brain surgeon for
 * groups of columns (Hassibi and Stork 1993; structured as in OBS-Diff), and least squares.
 *
 * For y = W x with covariance C of x, dropping the channels R and refitting the others costs
 * tr(W_R [C^-1]_RR^-1 W_R') per row of x: only G = W'W enters. Greedy: again and again what costs least now,
 * C^-1 and G brought up to date by rank one.
 *
 *     obs_order(n, covariance, gram, 1, 1, n - 1, team, order, cost, e);    // order[0] goes first
 *
 * And x from x', the channels that are left, best in the mean square: x ~ A x' + m with
 * A = S + (C_xx' - S C_x'x') (C_x'x' + lambda I)^-1, S the selection of the kept channels, and
 * m = E[x] - A E[x']; then W' = W A, b' = b + W m. With x of the original
 * network and x' of the pruned one, run on the same inputs, it repairs what was lost before as well. */
#ifndef HASTEN_METHOD_OBS_H
#define HASTEN_METHOD_OBS_H

#include "common/base/team.h"

/* covariance: n x n, definite (damped). gram: n x n, W'W. Channels go in quanta: `block` neighbours together
 * (an attention head), or one from each of `groups` equal parts (a group norm); one of the two is 1.
 * most: quanta to order; at least one quantum must stay. order: most * block * groups channels. cost[q]: the
 * cost of the first q + 1 quanta together. HASTEN_EFAIL: not definite. */
int obs_order(int n, const double *covariance, const double *gram, int block, int groups, int most,
              struct team *team, int *order, double *cost, struct error *e) HASTEN_CHECKED;

/* Order by given costs of the single channels instead (magnitudes, random numbers): quanta by the sums. */
int quanta_order(int n, const double *score, int block, int groups, int most, int *order,
                 struct error *e) HASTEN_CHECKED;

/* What dropping costs without a refit: sum over i, j of dropped channels of gram_ij moment_ij, with
 * moment = E[x x']. */
double drop_cost(int n, const double *moment, const double *gram, const int *dropped, int count);

/* Channel j of x' was channel place[j] of x. cross: n x kept, E[x x''] (not centred); own: kept x kept,
 * E[x' x'']; means of both. damp: lambda relative to the mean of the diagonal; it pulls A towards leaving the
 * kept channels as they are. a: n x kept; shift: n. centre 0: no shift (for layers without a bias). */
int reconstruct(int n, int kept, const int *place, const double *cross, const double *own, const double *mean,
                const double *kept_mean, double damp, int centre, struct team *team, double *a, double *shift,
                struct error *e) HASTEN_CHECKED;

/* Moments of x (n channels) and x' (kept of them, as reconstruct takes them) over some rows. */
struct pair_view {
    int n, kept;
    const int *place;
    const double *cross, *own, *mean, *kept_mean;
};

/* The mean square of w (x - a x' - shift) over rows that a was not fitted on, less that of w x. w: rows x n.
 * a NULL: the kept channels as they are. */
int reconstruct_error(const struct pair_view *held, int rows, const float *w, const double *a,
                      const double *shift, struct team *team, double *error, struct error *e) HASTEN_CHECKED;

#endif
