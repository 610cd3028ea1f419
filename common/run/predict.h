/* Prices of a model's kernels on this machine without running the model: method/predictor.h over kernel
 * calls.
 *
 *     roofline_measure(&roof, kernels, team, e);               // what the machine can do at best
 *     struct kernel_sample s[PREDICT_SAMPLES];
 *     n = reference_samples(s, &backend, e);                  // a small network, run here: some milliseconds
 *     predict_learn(profiles, count, &prior, e);              // from profile files of several machines
 *     predict_open(&p, &prior, &machine, s, n, e);
 *     ms = predict_kernel(&p, &call_as_sample);
 *
 * What is learnt is how much longer a kernel takes than its roofline (the larger of operations by the peak of
 * its type and bytes by the bandwidth of a copy) and a fixed start: one factor a form, and terms for what a
 * roofline does not know, each shared by all products, all attention or all passes over rows, and by form:
 * the start's share, few rows, short sums (the epilogue weighs more), narrow rows, activations, taps.
 *
 * A profile holds the samples of its own machine beside the model's kernels, so that a prior can be learnt
 * from profiles alone. */
#ifndef HASTEN_RUN_PREDICT_H
#define HASTEN_RUN_PREDICT_H

#include "common/method/predictor.h"
#include "common/run/plan.h"
#include "common/run/roofline.h"
#include <cjson/cJSON.h>

enum kernel_form {
    FORM_PRODUCT,
    FORM_PRODUCT_INT8,
    FORM_PRODUCT_BF16,
    FORM_CONV,
    FORM_CONV_WINOGRAD,
    FORM_CONV_WINOGRAD_INT8,
    FORM_CONV_INT8,
    FORM_CONV_BF16,
    FORM_DECODED, /* a product whose weights are decoded first */
    FORM_NORM,
    FORM_NORM_CODES, /* of rows, to int8 codes */
    FORM_CODES,
    FORM_ROTATED, /* rows turned, to codes */
    FORM_NORM_ROTATED,
    FORM_GROUP_NORM,
    FORM_GROUP_NORM_CODES,
    FORM_QUANTIZE,
    FORM_ATTENTION,
    FORM_ATTENTION_BF16,
    FORM_ELEMENTWISE,
    FORM_COPY,
    FORM_SHUFFLE, /* rows taken apart or averaged */
    FORM_OTHER,
    FORMS
};

enum { PREDICT_SAMPLES = 64, PREDICT_GROUPS = 3, PREDICT_TERMS = 6 };
enum { PREDICT_DIM = 2 + (PREDICT_GROUPS + FORMS) * PREDICT_TERMS };

struct predict_machine {
    struct roofline roof;
    int threads;
    int panel; /* columns that a product makes together */
};

struct kernel_sample {
    enum kernel_form form;
    double flops, bytes;
    double rows, columns; /* of the result */
    double depth;         /* terms of a sum; keys of attention; values read for one by the others */
    double taps;          /* of a convolution, else 1 */
    int activation;       /* one is applied to the result */
    double ms;
};

struct predict_prior {
    double mean[PREDICT_DIM], cov[PREDICT_DIM * PREDICT_DIM];
};

struct predictor {
    double w[PREDICT_DIM];
    struct predict_machine machine;
};

struct kernel_sample kernel_sample(const struct kernel_call *c, double ms);
/* Of one form and size? */
int kernel_samples_alike(const struct kernel_sample *a, const struct kernel_sample *b);

/* The reference network's kernels, timed (median of several runs); how many, or -1. */
int reference_samples(struct kernel_sample *s, struct backend *b, struct error *e) HASTEN_CHECKED;

/* {"form","flops","bytes","rows","columns","depth","taps","activation","ms"} into j; an array of those. */
int kernel_sample_to_json(const struct kernel_sample *s, cJSON *j, struct error *e) HASTEN_CHECKED;
int kernel_sample_read(const cJSON *j, struct kernel_sample *s, struct error *e) HASTEN_CHECKED;
int samples_to_json(const struct kernel_sample *s, int n, cJSON *list, struct error *e) HASTEN_CHECKED;

int predict_learn(const char *const *profiles, int count, struct predict_prior *prior,
                  struct error *e) HASTEN_CHECKED;
int prior_write(const struct predict_prior *prior, const char *path, struct error *e) HASTEN_CHECKED;
int prior_read(struct predict_prior *prior, const char *path, struct error *e) HASTEN_CHECKED;

/* Columns of a product's panel at a CPU level, by its name. */
int predict_panel(const char *cpu_level);
int predict_open(struct predictor *p, const struct predict_prior *prior, const struct predict_machine *m,
                 const struct kernel_sample *s, int n, struct error *e) HASTEN_CHECKED;
double predict_kernel(const struct predictor *p, const struct kernel_sample *k); /* k->ms is not read */

#endif
