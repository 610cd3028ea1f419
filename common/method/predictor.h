/* Latency of operations on a machine that was seen for a few milliseconds only: HELP (Lee et al. 2021) in
 * closed form. A machine is a vector of weights: log(time / roofline) = weights . features of the operation.
 * Machines seen in full (their sums added up) give a prior over such vectors; a new one is known from a few
 * samples by Bayes' rule.
 *
 *     predictor_sums(x, y, n, dim, a, b);                  // of one machine
 *     predictor_mean(all_a, all_b, dim, mean, e);          // the weights of a machine like all of these
 *     predictor_deviation(a, b, dim, mean, d, e);          // how one of them differs
 *     predictor_covariance(all_d, machines, dim, cov);
 *     predictor_update(mean, cov, dim, sample_x, sample_y, k, w, e);          // the new machine
 *     log(time / roofline) = predictor_value(w, x, dim)
 *
 * Rows of x are [dim], a is [dim][dim]. Weights of features that few machines have seen stay near 0, their
 * deviations too: such an operation is priced by what it shares with others. */
#ifndef HASTEN_METHOD_PREDICTOR_H
#define HASTEN_METHOD_PREDICTOR_H

#include "common/base/error.h"

/* a += x' x, b += x' y */
void predictor_sums(const double *x, const double *y, int n, int dim, double *a, double *b);
/* Ridge regression, lambda 3. HASTEN_EFILE when a number is not finite, here and below. */
int predictor_mean(const double *a, const double *b, int dim, double *mean, struct error *e) HASTEN_CHECKED;
/* Ridge regression of what the mean leaves, lambda 10. */
int predictor_deviation(const double *a, const double *b, int dim, const double *mean, double *d,
                        struct error *e) HASTEN_CHECKED;
/* Of the deviations d [machines][dim], and 1e-3 on the diagonal. */
void predictor_covariance(const double *d, int machines, int dim, double *cov);
/* w = mean + cov x' (x cov x' + s^2 I)^-1 (y - x mean), s = 0.3: what a kernel differs from the model by. */
int predictor_update(const double *mean, const double *cov, int dim, const double *x, const double *y,
                     int samples, double *w, struct error *e) HASTEN_CHECKED;
double predictor_value(const double *w, const double *x, int dim);

#endif
