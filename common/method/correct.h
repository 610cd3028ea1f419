/* Decoupled error correction (CacheQuant, arXiv 2503.01323): the line y = a x + b that maps the feature x
 * of the last refresh to the true feature y of a later call, per channel, by least squares over samples
 * and positions.
 *
 *     struct correct_sums s = gram_sums(&gram, group, t, refresh);
 *     correct_line(&s, &a, &b, &mse);
 *
 * a = Cov(x, y) / Var(x), b = mean(y) - a mean(x), both with a ridge of 1e-9 mean(x^2) towards a = 1: a
 * channel without variance is shifted only, and noise in the last bits cannot become a scale. */
#ifndef HASTEN_METHOD_CORRECT_H
#define HASTEN_METHOD_CORRECT_H

struct correct_sums {
    double n, x, y, xx, xy, yy; /* count and sums over it */
};

/* The line for these sums. mse (may be NULL): the mean of (y - a x - b)^2 that stays. n = 0: a = 1, b =
 * 0, mse 0. */
void correct_line(const struct correct_sums *s, double *a, double *b, double *mse);

#endif
