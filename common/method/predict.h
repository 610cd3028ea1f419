/* Predictors of a cached object: h_t is served as a_1 h_s + a_2 h_r + b, with one a_1, a_2 and b a channel
 * group, from the last two refreshes r < s < t. Their errors and coefficients follow from Gram matrices
 * alone.
 *
 *     predict_fit(&gram, PREDICT_TWO, t, s, r, fit);        // groups of them; r < 0: there is no second
 *     double mse = predict_error(&gram, PREDICT_TWO, t, s, r);
 *     predict_table(&gram, PREDICT_TWO, error, e);          // for the solver pair
 *
 * reuse: a_1 = 1. magnitude: a_1 = |h_t| / |h_s|, MagCache's ratio (arXiv 2506.09045), one for all groups.
 * corrected: least squares with one value, decoupled error correction (CacheQuant). taylor: a straight line
 * through both refreshes with their true distance, TaylorSeer's first order (arXiv 2503.06923) and Newton's.
 * two: least squares with two values. Where there is no second refresh, taylor falls back to reuse and two to
 * corrected. */
#ifndef HASTEN_METHOD_PREDICT_H
#define HASTEN_METHOD_PREDICT_H

#include "common/method/gram.h"
#include "common/method/schedule.h"
#include <stddef.h>

enum predictor {
    PREDICT_REUSE,
    PREDICT_MAGNITUDE,
    PREDICT_CORRECTED,
    PREDICT_TAYLOR,
    PREDICT_TWO,
    PREDICTORS
};

struct predict_fit {
    double a[2], b;
};

const char *predict_name(enum predictor p);
/* How many refreshes it reads: 1 or 2. */
int predict_anchors(enum predictor p);

/* g->groups fits for 0 <= r < s < t; r = -1: none. */
void predict_fit(const struct gram *g, enum predictor p, int t, int s, int r, struct predict_fit *fit);

/* Mean square error per element of these fits on the calibration data. */
double predict_fit_error(const struct gram *g, int t, int s, int r, const struct predict_fit *fit);
double predict_error(const struct gram *g, enum predictor p, int t, int s, int r, struct predict_fit *room);

/* Numbers of a table for so many calls: error[t * calls + s] for a predictor that reads one refresh (0
 * where s = t, INFINITY where s > t); error[schedule_pair_index(t, s, r)] for one that reads two (r = s:
 * there is no second yet), as schedule.h takes it. */
size_t predict_table_size(enum predictor p, int calls);
int predict_table(const struct gram *g, enum predictor p, double *error, struct error *e) HASTEN_CHECKED;

#endif
