/* Inside common/run: what the methods of samplers share. A method prepares tables at opening and makes a
 * step. */
#ifndef HASTEN_RUN_SAMPLER_INSIDE_H
#define HASTEN_RUN_SAMPLER_INSIDE_H

#include "common/run/sampler.h"

enum { SAMPLER_HISTORY = 6, SAMPLER_PROBE_PICTURE = 2 };

struct sampler {
    struct sampler_config c; /* betas are not owned */
    struct sampler_run run;
    const struct sampler_method *method;
    int images, most_images;
    int64_t size;
    float *alphas;    /* cumulative products, train_steps of them; NULL for flow matching */
    double *timestep; /* calls */
    double *sigma;    /* calls + 1 where a method uses them */
    int calls;
    double init_sigma, mu; /* mu: of dynamic shifting */
    float *history[SAMPLER_HISTORY]; /* images * size each, as many as the method wants */
    int filled;                      /* values in a multistep history */
    float *sorted;                   /* size numbers for thresholding */
    float *probe; /* of sampler_numbers.c: gets the picture, which becomes a unit vector; else NULL */
};

struct sampler_method {
    int histories;
    int scales;      /* the network sees x / sqrt(sigma^2 + 1) */
    int sigma_table; /* sigmas from the noise schedule, and the start scaled by the largest */
    int (*prepare)(struct sampler *s, struct error *e); /* calls, timestep, sigma, init_sigma */
    int (*noise)(const struct sampler *s, int call);    /* NULL: never */
    void (*step)(struct sampler *s, int call, const float *output, const float *variance, const float *noise,
                 float *x);
};

extern const struct sampler_method method_ddim, method_ddpm, method_pndm, method_euler, method_euler_a,
    method_heun, method_lms, method_dpmpp, method_unipc, method_lcm, method_flow;

/* Tables of `calls` timesteps and, if wanted, calls + 1 sigmas. */
int sampler_tables(struct sampler *s, int calls, int sigmas, struct error *e) HASTEN_CHECKED;
double sampler_linspace(double start, double stop, int n, int i); /* number i of numpy.linspace */
/* The n timesteps of a spacing in falling order, n = points: rounded where `round`; drop_last: of points + 1
 * (DPM, UniPC). */
void sampler_space(const struct sampler *s, int points, int drop_last, int round, double *out);
/* sigma(t) of the noise schedule, linear between whole timesteps. */
double sampler_sigma_at(const struct sampler *s, double t);
/* Karras et al. 2022, eq. 5 between these ends (or the settings' own); and the timestep whose log sigma
 * is that. */
void sampler_karras(const struct sampler *s, double high, double low, int n, double *out);
double sampler_time_of_sigma(const struct sampler *s, double sigma);
/* Euler, Heun, LMS: timesteps, sigmas with a zero behind, Karras if wanted, init_sigma. n entries. */
int sampler_sigma_schedule(struct sampler *s, int n, double *timestep, double *sigma);

/* Flow matching (Esser et al. 2024, section 5.3.2): the shift by mu, and the stretch of all sigmas that
 * brings the last one to shift_terminal. */
double sampler_dynamic_shift(const struct sampler *s, double sigma);
void sampler_stretch(struct sampler *s);

float sampler_alpha(const struct sampler *s, int t); /* cumulative; t < 0: the final one */
/* Clip or threshold predicted pictures, as the settings say. */
void sampler_limit(struct sampler *s, float *x0);

static inline int64_t sampler_count(const struct sampler *s) { return s->images * s->size; }

#endif
