/* Which parts of a network to shrink or leave out so that a budget is met at the least joint damage.
 *
 * A site (a branch of the network) has options: fewer channels, fewer heads, nothing at all. Each option
 * saves something (milliseconds or bytes) and changes the network's outputs by a vector d, of which a sketch
 * is kept. Damage of a choice is J = ||base + sum d||^2, so that changes which cancel or add up count as they
 * are; an option without a sketch has a plain score instead, and scores add up.
 *
 *     struct prune_option half = {.saves = 0.4, .change = d}, none = {.saves = 0.9, .change = d2};
 *     ...
 *     prune_choose(sites, count, base, dims, target, choice, &result, e);   // choice[site]: option or -1
 *
 * Greedy by damage per unit saved over all better options of all sites (the latency-driven loop of
 * EfficientFormer, Li et al. 2022, with a training-free score), and backwards from everything gone, then
 * steps back and exchanges of two sites while they lower J within the target; the better of both.
 * Deterministic. */
#ifndef HASTEN_METHOD_PRUNE_CHOOSE_H
#define HASTEN_METHOD_PRUNE_CHOOSE_H

#include "common/base/error.h"
#include <stdint.h>

struct prune_option {
    double saves;        /* > 0, growing along the options of a site */
    const float *change; /* sketch of dims numbers, or NULL: */
    double score;        /* damage, >= 0 */
};

struct prune_site {
    const struct prune_option *option;
    int options;
};

struct prune_result {
    double damage, saves;
};

/* base: the change that is there already (NULL: none). choice: count entries. HASTEN_EGATE when the target
 * cannot be reached; then choice and result hold the most that can be saved. */
int prune_choose(const struct prune_site *sites, int count, const float *base, int dims, double target,
                 int *choice, struct prune_result *result, struct error *e) HASTEN_CHECKED;

/* One or two sites (site[1] -1: one) go to other options. */
struct prune_move {
    int site[2], option[2];
    double damage; /* of the choice afterwards */
};

/* The `most` steps back and exchanges from `choice` that keep the target and do the least damage, the least
 * first, without those that lead to one of `tried` choices of count entries each. */
int prune_moves(const struct prune_site *sites, int count, const float *base, int dims, double target,
                const int *choice, const int *tried, int tries, struct prune_move *moves, int most,
                int *found, struct error *e) HASTEN_CHECKED;

/* The damage of a choice. */
double prune_damage(const struct prune_site *sites, int count, const float *base, int dims,
                    const int *choice);

/* Add values[0..n), numbers `first` on of a long vector, to its sketch: each number goes with a random sign
 * to one of dims places (Charikar, Chen, Farach-Colton 2002), so products of sketches are products of the
 * vectors in the mean, with relative error 1 / sqrt(dims / 2). The places are functions of the number. */
void sketch_add(float *sketch, int dims, int64_t first, const float *values, int64_t n);

#endif
