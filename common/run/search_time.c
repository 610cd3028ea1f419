/* How long a search will take: the network calls that it will run, by their prices. */
#include "common/run/search_inside.h"

#include <math.h>

/* Images of a halving over `trials` trials (search_validate.c). */
static double halving_images(const struct search *x, int trials)
{
    double sum = 0;
    int images = x->validate < SEARCH_FIRST_IMAGES ? x->validate : SEARCH_FIRST_IMAGES, seen = 0;
    int left = trials < SEARCH_FIRST_TRIALS || !x->gain ? trials : SEARCH_FIRST_TRIALS;
    for (;;) {
        sum += (double)left * (images - seen);
        if (images >= x->validate)
            return sum;
        seen = images;
        left = left / 2 > SEARCH_LAST_TRIALS ? (left + 1) / 2
               : left < SEARCH_LAST_TRIALS   ? left
                                             : SEARCH_LAST_TRIALS;
        images = left == SEARCH_LAST_TRIALS || 2 * images > x->validate ? x->validate : 2 * images;
    }
}

/* What search_split adds: the differences, and trials of the output and of the best action, which may be the
 * output as well. */
static double split_ms(const struct search *x, double full, double fast)
{
    int images = x->measure.count < SEARCH_SPLIT_IMAGES ? x->measure.count : SEARCH_SPLIT_IMAGES;
    int both = (int)(x->limit / x->ms[0]), trials = both < SEARCH_SPLIT_TRIALS ? both : SEARCH_SPLIT_TRIALS;
    int actions = x->only >= 0 ? 1 : 2;
    return images * full + halving_images(x, actions * trials) * fast;
}

double search_estimate(const struct search *x, int rounds, int polish)
{
    enum { GAIN_RUNS = 8 * 2, POLISHED = 2 };
    double full = x->ms[0] * x->calls, fast = fmin(x->limit, full);
    double wide = x->wides ? x->ms[x->count + 1] * x->calls : full;
    double calibrate = x->measure.count, ms = calibrate * full + x->validate * wide;
    int solvers = 0, trials = 0;
    while (x->solver[solvers])
        solvers++;
    for (int a = 0; a < x->count; a++) {
        int kinds[GAINS] = {0};
        for (int p = 0; p < PREDICTORS; p++)
            if (search_predictor_is_possible(x, (enum predictor)p) &&
                search_is_possible(x, a, (enum predictor)p)) {
                kinds[calibration_gain_kind((enum predictor)p)] = 1;
                trials += solvers;
            }
        for (int k = 0; k < GAINS && x->gain; k++)
            ms += kinds[k] * GAIN_RUNS * full;
        if (x->wides && (kinds[0] || kinds[1]))
            ms += GAIN_RUNS * wide; /* half the calls, twice each */
    }
    if (x->wides)
        ms += calibrate * wide + GAIN_RUNS * wide;
    ms += halving_images(x, trials) * fast * (1 + rounds) + rounds * calibrate * (full + fast);
    if (x->one_ms > 0)
        ms += split_ms(x, full, fast);
    if (x->gain) /* a move in four is looked at twice */
        ms += POLISHED * polish * (calibrate + x->validate / 4.0) * fast;
    return ms + x->validate * (wide + fast) + 4 * (full + fast); /* the claims and their times */
}
