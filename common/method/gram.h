/* Gram matrices of one cached object over the calls of a trajectory, per channel group: from them the
 * error of every way to serve call t out of refresh s is known without looking at a feature again
 * (specs/caching.md 4.3).
 *
 *     struct gram g = {.calls = calls, .channels = channels, .groups = 32, .cross = cross, ...};   // zeros
 *     for (each sample) {
 *         for (int t = 0; t < calls; t++)
 *             if (gram_add_call(&g, t, features, rows, team, e) < 0) ... // features[0..t]: rows x channels
 *     }
 *     if (predict_table(&g, PREDICT_CORRECTED, error, e) < 0) ...        // predict.h
 *
 * Memory: 8 x groups x calls x (calls + 1) bytes plus as much as one matrix row a group (32 groups, 50
 * calls: 0.7 MB); the caller holds them, and the calls x rows x channels floats of one sample. Sums are
 * double; adding samples in the same order gives the same bits whatever the team. */
#ifndef HASTEN_METHOD_GRAM_H
#define HASTEN_METHOD_GRAM_H

#include "common/base/team.h"
#include "common/method/correct.h"

enum {
    GRAM_CALLS_MAX = 4096,
    GRAM_GROUPS = 32, /* the usual number */
};

/* The arrays are the caller's. */
struct gram {
    int calls, channels, groups; /* groups: at most channels */
    double *cross;               /* groups x calls x calls: sums of h_t h_s at [t][s], s <= t */
    double *sum;                 /* groups x calls */
    int64_t *rows;               /* calls: rows seen */
    double *room;                /* what one call adds: groups x (calls + 1) */
};

/* The group of a channel (contiguous, sizes differ by at most one), and the number of channels in a
 * group. */
int gram_group(const struct gram *g, int channel);
int gram_group_size(const struct gram *g, int group);

/* Call t of the present sample: its products with calls 0..t. HASTEN_EFAIL when features[t] has a NaN or
 * Inf; then nothing was added. Every sample must bring every call. team may be NULL. */
int gram_add_call(struct gram *g, int t, const float *const *features, int64_t rows, struct team *team,
                  struct error *e) HASTEN_CHECKED;

/* All calls of a sample, one after the other: calls x rows x channels. */
int gram_add(struct gram *g, const float *features, int64_t rows, struct team *team,
             struct error *e) HASTEN_CHECKED;

/* Mean square of the feature at call t, to make errors relative. */
double gram_power(const struct gram *g, int t);

/* The sums of group `group` with x = h_s, y = h_t, for s <= t. */
struct correct_sums gram_sums(const struct gram *g, int group, int t, int s);

#endif
