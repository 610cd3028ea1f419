/* A sampler's steps as numbers, for whoever takes them elsewhere than on the host (kernels/cuda/launch.h).
 *
 *     struct step_numbers *n = mem_array(calls, sizeof *n, e);
 *     float *scale = mem_array(calls, sizeof *scale, e);
 *     int linear = sampler_numbers(&config, &run, variance, n, scale, e);     // 1, 0, or -1 with an error
 *
 * Every method that is linear between network output and next latent, but for a clip of the predicted
 * picture, has them; dynamic thresholding and Heun's clip have not: 0. The numbers are not written down a
 * second time: the method itself makes its steps on unit vectors. scale[call] is what the network's input is
 * of x. */
#ifndef HASTEN_RUN_SAMPLER_NUMBERS_H
#define HASTEN_RUN_SAMPLER_NUMBERS_H

#include "common/run/sampler.h"
#include "kernels/cuda/launch.h"

/* variance: the network gives variances. Arrays have sampler_calls() entries. */
int sampler_numbers(const struct sampler_config *c, const struct sampler_run *run, int variance,
                    struct step_numbers *numbers, float *scale, struct error *e) HASTEN_CHECKED;

#endif
