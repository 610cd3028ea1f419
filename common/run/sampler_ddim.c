/* DDIM (Song et al. 2021, eq. 12), DDPM (Ho et al. 2020; learned variances: Nichol and Dhariwal 2021, eq. 15)
 * and latent consistency sampling (Luo et al. 2023): methods that predict the picture and go to another
 * timestep. */
#include "common/run/sampler_inside.h"

#include <math.h>

/* Predicted picture and noise from the network's output, alpha being the cumulative product. Coefficients are
 * float32 from end to end here, as diffusers has them: 1 - alpha / next loses digits that no other order of
 * operations loses in the same way. */
static void predict(const struct sampler *s, float alpha, const float *output, const float *x, float *x0,
                    float *eps)
{
    float a = sqrtf(alpha), b = sqrtf(1 - alpha);
    for (int64_t i = 0; i < sampler_count(s); i++) {
        float out = output[i], clean = out, noise = out;
        if (s->c.prediction == PREDICT_EPSILON) {
            clean = (x[i] - b * out) / a;
        } else if (s->c.prediction == PREDICT_SAMPLE) {
            noise = (x[i] - a * out) / b;
        } else {
            clean = a * x[i] - b * out;
            noise = a * out + b * x[i];
        }
        x0[i] = clean;
        if (eps)
            eps[i] = noise;
    }
}

static int prepare_spaced(struct sampler *s, struct error *e)
{
    if (sampler_tables(s, s->run.steps, 0, e) < 0)
        return -1;
    sampler_space(s, s->calls, 0, 1, s->timestep);
    return 0;
}

static int next_in_list(const struct sampler *s, int call)
{
    return call + 1 < s->calls ? (int)s->timestep[call + 1] : -1;
}

/* ---- DDIM: history 0 the picture, 1 the noise ---- */

static int ddim_noise(const struct sampler *s, int call)
{
    (void)call;
    return s->run.eta > 0;
}

static void ddim_step(struct sampler *s, int call, const float *output, const float *variance,
                      const float *noise, float *x)
{
    (void)variance;
    int t = (int)s->timestep[call];
    int before = s->c.previous_in_list ? next_in_list(s, call) : t - s->c.train_steps / s->run.steps;
    float alpha = s->alphas[t], next = sampler_alpha(s, before);
    float spread = (float)s->run.eta * sqrtf((1 - next) / (1 - alpha) * (1 - alpha / next));
    float *x0 = s->history[0], *eps = s->history[1];
    predict(s, alpha, output, x, x0, eps);
    sampler_limit(s, x0);
    float a = sqrtf(next), b = sqrtf(fmaxf(0, 1 - next - spread * spread));
    for (int64_t i = 0; i < sampler_count(s); i++)
        x[i] = a * x0[i] + b * eps[i] + (s->run.eta > 0 ? spread * noise[i] : 0);
}

const struct sampler_method method_ddim = {
    .histories = 2, .prepare = prepare_spaced, .noise = ddim_noise, .step = ddim_step};

/* ---- DDPM ---- */

static int ddpm_noise(const struct sampler *s, int call) { return s->timestep[call] > 0; }

static void ddpm_step(struct sampler *s, int call, const float *output, const float *variance,
                      const float *noise, float *x)
{
    float alpha = s->alphas[(int)s->timestep[call]], next = sampler_alpha(s, next_in_list(s, call));
    float keep = alpha / next, beta = 1 - keep, small = fmaxf((1 - next) / (1 - alpha) * beta, 1e-20f);
    float to_clean = sqrtf(next) * beta / (1 - alpha), to_x = sqrtf(keep) * (1 - next) / (1 - alpha);
    float spread = s->c.variance == VARIANCE_FIXED_LARGE ? sqrtf(beta) : sqrtf(small);
    float low = logf(small), high = logf(beta), *x0 = s->history[0];
    predict(s, alpha, output, x, x0, NULL);
    sampler_limit(s, x0);
    for (int64_t i = 0; i < sampler_count(s); i++) {
        float deviation = spread;
        if (noise && variance && s->c.variance == VARIANCE_LEARNED_RANGE) {
            float share = (variance[i] + 1) / 2;
            deviation = expf(0.5f * (share * high + (1 - share) * low));
        } else if (noise && variance && s->c.variance == VARIANCE_LEARNED) {
            deviation = sqrtf(variance[i]);
        }
        x[i] = to_clean * x0[i] + to_x * x[i] + (noise ? deviation * noise[i] : 0);
    }
}

const struct sampler_method method_ddpm = {
    .histories = 1, .prepare = prepare_spaced, .noise = ddpm_noise, .step = ddpm_step};

/* ---- LCM ---- */

static int lcm_prepare(struct sampler *s, struct error *e)
{
    int original = s->c.original_steps, steps = s->run.steps;
    if (original > s->c.train_steps || steps > original)
        return error_set(e, HASTEN_EUSAGE, "%d steps: LCM takes at most original_inference_steps = %d", steps,
                         original);
    if (sampler_tables(s, steps, 0, e) < 0)
        return -1;
    int apart = s->c.train_steps / original;
    for (int i = 0; i < steps; i++) {
        int from_end = (int)(i * ((double)original / steps));
        s->timestep[i] = (original - from_end) * apart - 1;
    }
    return 0;
}

static int lcm_noise(const struct sampler *s, int call) { return call + 1 < s->calls; }

static void lcm_step(struct sampler *s, int call, const float *output, const float *variance,
                     const float *noise, float *x)
{
    (void)variance;
    int t = (int)s->timestep[call], last = call + 1 == s->calls;
    float alpha = s->alphas[t], next = last ? alpha : sampler_alpha(s, next_in_list(s, call));
    float scaled = (float)(t * s->c.timestep_scaling), skip = 0.25f / (scaled * scaled + 0.25f),
          out = scaled / sqrtf(scaled * scaled + 0.25f), a = sqrtf(next), b = sqrtf(1 - next);
    float *x0 = s->history[0];
    predict(s, alpha, output, x, x0, NULL);
    sampler_limit(s, x0);
    for (int64_t i = 0; i < sampler_count(s); i++) {
        float clean = out * x0[i] + skip * x[i];
        x[i] = last ? clean : a * clean + b * noise[i];
    }
}

const struct sampler_method method_lcm = {
    .histories = 1, .prepare = lcm_prepare, .noise = lcm_noise, .step = lcm_step};
