/* Latency of operations on a machine that was seen for a few milliseconds only: HELP (Lee et al. 2021) in
 * closed form. A machine is a vector of weights: log(time) = weights . features of the operation. Machines
 * seen in full give a prior over such vectors; a new one is known from a few samples by Bayes' rule.
 *
 *     predictor_fit(x, y, n, dim, w, scratch)                       // of one machine, for every one known:
 * ridge predictor_prior(all_w, machines, dim, mean, cov) predictor_update(mean, cov, dim, sample_x, sample_y,
 * k, w, scratch)       // the new machine predictor_value(w, features, dim)
 *
 * Rows of x are [dim]. y is in logarithms, from which the mean of the machine's own samples is taken off, so
 * that the prior is about shape and the samples give the level. */
#ifndef HASTEN_METHOD_PREDICTOR_H
#define HASTEN_METHOD_PREDICTOR_H

enum { PREDICTOR_MAX_DIM = 64, PREDICTOR_MAX_SAMPLES = 64 };

/* Ridge regression, lambda 0.1. 0, or -1 when the system is not positive definite (values that are not
 * finite). */
int predictor_fit(const double *x, const double *y, int n, int dim, double *w);
/* Mean and covariance (+ 1e-2 on the diagonal) of the machines' weights: [machines][dim]. */
void predictor_prior(const double *weights, int machines, int dim, double *mean, double *cov);
/* w = mean + cov A' (A cov A' + s^2 I)^-1 (y - A mean), s = 0.1. 0, or -1 as above. */
int predictor_update(const double *mean, const double *cov, int dim, const double *a, const double *y,
                     int samples, double *w);
double predictor_value(const double *w, const double *x, int dim);

#endif
