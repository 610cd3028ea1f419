/* The settings of a sampler: a diffusers scheduler_config.json plus what a model needs around it.
 *
 *     struct sampler_config c;
 *     if (sampler_config_read(&c, json, NULL, e) < 0)        // a diffusers object, class from "_class_name"
 *     if (sampler_config_read(&c, json, "dpmpp-2m", e) < 0)  // the same settings for another class
 *     sampler_config_free(&c);
 *
 * Missing keys mean today's defaults of the class (diffusers 0.42). Another class takes over the keys that it
 * knows and that are written in the file, as from_config does; a flow-matching shift carries over between
 * flow classes. Values that are not supported are refused by name; keys that are unknown to the class are
 * ignored, as diffusers does. Two keys are ours, for models that no diffusers class describes:
 *
 *     "previous_timestep": "list"   DDIM steps to the next entry of its list instead of t - T/N
 *     "sigma_spacing": "uniform"    flow: sigma_i = 1 - i/N, without shift
 *
 * Not supported: exponential, beta and Lu sigmas, the stochastic and the noise-predicting DPM-Solvers, UniPC
 * that predicts noise, Karras sigmas of flow models. */
#ifndef HASTEN_RUN_SAMPLER_CONFIG_H
#define HASTEN_RUN_SAMPLER_CONFIG_H

#include "common/base/error.h"
#include <cjson/cJSON.h>

enum sampler_class {
    SAMPLER_DDIM,
    SAMPLER_DDPM,
    SAMPLER_PNDM,
    SAMPLER_EULER,
    SAMPLER_EULER_A,
    SAMPLER_HEUN,
    SAMPLER_LMS,
    SAMPLER_DPMPP,
    SAMPLER_UNIPC,
    SAMPLER_LCM,
    SAMPLER_FLOW,
    SAMPLER_CLASSES,
};
enum prediction { PREDICT_EPSILON, PREDICT_SAMPLE, PREDICT_V, PREDICT_FLOW };
enum beta_schedule { BETA_LINEAR, BETA_SCALED_LINEAR, BETA_COSINE, BETA_SIGMOID };
enum spacing { SPACING_LEADING, SPACING_LINSPACE, SPACING_TRAILING };
enum variance {
    VARIANCE_FIXED_SMALL,
    VARIANCE_FIXED_SMALL_LOG,
    VARIANCE_FIXED_LARGE,
    VARIANCE_LEARNED,
    VARIANCE_LEARNED_RANGE
};

struct sampler_config {
    enum sampler_class kind;
    enum prediction prediction;
    enum beta_schedule beta_schedule;
    enum spacing spacing;
    enum variance variance;
    int train_steps, steps_offset, solver_order, original_steps;
    double beta_start, beta_end, clip_range, threshold_ratio, sample_max, flow_shift, shift, timestep_scaling;
    double base_shift, max_shift, shift_terminal; /* shift_terminal 0: none */
    double sigma_min, sigma_max; /* ends of Karras sigmas; 0: the schedule's */
    double lambda_min;           /* timesteps below this log(alpha / sigma) are left out */
    int base_seq_len, max_seq_len;
    int clip_sample, thresholding, alpha_to_one, zero_snr, skip_prk, karras, flow_sigmas, dynamic_shift,
        linear_shift;
    int lower_order_final, euler_at_final, sigma_min_final, heun_solver, bh1, uniform_sigmas,
        previous_in_list;
    double *betas; /* explicit ones, train_steps of them; or NULL */
};

/* kind: NULL (the file's own class) or a name of cli.md: ddim ddpm pndm euler euler-a heun lms dpmpp-1
 * dpmpp-2m unipc lcm flow-euler. HASTEN_EUSAGE for an unknown name or a conversion that makes no sense. */
int sampler_config_read(struct sampler_config *c, const cJSON *json, const char *kind,
                        struct error *e) HASTEN_CHECKED;
void sampler_config_free(struct sampler_config *c);

const char *sampler_class_name(enum sampler_class kind); /* diffusers' */
const char *sampler_short_name(enum sampler_class kind); /* ours */

#endif
