/* Measuring a model: final latents over seeds, their quality against a reference, and milliseconds of network
 * calls.
 *
 *     struct measure m = {.model = &model, .graph = g, .backend = b, .steps = 20, .count = 4};
 *     float *reference, *got;
 *     measure_latents(&m, &reference, e);        // seeds VALIDATION_SEED, VALIDATION_SEED + 1, ...
 *     measure_quality(reference, got, 4, size, &q);
 *
 * Calibration and validation use seeds from 2^31 on, so that a user's own stay unseen. */
#ifndef HASTEN_RUN_MEASURE_H
#define HASTEN_RUN_MEASURE_H

#include "common/run/actions.h"
#include "common/run/trajectory.h"

#define CALIBRATION_SEED (UINT64_C(1) << 31)
#define ALLOCATION_SEED ((UINT64_C(1) << 31) + (UINT64_C(1) << 19)) /* of mixed.h */
#define VALIDATION_SEED ((UINT64_C(1) << 31) + (UINT64_C(1) << 20))

struct measure {
    const struct model *model;
    const struct graph *graph;     /* inferred; of the model or an edited copy */
    const struct weights *weights; /* NULL: packed here, on this backend */
    struct backend *backend;
    const struct sampler_config *sampler; /* NULL: the model's */
    int steps;                            /* 0: the model's */
    double guidance;                      /* 0: the model's */
    int count, batch;                     /* images; batch 0: chosen */
    uint64_t seed;                        /* 0: VALIDATION_SEED */
    int label;                            /* class of the first image; the others follow */
    const struct cache_schedule *schedule;
    const unsigned char *want;
    const struct trajectory_watch *watch;
    struct trajectory_passes *passes; /* NULL, or what was computed and served */
};

/* *latents: count * size floats from mem_array; *calls, *size: may be NULL. */
int measure_latents(const struct measure *m, float **latents, int *calls, int64_t *size,
                    struct error *e) HASTEN_CHECKED;

/* Network calls of a trajectory. */
int measure_calls(const struct measure *m, int *calls, struct error *e) HASTEN_CHECKED;

/* As metrics.h has it: the peak is the range of the reference, all images together. */
struct quality {
    double rel_l2, psnr;
    int identical;
};
void measure_quality(const float *reference, const float *got, int count, int64_t size, struct quality *q);

/* Milliseconds of one network call of `batch` images, as every repeat took it, sorted: times[repeats].
 * kernel_ms, if not NULL, gets the median of each kernel call of the plan (room for plan->calls; see *plan).
 * Actions as in engine.h. */
struct timing {
    const struct graph *graph;
    const struct weights *weights;
    int batch, repeats;
};
struct timed;
/* Actions 1 .. count are the candidates of a list. Served values are priced as predicted from two stored
 * ones. */
struct timed *timed_open(const struct timing *t, const struct candidate *list, int count,
                         struct error *e) HASTEN_CHECKED;
void timed_close(struct timed *t);
/* action 0: everything. Median in *ms; times, kernel_ms, and with it kernel_spread, as spread_of, may be
 * NULL.
 */
int timed_run(struct timed *t, int action, double *ms, double *times, double *kernel_ms,
              double *kernel_spread, struct plan **plan, struct error *e) HASTEN_CHECKED;
/* Times of everything and of all actions, ms[0 .. actions], in `rounds` rounds over all of them, so that what
 * else the machine does falls on all alike; the least counts. */
int timed_all(struct timed *t, int actions, int rounds, double *ms, struct error *e) HASTEN_CHECKED;
struct engine *timed_engine(const struct timed *t);

/* Median of n numbers, which it sorts. */
double median_of(double *x, int n);
/* Half the distance between the quartiles, relative to the median, of sorted numbers. */
double spread_of(const double *sorted, int n);

#endif
