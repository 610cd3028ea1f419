/* The Fréchet distance between two clouds of features, each taken as a Gaussian (Heusel et al. 2017,
 * arXiv 1706.08500):
 *
 *     d = |m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2)
 *
 *     struct moments a = {0}, b = {0};
 *     if (moments_open(dim, &a, e) < 0 || ...) return -1;
 *     for (...) moments_add(&a, features);            // dim floats
 *     struct frechet f;
 *     struct frechet_side sa = {&a, samples_a}, sb = {&b, samples_b};
 *     if (frechet_distance(&sa, &sb, 200, 1, team, &f, e) < 0) return -1;
 *     moments_free(&a);
 *
 * All in double. The distance of finite samples is biased upwards, by about the trace of the covariance
 * times dim / count: compare only numbers made with the same counts. */
#ifndef HASTEN_METHOD_FRECHET_H
#define HASTEN_METHOD_FRECHET_H

#include "common/base/team.h"

/* Mean and scatter of a stream of vectors, by Chan, Golub and LeVeque's updates (no cancellation,
 * mergeable). */
struct moments {
    int dim;
    int64_t count;
    double *mean; /* dim */
    double *scatter; /* dim x dim, sum of (x - mean)(x - mean)', only the lower triangle is kept */
    double *room; /* dim */
};

/* m must be empty ({0}). dim 1 .. 4096. */
int moments_open(int dim, struct moments *m, struct error *e) HASTEN_CHECKED;
void moments_free(struct moments *m);

/* HASTEN_EFAIL when x has a NaN or Inf; then nothing was added. */
int moments_add(struct moments *m, const float *x, struct error *e) HASTEN_CHECKED;
/* into becomes the moments of both; equal dims. The order of merges decides the last bits. */
void moments_merge(struct moments *into, const struct moments *from);
/* Full dim x dim matrix, divided by count - 1 as numpy.cov does; count >= 2. */
void moments_covariance(const struct moments *m, double *covariance);
/* From a stored mean and covariance of `count` >= 2 samples. HASTEN_EFILE: not finite, not symmetric to
 * 1e-6 of its largest entry, a negative variance. */
int moments_from(int dim, int64_t count, const double *mean, const double *covariance, struct moments *m,
                 struct error *e) HASTEN_CHECKED;

struct frechet_side {
    const struct moments *moments;
    const float
        *samples; /* count x dim, the same that moments has seen; NULL: only the moments are known */
};

struct frechet {
    double distance;
    double low, high; /* 95 % interval, low <= distance <= high */
    double bias; /* the bootstrap's estimate of how much the distance is too large */
};

/* The interval: both sides are resampled with replacement (a side without samples stays as it is; without
 * any, low = high = distance); the 2.5 and 97.5 percentiles of the resampled distances, shifted by the
 * difference between the distance and their mean. The shift is needed because a resample has the sample's
 * bias once more, so that plain percentiles lie above the estimate: the interval shows the spread of the
 * estimate, not its bias. Resample r draws from a generator seeded by (seed, r): the same numbers for any
 * team. team may be NULL. resamples 0 .. 10000; 0: no interval. Fewer than 2 x dim samples on a side:
 * HASTEN_EFILE, saying how many are needed. */
int frechet_distance(const struct frechet_side *a, const struct frechet_side *b, int resamples,
                     uint64_t seed, struct team *team, struct frechet *out,
                     struct error *e) HASTEN_CHECKED;

#endif
