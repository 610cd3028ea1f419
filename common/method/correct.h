/* Decoupled error correction (CacheQuant, arXiv 2503.01323): the line y = a x + b that maps the feature x
 * of the last refresh to the true feature y of a later call, per channel, by least squares over samples
 * and positions.
 *
 *     struct correct c = {0};
 *     if (correct_open(channels, &c, e) < 0) return -1;
 *     for (each calibration sample)
 *         correct_add(&c, at_refresh, at_call, rows, e);                 // rows x channels each
 *     correct_fit(&c, a, b, &mse);
 *     correct_free(&c);
 *
 * a = Cov(x, y) / Var(x), b = mean(y) - a mean(x), both with a ridge of 1e-9 mean(x^2) towards a = 1: a
 * channel without variance is shifted only, and noise in the last bits cannot become a scale. Sums are
 * double, memory 48 bytes a channel. */
#ifndef HASTEN_METHOD_CORRECT_H
#define HASTEN_METHOD_CORRECT_H

#include "common/base/error.h"
#include <stdint.h>

struct correct_sums {
    double n, x, y, xx, xy, yy; /* count and sums over it */
};

/* The line for these sums. mse (may be NULL): the mean of (y - a x - b)^2 that stays. n = 0: a = 1, b =
 * 0, mse 0. */
void correct_line(const struct correct_sums *s, double *a, double *b, double *mse);

struct correct {
    int channels;
    struct correct_sums *sums; /* one per channel */
};

int correct_open(int channels, struct correct *c, struct error *e) HASTEN_CHECKED;
void correct_free(struct correct *c);

/* x, y: rows x channels, channels innermost. HASTEN_EFAIL when a value is NaN or Inf, naming its place;
 * then nothing was added. */
int correct_add(struct correct *c, const float *x, const float *y, int64_t rows,
                struct error *e) HASTEN_CHECKED;
void correct_merge(struct correct *into, const struct correct *from); /* equal channels */

/* channels values each; mse: the mean over channels, may be NULL. */
void correct_fit(const struct correct *c, float *a, float *b, double *mse);

#endif
