/* Prices of a model's kernels on this machine without running the model: method/predictor.h over kernel
 * calls.
 *
 *     struct kernel_sample s[PREDICT_SAMPLES];
 *     n = reference_samples(s, &backend, e);                  // a small network, run here: some milliseconds
 *     predict_learn(profiles, count, &prior, e);              // from profile files of several machines
 *     predict_open(&p, &prior, s, n, e);
 *     ms = predict_kernel(&p, &call_as_sample);
 *
 * A profile holds the samples of its own machine beside the model's kernels, so that a prior can be learnt
 * from profiles alone. Features of a call: its kind and type, and for each kind the logarithms of its
 * operations and bytes. */
#ifndef HASTEN_RUN_PREDICT_H
#define HASTEN_RUN_PREDICT_H

#include "common/method/predictor.h"
#include "common/run/plan.h"
#include <cjson/cJSON.h>

enum { PREDICT_SAMPLES = 32, PREDICT_KINDS = 11, PREDICT_DIM = 3 * PREDICT_KINDS, PREDICT_MACHINES = 64 };

struct kernel_sample {
    int kind; /* enum kernel_kind, and two more for products in integers and in bfloat16 */
    double flops, bytes, ms;
};

struct predict_prior {
    double mean[PREDICT_DIM], cov[PREDICT_DIM * PREDICT_DIM];
};

struct predictor {
    double w[PREDICT_DIM], level;
};

struct kernel_sample kernel_sample(const struct kernel_call *c, double ms);

/* The reference network's kernels, timed (median of several runs); how many, or -1. */
int reference_samples(struct kernel_sample *s, struct backend *b, struct error *e) HASTEN_CHECKED;

/* As arrays of JSON: {"kind","flops","bytes","ms"}. */
int samples_to_json(const struct kernel_sample *s, int n, cJSON *list, struct error *e) HASTEN_CHECKED;

int predict_learn(const char *const *profiles, int count, struct predict_prior *prior,
                  struct error *e) HASTEN_CHECKED;
int prior_write(const struct predict_prior *prior, const char *path, struct error *e) HASTEN_CHECKED;
int prior_read(struct predict_prior *prior, const char *path, struct error *e) HASTEN_CHECKED;

int predict_open(struct predictor *p, const struct predict_prior *prior, const struct kernel_sample *s, int n,
                 struct error *e) HASTEN_CHECKED;
double predict_kernel(const struct predictor *p, const struct kernel_sample *k); /* k->ms is not read */

#endif
