/* What cache schedules are made from: features of candidate edges over whole trajectories of the model at
 * hand, and what an error of a feature does to the final latent.
 *
 *     struct calibration c;
 *     calibration_run(&c, &measure, list, count, budget, e);      // one pass over the calibration seeds
 *     calibration_errors(&c, action, GRAM_CORRECTED, error, e);   // [t * calls + s], gain included when
 * measured calibration_free(&c);
 *
 * Gram matrices price every segment, predictor and correction without a second pass (specs/caching.md 4.3).
 * The gain of call t is the mean square error of the final latent per unit of mean square error of the edge
 * at t, from one run with one stale value at t. */
#ifndef HASTEN_RUN_CALIBRATE_H
#define HASTEN_RUN_CALIBRATE_H

#include "common/method/gram.h"
#include "common/run/actions.h"
#include "common/run/measure.h"

enum { CALIBRATION_NODES = 64 };

struct calibration {
    const struct graph *g;
    int calls, nodes;
    int node[CALIBRATION_NODES];
    struct gram gram[CALIBRATION_NODES];
    const struct candidate *list;
    int count;
    double *gain[CANDIDATES]; /* [calls] for each action that has one, or NULL */
    float *reference;         /* final latents of the calibration seeds */
    int64_t size;
    int images;
};

/* m: model, graph, weights, kernels, team, sampler, steps, guidance, count and seed of the calibration
 * images. budget: bytes for features of one pass; edges that do not fit are left without a matrix, evenly. */
int calibration_run(struct calibration *c, const struct measure *m, const struct candidate *list, int count,
                    size_t budget, struct error *e) HASTEN_CHECKED;
/* Measure the gain of this action at `points` calls (log-linear between them). progress may be NULL. */
int calibration_gain(struct calibration *c, const struct measure *m, int action, int points,
                     struct error *e) HASTEN_CHECKED;
/* Errors of an action: the mean over its edges of the error relative to the edge's power, times the gain if
 * there is one. */
int calibration_errors(const struct calibration *c, int action, enum gram_predictor predictor, double *error,
                       struct error *e) HASTEN_CHECKED;
/* Corrections of an action for calls served from refresh[t]: into the action of the schedule. */
int calibration_correct(const struct calibration *c, int action, const int *refresh, struct cache_schedule *s,
                        int at, struct error *e) HASTEN_CHECKED;
void calibration_free(struct calibration *c);

/* A schedule with this one action for both streams. */
int schedule_of_action(struct cache_schedule *s, const struct graph *g, const struct candidate *a, int calls,
                       const int *action, struct error *e) HASTEN_CHECKED;

#endif
