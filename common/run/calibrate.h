/* What cache schedules are made from: features of candidate edges over whole trajectories of the model at
 * hand, and what an error of a feature does to the final latent.
 *
 *     struct calibration c;
 *     calibration_open(&c, &measure, list, count, budget, e);
 *     calibration_run(&c, &measure, measure.count, NULL, NULL, e); // one pass over the calibration seeds
 *     calibration_finish(&c, e);
 *     calibration_gain(&c, &measure, action, GAIN_RESIDUAL, 8, e);
 *     calibration_errors(&c, action, PREDICT_TWO, 1, error, e);   // prices of segments
 *     calibration_predict(&c, PREDICT_TWO, &schedule, e);         // tables of a schedule
 *     calibration_free(&c);
 *
 * Gram matrices price every segment and predictor without a second pass (specs/caching.md 4.3). The gain of
 * call t is the mean square error of the final latent per unit of relative mean square error of the edges at
 * t, from one run in which call t alone is served. An error that is left after a correction points elsewhere
 * than a stale value's and has a gain of its own. */
#ifndef HASTEN_RUN_CALIBRATE_H
#define HASTEN_RUN_CALIBRATE_H

#include "common/file/sums.h"
#include "common/method/predict.h"
#include "common/method/l1.h"
#include "common/run/actions.h"
#include "common/run/measure.h"

enum {
    CALIBRATION_NODES = 64,
    CALIBRATION_TWO_MOST = 400, /* calls: prices of two refreshes take 4/3 calls^3 bytes an action */
};

#define CALIBRATION_KIND "gram"

enum gain_kind { GAIN_STALE, GAIN_RESIDUAL, GAINS };

struct calibration {
    const struct graph *g;
    int calls, nodes;
    int node[CALIBRATION_NODES], base[CALIBRATION_NODES]; /* base -1: the value itself */
    struct sums sums;                                     /* what was added up, by images */
    struct gram gram[CALIBRATION_NODES];                  /* over the arrays of a record of the sums */
    struct l1_pairs l1[CALIBRATION_NODES];                /* CacheQuant's distances, or calls = 0 */
    double *gram_room, *l1_room;
    const struct candidate *list;
    int count;
    double *gain[CANDIDATES][GAINS]; /* [calls] for each action that has one, or NULL */
    const float *reference;          /* final latents of the calibration seeds */
    int64_t size;
    int images;
    int begin; /* the first image of this part */
};

/* m: model, graph, weights, sampler, steps, guidance and count of the calibration images, whose seeds are
 * CALIBRATION_SEED, CALIBRATION_SEED + 1, ... budget: bytes for the features of one image; edges that do not
 * fit are left without a matrix, evenly. */
int calibration_open(struct calibration *c, const struct measure *m, const struct candidate *list, int count,
                     size_t budget, struct error *e) HASTEN_CHECKED;
/* Go on until image `end`. With m->schedule the features are those of the full network at the latents that a
 * run with this schedule goes through (closed loop: what is served then is what drifted); the reference is of
 * no use then. done, if not NULL, is called after each batch with the next image; -1 ends the
 * run. */
int calibration_run(struct calibration *c, const struct measure *m, int end,
                    int (*done)(void *context, int image, struct error *e), void *context,
                    struct error *e) HASTEN_CHECKED;
/* All images are in: matrices, distances and the reference can be used. HASTEN_EFILE where some are missing.
 */
int calibration_finish(struct calibration *c, struct error *e) HASTEN_CHECKED;

/* Measure the gain of this action at `points` calls (log-linear between them) on the first `images` of the
 * calibration images. */
int calibration_gain(struct calibration *c, const struct measure *m, int action, enum gain_kind kind,
                     int points, int images, struct error *e) HASTEN_CHECKED;
enum gain_kind calibration_gain_kind(enum predictor p);

/* Prices of an action, laid out as predict_table has them: the mean over its edges of the error relative to
 * the edge's power; weigh: the root of its product with the gain, in units of the final latent (amplitudes
 * add up better than squares, specs/caching.md 7). */
int calibration_errors(const struct calibration *c, int action, enum predictor p, int weigh, double *error,
                       struct error *e) HASTEN_CHECKED;
/* MagCache's ratios of an action's magnitudes at each call to those at the call before, [calls]; 1 at the
 * first. */
void calibration_ratios(const struct calibration *c, int action, double *ratio);
/* CacheQuant's distances of an action with one edge: 0 when there are none. */
int calibration_l1(const struct calibration *c, int action, double *error);

/* Tables for every served node of a schedule that has Gram matrices: at each call for the refreshes that the
 * node then really has behind it, also where some action computes it that serves others. */
int calibration_predict(const struct calibration *c, enum predictor p, struct cache_schedule *s,
                        struct error *e) HASTEN_CHECKED;
void calibration_free(struct calibration *c);

/* A schedule whose call t takes candidate action[t] - 1, or computes everything (0), for both streams. */
int schedule_of_actions(struct cache_schedule *s, const struct graph *g, const struct candidate *list,
                        int calls, const int *action, struct error *e) HASTEN_CHECKED;

#endif
