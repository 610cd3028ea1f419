/* Samplers: from network outputs to latents, as diffusers 0.42 does it (specs: each method's file names its
 * paper).
 *
 *     struct sampler_run run = {.steps = 50};
 *     struct sampler *s = sampler_open(&config, &run, images, size, e); // size: numbers of one latent
 *     x = noise * sampler_init_sigma(s);
 *     for (int i = 0; i < sampler_calls(s); i++) {
 *         sampler_scale(s, i, x, input);                 // what the network sees
 *         out = network(input, sampler_timestep(s, i));
 *         if (sampler_needs_noise(s, i))
 *             fill noise;                                // unit variance, from each image's own generator
 *         sampler_step(s, i, out, NULL, noise, x);       // x becomes the next latent
 *     }
 *     sampler_close(s);
 *
 * Arrays are [images][size] float32. Images do not influence each other. Nothing is allocated after opening.
 * Calls are network calls: Heun's 10 steps have 19, PNDM's 10 have 11.
 *
 * Two differences from diffusers are meant. Trailing timesteps are N for N steps, where numpy's rounding
 * gives diffusers one more now and then (T = 1000: N = 61, 103, ...), at timestep -1. And what would end
 * in a division by zero (equal noise levels, no signal left and epsilon predicted) is refused at
 * opening. */
#ifndef HASTEN_RUN_SAMPLER_H
#define HASTEN_RUN_SAMPLER_H

#include "common/run/sampler_config.h"
#include <stdint.h>

struct sampler_run {
    int steps;
    double eta;           /* DDIM */
    const double *sigmas; /* flow: explicit, `steps` of them, or NULL; read at opening only */
    double mu;            /* dynamic shifting: used when has_mu */
    int has_mu;           /* timesteps as set_timesteps(steps, mu=mu) makes them */
    int seq_len;          /* dynamic shifting without mu: tokens; sigmas 1 to 1 / steps, as for Flux */
};

struct sampler;

/* HASTEN_EUSAGE for steps out of range or that this sampler cannot take, HASTEN_EFILE for betas that leave
 * nothing to divide by. c and its betas are not kept. */
struct sampler *sampler_open(const struct sampler_config *c, const struct sampler_run *run, int images,
                             int64_t size, struct error *e) HASTEN_CHECKED;
void sampler_close(struct sampler *s); /* NULL is fine */

int sampler_calls(const struct sampler *s);
double sampler_timestep(const struct sampler *s, int call);
double sampler_sigma(const struct sampler *s, int call); /* noise level before the call; flow: its time */
double sampler_init_sigma(const struct sampler *s);
int sampler_needs_noise(const struct sampler *s, int call);
int sampler_uses_variance(const struct sampler *s); /* learned variances are read */

void sampler_scale(const struct sampler *s, int call, const float *x, float *input);
/* Calls in order, each once. variance: the network's second half, or NULL; noise: NULL where none is needed.
 * output, variance and noise are [images][size] and do not overlap x. */
void sampler_step(struct sampler *s, int call, const float *output, const float *variance, const float *noise,
                  float *x);
/* Start again for another batch of `images` <= those at opening. */
void sampler_restart(struct sampler *s, int images);

#endif
