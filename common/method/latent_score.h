/* LD-Pruner's score of a part of a network (Castells et al. 2024): how much mean and deviation of the
 * final latents change, element by element over many seeds, when the part is taken out; and the paired
 * distance, seed by seed.
 *
 *     struct latent_stats whole = {0}, without = {0};
 *     if (latent_open(elements, &whole, e) < 0 || ...) return -1;
 *     for (each seed) latent_add(&whole, latent, e);                   // the same seeds for both
 *     ...
 *     double score = latent_score(&whole, &without);                   // ||m - m'|| + ||s - s'||
 *     double paired = latent_paired(latents, latents_without, seeds, elements);
 *
 * With few seeds the deviations are noisy: their relative standard error is 1 / sqrt(2 seeds). The paired
 * distance is more sensitive, but also sees parts that only change which picture a seed gives. */
#ifndef HASTEN_METHOD_LATENT_SCORE_H
#define HASTEN_METHOD_LATENT_SCORE_H

#include "common/base/error.h"
#include <stdint.h>

struct latent_stats {
    int64_t elements, count;
    double *mean, *squares; /* elements each; squares: sum of (x - mean)^2, by Welford's updates */
};

int latent_open(int64_t elements, struct latent_stats *s, struct error *e) HASTEN_CHECKED;
void latent_free(struct latent_stats *s);

/* One seed's latent. HASTEN_EFAIL for a NaN or Inf; then nothing was added. */
int latent_add(struct latent_stats *s, const float *latent, struct error *e) HASTEN_CHECKED;

/* ||mean a - mean b||_2 + ||deviation a - deviation b||_2, deviations with count - 1 (torch.std); both
 * need equal elements and a count of at least 2, else the deviations count as 0. */
double latent_score(const struct latent_stats *a, const struct latent_stats *b);

/* Mean over seeds of ||a_n - b_n||_2. a, b: seeds x elements. */
double latent_paired(const float *a, const float *b, int64_t seeds, int64_t elements);

#endif
